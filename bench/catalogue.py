"""A catalogue of 50,000 models, listed: ``catalogue.py CLIENT cold|warm`` prints one JSON object.

Cold is a first time; warm is a new process whose cache is young, where there is a cache.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from typing import Any


async def ours() -> int:
    """Every model of one task, with all its mappings."""
    import hfmedia

    async with hfmedia.MediaClient() as client:
        return len(await client.models("text-to-image"))


async def hub() -> int:
    """The Hub's own client, all pages."""
    from huggingface_hub import HfApi

    listed = HfApi(endpoint=os.environ["HF_ENDPOINT"]).list_models(
        pipeline_tag="text-to-image", inference_provider="all", expand=["inferenceProviderMapping"]
    )
    return sum(1 for _ in listed)


async def g4f() -> int:
    """g4f's own list: it reads the first page only."""
    there = importlib.import_module("bench.clients.g4f")
    module: Any = there.module
    get = module.requests.get
    module.requests.get = lambda url, **more: get(there.here(url), **more)
    module.HuggingFaceMedia.get_models()
    return len(module.HuggingFaceMedia.task_mapping)


def main() -> None:
    """Milliseconds for all, and how many there were."""
    who = {"ours": ours, "hub": hub, "g4f": g4f}[sys.argv[1]]
    wall, cpu = time.perf_counter(), time.process_time()
    models = asyncio.run(who())
    taken = {"wall": (time.perf_counter() - wall) * 1000, "cpu": (time.process_time() - cpu) * 1000}
    print(json.dumps({**taken, "models": models}))


if __name__ == "__main__":
    main()
