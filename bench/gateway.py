"""The gateway under load: how soon it is ready, what it weighs, what it adds to a request, how many it serves.

Pictures of 20 kB by address, from clients that ask one after the other, 1 to 256 of them side by side.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import aiohttp

from hfmedia import MediaClient

MODEL = "bench/small"
CLIENTS = (1, 16, 64, 256)
WARM_UP = 20  # requests before anything is timed
ALONE = 100  # requests of a single client, through the gateway and through the library by turns
EACH = 600  # requests of several clients together


def weight(process: subprocess.Popen[str]) -> float:
    """Resident memory, in MB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


async def asked(http: aiohttp.ClientSession, url: str, prompt: str) -> float:
    """Milliseconds of one request."""
    wish = {"model": MODEL, "prompt": prompt, "response_format": "url"}
    began = time.perf_counter()
    async with http.post(f"{url}/v1/images/generations", json=wish) as answer:
        told = await answer.json()
        assert answer.status == 200, told
    return (time.perf_counter() - began) * 1000


async def added(http: aiohttp.ClientSession, url: str) -> tuple[float, float]:
    """Milliseconds of one request through the gateway, and of one call of the library: medians, taken by turns."""
    through: list[float] = []
    within: list[float] = []
    async with MediaClient() as client:
        for number in range(WARM_UP + ALONE):
            took = await asked(http, url, f"kite {number}")
            began = time.perf_counter()
            await client.text_to_image(f"kite {number}", model=MODEL)
            if number >= WARM_UP:
                through.append(took)
                within.append((time.perf_counter() - began) * 1000)
    return statistics.median(through), statistics.median(within)


async def loaded(http: aiohttp.ClientSession, url: str, clients: int) -> dict[str, float]:
    """Requests a second, and the median and the 99th percentile of their milliseconds."""
    left = iter(range(max(EACH, 2 * clients)))
    took: list[float] = []

    async def client() -> None:
        for number in left:
            took.append(await asked(http, url, f"kite {clients} {number}"))  # noqa: PERF401 - as each one ends

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    rate = len(took) / (time.perf_counter() - began)
    ordered = sorted(took)
    return {
        f"rate-{clients}": rate,
        f"p50-{clients}": statistics.median(ordered),
        f"p99-{clients}": ordered[int(len(ordered) * 0.99)],
    }


async def measured(process: subprocess.Popen[str], url: str) -> dict[str, float]:
    """Everything that is asked of a gateway that serves."""
    numbers: dict[str, float] = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        through, within = await added(http, url)
        numbers |= {"through": through, "within": within, "added": through - within}
        for clients in CLIENTS:
            numbers |= await loaded(http, url, clients)
        half = weight(process)
        for _ in range(3):
            await loaded(http, url, CLIENTS[1])
        numbers |= {"after": weight(process), "grown": weight(process) - half}
    return numbers


def main() -> None:
    """Prints one JSON object."""
    home = {"HFMEDIA_HOME": str(Path(os.environ["HFMEDIA_HOME"]) / "gateway-bench")}
    command = [sys.executable, "-m", "hfmedia", "serve", "--port", "0", "--quiet"]
    began = time.perf_counter()
    with subprocess.Popen(
        command, env={**os.environ, **home}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as served:
        assert served.stdout is not None
        url = served.stdout.readline().strip()
        numbers = {"ready": time.perf_counter() - began}
        try:
            with urllib.request.urlopen(f"{url}/healthz") as answer:
                assert answer.status == 200
            time.sleep(0.5)
            numbers["idle"] = weight(served)
            numbers |= asyncio.run(measured(served, url))
        finally:
            served.terminate()
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
