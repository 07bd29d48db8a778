"""A gateway killed or stopped while it generates videos: the next one continues, and nothing is submitted twice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.models import WAN
from tests.support.sandbox_thread import SandboxThread

from ..support.short_videos import short_videos

__all__ = ["short_videos"]
CHILD = """
import os, socket, sys
import uvicorn
from hfmedia.server.app import create_app
from hfmedia.server.config import Config

server = uvicorn.Server(uvicorn.Config(create_app(Config(), os.environ, sandbox=True), log_config=None,
                                       timeout_graceful_shutdown=2))
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
server.run(sockets=[listener])
"""
FAL, REPLICATE = f"{WAN}:fal-ai", f"{WAN}:replicate"
UNFINISHED = ("queued", "in_progress")
pytestmark = [pytest.mark.usefixtures("short_videos"), pytest.mark.skipif(os.name == "nt", reason="it sends signals")]


class GatewayHome:
    """A home directory, and the gateways that run in it, each in its own process."""

    def __init__(self, beside: SandboxThread, path: Path) -> None:
        self.sandbox_thread, self.sandbox = beside, beside.sandbox
        self.environ = {**os.environ, **beside.sandbox.environment, "HFMEDIA_HOME": str(path), "HOME": str(path)}
        self.process: subprocess.Popen[str] | None = None
        self.api = ""
        beside.run(beside.sandbox.clear)

    def start(self) -> None:
        """Start a gateway and wait until it listens."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD], env=self.environ, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.api = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    def stop(self, signal_number: signal.Signals) -> None:
        """Stop the gateway with a signal; further calls do nothing."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal_number)
            process.communicate(timeout=20)

    def accepted(self) -> Counter[str]:
        """Return the number of jobs that providers have accepted, and would bill, by prompt."""
        return Counter(self.sandbox_thread.run(lambda: [job.prompt for job in self.sandbox.jobs.values()]))


@pytest.fixture
def home(beside: SandboxThread, tmp_path: Path) -> Iterator[GatewayHome]:
    """A home whose gateways use the sandbox."""
    opened = GatewayHome(beside, tmp_path / "home")
    yield opened
    opened.stop(signal.SIGKILL)


async def create_video(http: aiohttp.ClientSession, home: GatewayHome, prompt: str, model: str) -> str | None:
    """Create a video and return its ID; None if the gateway died. Retries a 409, as SDKs do."""
    body = {"prompt": prompt, "model": model, "seconds": 4}
    headers = {"idempotency-key": prompt, "connection": "close"}
    for _ in range(300):
        try:
            async with http.post(f"{home.api}/videos", json=body, headers=headers) as response:
                if response.status != 409:
                    assert response.status == 200, await response.text()
                    return str((await response.json())["id"])
                assert response.headers["x-should-retry"] == "true", await response.text()
        except (aiohttp.ClientError, OSError):
            return None
        await asyncio.sleep(0.1)
    raise AssertionError("the generation is not resumed")


async def wait_ended(http: aiohttp.ClientSession, home: GatewayHome, video_id: str) -> Any:
    """Return a video once it has ended; the content of a completed one can be downloaded."""
    async with asyncio.timeout(60):
        while True:
            async with http.get(f"{home.api}/videos/{video_id}", headers={"connection": "close"}) as response:
                assert response.status == 200, await response.text()
                video = await response.json()
            if video["status"] not in UNFINISHED:
                break
            await asyncio.sleep(0.05)
    if video["status"] == "completed":
        async with http.get(f"{home.api}/videos/{video_id}/content", headers={"connection": "close"}) as response:
            assert (response.status, (await response.read())[4:8]) == (200, b"ftyp")
    return video


async def repeat_all(http: aiohttp.ClientSession, home: GatewayHome, requests: dict[str, str]) -> list[Any]:
    """Repeat every request with its idempotency key: each is one video, submitted at most once."""
    ids = await asyncio.gather(*(create_video(http, home, prompt, model) for prompt, model in requests.items()))
    videos = [await wait_ended(http, home, video) for video in ids if video is not None]
    assert len(videos) == len(requests)
    async with http.get(f"{home.api}/videos?limit=100") as response:
        listed = {video["id"] for video in (await response.json())["data"]}
    assert listed == set(ids), "each request is one video, even without a response"
    submitted = {prompt: home.accepted()[prompt] for prompt in requests}
    assert max(submitted.values()) == 1, f"submitted twice: {submitted}"
    for video in videos:
        if video["status"] == "failed":
            assert video["error"]["code"] == "in_doubt", video
        else:
            assert submitted[video["prompt"]] == 1
    return videos


def new_requests(count: int) -> dict[str, str]:
    """Return new prompts and their models: this many for each kind of provider."""
    return {f"video {uuid.uuid4()}": model for _ in range(count) for model in (FAL, REPLICATE)}


@pytest.mark.parametrize("after", [0.02, 0.25, 0.6])
async def test_a_kill_loses_no_video_and_submits_none_twice(
    home: GatewayHome, http: aiohttp.ClientSession, after: float
) -> None:
    """Killed shortly after the first request: while videos are submitted, queued, or generated."""
    requests = new_requests(3)
    first, model = requests.popitem()
    home.start()
    await create_video(http, home, first, model)
    timer = threading.Timer(after, home.stop, [signal.SIGKILL])
    timer.start()
    ids = await asyncio.gather(*(create_video(http, home, prompt, model) for prompt, model in requests.items()))
    await asyncio.to_thread(timer.join)
    home.start()
    for video in ids:
        if video is not None:
            assert (await wait_ended(http, home, video))["status"] in ("completed", "failed")
    await repeat_all(http, home, requests | {first: model})


async def wait_accepted(http: aiohttp.ClientSession, home: GatewayHome, video: str) -> None:
    """Wait until the ledger records that the provider accepted a video."""
    job = video.removeprefix("video_")
    async with asyncio.timeout(20):
        while True:
            async with http.get(f"{home.api}/jobs/{job}", headers={"connection": "close"}) as response:
                if (await response.json())["state"] in ("running", "completed", "stored"):
                    return
            await asyncio.sleep(0.02)


async def test_a_job_accepted_before_a_kill_is_completed(home: GatewayHome, http: aiohttp.ClientSession) -> None:
    """Once its acceptance is recorded, it completes however often the gateway is killed."""
    home.sandbox_thread.fault("fal-ai", "cold")  # the first one takes a while
    requests = new_requests(2)
    home.start()
    ids = [video for prompt, model in requests.items() if (video := await create_video(http, home, prompt, model))]
    for video in ids:
        await wait_accepted(http, home, video)
    for _ in range(2):
        home.stop(signal.SIGKILL)
        home.start()
    assert [(await wait_ended(http, home, video))["status"] for video in ids] == ["completed"] * 4
    await repeat_all(http, home, requests)


async def test_a_graceful_stop_leaves_nothing_in_doubt(home: GatewayHome, http: aiohttp.ClientSession) -> None:
    """After SIGTERM, responses to submissions are awaited, and the next gateway completes everything."""
    requests = new_requests(3)
    home.start()
    ids = [await create_video(http, home, prompt, model) for prompt, model in requests.items()]
    await asyncio.to_thread(home.stop, signal.SIGTERM)
    home.start()
    for video in ids:
        assert video is not None
        assert (await wait_ended(http, home, video))["status"] == "completed"
    assert all(video["status"] == "completed" for video in await repeat_all(http, home, requests))
    assert {home.accepted()[prompt] for prompt in requests} == {1}
