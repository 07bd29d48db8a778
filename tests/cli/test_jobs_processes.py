"""``hfmedia jobs`` beside other processes: one that is killed, one that is interrupted, one that is watched."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.cli import STUCK, Hfmedia, Start, accepted, ended, listed, make_late, seen, until
from tests.support.models import FLUX
from tests.support.sandbox_thread import SandboxThread

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX knows them")

VIDEO = ("the sea", "--task", "text-to-video", "-o", "sea.mp4", "-m")
NOVITA, FAL = (f"Wan-AI/Wan2.1-T2V-14B:{provider}" for provider in ("novita", "fal-ai"))


def test_a_process_that_dies_leaves_its_job_to_the_next(hfmedia: Hfmedia, sandbox: SandboxThread, start: Start) -> None:
    """While it lives the list says who carries the job, afterwards how to carry it on; bought once."""
    sandbox.fault("novita", "cold", times=1, seconds=STUCK)
    process = start(*VIDEO, NOVITA)
    until(lambda: sandbox.request_count("poll") > 0, process)
    (one,) = listed(hfmedia)
    assert (one["owner"], one["hint"]) == (str(process.pid), f"wait: process {process.pid} is carrying it")
    assert hfmedia("jobs", "resume", "--all").stdout == ""
    named = hfmedia("jobs", "resume", one["job_id"])
    assert named.exit_code == 2
    assert "carried already" in named.stderr
    process.kill()
    process.wait(10)
    (one,) = listed(hfmedia)
    assert one["hint"].startswith(f"`hfmedia jobs resume {one['job_id']}`")
    sandbox.finish_waiting_jobs()
    result = hfmedia("jobs", "resume")
    assert (result.exit_code, result.stdout) == (0, "sea.mp4\n"), result.stderr
    assert accepted(sandbox, "novita") == 1


def test_a_process_that_dies_while_sending_leaves_a_doubt(
    hfmedia: Hfmedia, sandbox: SandboxThread, start: Start
) -> None:
    """The list alone finds it and says what to do; nothing is sent again."""
    sandbox.fault("fal-ai", "hang", times=None)
    process = start("a fox", "-m", f"{FLUX}:fal-ai")
    until(lambda: accepted(sandbox, "fal-ai") == 1, process)
    process.kill()
    process.wait(10)
    (one,) = listed(hfmedia)
    assert one["state"] == "in_doubt"
    assert f"hfmedia jobs resolve {one['job_id']} --drop" in one["hint"]
    assert hfmedia("jobs", "resume", "--all").exit_code == 0
    assert accepted(sandbox, "fal-ai") == 1


def test_an_interrupt_that_leaves_a_doubt_tells_how_to_settle_it(
    hfmedia: Hfmedia, sandbox: SandboxThread, start: Start
) -> None:
    """With the command to copy; in JSON as well."""
    sandbox.fault("fal-ai", "hang", times=None)
    process = start("a fox", "-m", f"{FLUX}:fal-ai", "--json")
    until(lambda: accepted(sandbox, "fal-ai") == 1, process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    told = json.loads(err)
    assert (code, out) == (130, "")
    assert f"`hfmedia jobs resolve {told['job_id']} --drop`" in told["outcome"]
    assert listed(hfmedia)[0]["state"] == "in_doubt"


def test_an_interrupt_while_a_file_comes_tells_how_to_fetch_it(
    hfmedia: Hfmedia, sandbox: SandboxThread, start: Start
) -> None:
    """The provider is done and paid: the job stays, and the command that is told brings it."""
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


def test_an_interrupt_of_resume_leaves_the_job_standing(hfmedia: Hfmedia, sandbox: SandboxThread, start: Start) -> None:
    """As one of generate does, with a line for each job."""
    sandbox.fault("fal-ai", "cold", times=None, seconds=STUCK)
    assert make_late(hfmedia, *VIDEO, FAL).exit_code == 7
    (one,) = listed(hfmedia)
    before = sandbox.request_count("poll")
    process = start("jobs", "resume", one["job_id"])
    until(lambda: sandbox.request_count("poll") > before, process)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (130, "")
    assert err.startswith(f"interrupted: 1/1, job {one['job_id']}: it goes on at fal-ai (fal-ai's id for it: ")
    assert sandbox.request_count("cancel") == 0
    assert listed(hfmedia)[0]["state"] == "running"


def test_a_job_is_watched_until_it_has_ended(hfmedia: Hfmedia, sandbox: SandboxThread, start: Start) -> None:
    """Piped, each fact is said once, as it comes; then the command leaves by itself."""
    sandbox.fault("novita", "cold", times=1, seconds=100)
    assert make_late(hfmedia, *VIDEO, NOVITA).exit_code == 7
    (one,) = listed(hfmedia)
    watching = start("jobs", "show", one["job_id"], "--watch", "--json")
    assert hfmedia("jobs", "resume").exit_code == 0
    code, out, err = ended(watching)
    assert (code, err) == (0, "")
    told = [json.loads(line)["event"] for line in out.splitlines()]
    assert told == ["created", "routed", "sending", "accepted", "made", "stored"]


def test_a_list_is_watched_until_ctrl_c(hfmedia: Hfmedia, start: Start) -> None:
    """A line for each job, and another when it changes; leaving is no failure."""
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


def test_a_terminal_sees_resume_as_it_sees_generate(hfmedia: Hfmedia, sandbox: SandboxThread, start: Start) -> None:
    """A line per job, then the totals; the path alone on stdout."""
    sandbox.fault("novita", "cold", times=2, seconds=100)
    for name in ("a.mp4", "b.mp4"):
        assert make_late(hfmedia, *VIDEO[:-2], name, "-m", NOVITA).exit_code == 7
    code, out, shown = seen(start, "jobs", "resume", "--all")
    assert code == 0
    assert sorted(out.splitlines()) == ["a.mp4", "b.mp4"]
    assert all(words in shown for words in ("1/2", "2/2", "novita", "done: ", "2 made, cost "))
    assert all(Path(name).stat().st_size for name in ("a.mp4", "b.mp4"))
