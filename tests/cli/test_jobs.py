"""``hfmedia jobs``: what the ledger under HFMEDIA_HOME tells, and what is done with a job, in the sandbox."""

from __future__ import annotations

import json
import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hfmedia.cli import job_actions, job_views
from hfmedia.cli.app import HELP, app
from hfmedia.cli.help import EXAMPLES
from hfmedia.cli.job_format import JobSnapshot
from hfmedia.cli.job_views import format_wide
from hfmedia.core.job import Job
from hfmedia.core.request import GenerationRequest
from tests.support.cli import Hfmedia, listed, make_late
from tests.support.models import FLUX
from tests.support.sandbox_thread import SandboxThread

FAL, REPLICATE = f"{FLUX}:fal-ai", f"{FLUX}:replicate"
VIDEO = "Wan-AI/Wan2.1-T2V-14B:novita"
NUMBERS = count()


def made(hfmedia: Hfmedia, *args: str) -> dict[str, Any]:
    """One finished job, as the list tells it."""
    result = hfmedia("a red fox", *(args or ("-m", FAL)), "--json")
    assert result.exit_code == 0, result.stderr
    return listed(hfmedia)[0]


def detached(hfmedia: Hfmedia, sandbox: SandboxThread) -> dict[str, Any]:
    """A video that runs at novita, and that nobody carries."""
    sandbox.fault("novita", "cold", times=1, seconds=100)
    result = make_late(hfmedia, "the sea", "--task", "text-to-video", "-m", VIDEO)
    assert result.exit_code == 7, result.stderr
    return listed(hfmedia, "list", "--state", "running")[0]


def doubted(hfmedia: Hfmedia, sandbox: SandboxThread, provider: str = "replicate") -> dict[str, Any]:
    """A job of which nobody knows whether the provider accepted it (it did)."""
    sandbox.fault(provider, "disconnect", times=1)
    words = f"a lost fox, number {next(NUMBERS)}"  # which no other job of this sandbox asked for
    result = hfmedia(words, "-m", f"{FLUX}:{provider}", "-o", "lost.png")
    assert result.exit_code == 8, result.stderr
    return listed(hfmedia, "list", "--state", "in_doubt")[0]


def bought(sandbox: SandboxThread) -> int:
    """How many jobs the providers accepted."""
    return int(sandbox.run(lambda: sum(sandbox.sandbox.submissions.values())))


# -- looking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [("jobs",), ("jobs", "list"), ("jobs", "--all")])
def test_where_nothing_was_made_there_is_nothing_to_list(hfmedia: Hfmedia, args: tuple[str, ...]) -> None:
    """Exit code 0, and it is said."""
    result = hfmedia(*args)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "there are no jobs yet\n")


def test_a_job_is_a_line_with_everything_one_asks_first(hfmedia: Hfmedia) -> None:
    """Piped with tabs: id, state, provider, model, prompt, age, cost, tries, and where its file lies."""
    one = made(hfmedia)
    (line,) = hfmedia("jobs").stdout.splitlines()
    cells = line.split("\t")
    assert cells[:5] == [one["job_id"], "done", "fal-ai", FLUX, "a red fox"]
    assert cells[5].endswith(" s")
    assert cells[6:8] == ["1 fal-units", "1"]
    assert Path(cells[8]).stat().st_size > 1000


def test_live_jobs_come_first_and_are_never_cut_off_by_ended_ones(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """The limit counts both, and what was left out is said."""
    live = detached(hfmedia, sandbox)
    made(hfmedia, "-m", FAL, "-n", "3")
    assert [one["state"] for one in listed(hfmedia, "list")] == ["running", "stored", "stored", "stored"]
    result = hfmedia("jobs", "list", "--limit", "2")
    assert [line.split("\t")[1] for line in result.stdout.splitlines()] == ["running", "done"]
    assert "--all" in result.stderr
    assert result.stdout.startswith(live["job_id"])
    assert hfmedia("jobs", "list", "--limit", "4").stderr == ""


FILTERS: tuple[tuple[tuple[str, ...], int], ...] = (
    (("--provider", "fal-ai"), 2),
    (("--provider", "together"), 0),
    (("--state", "done", "--state", "running"), 2),
    (("--state", "cancelled"), 0),
    (("-m", FLUX), 2),
    (("--model", "nobody/nothing"), 0),
    (("--since", "1h"), 2),
    (("--since", "2999-01-01"), 0),
)


def test_jobs_can_be_narrowed(hfmedia: Hfmedia) -> None:
    """By state, provider, model and age; where nothing fits, that is said."""
    made(hfmedia, "-m", FAL, "-n", "2")
    for args, fitting in FILTERS:
        result = hfmedia("jobs", "list", *args)
        assert (result.exit_code, len(result.stdout.splitlines())) == (0, fitting), args
        assert result.stderr == ("" if fitting else "no job fits\n")


BAD: tuple[tuple[tuple[str, ...], str], ...] = (
    (("list", "--state", "happy"), "running"),
    (("list", "--since", "yesterday"), "2d"),
    (("list", "--limit", "0"), "--limit"),
    (("show",), "Missing argument"),
    (("show", "zzz"), "no job begins with 'zzz'"),
    (("resume", "zzz"), "no job begins"),
    (("resume", "zzz", "--all"), "both together"),
    (("cancel", "zzz"), "no job begins"),
    (("resolve", "zzz"), "--resend, --drop and --ask"),
    (("resolve", "zzz", "--drop", "--ask"), "--resend, --drop and --ask"),
    (("costs", "--by", "moon"), "provider, model, day"),
    (("prune",), "--before"),
    (("prune", "--before", "long ago"), "30m"),
    (("nonsense",), "hfmedia jobs show ID"),
)


@pytest.mark.parametrize(("args", "words"), BAD, ids=[" ".join(args) for args, _ in BAD])
def test_what_cannot_be_meant_is_a_usage_error(hfmedia: Hfmedia, args: tuple[str, ...], words: str) -> None:
    """Exit code 2, nothing on stdout, and words that say what would be right."""
    result = hfmedia("jobs", *args)
    assert result.exit_code == 2, result.stderr
    assert words in result.stderr
    assert result.stdout == ""


def test_one_job_is_shown_whole(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Each fact with its time, what was asked for, the cost, the file; also by the beginning of its id."""
    one = made(hfmedia, "-m", FAL, "--seed", "7", "--size", "512x512")
    shown = hfmedia("jobs", "show", one["job_id"]).stdout
    assert hfmedia("jobs", "show", one["job_id"][:-1]).stdout.splitlines()[0] == shown.splitlines()[0]
    through, reported = "fal-ai, through the router, with HF_TOKEN", "1 fal-units (as the provider reported it)"
    facts = {"state": "done", "provider": through, "prompt": "a red fox", "seed": "7", "cost": reported}
    for name, words in {**facts, "file": one["files"][0]["path"]}.items():
        assert f"{name:<20}{words}\n" in shown
    assert "width 512" in shown
    happened = shown.partition("what happened:\n")[2].splitlines()
    words = [line.split("  ")[-1].split(" ")[0].rstrip(":,") for line in happened]
    assert words == ["created", "goes", "sent", "made", "stored"]
    assert "no longer there" not in shown
    assert sandbox.sandbox.environment["HF_TOKEN"] not in shown


def test_one_job_as_json_has_every_event_with_its_time(hfmedia: Hfmedia) -> None:
    """In order, in UTC."""
    one = made(hfmedia)
    told = json.loads(hfmedia("jobs", "show", one["job_id"], "--json").stdout)
    assert [event["event"] for event in told["events"]] == ["created", "routed", "sending", "made", "stored"]
    times = [event["timestamp"] for event in told["events"]]
    assert times == sorted(times)
    assert all(at.endswith("Z") for at in times)
    assert told["cost"] == {"amount": 1.0, "unit": "fal-units"}
    assert told["key_name"] == "HF_TOKEN"


def test_a_file_that_is_gone_is_told_and_fetched_again(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Without another submission, while the provider still has it."""
    one = made(hfmedia)
    path = Path(one["files"][0]["path"])
    path.unlink()
    told = listed(hfmedia)[0]
    assert told["files"] == [{"path": str(path), "exists": False}]
    assert f"`hfmedia jobs resume {one['job_id']}`" in told["hint"]
    assert "no longer there" in hfmedia("jobs", "show", one["job_id"]).stdout
    result = hfmedia("jobs", "resume", one["job_id"])
    assert result.exit_code == 0, result.stderr
    assert Path(result.stdout.strip()).stat().st_size > 1000
    assert bought(sandbox) == 1


# -- resuming ---------------------------------------------------------------------------------------------------------


def test_out_of_time_tells_the_command_that_carries_the_job_on(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """And that command does: the video arrives where it was to go, bought once."""
    sandbox.fault("novita", "cold", times=1, seconds=100)
    told = make_late(hfmedia, "the sea", "--task", "text-to-video", "-m", VIDEO, "-o", "sea.mp4")
    assert told.exit_code == 7
    command = told.stderr.split("`")[1]
    assert command.startswith("hfmedia jobs resume ")
    result = hfmedia(*command.split()[1:])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "sea.mp4\n", "")
    assert bought(sandbox) == 1


@pytest.mark.parametrize("args", [(), ("--all",)])
def test_every_unfinished_job_is_carried_on_side_by_side(
    hfmedia: Hfmedia, sandbox: SandboxThread, args: tuple[str, ...]
) -> None:
    """Named by none or by --all; the results are those of generate, in JSON too."""
    ids = {detached(hfmedia, sandbox)["job_id"] for _ in range(3)}
    result = hfmedia("jobs", "resume", *args, "--json", "-o", "out/")
    assert result.exit_code == 0, result.stderr
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert {one["job_id"] for one in told} == ids
    assert all(Path(one["path"]).parent.name == "out" for one in told)
    assert bought(sandbox) == 3
    again = hfmedia("jobs", "resume", *args)
    assert (again.exit_code, again.stdout) == (0, "")
    assert "nothing to carry on" in again.stderr


def test_a_job_that_stands_is_told_of_when_nothing_else_is_left(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """A doubt is never carried on by --all; who says --all learns of it."""
    one = doubted(hfmedia, sandbox)
    before = bought(sandbox)
    result = hfmedia("jobs", "resume", "--all")
    assert result.exit_code == 0
    assert f"hfmedia jobs resolve {one['job_id']} --ask" in result.stderr
    named = hfmedia("jobs", "resume", one["job_id"])
    assert named.exit_code == 8
    assert f"`hfmedia jobs resolve {one['job_id']} --resend`" in named.stderr
    assert bought(sandbox) == before


def test_what_is_over_cannot_be_carried_on_and_is_told(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """A failed job with its reason, a cancelled one as such, a finished one by its file."""
    sandbox.fault("replicate", "fail", times=1)
    assert hfmedia("a fox", "-m", REPLICATE).exit_code == 6
    failed = listed(hfmedia)[0]
    assert failed["state"] == "failed"
    assert failed["error"] in hfmedia("jobs").stdout
    again = hfmedia("jobs", "resume", failed["job_id"])
    assert again.exit_code == 6
    assert failed["error"] in again.stderr
    gone = detached(hfmedia, sandbox)
    hfmedia("jobs", "cancel", gone["job_id"])
    cancelled = hfmedia("jobs", "resume", gone["job_id"])
    assert cancelled.exit_code == 130
    assert "was cancelled" in cancelled.stderr
    done = made(hfmedia)
    assert hfmedia("jobs", "resume", done["job_id"], "--json").exit_code == 0


# -- cancelling -------------------------------------------------------------------------------------------------------


def test_a_cancel_that_reaches_the_provider_says_so(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Exit code 0, and the ledger knows it; a second one finds nothing to stop."""
    sandbox.fault("fal-ai", "cold", times=None, seconds=3000)
    told = make_late(hfmedia, "a fox", "--task", "text-to-video", "-m", "Wan-AI/Wan2.1-T2V-14B:fal-ai")
    assert told.exit_code == 7, told.stderr
    one = listed(hfmedia)[0]
    result = hfmedia("jobs", "cancel", one["job_id"])
    assert (result.exit_code, result.stdout) == (0, f"{one['job_id']}: cancelled: the provider agreed to stop\n")
    assert sandbox.request_count("cancel") == 1
    assert "cancelled: the provider agreed to stop" in hfmedia("jobs", "show", one["job_id"]).stdout
    again = hfmedia("jobs", "cancel", one["job_id"])
    assert (again.exit_code, again.stdout) == (0, f"{one['job_id']}: cancelled already; there is nothing to stop\n")


def test_a_cancel_that_cannot_reach_the_provider_says_that_it_may_be_billed(
    hfmedia: Hfmedia, sandbox: SandboxThread
) -> None:
    """Exit code 6, as data too; of several jobs each is told of."""
    running, doubt = detached(hfmedia, sandbox), doubted(hfmedia, sandbox)
    result = hfmedia("jobs", "cancel", running["job_id"], "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 6
    assert (told["job_id"], told["provider_confirmed"]) == (running["job_id"], False)
    assert "may still be billed" in told["message"]
    both = hfmedia("jobs", "cancel", running["job_id"], doubt["job_id"])
    assert both.exit_code == 8
    assert len(both.stdout.splitlines()) == 2
    assert "nobody knows what to stop" in both.stdout


# -- doubts -----------------------------------------------------------------------------------------------------------


def test_a_doubt_is_told_as_one_with_both_ways_out(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """In the error, in the list, and on its page."""
    sandbox.fault("fal-ai", "disconnect", times=1)
    failed = hfmedia("a fox", "-m", FAL)
    assert failed.exit_code == 8
    one = listed(hfmedia)[0]
    for told in (failed.stderr, one["hint"], hfmedia("jobs").stdout, hfmedia("jobs", "show", one["job_id"]).stdout):
        assert f"hfmedia jobs resolve {one['job_id']} --" in told
        assert "--resend" in told
        assert "--drop" in told
        assert "dashboard" in told
    assert one["cost_known"] is False


def test_a_doubt_that_is_sent_again_is_made(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Only after the word of a person, and by the command that is told."""
    one = doubted(hfmedia, sandbox)
    result = hfmedia("jobs", "resolve", one["job_id"], "--resend")
    assert result.exit_code == 0, result.stderr
    assert bought(sandbox) == 1
    command = result.stdout.split("`")[1]
    assert command == f"hfmedia jobs resume {one['job_id']}"
    done = hfmedia(*command.split()[1:])
    assert done.exit_code == 0, done.stderr
    assert Path("lost.png").stat().st_size > 1000
    assert bought(sandbox) == 2
    told = json.loads(hfmedia("jobs", "show", one["job_id"], "--json").stdout)
    assert told["attempts"] == 2
    assert told["cost_known"] is False  # nobody knows of the first


def test_a_doubt_that_is_dropped_has_ended(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Nothing more is sent; settling it twice is refused."""
    one = doubted(hfmedia, sandbox)
    result = hfmedia("jobs", "resolve", one["job_id"], "--drop", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["state"] == "failed"
    again = hfmedia("jobs", "resolve", one["job_id"], "--drop")
    assert again.exit_code == 2
    assert "not in doubt" in again.stderr
    assert bought(sandbox) == 1


def test_a_doubt_is_settled_by_a_provider_that_can_be_asked(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """replicate lists what it has: the job is found there and fetched, bought once."""
    one = doubted(hfmedia, sandbox)
    result = hfmedia("jobs", "resolve", one["job_id"], "--ask")
    assert result.exit_code == 0, result.stderr
    assert "replicate has it" in result.stdout
    assert hfmedia("jobs", "resume", one["job_id"]).exit_code == 0
    assert bought(sandbox) == 1


def test_a_provider_that_cannot_be_asked_leaves_the_doubt(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """And what is left to do is said."""
    one = doubted(hfmedia, sandbox, "fal-ai")
    result = hfmedia("jobs", "resolve", one["job_id"], "--ask")
    assert result.exit_code != 0
    assert "cannot be asked" in result.stderr
    assert listed(hfmedia)[0]["state"] == "in_doubt"


ANSWERS = (
    (("--resend",), "n\n", 2, "in_doubt"),
    (("--resend",), "y\n", 0, "routed"),
    (("--resend", "--yes"), "", 0, "routed"),
)


@pytest.mark.parametrize(("args", "answer", "code", "state"), ANSWERS)
def test_on_a_terminal_it_is_asked_before_something_may_be_paid_twice(
    hfmedia: Hfmedia,
    sandbox: SandboxThread,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
    answer: str,
    code: int,
    state: str,
) -> None:
    """Unless --yes has said it; no is no."""
    one = doubted(hfmedia, sandbox)
    monkeypatch.setattr(job_actions, "is_interactive", lambda: True)
    result = hfmedia("jobs", "resolve", one["job_id"], *args, given=answer)
    assert result.exit_code == code, result.stderr
    assert ("paid twice" in result.stderr) == ("--yes" not in args)
    assert listed(hfmedia)[0]["state"] == state


# -- costs and pruning ------------------------------------------------------------------------------------------------


def test_costs_are_added_up_by_unit_and_the_unknown_are_counted(hfmedia: Hfmedia) -> None:
    """Never a zero for what nobody told."""
    made(hfmedia, "-m", FAL, "-n", "2")
    made(hfmedia, "-m", f"{FLUX}:together")
    result = hfmedia("jobs", "costs")
    assert result.stdout.splitlines() == ["fal-ai\t2\t2 fal-units\t0\t0", "together\t1\tunknown\t1\t0"]
    assert "of 3 jobs, 1 may be billed at a price that nobody told" in result.stderr
    rows = {row["provider"]: row for row in map(json.loads, hfmedia("jobs", "costs", "--json").stdout.splitlines())}
    assert rows["fal-ai"]["reported"] == {"fal-units": 2.0}
    assert (rows["together"]["reported"], rows["together"]["unknown"]) == ({}, 1)
    (by_model,) = hfmedia("jobs", "costs", "--by", "model", "--provider", "fal-ai").stdout.splitlines()
    assert by_model == f"{FLUX}\t2\t2 fal-units\t0\t0"
    (by_day,) = hfmedia("jobs", "costs", "--by", "day").stdout.splitlines()
    assert by_day.split("\t")[1:] == ["3", "2 fal-units", "1", "0"]
    none = hfmedia("jobs", "costs", "--since", "2999-01-01")
    assert (none.stdout, none.stderr) == ("", "there are no jobs to add up\n")


def test_only_old_jobs_that_have_ended_are_forgotten(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Not a live one, not a doubt; and their files stay."""
    live, doubt, done = detached(hfmedia, sandbox), doubted(hfmedia, sandbox), made(hfmedia)
    kept = hfmedia("jobs", "prune", "--before", "30d")
    assert kept.stdout.startswith("forgot 0 jobs ")
    assert len(listed(hfmedia)) == 3
    result = hfmedia("jobs", "prune", "--before", "2999-01-01", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["pruned"] == 1
    assert {one["job_id"] for one in listed(hfmedia)} == {live["job_id"], doubt["job_id"]}
    assert all(Path(file["path"]).exists() for file in done["files"])


def test_on_a_terminal_it_is_asked_before_anything_is_forgotten(
    hfmedia: Hfmedia, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No keeps everything."""
    made(hfmedia)
    monkeypatch.setattr(job_actions, "is_interactive", lambda: True)
    assert hfmedia("jobs", "prune", "--before", "2999-01-01", given="n\n").exit_code == 2
    assert len(listed(hfmedia)) == 1
    assert hfmedia("jobs", "prune", "--before", "2999-01-01", given="y\n").exit_code == 0
    assert listed(hfmedia) == []


# -- the ledger itself, and how it looks ------------------------------------------------------------------------------


def test_a_ledger_that_is_no_database_is_one_sentence(hfmedia: Hfmedia) -> None:
    """It is named, and left as it is."""
    made(hfmedia)
    home = Path(os.environ["HFMEDIA_HOME"])
    ledger = home / "ledger.sqlite3"
    for extra in home.glob("ledger.sqlite3-*"):
        extra.unlink()
    ledger.write_bytes(b"no database at all, but long enough to look like one" * 40)
    result = hfmedia("jobs")
    assert result.exit_code == 1, result.stderr
    assert str(ledger) in result.stderr
    assert "Traceback" not in result.stderr
    assert ledger.read_bytes().startswith(b"no database")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_on_a_terminal_the_prompt_gives_way(width: int) -> None:
    """Ids are never cut; the line below says what to do, and none is there where nothing is to be said."""
    wish = GenerationRequest(task="text-to-image", model="some-organisation/a-model", prompt="a red fox " * 30)
    jobs = [Job(id=f"{number:020x}", request=wish, state="running", created_at=0.0) for number in range(3)]
    lines = format_wide([JobSnapshot(job=job, now=100.0) for job in jobs], width)
    assert lines[0].startswith("ID  ")
    rows = [line for line in lines[1:] if not line.startswith("    ")]
    assert [row.split()[0] for row in rows] == [job.id for job in jobs]
    assert all("`hfmedia jobs resume " in line for line in lines if line.startswith("    "))
    assert len(lines) == 7
    assert all(len(row) <= max(width, 90) for row in rows)
    assert format_wide([], width) == []


def test_a_terminal_gets_a_heading(hfmedia: Hfmedia, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the file on a line of its own."""
    made(hfmedia)
    monkeypatch.setattr(job_views, "stdout_is_terminal", lambda: True)
    heading, row, below = hfmedia("jobs").stdout.splitlines()
    assert heading.split() == ["ID", "STATE", "PROVIDER", "MODEL", "PROMPT", "AGE", "COST", "TRIES"]
    assert "a red fox" in row
    assert below.startswith("    ")


JOBS_EXAMPLES = [line for name, lines in EXAMPLES.items() if name.startswith("jobs ") for line in lines]
JOBS_EXAMPLES += [line.strip() for line in HELP.splitlines() if line.startswith("  hfmedia jobs")]


@pytest.mark.parametrize("line", [line for line in JOBS_EXAMPLES if "--watch" not in line])
def test_each_example_does_what_it_shows(hfmedia: Hfmedia, sandbox: SandboxThread, line: str) -> None:
    """With a job of the sort it speaks of in the place of ID."""
    one = (doubted if "resolve" in line else detached)(hfmedia, sandbox)
    result: Result = hfmedia(*line.replace("ID", one["job_id"]).split()[1:])
    assert result.exit_code == (6 if "cancel" in line else 0), result.stderr
    assert result.stdout or "--state" in line


def test_the_group_s_own_page_lists_its_commands() -> None:
    """Each with what it is for."""
    result = CliRunner().invoke(app, ["jobs", "--help"], prog_name="hfmedia")
    assert result.exit_code == 0
    assert all(f"  {name}  " in result.stdout for name in ("list", "show", "resume", "resolve", "costs"))


def test_in_a_simulation_nothing_is_left_to_resume(hfmedia: Hfmedia) -> None:
    """Its ledger ends with it, and that is said after the error that names the command."""
    told = make_late(hfmedia, "the sea", "--task", "text-to-video", "--sandbox")
    assert told.exit_code == 7, told.stderr
    assert told.stderr.splitlines()[-1].startswith("the simulation has ended")


def test_looking_needs_no_credential(hfmedia: Hfmedia) -> None:
    """What became of a job can be read by whoever owns the ledger."""
    one = made(hfmedia)
    for args in (("list",), ("show", one["job_id"]), ("costs",)):
        result = hfmedia("jobs", *args, env={"HF_TOKEN": None})
        assert result.exit_code == 0, result.stderr
