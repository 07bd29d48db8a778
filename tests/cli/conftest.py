"""The sandbox in another thread, so that the command under test has the main thread and its signals."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hfmedia.cli.app import app
from tests.support.cli import KEPT, Hfmedia, Start
from tests.support.sandbox_thread import SandboxThread


@pytest.fixture(scope="session")
def served() -> Iterator[SandboxThread]:
    """One sandbox for all tests of the command, at fifty times the real speed."""
    thread = SandboxThread()
    thread.open(speed=50)
    yield thread
    thread.close()


@pytest.fixture
def sandbox(served: SandboxThread) -> SandboxThread:
    """The sandbox without earlier requests and faults."""
    served.run(served.sandbox.clear)
    return served


@pytest.fixture
def environ(sandbox: SandboxThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The complete environment of a command: the sandbox's, a new home, and nothing of the developer's."""
    home = tmp_path / "home"
    home.mkdir()
    variables = {name: os.environ[name] for name in KEPT if name in os.environ}
    variables |= {**sandbox.sandbox.environment, "HOME": str(home), "HFMEDIA_HOME": str(home / "hfmedia")}
    for name in list(os.environ):
        if name not in variables and not name.startswith("PYTEST"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return variables


@pytest.fixture
def hfmedia(environ: Mapping[str, str]) -> Hfmedia:
    """The command inside this process: arguments in, exit code, stdout and stderr out."""
    runner = CliRunner()

    def run(*args: str, stdin: str | None = None, env: Mapping[str, str | None] | None = None) -> Result:
        return runner.invoke(app, list(args), input=stdin, env=env, prog_name="hfmedia")

    return run


@pytest.fixture
def start(environ: Mapping[str, str]) -> Iterator[Start]:
    """The command as a separate process."""
    started: list[subprocess.Popen[str]] = []

    def run(*args: str, **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        process = subprocess.Popen([sys.executable, "-m", "hfmedia", *args], **pipes)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
