"""``hfmedia serve`` stopped while jobs are active: every request is answered, and no job is lost."""

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
pytestmark = [pytest.mark.usefixtures("short_videos"), pytest.mark.skipif(os.name == "nt", reason="it sends signals")]
TIMEOUT = 30  # seconds, a generous limit for busy machines
Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture
def environ(beside: SandboxThread, tmp_path: Path) -> Mapping[str, str]:
    """The environment of a process: the sandbox's and its own home, nothing of the tester's."""
    beside.run(beside.sandbox.clear)
    inherited = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**inherited, **beside.sandbox.environment, "HOME": str(tmp_path), "HFMEDIA_HOME": str(tmp_path / "home")}


@pytest.fixture
def start(environ: Mapping[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start the command; processes left at the end of the test are killed."""
    processes: list[Process] = []

    def run(*args: str, env: Mapping[str, str] | None = None) -> Process:
        with (tmp_path / f"err{len(processes)}").open("w") as err:  # a pipe that is not read would fill up
            process = subprocess.Popen(
                [sys.executable, "-m", "hfmedia", "serve", *args],
                env={**environ, **(env or {})}, stdout=subprocess.PIPE, stderr=err, text=True, cwd=tmp_path,
            )  # fmt: skip
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def address(process: Process) -> str:
    """Return the address that it prints once it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line.startswith("http://127.0.0.1:"), line
    return line


async def wait_exit(process: Process) -> int:
    """Wait for its exit code."""
    return await asyncio.to_thread(process.wait, TIMEOUT)


async def video(http: aiohttp.ClientSession, url: str, name: str = "") -> dict[str, object]:
    """Create a video, or return an existing one."""
    body = {"prompt": "a fox runs", "model": f"{WAN}:fal-ai"}
    request = http.get(f"{url}/v1/videos/{name}") if name else http.post(f"{url}/v1/videos", json=body)
    async with request as response:
        created: dict[str, object] = await response.json()
        assert response.status == 200, created
        return created


async def test_a_job_is_resumed_after_a_restart(
    start: Start, http: aiohttp.ClientSession, beside: SandboxThread
) -> None:
    """A video in progress at SIGTERM is completed after the next start, and submitted once."""
    beside.fault("fal-ai", "cold", seconds=100_000)
    process = start("--port", "0")
    url = address(process)
    name = str((await video(http, url))["id"])
    deadline = time.monotonic() + TIMEOUT
    while not beside.request_count("poll"):  # so the provider has accepted it
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert await wait_exit(process) == 0
    url = address(start("--port", "0"))
    beside.finish_waiting_jobs()
    deadline = time.monotonic() + TIMEOUT
    while (current := await video(http, url, name))["status"] != "completed":
        assert current["status"] in ("queued", "in_progress"), current
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert beside.run(lambda: sum(beside.sandbox.submissions.values())) == 1


async def test_a_waiting_request_is_answered_at_shutdown(
    start: Start, http: aiohttp.ClientSession, beside: SandboxThread
) -> None:
    """With 504 and the ID of its job."""
    beside.fault("wavespeed", "cold", seconds=3000)
    process = start("--port", "0")
    url = address(process)
    body = {"prompt": "a fox", "model": f"{FLUX}:wavespeed"}
    waiting = asyncio.create_task(http.post(f"{url}/v1/images/generations", json=body).__aenter__())
    deadline = time.monotonic() + TIMEOUT
    while not beside.request_count("poll"):  # so the provider has accepted it
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    response = await asyncio.wait_for(waiting, TIMEOUT)
    error_body = await response.json()
    assert (response.status, error_body["error"]["code"]) == (504, "out_of_time"), error_body
    assert response.headers["x-should-retry"] == "false"
    assert "job" in json.dumps(error_body)
    assert await wait_exit(process) == 0
