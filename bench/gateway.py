"""A gateway measured from outside: ``gateway.py ours|litellm|floor alone|crowd|both`` prints one JSON object.

All serve the same request, a 20 kB image by URL. hfmedia generates it through the library and stores the file; LiteLLM
forwards the request to an OpenAI-compatible API and stores nothing; the floor calls that API directly.
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
REQUESTS_BY_CLIENTS = {1: 80, 16: 240, 64: 320, 256: 512}  # total requests; each client sends one after the other
WARM_UP = 20  # requests before the measurement
SINGLE_CLIENT_REQUESTS = 100  # requests by one client, alternating with and without the gateway
MEMORY_REQUESTS = 1800  # additional requests to detect memory growth: one hour at one request every 2 s
IDLE_DELAY = 0.5  # seconds between readiness and the memory reading
READY_CHECK_INTERVAL = 0.01  # seconds between readiness checks
READY_TIMEOUT = 120.0  # seconds until ready
HEALTH_PATHS = {"ours": "/healthz", "litellm": "/health/liveliness"}
DIRECT_URL = os.environ.get("HF_ENDPOINT", "") + "/openai"  # the simulated OpenAI-compatible API
LITELLM_SETTINGS = f"""
model_list:
  - model_name: {MODEL}
    litellm_params: {{model: openai/{MODEL}, api_base: "{DIRECT_URL}/v1", api_key: none}}
litellm_settings: {{drop_params: true}}
"""
SendRequest = Callable[[str], Awaitable[object]]


def gateway_command(gateway_name: str, port: int, folder: Path) -> list[str]:
    """Return the command that starts a gateway on loopback without keys."""
    if gateway_name == "ours":
        return [sys.executable, "-m", "hfmedia", "serve", "--port", str(port), "--quiet"]
    settings = folder / "litellm.yaml"
    settings.write_text(LITELLM_SETTINGS)
    program = str(Path(sys.executable).with_name("litellm"))
    return [program, "--config", str(settings), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running_gateway(gateway_name: str) -> Iterator[tuple[subprocess.Popen[bytes], str, float]]:
    """Start a gateway. Yields its process, its URL and the seconds until its health check passed."""
    folder, port = Path(mkdtemp(dir=os.environ["BENCH_FOLDER"])), free_port()
    url = f"http://127.0.0.1:{port}"
    extra_environ = {"HFMEDIA_HOME": str(folder), "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    arguments, devnull = gateway_command(gateway_name, port, folder), subprocess.DEVNULL
    started_at = time.perf_counter()
    with subprocess.Popen(arguments, env={**os.environ, **extra_environ}, stdout=devnull, stderr=devnull) as process:
        try:
            while not is_alive(url + HEALTH_PATHS[gateway_name]):
                assert process.poll() is None, f"{gateway_name} exited with code {process.returncode}"
                assert time.perf_counter() - started_at < READY_TIMEOUT, (
                    f"{gateway_name} was not ready within {READY_TIMEOUT:.0f} s"
                )
                time.sleep(READY_CHECK_INTERVAL)
            yield process, url, time.perf_counter() - started_at
        finally:
            process.terminate()


def is_alive(url: str) -> bool:
    """Return True when the URL responds with a success status."""
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
    """Create a sender of image requests to a URL."""

    async def send(prompt: str) -> None:
        payload = {"model": MODEL, "prompt": prompt, "response_format": "url"}
        async with http.post(f"{url}/v1/images/generations", json=payload) as response:
            content = await response.json()
            assert response.status == 200 and content["data"][0]["url"], content

    return send


@contextlib.asynccontextmanager
async def direct_sender(gateway_name: str, http: aiohttp.ClientSession) -> AsyncIterator[SendRequest]:
    """Yield a sender that bypasses the gateway: the library for hfmedia, the upstream API for LiteLLM."""
    if gateway_name != "ours":
        yield request_sender(http, DIRECT_URL)
        return
    from hfmedia import MediaClient

    async with MediaClient() as client:

        async def send(prompt: str) -> None:
            await client.text_to_image(prompt, model=MODEL)

        yield send


async def timed_ms(send: SendRequest, prompt: str) -> float:
    """Send one request and return its milliseconds."""
    started_at = time.perf_counter()
    await send(prompt)
    return (time.perf_counter() - started_at) * 1000


async def measure_single(gateway_name: str, url: str) -> dict[str, float]:
    """Measure requests with and without the gateway, alternating. Returns the medians and the median difference."""
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
    """Measure requests per second and their median and 99th percentile latency in milliseconds."""
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
    """Measure concurrent clients and, given a process, its memory before and after an hour's worth of requests."""
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
    """Run the measurements of a mode against a running gateway."""
    numbers = await measure_single(gateway_name, url) if mode in ("alone", "both") else {}
    if mode in ("crowd", "both"):
        numbers |= await measure_concurrent(url, process, MEMORY_REQUESTS if gateway_name == "ours" else 0)
    return numbers


def main() -> None:
    """Print the measurements of one gateway."""
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
