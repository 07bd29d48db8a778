"""Running the command: in this process, as a subprocess, in a terminal; and waiting for its effects."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from hfmedia.engine.poller import Poller

from .sandbox_thread import SandboxThread

try:
    import pty
except ImportError:  # pseudo-terminals are POSIX
    pty = None  # type: ignore[assignment]

KEPT = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "PYTHONPATH", "TMPDIR", "COVERAGE_PROCESS_START")
STUCK = 30_000  # seconds of the sandbox's time, ten minutes of real time: no job completes within a test
TIMEOUT = 30.0  # seconds, a gross bound

Hfmedia = Callable[..., Result]
Start = Callable[..., "subprocess.Popen[str]"]


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits until a condition holds, while the process runs."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "condition not met before the timeout"
        time.sleep(0.02)


def accepted(sandbox: SandboxThread, provider: str) -> int:
    """The number of jobs that a provider has accepted."""
    return int(sandbox.run(lambda: sandbox.sandbox.submissions[provider]))


def polled(sandbox: SandboxThread) -> set[str]:
    """The paths of the polls that have arrived."""
    return set(sandbox.run(lambda: {request.path for request in sandbox.sandbox.requests if request.kind == "poll"}))


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, once the process has ended."""
    out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, out, err


def listed(hfmedia: Hfmedia, *args: str) -> list[dict[str, Any]]:
    """The jobs that `hfmedia jobs` lists with these arguments, decoded."""
    result = hfmedia("jobs", *args, "--json")
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def make_late(hfmedia: Hfmedia, *args: str) -> Result:
    """Runs the command with a deadline that passes as soon as a provider has accepted the job, and not before."""
    poll_until_done = Poller.poll_until_done

    async def past_the_deadline(self: Poller, *args: Any) -> Any:
        assert self._context.remaining() is not None, "the job has no deadline"
        self._context._deadline = asyncio.get_running_loop().time()
        return await poll_until_done(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Poller, "poll_until_done", past_the_deadline)
        return hfmedia(*args, "--timeout", "60")


class Terminal:
    """A pseudo-terminal that reads everything written to it until the last writer has closed it."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        self._read: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # on Linux the end of a terminal is an error
                return
            if not data:
                return
            self._read.append(data)

    def text(self) -> str:
        """Closes the terminal and returns everything that was written to it."""
        os.close(self.slave)
        self._thread.join(10)
        os.close(self._master)
        return b"".join(self._read).decode()


def seen(start: Start, *args: str, both: bool = False, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, stdout, and the text of a terminal on stderr (and on stdout if ``both``)."""
    terminal = Terminal()
    stdout = terminal.slave if both else subprocess.PIPE
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "110", "LINES": "30", **(env or {})}
    process = start(*args, stdout=stdout, stderr=terminal.slave, env=environ)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out or "", terminal.text()
