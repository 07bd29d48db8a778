"""A gateway, measured from outside: ``gateway.py ours|litellm|floor alone|crowd|both`` prints one JSON object.

Each answers the same request, a picture of 20 kB by address. Ours makes it with its own library and keeps the file;
LiteLLM hands the request on to an API of OpenAI's kind, and keeps nothing; the floor is that API, asked directly.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import aiohttp

MODEL = "bench/small"
CROWDS = {1: 80, 16: 240, 64: 320, 256: 512}  # requests by so many clients, each of which asks one after the other
WARM_UP = 20  # requests before anything is timed
ALONE = 100  # requests of a single client, through the gateway and without it by turns
HOUR = 1800  # requests more, to see whether memory grows: an hour's worth at one in two seconds
IDLE = 0.5  # seconds after it is ready at which its memory is read
SOON = 0.01  # seconds between two looks whether it is ready
PATIENCE = 120.0  # seconds for it to be ready
ALIVE = {"ours": "/healthz", "litellm": "/health/liveliness"}
DIRECT = os.environ.get("HF_ENDPOINT", "") + "/openai"  # the world's own API of OpenAI's kind
SETTINGS = f"""
model_list:
  - model_name: {MODEL}
    litellm_params: {{model: openai/{MODEL}, api_base: "{DIRECT}/v1", api_key: none}}
litellm_settings: {{drop_params: true}}
"""
Ask = Callable[[str], Awaitable[object]]


def command(who: str, port: int, folder: Path) -> list[str]:
    """How a gateway is started, on loopback and without keys."""
    if who == "ours":
        return [sys.executable, "-m", "hfmedia", "serve", "--port", str(port), "--quiet"]
    settings = folder / "litellm.yaml"
    settings.write_text(SETTINGS)
    program = str(Path(sys.executable).with_name("litellm"))
    return [program, "--config", str(settings), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def served(who: str) -> Iterator[tuple[subprocess.Popen[bytes], str, float]]:
    """A gateway that answers: its process, its address, and the seconds from its start until it says it is alive."""
    folder, port = Path(mkdtemp(dir=os.environ["BENCH_FOLDER"])), free_port()
    url = f"http://127.0.0.1:{port}"
    more = {"HFMEDIA_HOME": str(folder), "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    words, quiet = command(who, port, folder), subprocess.DEVNULL
    began = time.perf_counter()
    with subprocess.Popen(words, env={**os.environ, **more}, stdout=quiet, stderr=quiet) as process:
        try:
            while not alive(url + ALIVE[who]):
                assert process.poll() is None, f"{who} ended with {process.returncode}"
                assert time.perf_counter() - began < PATIENCE, f"{who} was not ready within {PATIENCE:.0f} s"
                time.sleep(SOON)
            yield process, url, time.perf_counter() - began
        finally:
            process.terminate()


def alive(url: str) -> bool:
    """Whether somebody answers there, and says that all is well."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def weight(process: subprocess.Popen[bytes]) -> float:
    """Resident memory, in MB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1000


def asking(http: aiohttp.ClientSession, url: str) -> Ask:
    """Asks for a picture there."""

    async def ask(prompt: str) -> None:
        wish = {"model": MODEL, "prompt": prompt, "response_format": "url"}
        async with http.post(f"{url}/v1/images/generations", json=wish) as answer:
            told = await answer.json()
            assert answer.status == 200 and told["data"][0]["url"], told

    return ask


@contextlib.asynccontextmanager
async def without(who: str, http: aiohttp.ClientSession) -> AsyncIterator[Ask]:
    """What the gateway does for a request, without it: ours calls the library, LiteLLM the API behind it."""
    if who != "ours":
        yield asking(http, DIRECT)
        return
    from hfmedia import MediaClient

    async with MediaClient() as client:

        async def call(prompt: str) -> None:
            await client.text_to_image(prompt, model=MODEL)

        yield call


async def timed(ask: Ask, prompt: str) -> float:
    """Milliseconds of one."""
    began = time.perf_counter()
    await ask(prompt)
    return (time.perf_counter() - began) * 1000


async def alone(who: str, url: str) -> dict[str, float]:
    """Milliseconds of a request with the gateway and without it, taken by turns, and what lies between: medians."""
    pairs: list[tuple[float, float]] = []
    async with aiohttp.ClientSession() as http, without(who, http) as bare:
        through = asking(http, url)
        for prompt in (f"kite {number}" for number in range(WARM_UP + ALONE)):
            pair = (await timed(through, prompt), await timed(bare, prompt))
            pairs.append(pair)
    kept = pairs[WARM_UP:]
    return {
        "through": statistics.median(took for took, _ in kept),
        "without": statistics.median(took for _, took in kept),
        "added": statistics.median(took - bare for took, bare in kept),
    }


async def loaded(ask: Ask, clients: int, requests: int) -> dict[str, float]:
    """Requests a second, and the median and the 99th percentile of their milliseconds."""
    left, took = iter(range(requests)), list[float]()

    async def client() -> None:
        for number in left:
            took.append(await timed(ask, f"kite {clients} {number}"))

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    rate, ordered = len(took) / (time.perf_counter() - began), sorted(took)
    return {
        f"rate-{clients}": rate,
        f"p50-{clients}": statistics.median(ordered),
        f"p99-{clients}": ordered[int(len(ordered) * 0.99)],
    }


async def crowd(url: str, process: subprocess.Popen[bytes] | None, hour: int) -> dict[str, float]:
    """Clients side by side; then, where there is a process, its memory before and after an hour's worth of requests."""
    numbers: dict[str, float] = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        ask = asking(http, url)
        for number in range(WARM_UP):
            await ask(f"kite {number}")
        for clients, requests in CROWDS.items():
            numbers |= await loaded(ask, clients, requests)
        if process is not None:
            numbers["after"] = weight(process)
            if hour:
                await loaded(ask, 16, hour)
                numbers["grown"] = weight(process) - numbers["after"]
    return numbers


async def measured(who: str, what: str, url: str, process: subprocess.Popen[bytes] | None) -> dict[str, float]:
    """What was asked for, of a gateway that is ready."""
    numbers = await alone(who, url) if what in ("alone", "both") else {}
    if what in ("crowd", "both"):
        numbers |= await crowd(url, process, HOUR if who == "ours" else 0)
    return numbers


def main() -> None:
    """The numbers of one gateway."""
    who, what = sys.argv[1], sys.argv[2]
    if who == "floor":
        print(json.dumps(asyncio.run(measured(who, what, DIRECT, None))))
        return
    with served(who) as (process, url, ready):
        time.sleep(IDLE)
        idle = weight(process)
        print(json.dumps({"ready": ready, "idle": idle, **asyncio.run(measured(who, what, url, process))}))


if __name__ == "__main__":
    main()
