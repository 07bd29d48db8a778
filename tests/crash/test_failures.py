"""Bad days in real processes: answers lost or late, disks full, keys wrong, addresses expired, clocks that jump.

Each time the person is told what happened, nothing that was paid is lost, and nothing is paid that was not asked for.
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


def doubted(town: CrashScenario, kind: str, fault: str = "disconnect") -> dict[str, Any]:
    """A job that a provider took on, and whose answer was lost on the way."""
    town.fault(PROVIDERS[kind], fault, step="submit")
    (wish,) = town.new_requests(1, **REQUESTS[kind])
    (told,) = town.run_command("make", wishes=[wish]).values()
    assert told["error"] == "InDoubtError"
    assert told["job"] in told["words"]
    (job,) = town.check_jobs([wish["prompt"]])
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
def test_a_lost_answer_is_a_doubt_that_resuming_never_sends_again(town: CrashScenario, kind: str, fault: str) -> None:
    """Whether everything is resumed, or that very job."""
    job = doubted(town, kind, fault)
    assert town.run_command("resume") == {}
    (told,) = town.run_command("resume", jobs=[job["id"]]).values()
    assert (told["error"], "--resend" in told["words"]) == ("InDoubtError", True)
    assert town.billed_by_prompt()[job["prompt"]] <= 1
    assert town.request_count("submit") == 1


@pytest.mark.parametrize("kind", REQUESTS)
def test_resend_sends_once_more_and_only_once(town: CrashScenario, kind: str) -> None:
    """Whoever said so knows that it may be paid twice; said twice, the second word is refused."""
    job = doubted(town, kind)
    assert town.run_command("settle", decisions={job["id"]: "resend"}) == {job["id"]: "routed"}
    again = town.run_command("settle", decisions={job["id"]: "resend"})[job["id"]]
    assert again.startswith("InvalidRequestError")
    for _ in range(2):
        town.run_command("resume")
        assert town.request_count("submit") == 2
    (job,) = town.check_jobs([job["prompt"]], max_paid=2)
    assert (job["state"], job["attempts"]) == ("stored", 2)


@pytest.mark.parametrize("kind", REQUESTS)
def test_drop_ends_it(town: CrashScenario, kind: str) -> None:
    """For good: it can be neither resumed nor sent again."""
    job = doubted(town, kind)
    assert town.run_command("settle", decisions={job["id"]: "drop"}) == {job["id"]: "failed"}
    (told,) = town.run_command("resume", jobs=[job["id"]]).values()
    assert told["error"] == "GenerationFailedError"
    assert town.run_command("settle", decisions={job["id"]: "resend"})[job["id"]].startswith("InvalidRequestError")
    assert town.request_count("submit") == 1


def test_a_provider_that_can_be_asked_settles_the_doubt(town: CrashScenario) -> None:
    """replicate lists its predictions: the job is found there and brought home, without paying again."""
    job = doubted(town, "holding")
    assert town.run_command("settle", decisions={job["id"]: "ask"})[job["id"]] in ("running", "completed")
    town.run_command("resume")
    (job,) = town.check_jobs([job["prompt"]])
    assert (job["state"], town.request_count("submit")) == ("stored", 1)


def test_a_provider_that_knows_nothing_leaves_the_doubt(town: CrashScenario) -> None:
    """Killed before the first byte: replicate has no such prediction, so a person decides."""
    wishes = town.new_requests(3, **REQUESTS["holding"])
    assert town.start("make", wishes=wishes, fate=["before post", 1, 0]).was_killed()
    town.run_command("resume")
    jobs = [job for job in town.check_jobs(wish["prompt"] for wish in wishes) if job["state"] == "in_doubt"]
    assert jobs
    for words in town.run_command("settle", decisions={job["id"]: "ask" for job in jobs}).values():
        assert words.startswith("InvalidRequestError")
        assert "stays in doubt" in words
    assert {job["state"] for job in town.jobs([job["prompt"] for job in jobs])} == {"in_doubt"}


def test_an_answer_beyond_the_deadline_detaches_and_is_resumed(town: CrashScenario) -> None:
    """The provider is at work when the time is up: the job goes on there, and is fetched later."""
    town.fault("fal-ai", "cold", step="submit", seconds=100_000)
    (wish,) = town.new_requests(1, **VIDEO)
    # it is accepted by then, on any machine
    (told,) = town.run_command("make", wishes=[wish], timeouts={"total": 4}).values()
    assert told["error"] == "DeadlineExceededError"
    (job,) = town.jobs([wish["prompt"]])
    assert job["state"] == "running"
    town.run(lambda: finish_waiting_jobs(town.sandbox.state))
    town.run_command("resume")
    (job,) = town.check_jobs([wish["prompt"]])
    assert (job["state"], town.request_count("submit")) == ("stored", 1)


@pytest.mark.parametrize("kind", REQUESTS)
def test_no_answer_to_the_submission_within_its_time_is_a_doubt(town: CrashScenario, kind: str) -> None:
    """It was sent, and nobody knows what became of it."""
    town.fault(PROVIDERS[kind], "hang", step="submit")
    (wish,) = town.new_requests(1, **REQUESTS[kind])
    # it is sent by then, on any machine
    (told,) = town.run_command("make", wishes=[wish], timeouts={"submit": 1.5}).values()
    assert told["error"] == "InDoubtError"
    assert town.run_command("resume") == {}
    (job,) = town.check_jobs([wish["prompt"]])
    assert (job["state"], town.request_count("submit")) == ("in_doubt", 1)


@pytest.mark.parametrize("step", ["after created", "before routed", "before sending"])
def test_an_unsent_job_whose_picture_is_not_kept_says_so(town: CrashScenario, step: str, tmp_path: Path) -> None:
    """A picture by its address is sent now; bytes were never written down, so that job can only be asked for again."""
    picture = tmp_path / "fox.png"
    picture.write_bytes(noise())
    model = {"task": "image-to-video", "model": "Wan-AI/Wan2.2-I2V-A14B:fal-ai"}
    (kept,) = town.new_requests(1, **model, image="https://example.org/fox.png")
    (lost,) = town.new_requests(1, **model, image=str(picture))
    for request in (kept, lost):  # one after the other: in parallel, either may be sent before the other's step
        assert town.start("make", wishes=[request], fate=[step, 1, 0]).was_killed()
    told = town.run_command("resume")
    states = {job["prompt"]: job["state"] for job in town.jobs()}
    for job in town.jobs():
        if job["prompt"] == lost["prompt"]:
            assert told[job["id"]]["error"] == "InvalidRequestError"
            assert "submit the request again" in told[job["id"]]["words"]
    assert states[kept["prompt"]] == "stored"
    assert town.billed_by_prompt()[lost["prompt"]] == 0
    assert town.request_count("submit") == 1


# -- disks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["holding"])
def test_a_disk_that_fills_up_while_downloading_costs_only_a_download(
    town: CrashScenario, kind: str, tmp_path: Path
) -> None:
    """The error says so, nothing half is left, and another place takes the file without paying again."""
    town.replace_media(noise())
    (wish,) = town.new_requests(1, **REQUESTS[kind])
    (told,) = town.run_command("make", wishes=[wish], most_bytes=ROOM).values()
    assert told["error"] == "StorageError"
    town.check_files()
    (job,) = town.jobs([wish["prompt"]])
    assert job["state"] == "completed"
    elsewhere = tmp_path / "elsewhere" / "fox.png"
    (told,) = town.run_command("resume", output=str(elsewhere)).values()
    assert told["path"] == str(elsewhere)
    (job,) = town.check_jobs([wish["prompt"]])
    assert (job["state"], town.request_count("submit")) == ("stored", 1)


def test_inline_media_waits_for_room_while_its_process_lives(town: CrashScenario, tmp_path: Path) -> None:
    """And when that process ends, the job says that its media is lost, instead of being bought again."""
    town.replace_media(noise())
    wishes = town.new_requests(2, **REQUESTS["inline"])
    elsewhere = tmp_path / "elsewhere" / "fox.png"
    told = town.run_command("make_room", wishes=wishes[:1], most_bytes=ROOM, output=str(elsewhere))
    assert [one["error"] for one in told["first"].values()] == ["StorageError"]
    assert [one["path"] for one in told["then"].values()] == [str(elsewhere)]
    (told,) = town.run_command("make", wishes=wishes[1:], most_bytes=ROOM).values()
    assert told["error"] == "StorageError"
    (told,) = town.run_command("resume", output=str(elsewhere)).values()
    assert (told["error"], LOST_MESSAGE in told["words"]) == ("DownloadError", True)
    town.check_jobs(wish["prompt"] for wish in wishes)
    town.check_files()
    assert town.request_count("submit") == 2


def test_a_ledger_that_finds_no_room_buys_nothing(town: CrashScenario) -> None:
    """What cannot be written down is not sent."""
    (told,) = town.run_command("make", wishes=town.new_requests(1, **VIDEO), most_bytes=8192).values()
    assert (told["error"], "ledger" in told["words"]) == ("StorageError", True)
    assert town.request_count("submit") == 0


# -- several processes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["after created", "before routed", "between polls", "before fetch"])
def test_two_processes_that_resume_at_once_share_the_jobs(town: CrashScenario, step: str) -> None:
    """Each job is carried by one of them; the other is told so, or gets the same file."""
    wishes = town.new_requests(12, **VIDEO)
    assert town.start("make", wishes=wishes, fate=[step, 12, 0]).was_killed()
    there = {job["id"] for job in town.jobs() if job["state"] == "stored"}
    on_the_way = {job["id"] for job in town.jobs() if job["state"] in ("submitting", "in_doubt")}
    children = [town.start("resume"), town.start("resume")]
    assert [child.was_killed() for child in children] == [False, False]
    paths: dict[str, set[str]] = {}
    for child in children:
        for job_id, told in child.result().items():
            if "path" in told:
                paths.setdefault(job_id, set()).add(told["path"])
            else:
                assert told["error"] == "InvalidRequestError"
                assert "already running" in told["words"]
    jobs = town.check_jobs(wish["prompt"] for wish in wishes)
    # a job that was on its way out when its process died is in doubt, rightly: that is nobody's to resume
    stored = [job for job in jobs if job["state"] == "stored"]
    assert stored
    assert {job["state"] for job in jobs} <= {"stored", "in_doubt"}
    assert {job["id"] for job in jobs if job["state"] == "in_doubt"} == on_the_way
    assert set(paths) == {job["id"] for job in stored} - there
    assert all(len(found) == 1 for found in paths.values())
    assert len({name for job in stored for name in job["files"]}) == len(stored)
    town.check_files()


def test_what_a_killed_neighbour_carried_is_taken_over(town: CrashScenario) -> None:
    """Two carry on together, one is killed, and the next to come takes what that one had."""
    wishes = town.new_requests(12, **VIDEO)
    assert town.start("make", wishes=wishes, fate=["after accepted", 12, 0]).was_killed()
    children = [town.start("resume", fate=["amid fetch", 2, 0]), town.start("resume")]
    for child in children:
        child.was_killed()
    town.run_command("resume")
    jobs = town.check_jobs(wish["prompt"] for wish in wishes)
    assert {job["state"] for job in jobs} == {"stored"}
    town.check_files()


@pytest.mark.parametrize("kind", REQUESTS)
def test_one_key_in_two_processes_is_one_job(town: CrashScenario, kind: str) -> None:
    """Both ask at once, one submission is made, and both get the same file."""
    (wish,) = town.new_requests(1, **REQUESTS[kind], idempotency_key="monday")
    children = [town.start("make", wishes=[wish]) for _ in range(3)]
    assert not any(child.was_killed() for child in children)
    told = [one for child in children for one in child.result().values()]
    assert len({one["path"] for one in told}) == 1, told
    assert len({one["job"] for one in told}) == 1
    assert town.request_count("submit") == town.billed_by_prompt()[wish["prompt"]] == 1


@pytest.mark.parametrize("step", ["after created", "between polls", "before keep"])
def test_whoever_joined_a_key_carries_it_on_when_the_first_is_killed(town: CrashScenario, step: str) -> None:
    """The second waits for the first, which dies; nothing is sent again."""
    (wish,) = town.new_requests(1, **VIDEO, idempotency_key="monday")
    first = town.start("make", wishes=[wish], fate=[step, 1, 0])
    second = town.start("make", wishes=[wish])
    first.was_killed()  # unless the second was quicker, and the first joined it
    assert not second.was_killed()
    (told,) = second.result().values()
    assert "path" in told, told
    assert town.request_count("submit") == 1
    town.check_jobs([wish["prompt"]])


def test_a_key_whose_job_failed_is_tried_anew(town: CrashScenario) -> None:
    """That failure was told; the same key then buys once more, and returns that from then on."""
    town.fault("fal-ai", "fail", step="submit")
    (wish,) = town.new_requests(1, **VIDEO, idempotency_key="monday")
    (told,) = town.run_command("make", wishes=[wish]).values()
    assert told["error"] == "GenerationFailedError"
    paths = {next(iter(town.run_command("make", wishes=[wish]).values()))["path"] for _ in range(2)}
    assert len(paths) == 1
    assert town.billed_by_prompt()[wish["prompt"]] == 2


# -- keys, addresses, clocks ------------------------------------------------------------------------------------------


def test_a_wrong_token_while_polling_leaves_the_job_alone(town: CrashScenario) -> None:
    """It is told, the job stays, and the right token brings it home."""
    (wish,) = town.new_requests(1, **VIDEO)
    assert town.start("make", wishes=[wish], fate=["between polls", 1, 0]).was_killed()
    (told,) = town.run_command("resume", environ={"HF_TOKEN": "hf_" + "wrong" * 7}).values()
    assert told["error"] == "AuthenticationError"
    (job,) = town.jobs([wish["prompt"]])
    assert job["state"] == "running"
    town.run_command("resume")
    (job,) = town.check_jobs([wish["prompt"]])
    assert (job["state"], town.request_count("submit")) == ("stored", 1)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_expired_address_is_told_and_ends_the_job(town: CrashScenario, status: int) -> None:
    """It was paid and is gone; that is said, and nothing is bought in its place."""
    (wish,) = town.new_requests(1, **VIDEO)
    assert town.start("make", wishes=[wish], fate=["before fetch", 1, 0]).was_killed()
    town.fault("cdn", "expired", times=None, status=status)
    (told,) = town.run_command("resume").values()
    assert told["error"] == "ResultExpiredError"
    (job,) = town.check_jobs([wish["prompt"]])
    assert (job["state"], town.request_count("submit")) == ("failed", 1)
    assert town.run_command("resume") == {}
    town.check_files()


@pytest.mark.parametrize("jump", [-30 * DAY, -10.0, 30 * DAY])
@pytest.mark.parametrize("step", ["before routed", "after sending", "between polls", "after made"])
def test_a_clock_that_jumps_changes_nothing(town: CrashScenario, step: str, jump: float) -> None:
    """Between the kill and the resuming: the jobs stay in their order and come home."""
    wishes = town.new_requests(3, **VIDEO)
    assert town.start("make", wishes=wishes, fate=[step, 1, 0]).was_killed()
    before = [job["id"] for job in town.jobs()]
    town.run_command("resume", clock=jump)
    town.run_command("make", wishes=town.new_requests(1, **VIDEO), clock=jump)
    town.check_jobs(wish["prompt"] for wish in wishes)
    assert [job["id"] for job in town.jobs()][: len(before)] == before
    town.check_files()


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
def test_a_ledger_that_cannot_be_used_is_told_before_anything_is_sent(town: CrashScenario, kind: str, how: str) -> None:
    """Whatever is wrong with it: the error names the file, and no submission leaves the process."""
    spoil, was_one, words = SPOILT[how]
    if how == "read-only" and os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    path = town.home / "ledger.sqlite3"
    town.home.mkdir(exist_ok=True)
    if was_one:
        assert town.run_command("look") == []
    spoil(path)
    try:
        told = town.run_command("make", wishes=town.new_requests(2, **REQUESTS[kind]))
    finally:
        town.home.chmod(0o700)
    for one in told.values():
        assert one["error"] == "StorageError"
        assert str(path) in one["words"]
        assert words in one["words"]
    assert town.request_count("submit") == 0
