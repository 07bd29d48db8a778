"""``hfmedia jobs``: views of the ledger and actions on jobs, in the sandbox."""

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


def generated(hfmedia: Hfmedia, *args: str) -> dict[str, Any]:
    """One job that is done, as the list shows it."""
    result = hfmedia("a red fox", *(args or ("-m", FAL)), "--json")
    assert result.exit_code == 0, result.stderr
    return listed(hfmedia)[0]


def detached(hfmedia: Hfmedia, sandbox: SandboxThread) -> dict[str, Any]:
    """A video that runs at novita, without a process."""
    sandbox.fault("novita", "cold", times=1, seconds=100)
    result = make_late(hfmedia, "the sea", "--task", "text-to-video", "-m", VIDEO)
    assert result.exit_code == 7, result.stderr
    return listed(hfmedia, "list", "--state", "running")[0]


def in_doubt(hfmedia: Hfmedia, sandbox: SandboxThread, provider: str = "replicate") -> dict[str, Any]:
    """A job in doubt (the provider did accept it)."""
    sandbox.fault(provider, "disconnect", times=1)
    prompt = f"a lost fox, number {next(NUMBERS)}"  # unique in this sandbox
    result = hfmedia(prompt, "-m", f"{FLUX}:{provider}", "-o", "lost.png")
    assert result.exit_code == 8, result.stderr
    return listed(hfmedia, "list", "--state", "in_doubt")[0]


def submitted(sandbox: SandboxThread) -> int:
    """The number of jobs that providers accepted."""
    return int(sandbox.run(lambda: sum(sandbox.sandbox.submissions.values())))


# -- views ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [("jobs",), ("jobs", "list"), ("jobs", "--all")])
def test_an_empty_ledger_lists_no_jobs(hfmedia: Hfmedia, args: tuple[str, ...]) -> None:
    """Exit code 0, and a note."""
    result = hfmedia(*args)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No jobs yet.\n")


def test_a_job_is_one_line_with_the_main_fields(hfmedia: Hfmedia) -> None:
    """Piped with tabs: ID, state, provider, model, prompt, age, cost, attempts, and its file."""
    job = generated(hfmedia)
    (line,) = hfmedia("jobs").stdout.splitlines()
    cells = line.split("\t")
    assert cells[:5] == [job["job_id"], "done", "fal-ai", FLUX, "a red fox"]
    assert cells[5].endswith(" s")
    assert cells[6:8] == ["1 fal-units", "1"]
    assert Path(cells[8]).stat().st_size > 1000


def test_active_jobs_come_first_and_are_never_cut_off_by_ended_ones(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """The limit counts both, and a note says that there are more."""
    active = detached(hfmedia, sandbox)
    generated(hfmedia, "-m", FAL, "-n", "3")
    assert [job["state"] for job in listed(hfmedia, "list")] == ["running", "stored", "stored", "stored"]
    result = hfmedia("jobs", "list", "--limit", "2")
    assert [line.split("\t")[1] for line in result.stdout.splitlines()] == ["running", "done"]
    assert "--all" in result.stderr
    assert result.stdout.startswith(active["job_id"])
    assert hfmedia("jobs", "list", "--limit", "4").stderr == ""


FILTERS: tuple[tuple[tuple[str, ...], int], ...] = (
    (("--provider", "fal-ai"), 2),
    (("--provider", "together"), 0),
    (("--state", "done", "--state", "running"), 2),
    (("--state", "cancelled"), 0),
    (("-m", FLUX), 2),
    (("--model", "unknown/model"), 0),
    (("--since", "1h"), 2),
    (("--since", "2999-01-01"), 0),
)


def test_jobs_can_be_filtered(hfmedia: Hfmedia) -> None:
    """By state, provider, model and age; without a match there is a note."""
    generated(hfmedia, "-m", FAL, "-n", "2")
    for args, expected in FILTERS:
        result = hfmedia("jobs", "list", *args)
        assert (result.exit_code, len(result.stdout.splitlines())) == (0, expected), args
        assert result.stderr == ("" if expected else "No matching jobs.\n")


BAD: tuple[tuple[tuple[str, ...], str], ...] = (
    (("list", "--state", "happy"), "running"),
    (("list", "--since", "yesterday"), "2d"),
    (("list", "--limit", "0"), "--limit"),
    (("show",), "Missing argument"),
    (("show", "zzz"), "no job ID starts with 'zzz'"),
    (("resume", "zzz"), "no job ID starts"),
    (("resume", "zzz", "--all"), "not both"),
    (("cancel", "zzz"), "no job ID starts"),
    (("resolve", "zzz"), "--resend, --drop and --ask"),
    (("resolve", "zzz", "--drop", "--ask"), "--resend, --drop and --ask"),
    (("costs", "--by", "moon"), "provider, model, day"),
    (("prune",), "--before"),
    (("prune", "--before", "long ago"), "30m"),
    (("nonsense",), "hfmedia jobs show ID"),
)


@pytest.mark.parametrize(("args", "text"), BAD, ids=[" ".join(args) for args, _ in BAD])
def test_invalid_input_is_a_usage_error(hfmedia: Hfmedia, args: tuple[str, ...], text: str) -> None:
    """Exit code 2, nothing on stdout, and a message with valid values."""
    result = hfmedia("jobs", *args)
    assert result.exit_code == 2, result.stderr
    assert text in result.stderr
    assert result.stdout == ""


def test_show_has_all_details_of_a_job(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """History with times, parameters, cost, files; also by a prefix of its ID."""
    job = generated(hfmedia, "-m", FAL, "--seed", "7", "--size", "512x512")
    shown = hfmedia("jobs", "show", job["job_id"]).stdout
    assert hfmedia("jobs", "show", job["job_id"][:-1]).stdout.splitlines()[0] == shown.splitlines()[0]
    through, reported = "fal-ai, through the router, with HF_TOKEN", "1 fal-units (reported by the provider)"
    details = {"state": "done", "provider": through, "prompt": "a red fox", "seed": "7", "cost": reported}
    for name, text in {**details, "file": job["files"][0]["path"]}.items():
        assert f"{name:<20}{text}\n" in shown
    assert "width 512" in shown
    history = shown.partition("history:\n")[2].splitlines()
    entries = [line.split("  ")[-1].split(" ")[0].rstrip(":,") for line in history]
    assert entries == ["created", "routed", "submitted", "completed", "stored"]
    assert "(missing)" not in shown
    assert sandbox.sandbox.environment["HF_TOKEN"] not in shown


def test_show_as_json_has_every_entry_with_its_time(hfmedia: Hfmedia) -> None:
    """In order, in UTC."""
    job = generated(hfmedia)
    details = json.loads(hfmedia("jobs", "show", job["job_id"], "--json").stdout)
    assert [event["event"] for event in details["events"]] == ["created", "routed", "submitting", "completed", "stored"]
    times = [event["timestamp"] for event in details["events"]]
    assert times == sorted(times)
    assert all(timestamp.endswith("Z") for timestamp in times)
    assert details["cost"] == {"amount": 1.0, "unit": "fal-units"}
    assert details["key_name"] == "HF_TOKEN"


def test_a_missing_file_is_shown_and_downloaded_again(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Without another submission, while the provider still has it."""
    job = generated(hfmedia)
    path = Path(job["files"][0]["path"])
    path.unlink()
    job = listed(hfmedia)[0]
    assert job["files"] == [{"path": str(path), "exists": False}]
    assert f"`hfmedia jobs resume {job['job_id']}`" in job["hint"]
    assert "(missing)" in hfmedia("jobs", "show", job["job_id"]).stdout
    result = hfmedia("jobs", "resume", job["job_id"])
    assert result.exit_code == 0, result.stderr
    assert Path(result.stdout.strip()).stat().st_size > 1000
    assert submitted(sandbox) == 1


# -- resuming ---------------------------------------------------------------------------------------------------------


def test_a_timeout_prints_the_command_that_resumes_the_job(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """And that command works: the video is saved at its original output path, submitted once."""
    sandbox.fault("novita", "cold", times=1, seconds=100)
    result = make_late(hfmedia, "the sea", "--task", "text-to-video", "-m", VIDEO, "-o", "sea.mp4")
    assert result.exit_code == 7
    command = result.stderr.split("`")[1]
    assert command.startswith("hfmedia jobs resume ")
    result = hfmedia(*command.split()[1:])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "sea.mp4\n", "")
    assert submitted(sandbox) == 1


@pytest.mark.parametrize("args", [(), ("--all",)])
def test_all_unfinished_jobs_are_resumed_in_parallel(
    hfmedia: Hfmedia, sandbox: SandboxThread, args: tuple[str, ...]
) -> None:
    """Without arguments or with --all; results are printed as by generate, as JSON too."""
    ids = {detached(hfmedia, sandbox)["job_id"] for _ in range(3)}
    result = hfmedia("jobs", "resume", *args, "--json", "-o", "out/")
    assert result.exit_code == 0, result.stderr
    results = [json.loads(line) for line in result.stdout.splitlines()]
    assert {media["job_id"] for media in results} == ids
    assert all(Path(media["path"]).parent.name == "out" for media in results)
    assert submitted(sandbox) == 3
    again = hfmedia("jobs", "resume", *args)
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == "Nothing to resume.\n"


def test_a_job_in_doubt_is_mentioned_when_nothing_else_can_be_resumed(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """--all never resumes a job in doubt, but says what to do about it."""
    job = in_doubt(hfmedia, sandbox)
    before = submitted(sandbox)
    result = hfmedia("jobs", "resume", "--all")
    assert result.exit_code == 0
    assert f"hfmedia jobs resolve {job['job_id']} --ask" in result.stderr
    named = hfmedia("jobs", "resume", job["job_id"])
    assert named.exit_code == 8
    assert f"`hfmedia jobs resolve {job['job_id']} --resend`" in named.stderr
    assert submitted(sandbox) == before


def test_ended_jobs_cannot_be_resumed(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """A failed job with its reason, a cancelled one as such; a done one prints its file."""
    sandbox.fault("replicate", "fail", times=1)
    assert hfmedia("a fox", "-m", REPLICATE).exit_code == 6
    failed = listed(hfmedia)[0]
    assert failed["state"] == "failed"
    assert failed["error"] in hfmedia("jobs").stdout
    again = hfmedia("jobs", "resume", failed["job_id"])
    assert again.exit_code == 6
    assert failed["error"] in again.stderr
    running = detached(hfmedia, sandbox)
    hfmedia("jobs", "cancel", running["job_id"])
    cancelled = hfmedia("jobs", "resume", running["job_id"])
    assert cancelled.exit_code == 130
    assert "was cancelled" in cancelled.stderr
    done = generated(hfmedia)
    assert hfmedia("jobs", "resume", done["job_id"], "--json").exit_code == 0


# -- cancelling -------------------------------------------------------------------------------------------------------


def test_a_confirmed_cancellation_is_reported(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Exit code 0, recorded in the ledger; a second one finds nothing to cancel."""
    sandbox.fault("fal-ai", "cold", times=None, seconds=3000)
    result = make_late(hfmedia, "a fox", "--task", "text-to-video", "-m", "Wan-AI/Wan2.1-T2V-14B:fal-ai")
    assert result.exit_code == 7, result.stderr
    job = listed(hfmedia)[0]
    result = hfmedia("jobs", "cancel", job["job_id"])
    assert (result.exit_code, result.stdout) == (0, f"{job['job_id']}: cancelled: the provider confirmed\n")
    assert sandbox.request_count("cancel") == 1
    assert "cancelled: the provider confirmed" in hfmedia("jobs", "show", job["job_id"]).stdout
    again = hfmedia("jobs", "cancel", job["job_id"])
    assert (again.exit_code, again.stdout) == (0, f"{job['job_id']}: already cancelled; nothing to cancel\n")


def test_an_unconfirmed_cancellation_may_be_billed(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Exit code 6, as JSON too; each of several jobs is reported."""
    running, unknown = detached(hfmedia, sandbox), in_doubt(hfmedia, sandbox)
    result = hfmedia("jobs", "cancel", running["job_id"], "--json")
    outcome = json.loads(result.stdout)
    assert result.exit_code == 6
    assert (outcome["job_id"], outcome["provider_confirmed"]) == (running["job_id"], False)
    assert "may still be billed" in outcome["message"]
    both = hfmedia("jobs", "cancel", running["job_id"], unknown["job_id"])
    assert both.exit_code == 8
    assert len(both.stdout.splitlines()) == 2
    assert "cannot be cancelled" in both.stdout


# -- jobs in doubt ----------------------------------------------------------------------------------------------------


def test_a_job_in_doubt_is_shown_with_both_decisions(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """In the error, in the list, and in its details."""
    sandbox.fault("fal-ai", "disconnect", times=1)
    failed = hfmedia("a fox", "-m", FAL)
    assert failed.exit_code == 8
    job = listed(hfmedia)[0]
    for text in (failed.stderr, job["hint"], hfmedia("jobs").stdout, hfmedia("jobs", "show", job["job_id"]).stdout):
        assert f"hfmedia jobs resolve {job['job_id']} --" in text
        assert "--resend" in text
        assert "--drop" in text
        assert "dashboard" in text
    assert job["cost_known"] is False


def test_a_doubt_that_is_sent_again_is_generated(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Only by the decision of the user, and with the printed command."""
    job = in_doubt(hfmedia, sandbox)
    result = hfmedia("jobs", "resolve", job["job_id"], "--resend")
    assert result.exit_code == 0, result.stderr
    assert submitted(sandbox) == 1
    command = result.stdout.split("`")[1]
    assert command == f"hfmedia jobs resume {job['job_id']}"
    done = hfmedia(*command.split()[1:])
    assert done.exit_code == 0, done.stderr
    assert Path("lost.png").stat().st_size > 1000
    assert submitted(sandbox) == 2
    details = json.loads(hfmedia("jobs", "show", job["job_id"], "--json").stdout)
    assert details["attempts"] == 2
    assert details["cost_known"] is False  # that of the first attempt is unknown


def test_a_dropped_job_has_failed(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Nothing more is sent; resolving it twice is an error."""
    job = in_doubt(hfmedia, sandbox)
    result = hfmedia("jobs", "resolve", job["job_id"], "--drop", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["state"] == "failed"
    again = hfmedia("jobs", "resolve", job["job_id"], "--drop")
    assert again.exit_code == 2
    assert "nothing to resolve" in again.stderr
    assert submitted(sandbox) == 1


def test_a_provider_with_a_lookup_resolves_a_job_in_doubt(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """replicate lists its jobs: the job is found there and downloaded, submitted once."""
    job = in_doubt(hfmedia, sandbox)
    result = hfmedia("jobs", "resolve", job["job_id"], "--ask")
    assert result.exit_code == 0, result.stderr
    assert "found at replicate" in result.stdout
    assert hfmedia("jobs", "resume", job["job_id"]).exit_code == 0
    assert submitted(sandbox) == 1


def test_a_provider_without_a_lookup_leaves_the_job_in_doubt(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """And the message says what to do."""
    job = in_doubt(hfmedia, sandbox, "fal-ai")
    result = hfmedia("jobs", "resolve", job["job_id"], "--ask")
    assert result.exit_code != 0
    assert "cannot be asked" in result.stderr
    assert listed(hfmedia)[0]["state"] == "in_doubt"


CONFIRMATIONS = (
    (("--resend",), "n\n", 2, "in_doubt"),
    (("--resend",), "y\n", 0, "routed"),
    (("--resend", "--yes"), "", 0, "routed"),
)


@pytest.mark.parametrize(("args", "answer", "code", "state"), CONFIRMATIONS)
def test_a_terminal_asks_before_something_may_be_billed_twice(
    hfmedia: Hfmedia,
    sandbox: SandboxThread,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
    answer: str,
    code: int,
    state: str,
) -> None:
    """Unless --yes is given; no changes nothing."""
    job = in_doubt(hfmedia, sandbox)
    monkeypatch.setattr(job_actions, "is_interactive", lambda: True)
    result = hfmedia("jobs", "resolve", job["job_id"], *args, stdin=answer)
    assert result.exit_code == code, result.stderr
    assert ("billed twice" in result.stderr) == ("--yes" not in args)
    assert listed(hfmedia)[0]["state"] == state


# -- costs and pruning ------------------------------------------------------------------------------------------------


def test_costs_are_summed_by_unit_and_unknown_ones_are_counted(hfmedia: Hfmedia) -> None:
    """An unknown cost is never a zero."""
    generated(hfmedia, "-m", FAL, "-n", "2")
    generated(hfmedia, "-m", f"{FLUX}:together")
    result = hfmedia("jobs", "costs")
    assert result.stdout.splitlines() == ["fal-ai\t2\t2 fal-units\t0\t0", "together\t1\tunknown\t1\t0"]
    assert "For 1 of 3 jobs the provider reported no price; they may still be billed." in result.stderr
    rows = {row["provider"]: row for row in map(json.loads, hfmedia("jobs", "costs", "--json").stdout.splitlines())}
    assert rows["fal-ai"]["reported"] == {"fal-units": 2.0}
    assert (rows["together"]["reported"], rows["together"]["unknown"]) == ({}, 1)
    (by_model,) = hfmedia("jobs", "costs", "--by", "model", "--provider", "fal-ai").stdout.splitlines()
    assert by_model == f"{FLUX}\t2\t2 fal-units\t0\t0"
    (by_day,) = hfmedia("jobs", "costs", "--by", "day").stdout.splitlines()
    assert by_day.split("\t")[1:] == ["3", "2 fal-units", "1", "0"]
    none = hfmedia("jobs", "costs", "--since", "2999-01-01")
    assert (none.stdout, none.stderr) == ("", "No jobs to sum up.\n")


def test_only_old_jobs_that_have_ended_are_deleted(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Neither active ones nor those in doubt; files stay."""
    active, unknown, done = detached(hfmedia, sandbox), in_doubt(hfmedia, sandbox), generated(hfmedia)
    none = hfmedia("jobs", "prune", "--before", "30d")
    assert none.stdout.startswith("deleted 0 jobs ")
    assert len(listed(hfmedia)) == 3
    result = hfmedia("jobs", "prune", "--before", "2999-01-01", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["pruned"] == 1
    assert {job["job_id"] for job in listed(hfmedia)} == {active["job_id"], unknown["job_id"]}
    assert all(Path(file["path"]).exists() for file in done["files"])


def test_a_terminal_asks_before_anything_is_deleted(hfmedia: Hfmedia, monkeypatch: pytest.MonkeyPatch) -> None:
    """No changes nothing."""
    generated(hfmedia)
    monkeypatch.setattr(job_actions, "is_interactive", lambda: True)
    assert hfmedia("jobs", "prune", "--before", "2999-01-01", stdin="n\n").exit_code == 2
    assert len(listed(hfmedia)) == 1
    assert hfmedia("jobs", "prune", "--before", "2999-01-01", stdin="y\n").exit_code == 0
    assert listed(hfmedia) == []


# -- ledger file and layout -------------------------------------------------------------------------------------------


def test_a_ledger_that_is_not_a_database_is_one_message(hfmedia: Hfmedia) -> None:
    """It is named, and not changed."""
    generated(hfmedia)
    home = Path(os.environ["HFMEDIA_HOME"])
    ledger = home / "ledger.sqlite3"
    for extra in home.glob("ledger.sqlite3-*"):
        extra.unlink()
    ledger.write_bytes(b"not a database, but long enough to look like one" * 40)
    result = hfmedia("jobs")
    assert result.exit_code == 1, result.stderr
    assert str(ledger) in result.stderr
    assert "Traceback" not in result.stderr
    assert ledger.read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_on_a_terminal_the_prompt_is_truncated_first(width: int) -> None:
    """IDs are never truncated; a line below says what to do, where there is something to do."""
    request = GenerationRequest(task="text-to-image", model="some-organization/a-model", prompt="a red fox " * 30)
    jobs = [Job(id=f"{number:020x}", request=request, state="running", created_at=0.0) for number in range(3)]
    lines = format_wide([JobSnapshot(job=job, now=100.0) for job in jobs], width)
    assert lines[0].startswith("ID  ")
    rows = [line for line in lines[1:] if not line.startswith("    ")]
    assert [row.split()[0] for row in rows] == [job.id for job in jobs]
    assert all("`hfmedia jobs resume " in line for line in lines if line.startswith("    "))
    assert len(lines) == 7
    assert all(len(row) <= max(width, 90) for row in rows)
    assert format_wide([], width) == []


def test_a_terminal_gets_a_heading(hfmedia: Hfmedia, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the file has its own line."""
    generated(hfmedia)
    monkeypatch.setattr(job_views, "stdout_is_terminal", lambda: True)
    heading, row, below = hfmedia("jobs").stdout.splitlines()
    assert heading.split() == ["ID", "STATE", "PROVIDER", "MODEL", "PROMPT", "AGE", "COST", "ATTEMPTS"]
    assert "a red fox" in row
    assert below.startswith("    ")


JOBS_EXAMPLES = [line for name, lines in EXAMPLES.items() if name.startswith("jobs ") for line in lines]
JOBS_EXAMPLES += [line.strip() for line in HELP.splitlines() if line.startswith("  hfmedia jobs")]


@pytest.mark.parametrize("line", [line for line in JOBS_EXAMPLES if "--watch" not in line])
def test_each_example_does_what_it_shows(hfmedia: Hfmedia, sandbox: SandboxThread, line: str) -> None:
    """With a matching job in place of ID."""
    job = (in_doubt if "resolve" in line else detached)(hfmedia, sandbox)
    result: Result = hfmedia(*line.replace("ID", job["job_id"]).split()[1:])
    assert result.exit_code == (6 if "cancel" in line else 0), result.stderr
    assert result.stdout or "--state" in line


def test_the_group_s_own_page_lists_its_commands() -> None:
    """Each with its purpose."""
    result = CliRunner().invoke(app, ["jobs", "--help"], prog_name="hfmedia")
    assert result.exit_code == 0
    assert all(f"  {name}  " in result.stdout for name in ("list", "show", "resume", "resolve", "costs"))


def test_in_a_simulation_nothing_is_left_to_resume(hfmedia: Hfmedia) -> None:
    """Its ledger is deleted with it, which a note says after the error."""
    result = make_late(hfmedia, "the sea", "--task", "text-to-video", "--sandbox")
    assert result.exit_code == 7, result.stderr
    assert result.stderr.splitlines()[-1].startswith("The sandbox has shut down")


def test_views_need_no_credential(hfmedia: Hfmedia) -> None:
    """The ledger is enough."""
    job = generated(hfmedia)
    for args in (("list",), ("show", job["job_id"]), ("costs",)):
        result = hfmedia("jobs", *args, env={"HF_TOKEN": None})
        assert result.exit_code == 0, result.stderr
