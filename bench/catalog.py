"""Listing a catalog of 50,000 models: ``catalog.py CLIENT cold|warm`` prints one JSON object.

Cold starts without a cache; warm is a new process with a fresh cache, for clients that have one.
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
    """List every model of one task with all its mappings."""
    import hfmedia

    async with hfmedia.MediaClient() as client:
        return len(await client.models("text-to-image"))


async def count_huggingface_hub() -> int:
    """List all pages with the Hub's own client."""
    from huggingface_hub import HfApi

    models = HfApi(endpoint=os.environ["HF_ENDPOINT"]).list_models(
        pipeline_tag="text-to-image", inference_provider="all", expand=["inferenceProviderMapping"]
    )
    return sum(1 for _ in models)


async def count_g4f() -> int:
    """List with g4f, which reads the first page only."""
    g4f_client = importlib.import_module("bench.clients.g4f")
    module: Any = g4f_client.module
    get = module.requests.get
    module.requests.get = lambda url, **options: get(g4f_client.rewrite_url(url), **options)
    module.HuggingFaceMedia.get_models()
    return len(module.HuggingFaceMedia.task_mapping)


def main() -> None:
    """Print the milliseconds and the number of models."""
    count = {"ours": count_hfmedia, "hub": count_huggingface_hub, "g4f": count_g4f}[sys.argv[1]]
    wall, cpu = time.perf_counter(), time.process_time()
    models = asyncio.run(count())
    timings = {"wall": (time.perf_counter() - wall) * 1000, "cpu": (time.process_time() - cpu) * 1000}
    print(json.dumps({**timings, "models": models}))


if __name__ == "__main__":
    main()
