"""One measured run in its own process: ``driver.py CLIENT METHOD MODEL JOBS CONCURRENCY PROMPT`` prints JSON.

After one warm-up job, it measures wall-clock seconds, CPU time of the process (user and system, all threads), the
longest delay of a 5 ms ticker, and peak resident memory.
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

TICK_INTERVAL = 0.005  # seconds


def memory_mb(name: str) -> float:
    """Return resident memory in MB from /proc: ``VmRSS`` is current, ``VmHWM`` the peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1000
    return float("nan")


def reset_peak_memory() -> None:
    """Reset the ``VmHWM`` peak to the current value."""
    Path("/proc/self/clear_refs").write_text("5")


async def record_pauses(pauses: list[float]) -> None:
    """Record the delay of each tick."""
    while True:
        started_at = time.perf_counter()
        await asyncio.sleep(TICK_INTERVAL)
        pauses.append(time.perf_counter() - started_at - TICK_INTERVAL)


async def measure(client: Any, method: str, model: str, jobs: int, concurrency: int, prompt: str) -> dict[str, Any]:
    """Run the jobs, `concurrency` of them in parallel, and return the measurements."""
    create = getattr(client, method)
    rng, finished_at = random.Random(1), []

    async def worker(first: int) -> None:
        for number in range(first, jobs, concurrency):
            await create(model, prompt.replace("{x}", f"{1.5 + rng.random():.3f}") + f" {number}")
            finished_at.append(time.monotonic())

    reset_peak_memory()
    idle, pauses = memory_mb("VmRSS"), [0.0]
    ticker = asyncio.ensure_future(record_pauses(pauses))
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker(first) for first in range(concurrency)))
    timings = {"wall": time.perf_counter() - wall, "cpu": (time.process_time() - cpu) / jobs * 1000}
    peak = memory_mb("VmHWM")
    await asyncio.sleep(2 * TICK_INTERVAL)  # record a pause that lasted until the end
    ticker.cancel()
    return {**timings, "rate": jobs / timings["wall"], "pause": max(pauses) * 1000, "peak": peak, "above": peak - idle,
            "ends": finished_at if jobs <= 100 else []}  # fmt: skip


async def main() -> None:
    """Run one measurement, after a warm-up job unless the prompt contains "cold"."""
    client_name, method, model, jobs, concurrency, prompt = sys.argv[1:]
    module = importlib.import_module(f"bench.clients.{client_name}")
    folder = Path(mkdtemp(dir=os.environ["BENCH_FOLDER"]))
    async with module.open_client(folder) as client:
        if "cold" not in prompt:
            warm = {"bench/film": "bench/video", "bench/inline": "bench/small"}.get(model, model)
            await getattr(client, method)(warm, "for 0.1 s" if model == "bench/film" else "warm")
        print(json.dumps(await measure(client, method, model, int(jobs), int(concurrency), prompt)))


if __name__ == "__main__":
    asyncio.run(main())
