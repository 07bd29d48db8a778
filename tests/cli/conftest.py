"""A simulated world in a thread of its own, so that the command under test owns the main thread and its signals."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hfmedia.cli.app import app
from hfmedia.engine.poller import Poller
from hfmedia.sandbox import Sandbox
from tests.support.waiting_jobs import finish_waiting_jobs

FLUX = "black-forest-labs/FLUX.1-schnell"
KEPT = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "PYTHONPATH", "TMPDIR", "COVERAGE_PROCESS_START")


class SandboxThread:
    """A sandbox served by another thread; everything done to it happens there."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    async def _open(self, speed: float) -> Sandbox:
        return await Sandbox(port=0, speed=speed).__aenter__()

    def open(self, speed: float) -> None:
        """Starts to serve."""
        self.sandbox = asyncio.run_coroutine_threadsafe(self._open(speed), self.loop).result(20)

    def run(self, func: Callable[[], Any]) -> Any:
        """The deed's result, done in the sandbox's thread."""

        async def done() -> Any:
            return func()

        return asyncio.run_coroutine_threadsafe(done(), self.loop).result(20)

    def fault(self, provider: str, kind: str, **options: Any) -> None:
        """Orders a fault."""
        self.run(lambda: self.sandbox.fault(provider, kind, **options))

    def finish_waiting_jobs(self) -> None:
        """Whatever waits in a queue is done now."""
        self.run(lambda: finish_waiting_jobs(self.sandbox.state))

    def request_count(self, kind: str) -> int:
        """How many requests of a kind have arrived."""
        return int(self.run(lambda: sum(seen.kind == kind for seen in self.sandbox.requests)))

    def close(self) -> None:
        """Ends it and its thread."""
        asyncio.run_coroutine_threadsafe(self.sandbox.__aexit__(None, None, None), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        self.loop.close()


@pytest.fixture(scope="session")
def served() -> Iterator[SandboxThread]:
    """One sandbox for all tests of the command, fifty times as fast as life."""
    beside = SandboxThread()
    beside.open(speed=50)
    yield beside
    beside.close()


@pytest.fixture
def sandbox(served: SandboxThread) -> SandboxThread:
    """The sandbox with nothing asked and nothing ordered yet."""
    served.run(served.sandbox.clear)
    return served


@pytest.fixture
def environ(sandbox: SandboxThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The whole environment of a command: the sandbox's, a home of its own, and nothing of the tester's."""
    home = tmp_path / "home"
    home.mkdir()
    made = {name: os.environ[name] for name in KEPT if name in os.environ}
    made |= {**sandbox.sandbox.environment, "HOME": str(home), "HFMEDIA_HOME": str(home / "hfmedia")}
    for name in list(os.environ):
        if name not in made and not name.startswith("PYTEST"):
            monkeypatch.delenv(name)
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return made


Hfmedia = Callable[..., Result]


@pytest.fixture
def hfmedia(environ: Mapping[str, str]) -> Hfmedia:
    """The command inside this process: arguments in, exit code, stdout and stderr out."""
    runner = CliRunner()

    def run(*args: str, given: str | None = None, env: Mapping[str, str | None] | None = None) -> Result:
        return runner.invoke(app, list(args), input=given, env=env, prog_name="hfmedia")

    return run


def make_late(hfmedia: Hfmedia, *args: str) -> Result:
    """The command out of time as soon as a provider has accepted, and not before, however long that took."""
    watch = Poller.poll_until_done

    async def at_once(self: Poller, *told: Any) -> Any:
        assert self.context.remaining() is not None, "no limit has come so far"
        self.context._deadline = asyncio.get_running_loop().time()
        return await watch(self, *told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Poller, "poll_until_done", at_once)
        return hfmedia(*args, "--timeout", "60")


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(environ: Mapping[str, str]) -> Iterator[Start]:
    """The command as a process of its own."""
    begun: list[subprocess.Popen[str]] = []

    def run(*args: str, **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        process = subprocess.Popen([sys.executable, "-m", "hfmedia", *args], **pipes)
        begun.append(process)
        return process

    yield run
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()
