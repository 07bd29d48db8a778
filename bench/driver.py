"""One measured run, in a process of its own: ``driver.py CLIENT WHAT MODEL JOBS AT_ONCE PROMPT`` prints JSON.

Taken around the work and after one job that warms everything up: seconds on the wall, CPU time of the process (user and
system, all threads), the longest time for which a ticker of 5 ms was late, and the peak of resident memory.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

TICK = 0.005  # seconds


def memory(name: str) -> float:
    """MB of resident memory, ``VmRSS`` now or ``VmHWM`` at its peak, as Linux counts them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1000
    return float("nan")


def forget_peak() -> None:
    """From now on ``VmHWM`` counts anew."""
    Path("/proc/self/clear_refs").write_text("5")


async def watched(pauses: list[float]) -> None:
    """Notes how late each tick comes."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(TICK)
        pauses.append(time.perf_counter() - began - TICK)


async def measured(client: Any, what: str, model: str, jobs: int, at_once: int, prompt: str) -> dict[str, Any]:
    """The numbers of so many jobs, so many of them side by side."""
    make = getattr(client, what)
    chance, ends = random.Random(1), []

    async def line(first: int) -> None:
        for number in range(first, jobs, at_once):
            await make(model, prompt.replace("{x}", f"{1.5 + chance.random():.3f}") + f" {number}")
            ends.append(time.monotonic())

    forget_peak()
    idle, pauses = memory("VmRSS"), [0.0]
    ticker = asyncio.ensure_future(watched(pauses))
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(line(first) for first in range(at_once)))
    taken = {"wall": time.perf_counter() - wall, "cpu": (time.process_time() - cpu) / jobs * 1000}
    peak = memory("VmHWM")
    await asyncio.sleep(2 * TICK)  # for a pause that lasted until the end
    ticker.cancel()
    return {**taken, "rate": jobs / taken["wall"], "pause": max(pauses) * 1000, "peak": peak, "above": peak - idle,
            "ends": ends if jobs <= 100 else []}  # fmt: skip


async def main() -> None:
    """Warms up with a job of the same kind, unless the prompt asks for a first run."""
    who, what, model, jobs, at_once, prompt = sys.argv[1:]
    module = importlib.import_module(f"bench.clients.{who}")
    folder = Path(mkdtemp(dir=os.environ["BENCH_FOLDER"]))
    async with module.opened(folder) as client:
        if "cold" not in prompt:
            warm = {"bench/film": "bench/video", "bench/inline": "bench/small"}.get(model, model)
            await getattr(client, what)(warm, "for 0.1 s" if model == "bench/film" else "warm")
        print(json.dumps(await measured(client, what, model, int(jobs), int(at_once), prompt)))


if __name__ == "__main__":
    asyncio.run(main())
