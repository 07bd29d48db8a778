"""Failures in real processes: responses lost or late, disks full, keys wrong, URLs expired, clocks that jump.

Each time the user sees what happened, nothing paid for is lost, and nothing is paid for that was not requested.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting_jobs import finish_waiting_jobs

from .crash_points import REQUESTS, VIDEO
from .scenario import LOST_MESSAGE, CrashScenario

PROVIDERS = {"queue": "fal-ai", "holding": "replicate", "inline": "nscale"}
DAY = 86_400.0
ROOM = 1_000_000  # bytes; more than a ledger of a few jobs, less than the picture below


def job_in_doubt(scenario: CrashScenario, kind: str, fault: str = "disconnect") -> dict[str, Any]:
    """A job that a provider took on, and whose answer was lost on the way."""
    scenario.fault(PROVIDERS[kind], fault, step="submit")
    (request,) = scenario.new_requests(1, **REQUESTS[kind])
    (result,) = scenario.run_command("generate", requests=[request]).values()
    assert result["error"] == "InDoubtError"
    assert result["job"] in result["message"]
    (job,) = scenario.check_jobs([request["prompt"]])
    assert job["state"] == "in_doubt"
    return job


def noise() -> bytes:
    """A picture of three megabytes."""
    from PIL import Image

    data = BytesIO()
    Image.frombytes("RGB", (1000, 1000), os.urandom(3_000_000)).save(data, "PNG", compress_level=0)
    return data.getvalue()


# -- answers that are lost or late ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["disconnect", "reset", "truncated"])
@pytest.mark.parametrize("kind", REQUESTS)
def test_a_lost_response_leaves_a_doubt_that_resuming_never_resends(
    scenario: CrashScenario, kind: str, fault: str
) -> None:
    """Whether everything is resumed, or that very job."""
    job = job_in_doubt(scenario, kind, fault)
    assert scenario.run_command("resume") == {}
    (result,) = scenario.run_command("resume", jobs=[job["id"]]).values()
    assert (result["error"], "--resend" in result["message"]) == ("InDoubtError", True)
    assert scenario.billed_by_prompt()[job["prompt"]] <= 1
    assert scenario.request_count("submit") == 1


@pytest.mark.parametrize("kind", REQUESTS)
def test_resend_sends_once_more_and_only_once(scenario: CrashScenario, kind: str) -> None:
    """The caller accepts that it may be billed twice; a second decision is rejected."""
    job = job_in_doubt(scenario, kind)
    assert scenario.run_command("resolve", decisions={job["id"]: "resend"}) == {job["id"]: "routed"}
    again = scenario.run_command("resolve", decisions={job["id"]: "resend"})[job["id"]]
    assert again.startswith("InvalidRequestError")
    for _ in range(2):
        scenario.run_command("resume")
        assert scenario.request_count("submit") == 2
    (job,) = scenario.check_jobs([job["prompt"]], max_paid=2)
    assert (job["state"], job["attempts"]) == ("stored", 2)


@pytest.mark.parametrize("kind", REQUESTS)
def test_drop_ends_it(scenario: CrashScenario, kind: str) -> None:
    """For good: it can be neither resumed nor sent again."""
    job = job_in_doubt(scenario, kind)
    assert scenario.run_command("resolve", decisions={job["id"]: "drop"}) == {job["id"]: "failed"}
    (result,) = scenario.run_command("resume", jobs=[job["id"]]).values()
    assert result["error"] == "GenerationFailedError"
    assert scenario.run_command("resolve", decisions={job["id"]: "resend"})[job["id"]].startswith("InvalidRequestError")
    assert scenario.request_count("submit") == 1


def test_a_provider_that_can_be_asked_settles_the_doubt(scenario: CrashScenario) -> None:
    """replicate lists its predictions: the job is found there and brought home, without paying again."""
    job = job_in_doubt(scenario, "holding")
    assert scenario.run_command("resolve", decisions={job["id"]: "ask"})[job["id"]] in ("running", "completed")
    scenario.run_command("resume")
    (job,) = scenario.check_jobs([job["prompt"]])
    assert (job["state"], scenario.request_count("submit")) == ("stored", 1)


def test_a_provider_that_knows_nothing_leaves_the_doubt(scenario: CrashScenario) -> None:
    """Killed before the first byte: replicate has no such prediction, so a person decides."""
    requests = scenario.new_requests(3, **REQUESTS["holding"])
    assert scenario.start("generate", requests=requests, kill_point=["before post", 1, 0]).was_killed()
    scenario.run_command("resume")
    jobs = [job for job in scenario.check_jobs(request["prompt"] for request in requests) if job["state"] == "in_doubt"]
    assert jobs
    for message in scenario.run_command("resolve", decisions={job["id"]: "ask" for job in jobs}).values():
        assert message.startswith("InvalidRequestError")
        assert "stays in doubt" in message
    assert {job["state"] for job in scenario.jobs([job["prompt"] for job in jobs])} == {"in_doubt"}


def test_an_answer_beyond_the_deadline_detaches_and_is_resumed(scenario: CrashScenario) -> None:
    """The provider is at work when the time is up: the job goes on there, and is fetched later."""
    scenario.fault("fal-ai", "cold", step="submit", seconds=100_000)
    (request,) = scenario.new_requests(1, **VIDEO)
    # it is accepted by then, on any machine
    (result,) = scenario.run_command("generate", requests=[request], timeouts={"total": 4}).values()
    assert result["error"] == "DeadlineExceededError"
    (job,) = scenario.jobs([request["prompt"]])
    assert job["state"] == "running"
    scenario.run(lambda: finish_waiting_jobs(scenario.sandbox.state))
    scenario.run_command("resume")
    (job,) = scenario.check_jobs([request["prompt"]])
    assert (job["state"], scenario.request_count("submit")) == ("stored", 1)


@pytest.mark.parametrize("kind", REQUESTS)
def test_no_answer_to_the_submission_within_its_time_is_a_doubt(scenario: CrashScenario, kind: str) -> None:
    """It was sent, and its outcome is unknown."""
    scenario.fault(PROVIDERS[kind], "hang", step="submit")
    (request,) = scenario.new_requests(1, **REQUESTS[kind])
    # it is sent by then, on any machine
    (result,) = scenario.run_command("generate", requests=[request], timeouts={"submit": 1.5}).values()
    assert result["error"] == "InDoubtError"
    assert scenario.run_command("resume") == {}
    (job,) = scenario.check_jobs([request["prompt"]])
    assert (job["state"], scenario.request_count("submit")) == ("in_doubt", 1)


@pytest.mark.parametrize("step", ["after created", "before routed", "before sending"])
def test_an_unsent_job_whose_picture_is_not_kept_says_so(scenario: CrashScenario, step: str, tmp_path: Path) -> None:
    """A picture by its address is sent now; bytes were never written down, so that job can only be asked for again."""
    picture = tmp_path / "fox.png"
    picture.write_bytes(noise())
    model = {"task": "image-to-video", "model": "Wan-AI/Wan2.2-I2V-A14B:fal-ai"}
    (kept,) = scenario.new_requests(1, **model, image="https://example.org/fox.png")
    (lost,) = scenario.new_requests(1, **model, image=str(picture))
    for request in (kept, lost):  # one after the other: in parallel, either may be sent before the other's step
        assert scenario.start("generate", requests=[request], kill_point=[step, 1, 0]).was_killed()
    result = scenario.run_command("resume")
    states = {job["prompt"]: job["state"] for job in scenario.jobs()}
    for job in scenario.jobs():
        if job["prompt"] == lost["prompt"]:
            assert result[job["id"]]["error"] == "InvalidRequestError"
            assert "submit the request again" in result[job["id"]]["message"]
    assert states[kept["prompt"]] == "stored"
    assert scenario.billed_by_prompt()[lost["prompt"]] == 0
    assert scenario.request_count("submit") == 1


# -- disks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["holding"])
def test_a_disk_that_fills_up_while_downloading_costs_only_a_download(
    scenario: CrashScenario, kind: str, tmp_path: Path
) -> None:
    """The error says so, nothing half is left, and another place takes the file without paying again."""
    scenario.replace_media(noise())
    (request,) = scenario.new_requests(1, **REQUESTS[kind])
    (result,) = scenario.run_command("generate", requests=[request], max_bytes=ROOM).values()
    assert result["error"] == "StorageError"
    scenario.check_files()
    (job,) = scenario.jobs([request["prompt"]])
    assert job["state"] == "completed"
    elsewhere = tmp_path / "elsewhere" / "fox.png"
    (result,) = scenario.run_command("resume", output=str(elsewhere)).values()
    assert result["path"] == str(elsewhere)
    (job,) = scenario.check_jobs([request["prompt"]])
    assert (job["state"], scenario.request_count("submit")) == ("stored", 1)


def test_inline_media_waits_for_room_while_its_process_lives(scenario: CrashScenario, tmp_path: Path) -> None:
    """And when that process ends, the job says that its media is lost, instead of being bought again."""
    scenario.replace_media(noise())
    requests = scenario.new_requests(2, **REQUESTS["inline"])
    elsewhere = tmp_path / "elsewhere" / "fox.png"
    result = scenario.run_command("free_space", requests=requests[:1], max_bytes=ROOM, output=str(elsewhere))
    assert [one["error"] for one in result["first"].values()] == ["StorageError"]
    assert [one["path"] for one in result["then"].values()] == [str(elsewhere)]
    (result,) = scenario.run_command("generate", requests=requests[1:], max_bytes=ROOM).values()
    assert result["error"] == "StorageError"
    (result,) = scenario.run_command("resume", output=str(elsewhere)).values()
    assert (result["error"], LOST_MESSAGE in result["message"]) == ("DownloadError", True)
    scenario.check_jobs(request["prompt"] for request in requests)
    scenario.check_files()
    assert scenario.request_count("submit") == 2


def test_a_ledger_that_finds_no_room_buys_nothing(scenario: CrashScenario) -> None:
    """What cannot be written down is not sent."""
    (result,) = scenario.run_command("generate", requests=scenario.new_requests(1, **VIDEO), max_bytes=8192).values()
    assert (result["error"], "ledger" in result["message"]) == ("StorageError", True)
    assert scenario.request_count("submit") == 0


# -- several processes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["after created", "before routed", "between polls", "before fetch"])
def test_two_processes_that_resume_at_once_share_the_jobs(scenario: CrashScenario, step: str) -> None:
    """Each job runs in one of them; the other gets an error that says so, or the same file."""
    requests = scenario.new_requests(12, **VIDEO)
    assert scenario.start("generate", requests=requests, kill_point=[step, 12, 0]).was_killed()
    stored_before = {job["id"] for job in scenario.jobs() if job["state"] == "stored"}
    in_flight = {job["id"] for job in scenario.jobs() if job["state"] in ("submitting", "in_doubt")}
    children = [scenario.start("resume"), scenario.start("resume")]
    assert [child.was_killed() for child in children] == [False, False]
    paths: dict[str, set[str]] = {}
    for child in children:
        for job_id, result in child.result().items():
            if "path" in result:
                paths.setdefault(job_id, set()).add(result["path"])
            else:
                assert result["error"] == "InvalidRequestError"
                assert "already running" in result["message"]
    jobs = scenario.check_jobs(request["prompt"] for request in requests)
    # a job in flight when its process died is rightly in doubt: resuming leaves it alone
    stored = [job for job in jobs if job["state"] == "stored"]
    assert stored
    assert {job["state"] for job in jobs} <= {"stored", "in_doubt"}
    assert {job["id"] for job in jobs if job["state"] == "in_doubt"} == in_flight
    assert set(paths) == {job["id"] for job in stored} - stored_before
    assert all(len(found) == 1 for found in paths.values())
    assert len({name for job in stored for name in job["files"]}) == len(stored)
    scenario.check_files()


def test_what_a_killed_neighbour_carried_is_taken_over(scenario: CrashScenario) -> None:
    """Two resume together, one is killed, and the next process takes over its jobs."""
    requests = scenario.new_requests(12, **VIDEO)
    assert scenario.start("generate", requests=requests, kill_point=["after accepted", 12, 0]).was_killed()
    children = [scenario.start("resume", kill_point=["amid fetch", 2, 0]), scenario.start("resume")]
    for child in children:
        child.was_killed()
    scenario.run_command("resume")
    jobs = scenario.check_jobs(request["prompt"] for request in requests)
    assert {job["state"] for job in jobs} == {"stored"}
    scenario.check_files()


@pytest.mark.parametrize("kind", REQUESTS)
def test_one_key_in_two_processes_is_one_job(scenario: CrashScenario, kind: str) -> None:
    """Both ask at once, one submission is made, and both get the same file."""
    (request,) = scenario.new_requests(1, **REQUESTS[kind], idempotency_key="monday")
    children = [scenario.start("generate", requests=[request]) for _ in range(3)]
    assert not any(child.was_killed() for child in children)
    result = [one for child in children for one in child.result().values()]
    assert len({one["path"] for one in result}) == 1, result
    assert len({one["job"] for one in result}) == 1
    assert scenario.request_count("submit") == scenario.billed_by_prompt()[request["prompt"]] == 1


@pytest.mark.parametrize("step", ["after created", "between polls", "before keep"])
def test_a_process_attached_to_a_key_resumes_it_when_the_first_is_killed(scenario: CrashScenario, step: str) -> None:
    """The second waits for the first, which dies; nothing is sent again."""
    (request,) = scenario.new_requests(1, **VIDEO, idempotency_key="monday")
    first = scenario.start("generate", requests=[request], kill_point=[step, 1, 0])
    second = scenario.start("generate", requests=[request])
    first.was_killed()  # unless the second was quicker, and the first joined it
    assert not second.was_killed()
    (result,) = second.result().values()
    assert "path" in result, result
    assert scenario.request_count("submit") == 1
    scenario.check_jobs([request["prompt"]])


def test_a_key_whose_job_failed_is_tried_again(scenario: CrashScenario) -> None:
    """The failure was reported; the same key then submits again, and returns that job from then on."""
    scenario.fault("fal-ai", "fail", step="submit")
    (request,) = scenario.new_requests(1, **VIDEO, idempotency_key="monday")
    (result,) = scenario.run_command("generate", requests=[request]).values()
    assert result["error"] == "GenerationFailedError"
    paths = {next(iter(scenario.run_command("generate", requests=[request]).values()))["path"] for _ in range(2)}
    assert len(paths) == 1
    assert scenario.billed_by_prompt()[request["prompt"]] == 2


# -- keys, addresses, clocks ------------------------------------------------------------------------------------------


def test_a_wrong_token_while_polling_leaves_the_job_alone(scenario: CrashScenario) -> None:
    """It is reported, the job stays, and the right token fetches it."""
    (request,) = scenario.new_requests(1, **VIDEO)
    assert scenario.start("generate", requests=[request], kill_point=["between polls", 1, 0]).was_killed()
    (result,) = scenario.run_command("resume", environ={"HF_TOKEN": "hf_" + "wrong" * 7}).values()
    assert result["error"] == "AuthenticationError"
    (job,) = scenario.jobs([request["prompt"]])
    assert job["state"] == "running"
    scenario.run_command("resume")
    (job,) = scenario.check_jobs([request["prompt"]])
    assert (job["state"], scenario.request_count("submit")) == ("stored", 1)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_expired_url_is_reported_and_ends_the_job(scenario: CrashScenario, status: int) -> None:
    """It was paid and is gone; that is said, and nothing is bought in its place."""
    (request,) = scenario.new_requests(1, **VIDEO)
    assert scenario.start("generate", requests=[request], kill_point=["before fetch", 1, 0]).was_killed()
    scenario.fault("cdn", "expired", times=None, status=status)
    (result,) = scenario.run_command("resume").values()
    assert result["error"] == "ResultExpiredError"
    (job,) = scenario.check_jobs([request["prompt"]])
    assert (job["state"], scenario.request_count("submit")) == ("failed", 1)
    assert scenario.run_command("resume") == {}
    scenario.check_files()


@pytest.mark.parametrize("jump", [-30 * DAY, -10.0, 30 * DAY])
@pytest.mark.parametrize("step", ["before routed", "after sending", "between polls", "after made"])
def test_a_clock_that_jumps_changes_nothing(scenario: CrashScenario, step: str, jump: float) -> None:
    """Between the kill and the resuming: the jobs stay in their order and come home."""
    requests = scenario.new_requests(3, **VIDEO)
    assert scenario.start("generate", requests=requests, kill_point=[step, 1, 0]).was_killed()
    before = [job["id"] for job in scenario.jobs()]
    scenario.run_command("resume", clock=jump)
    scenario.run_command("generate", requests=scenario.new_requests(1, **VIDEO), clock=jump)
    scenario.check_jobs(request["prompt"] for request in requests)
    assert [job["id"] for job in scenario.jobs()][: len(before)] == before
    scenario.check_files()


# -- ledgers that are none --------------------------------------------------------------------------------------------


def _scribbled(path: Path) -> None:
    path.write_bytes(b"This is a shopping list, not a database.\n" * 100)


def _a_folder(path: Path) -> None:
    path.mkdir()


def _of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE birds (name TEXT)")


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE meta SET value = 999 WHERE name = 'version'")


def _read_only(path: Path) -> None:
    for file in path.parent.glob(path.name + "*"):
        if file.is_file():
            file.chmod(0o400)
    path.parent.chmod(0o500)


SPOILT: dict[str, tuple[Callable[[Path], None], bool, str]] = {
    "scribbled": (_scribbled, False, "not a database"),
    "folder": (_a_folder, False, "it is a folder"),
    "stranger": (_of_another_program, False, "another program's database"),
    "newer": (_newer, True, "newer than this hfmedia"),
    "read-only": (_read_only, True, "read-only"),
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("kind", REQUESTS)
def test_a_ledger_that_cannot_be_used_is_reported_before_anything_is_sent(
    scenario: CrashScenario, kind: str, how: str
) -> None:
    """Whatever is wrong with it: the error names the file, and no submission leaves the process."""
    spoil, was_one, message = SPOILT[how]
    if how == "read-only" and os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    path = scenario.home / "ledger.sqlite3"
    scenario.home.mkdir(exist_ok=True)
    if was_one:
        assert scenario.run_command("list") == []
    spoil(path)
    try:
        result = scenario.run_command("generate", requests=scenario.new_requests(2, **REQUESTS[kind]))
    finally:
        scenario.home.chmod(0o700)
    for one in result.values():
        assert one["error"] == "StorageError"
        assert str(path) in one["message"]
        assert message in one["message"]
    assert scenario.request_count("submit") == 0
