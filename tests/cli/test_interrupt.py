"""Ctrl-C: told to the providers, told to the user, and no half file anywhere."""

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

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX knows them")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_of_four_jobs(sandbox: SandboxThread, start: Start, number: int) -> None:
    """Two are done and stay, two go on at the provider and can be resumed; a line for each, and exit code 130."""
    sandbox.fault("replicate", "cold", times=None, after=2, seconds=STUCK)
    process = start("a fox", "-m", f"{FLUX}:replicate", "-n", "4", "-o", "out/")
    until(lambda: len(polled(sandbox)) >= 2 and len(list(Path("out").glob("*.json"))) == 2, process)
    process.send_signal(number)
    code, out, err = ended(process)
    assert code == 130
    fates = [line for line in err.splitlines() if line.startswith("interrupted: ")]
    assert [fate.split(",")[0] for fate in fates] == [f"interrupted: {index}/4" for index in (1, 2, 3, 4)]
    assert sum(": done, out/" in fate for fate in fates) == 2
    assert sum("it goes on at replicate (replicate's id for it: " in fate for fate in fates) == 2
    assert sum("`hfmedia jobs resume " in fate for fate in fates) == 2
    assert "Traceback" not in err
    assert sandbox.request_count("cancel") == 0
    pictures = [path for path in Path("out").iterdir() if path.suffix != ".json"]
    assert sorted(map(str, pictures)) == sorted(out.splitlines())


def test_where_nobody_can_cancel_it_is_said_that_it_may_be_billed(sandbox: SandboxThread, start: Start) -> None:
    """With the provider's own id for the job; in JSON as well, though quiet."""
    model = "Wan-AI/Wan2.1-T2V-14B:novita"
    sandbox.fault("novita", "cold", times=None, seconds=STUCK)
    process = start("a fox", "--task", "text-to-video", "-m", model, "--json", "--quiet")
    until(lambda: accepted(sandbox, "novita") == 1 and sandbox.request_count("poll") > 0, process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (130, "")
    told = json.loads(err)
    job = sandbox.run(lambda: list(sandbox.sandbox.jobs)[-1])
    assert told["job_id"]
    assert "may still be billed" in told["outcome"]
    assert job in told["outcome"]


def test_an_interrupt_before_anything_was_sent(sandbox: SandboxThread, start: Start) -> None:
    """While the Hub is asked there is nothing to cancel and nothing to pay."""
    sandbox.fault("hub", "hang", times=None)
    process = start("a fox", "-m", f"{FLUX}:fal-ai")
    until(lambda: sandbox.request_count("hub") > 0, process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (130, "")
    assert err == "error: interrupted before anything was sent; there is nothing to pay\n"


def test_an_interrupt_while_a_provider_has_not_answered_leaves_a_doubt(sandbox: SandboxThread, start: Start) -> None:
    """It is given a few seconds to say what became of the request; then it is told that nobody knows."""
    sandbox.fault("fal-ai", "hang", times=None)
    process = start("a fox", "-m", f"{FLUX}:fal-ai")
    until(lambda: accepted(sandbox, "fal-ai") == 1, process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (130, "")
    assert "interrupted: 1/1, job " in err
    assert "may or may not have been accepted and billed" in err


def interrupted_twice(sandbox: SandboxThread, start: Start) -> tuple[float, str]:
    """How many seconds after a second interrupt it left, and with which words."""
    sandbox.run(sandbox.sandbox.clear)
    sandbox.fault("fal-ai", "hang", times=None)
    process = start("a fox", "-m", f"{FLUX}:fal-ai")
    until(lambda: accepted(sandbox, "fal-ai") == 1, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)  # the first is being obeyed
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130
    assert list(Path().rglob("*")) == []
    return time.monotonic() - began, err


def test_a_second_interrupt_leaves_at_once(sandbox: SandboxThread, start: Start) -> None:
    """Though the provider has not answered yet; and it says what that means.

    A machine that stalls may be late, or make one signal of the two: then it is seen in another try.
    """
    tries = (interrupted_twice(sandbox, start) for _ in range(3))
    assert any(seconds < 3 and "may be billed" in err for seconds, err in tries)
