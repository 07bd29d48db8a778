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
REQUESTS_BY_CLIENTS = {
    1: 80,
    16: 240,
    64: 320,
    256: 512,
}  # requests by so many clients, each of which asks one after the other
WARM_UP = 20  # requests before anything is timed
SINGLE_CLIENT_REQUESTS = 100  # requests of a single client, through the gateway and without it by turns
MEMORY_REQUESTS = 1800  # requests more, to see whether memory grows: an hour's worth at one in two seconds
IDLE_DELAY = 0.5  # seconds after it is ready at which its memory is read
READY_CHECK_INTERVAL = 0.01  # seconds between two looks whether it is ready
READY_TIMEOUT = 120.0  # seconds for it to be ready
HEALTH_PATHS = {"ours": "/healthz", "litellm": "/health/liveliness"}
DIRECT_URL = os.environ.get("HF_ENDPOINT", "") + "/openai"  # the world's own API of OpenAI's kind
LITELLM_SETTINGS = f"""
model_list:
  - model_name: {MODEL}
    litellm_params: {{model: openai/{MODEL}, api_base: "{DIRECT_URL}/v1", api_key: none}}
litellm_settings: {{drop_params: true}}
"""
SendRequest = Callable[[str], Awaitable[object]]


def gateway_command(gateway_name: str, port: int, folder: Path) -> list[str]:
    """How a gateway is started, on loopback and without keys."""
    if gateway_name == "ours":
        return [sys.executable, "-m", "hfmedia", "serve", "--port", str(port), "--quiet"]
    settings = folder / "litellm.yaml"
    settings.write_text(LITELLM_SETTINGS)
    program = str(Path(sys.executable).with_name("litellm"))
    return [program, "--config", str(settings), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running_gateway(gateway_name: str) -> Iterator[tuple[subprocess.Popen[bytes], str, float]]:
    """A gateway that answers: its process, its address, and the seconds from its start until it says it is alive."""
    folder, port = Path(mkdtemp(dir=os.environ["BENCH_FOLDER"])), free_port()
    url = f"http://127.0.0.1:{port}"
    extra_environ = {"HFMEDIA_HOME": str(folder), "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    arguments, devnull = gateway_command(gateway_name, port, folder), subprocess.DEVNULL
    started_at = time.perf_counter()
    with subprocess.Popen(arguments, env={**os.environ, **extra_environ}, stdout=devnull, stderr=devnull) as process:
        try:
            while not is_alive(url + HEALTH_PATHS[gateway_name]):
                assert process.poll() is None, f"{gateway_name} ended with {process.returncode}"
                assert time.perf_counter() - started_at < READY_TIMEOUT, (
                    f"{gateway_name} was not ready within {READY_TIMEOUT:.0f} s"
                )
                time.sleep(READY_CHECK_INTERVAL)
            yield process, url, time.perf_counter() - started_at
        finally:
            process.terminate()


def is_alive(url: str) -> bool:
    """Whether somebody answers there, and says that all is well."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def resident_memory_mb(process: subprocess.Popen[bytes]) -> float:
    """Resident memory, in MB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1000


def request_sender(http: aiohttp.ClientSession, url: str) -> SendRequest:
    """Asks for a picture there."""

    async def send(prompt: str) -> None:
        payload = {"model": MODEL, "prompt": prompt, "response_format": "url"}
        async with http.post(f"{url}/v1/images/generations", json=payload) as response:
            content = await response.json()
            assert response.status == 200 and content["data"][0]["url"], content

    return send


@contextlib.asynccontextmanager
async def direct_sender(gateway_name: str, http: aiohttp.ClientSession) -> AsyncIterator[SendRequest]:
    """What the gateway does for a request, without it: ours calls the library, LiteLLM the API behind it."""
    if gateway_name != "ours":
        yield request_sender(http, DIRECT_URL)
        return
    from hfmedia import MediaClient

    async with MediaClient() as client:

        async def send(prompt: str) -> None:
            await client.text_to_image(prompt, model=MODEL)

        yield send


async def timed_ms(send: SendRequest, prompt: str) -> float:
    """Milliseconds of one."""
    started_at = time.perf_counter()
    await send(prompt)
    return (time.perf_counter() - started_at) * 1000


async def measure_single(gateway_name: str, url: str) -> dict[str, float]:
    """Milliseconds of a request with the gateway and without it, taken by turns, and what lies between: medians."""
    pairs: list[tuple[float, float]] = []
    async with aiohttp.ClientSession() as http, direct_sender(gateway_name, http) as direct:
        gateway = request_sender(http, url)
        for prompt in (f"kite {number}" for number in range(WARM_UP + SINGLE_CLIENT_REQUESTS)):
            pair = (await timed_ms(gateway, prompt), await timed_ms(direct, prompt))
            pairs.append(pair)
    measured_pairs = pairs[WARM_UP:]
    return {
        "through": statistics.median(milliseconds for milliseconds, _ in measured_pairs),
        "without": statistics.median(milliseconds for _, milliseconds in measured_pairs),
        "added": statistics.median(milliseconds - direct for milliseconds, direct in measured_pairs),
    }


async def measure_load(send: SendRequest, clients: int, requests: int) -> dict[str, float]:
    """Requests a second, and the median and the 99th percentile of their milliseconds."""
    remaining, durations = iter(range(requests)), list[float]()

    async def client() -> None:
        for number in remaining:
            durations.append(await timed_ms(send, f"kite {clients} {number}"))

    started_at = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    rate, sorted_durations = len(durations) / (time.perf_counter() - started_at), sorted(durations)
    return {
        f"rate-{clients}": rate,
        f"p50-{clients}": statistics.median(sorted_durations),
        f"p99-{clients}": sorted_durations[int(len(sorted_durations) * 0.99)],
    }


async def measure_concurrent(
    url: str, process: subprocess.Popen[bytes] | None, memory_requests: int
) -> dict[str, float]:
    """Clients side by side; then, where there is a process, its memory before and after an hour's worth of requests."""
    numbers: dict[str, float] = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        send = request_sender(http, url)
        for number in range(WARM_UP):
            await send(f"kite {number}")
        for clients, requests in REQUESTS_BY_CLIENTS.items():
            numbers |= await measure_load(send, clients, requests)
        if process is not None:
            numbers["after"] = resident_memory_mb(process)
            if memory_requests:
                await measure_load(send, 16, memory_requests)
                numbers["grown"] = resident_memory_mb(process) - numbers["after"]
    return numbers


async def measure(gateway_name: str, mode: str, url: str, process: subprocess.Popen[bytes] | None) -> dict[str, float]:
    """What was asked for, of a gateway that is ready."""
    numbers = await measure_single(gateway_name, url) if mode in ("alone", "both") else {}
    if mode in ("crowd", "both"):
        numbers |= await measure_concurrent(url, process, MEMORY_REQUESTS if gateway_name == "ours" else 0)
    return numbers


def main() -> None:
    """The numbers of one gateway."""
    gateway_name, mode = sys.argv[1], sys.argv[2]
    if gateway_name == "floor":
        print(json.dumps(asyncio.run(measure(gateway_name, mode, DIRECT_URL, None))))
        return
    with running_gateway(gateway_name) as (process, url, ready_seconds):
        time.sleep(IDLE_DELAY)
        idle = resident_memory_mb(process)
        print(
            json.dumps({"ready": ready_seconds, "idle": idle, **asyncio.run(measure(gateway_name, mode, url, process))})
        )


if __name__ == "__main__":
    main()
