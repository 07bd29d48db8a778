"""A gateway that is killed, or stopped, in the middle of videos: the next one goes on, and nothing is bought twice."""

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
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
server.run(sockets=[listening])
"""
FAL, REPLICATE = f"{WAN}:fal-ai", f"{WAN}:replicate"
OPEN = ("queued", "in_progress")
pytestmark = [pytest.mark.usefixtures("short_films"), pytest.mark.skipif(os.name == "nt", reason="it sends signals")]


class House:
    """A home, and the gateways that live and die there, each a process of its own."""

    def __init__(self, beside: SandboxThread, home: Path) -> None:
        self.beside, self.world = beside, beside.sandbox
        self.environ = {**os.environ, **beside.sandbox.environment, "HFMEDIA_HOME": str(home), "HOME": str(home)}
        self.process: subprocess.Popen[str] | None = None
        self.api = ""
        beside.run(beside.sandbox.clear)

    def start(self) -> None:
        """A gateway, listening."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD], env=self.environ, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.api = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    def end(self, how: signal.Signals) -> None:
        """Ends it with a signal; a second end is none."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(how)
            process.communicate(timeout=20)

    def accepted(self) -> Counter[str]:
        """How many jobs the providers have taken on, and would bill, by prompt."""
        return Counter(self.beside.run(lambda: [job.prompt for job in self.world.jobs.values()]))


@pytest.fixture
def house(beside: SandboxThread, tmp_path: Path) -> Iterator[House]:
    """A home in front of the simulated world."""
    made = House(beside, tmp_path / "home")
    yield made
    made.end(signal.SIGKILL)


async def make(http: aiohttp.ClientSession, house: House, prompt: str, model: str) -> str | None:
    """A video begun; None when the gateway died over it. Told to try again (409, which an SDK does), it does so."""
    body = {"prompt": prompt, "model": model, "seconds": 4}
    headers = {"idempotency-key": prompt, "connection": "close"}
    for _ in range(300):
        try:
            async with http.post(f"{house.api}/videos", json=body, headers=headers) as answer:
                if answer.status != 409:
                    assert answer.status == 200, await answer.text()
                    return str((await answer.json())["id"])
                assert answer.headers["x-should-retry"] == "true", await answer.text()
        except (aiohttp.ClientError, OSError):
            return None
        await asyncio.sleep(0.1)
    raise AssertionError("nobody takes the order up")


async def whole(http: aiohttp.ClientSession, house: House, video: str) -> Any:
    """The video once it has ended, its content fetched if there is any."""
    async with asyncio.timeout(60):
        while True:
            async with http.get(f"{house.api}/videos/{video}", headers={"connection": "close"}) as answer:
                assert answer.status == 200, await answer.text()
                seen = await answer.json()
            if seen["status"] not in OPEN:
                break
            await asyncio.sleep(0.05)
    if seen["status"] == "completed":
        async with http.get(f"{house.api}/videos/{video}/content", headers={"connection": "close"}) as answer:
            assert (answer.status, (await answer.read())[4:8]) == (200, b"ftyp")
    return seen


async def settled(http: aiohttp.ClientSession, house: House, wishes: dict[str, str]) -> list[Any]:
    """Every wish sent again under its idempotency key, to its end: each is one video, bought once at most."""
    ids = await asyncio.gather(*(make(http, house, prompt, model) for prompt, model in wishes.items()))
    seen = [await whole(http, house, video) for video in ids if video is not None]
    assert len(seen) == len(wishes)
    async with http.get(f"{house.api}/videos?limit=100") as answer:
        listed = {video["id"] for video in (await answer.json())["data"]}
    assert listed == set(ids), "each wish is one video, also for who was never answered"
    bought = {prompt: house.accepted()[prompt] for prompt in wishes}
    assert max(bought.values()) == 1, f"bought twice: {bought}"
    for video in seen:
        if video["status"] == "failed":
            assert video["error"]["code"] == "in_doubt", video
        else:
            assert bought[video["prompt"]] == 1
    return seen


def wishes_for(count: int) -> dict[str, str]:
    """Prompts that nobody used before, and models: so many of each kind of provider."""
    return {f"film {uuid.uuid4()}": model for _ in range(count) for model in (FAL, REPLICATE)}


@pytest.mark.parametrize("after", [0.02, 0.25, 0.6])
async def test_a_kill_loses_no_video_and_buys_none_twice(
    house: House, http: aiohttp.ClientSession, after: float
) -> None:
    """Killed so soon after the first was asked for: while they are sent, while they wait, while they are made."""
    wishes = wishes_for(3)
    first, model = wishes.popitem()
    house.start()
    await make(http, house, first, model)
    timer = threading.Timer(after, house.end, [signal.SIGKILL])
    timer.start()
    told = await asyncio.gather(*(make(http, house, prompt, model) for prompt, model in wishes.items()))
    await asyncio.to_thread(timer.join)
    house.start()
    for video in told:
        if video is not None:
            assert (await whole(http, house, video))["status"] in ("completed", "failed")
    await settled(http, house, wishes | {first: model})


async def accepted(http: aiohttp.ClientSession, house: House, video: str) -> None:
    """Returns when the ledger knows that the provider has it."""
    job = video.removeprefix("video_")
    async with asyncio.timeout(20):
        while True:
            async with http.get(f"{house.api}/jobs/{job}", headers={"connection": "close"}) as answer:
                if (await answer.json())["state"] in ("running", "finished", "stored"):
                    return
            await asyncio.sleep(0.02)


async def test_what_was_accepted_before_a_kill_is_completed(house: House, http: aiohttp.ClientSession) -> None:
    """Once the ledger knows that the provider has it, it arrives, however often the gateway is killed meanwhile."""
    house.beside.fault("fal-ai", "cold")  # the first one takes a while
    wishes = wishes_for(2)
    house.start()
    ids = [video for prompt, model in wishes.items() if (video := await make(http, house, prompt, model))]
    for video in ids:
        await accepted(http, house, video)
    for _ in range(2):
        house.end(signal.SIGKILL)
        house.start()
    assert [(await whole(http, house, video))["status"] for video in ids] == ["completed"] * 4
    await settled(http, house, wishes)


async def test_a_graceful_stop_leaves_nothing_in_doubt(house: House, http: aiohttp.ClientSession) -> None:
    """SIGTERM in the middle: what is on its way out is awaited, and everything is completed by the next gateway."""
    wishes = wishes_for(3)
    house.start()
    ids = [await make(http, house, prompt, model) for prompt, model in wishes.items()]
    await asyncio.to_thread(house.end, signal.SIGTERM)
    house.start()
    for video in ids:
        assert video is not None
        assert (await whole(http, house, video))["status"] == "completed"
    assert all(video["status"] == "completed" for video in await settled(http, house, wishes))
    assert {house.accepted()[prompt] for prompt in wishes} == {1}
