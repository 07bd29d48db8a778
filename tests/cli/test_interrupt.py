"""Ctrl-C: what happens to jobs, what is printed, and that no incomplete file remains."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.cli import STUCK, Start, accepted, ended, polled, until
from tests.support.models import FLUX
from tests.support.sandbox_thread import SandboxThread

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_of_four_jobs(sandbox: SandboxThread, start: Start, number: int) -> None:
    """Two are done, two continue at the provider and can be resumed; a line for each, and exit code 130."""
    sandbox.fault("replicate", "cold", times=None, after=2, seconds=STUCK)
    process = start("a fox", "-m", f"{FLUX}:replicate", "-n", "4", "-o", "out/")
    until(lambda: len(polled(sandbox)) >= 2 and len(list(Path("out").glob("*.json"))) == 2, process)
    process.send_signal(number)
    code, out, err = ended(process)
    assert code == 130
    outcomes = [line for line in err.splitlines() if line.startswith("interrupted: ")]
    assert [outcome.split(",")[0] for outcome in outcomes] == [f"interrupted: {index}/4" for index in (1, 2, 3, 4)]
    assert sum(": done, out/" in outcome for outcome in outcomes) == 2
    assert sum("still running at replicate (replicate job " in outcome for outcome in outcomes) == 2
    assert sum("`hfmedia jobs resume " in outcome for outcome in outcomes) == 2
    assert "Traceback" not in err
    assert sandbox.request_count("cancel") == 0
    images = [path for path in Path("out").iterdir() if path.suffix != ".json"]
    assert sorted(map(str, images)) == sorted(out.splitlines())


def test_where_a_job_cannot_be_cancelled_it_may_be_billed(sandbox: SandboxThread, start: Start) -> None:
    """With the provider's own job ID; in JSON and with --quiet as well."""
    model = "Wan-AI/Wan2.1-T2V-14B:novita"
    sandbox.fault("novita", "cold", times=None, seconds=STUCK)
    process = start("a fox", "--task", "text-to-video", "-m", model, "--json", "--quiet")
    until(lambda: accepted(sandbox, "novita") == 1 and sandbox.request_count("poll") > 0, process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (130, "")
    result = json.loads(err)
    job = sandbox.run(lambda: list(sandbox.sandbox.jobs)[-1])
    assert result["job_id"]
    assert "may still be billed" in result["outcome"]
    assert job in result["outcome"]


def test_an_interrupt_before_anything_was_sent(sandbox: SandboxThread, start: Start) -> None:
    """During the request to the Hub there is nothing to cancel and nothing is billed."""
    sandbox.fault("hub", "hang", times=None)
    process = start("a fox", "-m", f"{FLUX}:fal-ai")
    until(lambda: sandbox.request_count("hub") > 0, process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (130, "")
    assert err == "error: interrupted before anything was sent; nothing is billed\n"


def test_an_interrupt_during_a_submission_leaves_the_job_in_doubt(sandbox: SandboxThread, start: Start) -> None:
    """The provider has a few seconds to respond; after that the outcome is unknown."""
    sandbox.fault("fal-ai", "hang", times=None)
    process = start("a fox", "-m", f"{FLUX}:fal-ai")
    until(lambda: accepted(sandbox, "fal-ai") == 1, process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (130, "")
    assert "interrupted: 1/1, job " in err
    assert "may or may not have been accepted and billed" in err


def interrupted_twice(sandbox: SandboxThread, start: Start) -> tuple[float, str]:
    """The seconds from a second interrupt to the exit, and stderr."""
    sandbox.run(sandbox.sandbox.clear)
    sandbox.fault("fal-ai", "hang", times=None)
    process = start("a fox", "-m", f"{FLUX}:fal-ai")
    until(lambda: accepted(sandbox, "fal-ai") == 1, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)  # the first one is being handled
    assert process.poll() is None
    interrupted_at = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130
    assert list(Path().rglob("*")) == []
    return time.monotonic() - interrupted_at, err


def test_a_second_interrupt_exits_immediately(sandbox: SandboxThread, start: Start) -> None:
    """Although the provider has not responded yet; the message says what that means.

    A stalled machine may be late, or merge the two signals: then another try shows it.
    """
    tries = (interrupted_twice(sandbox, start) for _ in range(3))
    assert any(seconds < 3 and "may be billed" in err for seconds, err in tries)
