"""One warm process that forks a real child for every command, so that hundreds of children cost few seconds.

Between it and each child a watcher process waits for the end and reports its status. Nothing is shared after
the fork: a child opens its ledger, its connections and its files itself.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CHILD_TIMEOUT = 60.0  # seconds that a child may live


class ChildProcess:
    """A child process, running or ended."""

    def __init__(self, forker: ProcessForker, number: int, report: Path) -> None:
        self._forker, self._number, self._report = forker, number, report

    @property
    def pid(self) -> int:
        """Return its process id."""
        return int(self._forker.wait_for(self._number, "pid"))

    def kill(self) -> None:
        """Send SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def was_killed(self) -> bool:
        """Wait for its end; True when it was killed. Raises AssertionError when it failed."""
        status = int(self._forker.wait_for(self._number, "status"))
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL, f"the child ended by signal {os.WTERMSIG(status)}"
            return True
        assert os.WEXITSTATUS(status) == 0, f"the child failed: {self.result()}"
        return False

    def result(self) -> Any:
        """Return the result of its command, None without one."""
        return json.loads(self._report.read_bytes()) if self._report.exists() else None


class ProcessForker:
    """Starts children through the forking process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.process_forker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._folder = tempfile.TemporaryDirectory(prefix="hfmedia-forker-")
        self._reports: dict[tuple[int, str], int] = {}
        self._count = 0

    def start(self, **command: Any) -> ChildProcess:
        """Start a child; after ``kill_after`` seconds it is killed if it still runs."""
        self._count += 1
        report = Path(self._folder.name) / f"{self._count}.json"
        line = json.dumps({"number": self._count, "report": str(report), "command": command}) + "\n"
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()
        return ChildProcess(self, self._count, report)

    def wait_for(self, number: int, what: str) -> int:
        """Wait for a report about a child and return its value."""
        assert self._process.stdout is not None
        while (number, what) not in self._reports:
            line = self._process.stdout.readline()
            assert line, "the forking process has ended"
            report = json.loads(line)
            self._reports[report["number"], report["what"]] = report["value"]
        return self._reports[number, what]

    def close(self) -> None:
        """Ends the forge; its children have ended by then, or are waited for."""
        self._process.communicate()
        self._folder.cleanup()


def serve() -> None:
    """Fork a watcher for every line of the input."""
    preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the watchers need not be reaped
    for line in sys.stdin.buffer:
        if os.fork() == 0:
            supervise(json.loads(line))


def preload() -> None:
    """Import everything that a client may import, and open nothing."""
    from PIL import Image

    from . import child_process  # noqa: F401

    Image.init()
    gc.collect()
    gc.freeze()


def supervise(job: dict[str, Any]) -> None:
    """The watcher: fork the child, kill it after its time limit, and report its exit status."""

    def report(what: str, value: int) -> None:
        os.write(1, (json.dumps({"number": job["number"], "what": what, "value": value}) + "\n").encode())

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        run_child(job["command"], Path(job["report"]))
    report("pid", pid)
    deadline = time.monotonic() + job["command"].get("kill_after", CHILD_TIMEOUT)
    ended = 0
    while not ended:
        signal.sigtimedwait([signal.SIGCHLD], max(0.0, deadline - time.monotonic()))
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended and time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, 0)
    report("status", status)
    os._exit(0)


def run_child(command: dict[str, Any], report: Path) -> None:
    """The child: run the command, write its result, and exit."""
    from .child_process import execute

    faulthandler.enable()  # a crash of the interpreter itself is reported on stderr
    try:
        result = asyncio.run(execute(command))
        report.write_text(json.dumps(result))
        code = 0
    except BaseException:  # whatever it is, the result reports it
        traceback_text = traceback.format_exc()
        report.write_text(json.dumps(traceback_text))
        os.write(2, traceback_text.encode())
        code = 1
    os._exit(code)


if __name__ == "__main__":
    serve()
