"""``hfmedia jobs`` next to other processes: killed, interrupted and watched jobs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.cli import STUCK, Hfmedia, Start, accepted, ended, listed, make_late, seen, until
from tests.support.models import FLUX
from tests.support.sandbox_thread import SandboxThread

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")

VIDEO = ("the sea", "--task", "text-to-video", "-o", "sea.mp4", "-m")
NOVITA, FAL = (f"Wan-AI/Wan2.1-T2V-14B:{provider}" for provider in ("novita", "fal-ai"))


def test_a_job_of_a_dead_process_can_be_resumed(hfmedia: Hfmedia, sandbox: SandboxThread, start: Start) -> None:
    """The list names the live process, afterwards the command that resumes the job; submitted once."""
    sandbox.fault("novita", "cold", times=1, seconds=STUCK)
    process = start(*VIDEO, NOVITA)
    until(lambda: sandbox.request_count("poll") > 0, process)
    (job,) = listed(hfmedia)
    assert (job["owner"], job["hint"]) == (str(process.pid), f"in progress in process {process.pid}")
    assert hfmedia("jobs", "resume", "--all").stdout == ""
    named = hfmedia("jobs", "resume", job["job_id"])
    assert named.exit_code == 2
    assert "already running" in named.stderr
    process.kill()
    process.wait(10)
    (job,) = listed(hfmedia)
    assert job["hint"].startswith(f"`hfmedia jobs resume {job['job_id']}`")
    sandbox.finish_waiting_jobs()
    result = hfmedia("jobs", "resume")
    assert (result.exit_code, result.stdout) == (0, "sea.mp4\n"), result.stderr
    assert accepted(sandbox, "novita") == 1


def test_a_job_of_a_process_that_dies_while_submitting_is_in_doubt(
    hfmedia: Hfmedia, sandbox: SandboxThread, start: Start
) -> None:
    """The list finds it and says what to do; nothing is resent."""
    sandbox.fault("fal-ai", "hang", times=None)
    process = start("a fox", "-m", f"{FLUX}:fal-ai")
    until(lambda: accepted(sandbox, "fal-ai") == 1, process)
    process.kill()
    process.wait(10)
    (job,) = listed(hfmedia)
    assert job["state"] == "in_doubt"
    assert f"hfmedia jobs resolve {job['job_id']} --drop" in job["hint"]
    assert hfmedia("jobs", "resume", "--all").exit_code == 0
    assert accepted(sandbox, "fal-ai") == 1


def test_an_interrupt_that_leaves_a_job_in_doubt_says_how_to_resolve_it(
    hfmedia: Hfmedia, sandbox: SandboxThread, start: Start
) -> None:
    """With the command to copy; in JSON as well."""
    sandbox.fault("fal-ai", "hang", times=None)
    process = start("a fox", "-m", f"{FLUX}:fal-ai", "--json")
    until(lambda: accepted(sandbox, "fal-ai") == 1, process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    result = json.loads(err)
    assert (code, out) == (130, "")
    assert f"`hfmedia jobs resolve {result['job_id']} --drop`" in result["outcome"]
    assert listed(hfmedia)[0]["state"] == "in_doubt"


def test_an_interrupt_during_a_download_says_how_to_continue_it(
    hfmedia: Hfmedia, sandbox: SandboxThread, start: Start
) -> None:
    """The job is completed and paid for; the printed command downloads it."""
    sandbox.fault("cdn", "slow", times=1, seconds=STUCK)
    process = start("a fox", "-m", f"{FLUX}:fal-ai", "-o", "fox.jpg")
    until(lambda: sandbox.request_count("cdn") > 0, process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (130, "")
    command = err.split("`")[1]
    assert command.startswith("hfmedia jobs resume ")
    result = hfmedia(*command.split()[1:])
    assert (result.exit_code, result.stdout) == (0, "fox.jpg\n"), result.stderr
    assert accepted(sandbox, "fal-ai") == 1


def test_an_interrupt_of_resume_leaves_the_job_running(hfmedia: Hfmedia, sandbox: SandboxThread, start: Start) -> None:
    """As one of generate does, with a line for each job."""
    sandbox.fault("fal-ai", "cold", times=None, seconds=STUCK)
    assert make_late(hfmedia, *VIDEO, FAL).exit_code == 7
    (job,) = listed(hfmedia)
    before = sandbox.request_count("poll")
    process = start("jobs", "resume", job["job_id"])
    until(lambda: sandbox.request_count("poll") > before, process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (130, "")
    assert err.startswith(f"interrupted: 1/1, job {job['job_id']}: still running at fal-ai (fal-ai job ")
    assert sandbox.request_count("cancel") == 0
    assert listed(hfmedia)[0]["state"] == "running"


def test_a_job_is_watched_until_it_has_ended(hfmedia: Hfmedia, sandbox: SandboxThread, start: Start) -> None:
    """Piped, each entry is printed once, as it happens; then the command exits."""
    sandbox.fault("novita", "cold", times=1, seconds=100)
    assert make_late(hfmedia, *VIDEO, NOVITA).exit_code == 7
    (job,) = listed(hfmedia)
    watching = start("jobs", "show", job["job_id"], "--watch", "--json")
    assert hfmedia("jobs", "resume").exit_code == 0
    code, out, err = ended(watching)
    assert (code, err) == (0, "")
    events = [json.loads(line)["event"] for line in out.splitlines()]
    assert events == ["created", "routed", "submitting", "accepted", "completed", "stored"]


def test_a_list_is_watched_until_ctrl_c(hfmedia: Hfmedia, start: Start) -> None:
    """A line for each job, and another when it changes; Ctrl-C is not a failure."""
    assert hfmedia("a fox", "-m", f"{FLUX}:fal-ai").exit_code == 0
    watching = start("jobs", "--watch", "--json")
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    assert hfmedia("a cat", "-m", f"{FLUX}:fal-ai").exit_code == 0
    second = json.loads(watching.stdout.readline())
    assert (first["prompt"], second["prompt"]) == ("a fox", "a cat")
    watching.send_signal(signal.SIGINT)
    code, _, err = ended(watching)
    assert (code, err) == (0, "")


def test_a_terminal_shows_resume_like_generate(hfmedia: Hfmedia, sandbox: SandboxThread, start: Start) -> None:
    """A line per job, then the totals; the path alone on stdout."""
    sandbox.fault("novita", "cold", times=2, seconds=100)
    for name in ("a.mp4", "b.mp4"):
        assert make_late(hfmedia, *VIDEO[:-2], name, "-m", NOVITA).exit_code == 7
    code, out, shown = seen(start, "jobs", "resume", "--all")
    assert code == 0
    assert sorted(out.splitlines()) == ["a.mp4", "b.mp4"]
    assert all(text in shown for text in ("1/2", "2/2", "novita", "done: ", "2 videos saved; cost "))
    assert all(Path(name).stat().st_size for name in ("a.mp4", "b.mp4"))
