"""``hfmedia serve`` as a process of its own: stopped while it has work, it leaves nobody and no job behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from tests.support.cli import KEPT
from tests.support.models import FLUX, WAN
from tests.support.sandbox_thread import SandboxThread

from ..support.short_videos import short_videos

__all__ = ["short_videos"]
pytestmark = [pytest.mark.usefixtures("short_films"), pytest.mark.skipif(os.name == "nt", reason="it sends signals")]
LONGEST = 30  # seconds that anything here may take on a busy machine
Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture
def environ(beside: SandboxThread, tmp_path: Path) -> Mapping[str, str]:
    """The whole environment of a process: the simulated world's and a home of its own, nothing of the tester's."""
    beside.run(beside.sandbox.clear)
    made = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**made, **beside.sandbox.environment, "HOME": str(tmp_path), "HFMEDIA_HOME": str(tmp_path / "home")}


@pytest.fixture
def start(environ: Mapping[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts the command; what is left at the end of the test is killed."""
    begun: list[Process] = []

    def run(*args: str, env: Mapping[str, str] | None = None) -> Process:
        with (tmp_path / f"err{len(begun)}").open("w") as err:  # a pipe that nobody reads would fill up
            made = subprocess.Popen(
                [sys.executable, "-m", "hfmedia", "serve", *args],
                env={**environ, **(env or {})}, stdout=subprocess.PIPE, stderr=err, text=True, cwd=tmp_path,
            )  # fmt: skip
        begun.append(made)
        return made

    yield run
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


def address(process: Process) -> str:
    """Where it listens, as it says itself, once it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line.startswith("http://127.0.0.1:"), line
    return line


async def left(process: Process) -> int:
    """Its exit code."""
    return await asyncio.to_thread(process.wait, LONGEST)


async def video(http: aiohttp.ClientSession, url: str, name: str = "") -> dict[str, object]:
    """A new video, or how one stands."""
    wish = {"prompt": "a fox runs", "model": f"{WAN}:fal-ai"}
    asking = http.get(f"{url}/v1/videos/{name}") if name else http.post(f"{url}/v1/videos", json=wish)
    async with asking as answer:
        told: dict[str, object] = await answer.json()
        assert answer.status == 200, told
        return told


async def test_jobs_are_let_go_and_taken_up_again(
    start: Start, http: aiohttp.ClientSession, beside: SandboxThread
) -> None:
    """A video that is under way when SIGTERM comes is completed by the next start, and bought once."""
    beside.fault("fal-ai", "cold", seconds=100_000)
    process = start("--port", "0")
    url = address(process)
    name = str((await video(http, url))["id"])
    until = time.monotonic() + LONGEST
    while not beside.request_count("poll"):  # so the provider has accepted it
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert await left(process) == 0
    url = address(start("--port", "0"))
    beside.finish_waiting_jobs()
    until = time.monotonic() + LONGEST
    while (told := await video(http, url, name))["status"] != "completed":
        assert told["status"] in ("queued", "in_progress"), told
        assert time.monotonic() < until
        await asyncio.sleep(0.1)
    assert beside.run(lambda: sum(beside.sandbox.submissions.values())) == 1


async def test_who_waits_when_it_stops_is_answered(
    start: Start, http: aiohttp.ClientSession, beside: SandboxThread
) -> None:
    """Not cut off: 504 with the id under which the picture will be found."""
    beside.fault("wavespeed", "cold", seconds=3000)
    process = start("--port", "0")
    url = address(process)
    wish = {"prompt": "a fox", "model": f"{FLUX}:wavespeed"}
    waiting = asyncio.create_task(http.post(f"{url}/v1/images/generations", json=wish).__aenter__())
    until = time.monotonic() + LONGEST
    while not beside.request_count("poll"):  # so the provider has accepted it
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    answer = await asyncio.wait_for(waiting, LONGEST)
    told = await answer.json()
    assert (answer.status, told["error"]["code"]) == (504, "out_of_time"), told
    assert answer.headers["x-should-retry"] == "false"
    assert "job" in json.dumps(told)
    assert await left(process) == 0
