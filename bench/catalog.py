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


async def count_hfmedia() -> int:
    """Every model of one task, with all its mappings."""
    import hfmedia

    async with hfmedia.MediaClient() as client:
        return len(await client.models("text-to-image"))


async def count_huggingface_hub() -> int:
    """The Hub's own client, all pages."""
    from huggingface_hub import HfApi

    models = HfApi(endpoint=os.environ["HF_ENDPOINT"]).list_models(
        pipeline_tag="text-to-image", inference_provider="all", expand=["inferenceProviderMapping"]
    )
    return sum(1 for _ in models)


async def count_g4f() -> int:
    """g4f's own list: it reads the first page only."""
    g4f_client = importlib.import_module("bench.clients.g4f")
    module: Any = g4f_client.module
    get = module.requests.get
    module.requests.get = lambda url, **more: get(g4f_client.here(url), **more)
    module.HuggingFaceMedia.get_models()
    return len(module.HuggingFaceMedia.task_mapping)


def main() -> None:
    """Milliseconds for all, and how many there were."""
    count = {"ours": count_hfmedia, "hub": count_huggingface_hub, "g4f": count_g4f}[sys.argv[1]]
    wall, cpu = time.perf_counter(), time.process_time()
    models = asyncio.run(count())
    timings = {"wall": (time.perf_counter() - wall) * 1000, "cpu": (time.process_time() - cpu) * 1000}
    print(json.dumps({**timings, "models": models}))


if __name__ == "__main__":
    main()
