"""Texts for jobs, and parsing of what the user writes about them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from hfmedia.cli import job_format, job_json
from hfmedia.cli.job_format import JobSnapshot
from hfmedia.core import job as entry_types
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import STATES, Job
from hfmedia.core.protocol import Cost, JobHandle, Output, Route
from hfmedia.core.request import GenerationRequest, InputImage

NOW = 1_762_000_000.0


def route(provider: str = "fal-ai") -> Route:
    """A route to that provider."""
    return Route(
        provider=provider,
        provider_id="x",
        model="a/b",
        task="text-to-image",
        base_url="https://x",
        credential="FAL_KEY",
    )


def job(**fields: Any) -> Job:
    """A job that was sent once to fal-ai, except for the given fields."""
    request = GenerationRequest(task="text-to-image", model="a/b", prompt="a fox")
    usual = {"id": "abc1", "request": request, "route": route(), "attempts": 1, "created_at": NOW - 60}
    return Job(**{**usual, "updated_at": NOW, **fields})


BY_URL = (Output(url="https://cdn/x.png"),)
STORED = {"media": {"files": [{"path": "/there/x.png"}]}}
INLINE = (Output(mime="image/png"),)
WITH_FILE = GenerationRequest(task="image-to-image", model="a/b", image=InputImage(name="day.png", sha256="0"))
WITH_URL = GenerationRequest(task="image-to-image", model="a/b", image=InputImage(url="https://x/day.png"))

STEPS: tuple[tuple[dict[str, Any], dict[str, Any], tuple[str, ...]], ...] = (
    (
        {"state": "created"},
        {},
        ("run `hfmedia jobs resume abc1` to send it, or `hfmedia jobs cancel abc1` to discard it",),
    ),
    ({"state": "routed"}, {}, ("run `hfmedia jobs resume abc1` to send it",)),
    ({"state": "routed"}, {"owner_pid": "77"}, ("in progress in process 77",)),
    ({"state": "routed", "request": WITH_FILE}, {}, ("image is not stored", "`hfmedia jobs cancel abc1`")),
    ({"state": "routed", "request": WITH_URL}, {}, ("run `hfmedia jobs resume abc1` to send it",)),
    ({"state": "submitting"}, {"owner_pid": "77"}, ("in progress in process 77",)),
    ({"state": "running"}, {"owner_pid": "77"}, ("in progress in process 77",)),
    ({"state": "running"}, {}, ("`hfmedia jobs resume abc1` continues it at no extra cost",)),
    ({"state": "completed", "outputs": BY_URL}, {}, ("`hfmedia jobs resume abc1` downloads it",)),
    ({"state": "completed", "outputs": INLINE}, {}, ("can only be generated again",)),
    ({"state": "stored", **STORED}, {}, ()),
    (
        {"state": "stored", "outputs": BY_URL, **STORED},
        {"missing_files": ("/there/x.png",)},
        ("is missing", "jobs resume abc1"),
    ),
    (
        {"state": "stored", "outputs": INLINE, **STORED},
        {"missing_files": ("/there/x.png",)},
        ("can only be generated again",),
    ),
    (
        {"state": "in_doubt"},
        {},
        ("check fal-ai's own dashboard", "`hfmedia jobs resolve abc1 --drop`", "`--resend`", "may be billed twice"),
    ),
    (
        {"state": "in_doubt", "route": route("replicate")},
        {},
        ("look it up with `hfmedia jobs resolve abc1 --ask`", "check replicate"),
    ),
    ({"state": "failed"}, {}, ()),
    ({"state": "cancelled"}, {}, ()),
)


@pytest.mark.parametrize(("fields", "known", "texts"), STEPS)
def test_every_state_has_its_next_step(fields: dict[str, Any], known: dict[str, Any], texts: tuple[str, ...]) -> None:
    """A command to copy, or nothing where nothing remains to be done."""
    step = job_format.next_step(JobSnapshot(job=job(**fields), **known))
    assert (step is None) == (texts == ())
    assert all(text in (step or "") for text in texts), step


def test_no_state_is_left_out() -> None:
    """Each state has a label, and a row in the table above."""
    assert set(job_format.STATE_LABELS) == set(STATES) == {fields["state"] for fields, _, _ in STEPS}


COSTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"cost": Cost(0.003)}, "$0.003"),
    ({"cost": Cost(0.00000125)}, "$0.00000125"),
    ({"cost": Cost(2.0, "fal-units")}, "2 fal-units"),
    ({"cost": Cost(0.0)}, "$0"),
    ({}, "unknown"),
    ({"attempts": 0}, "nothing"),
    ({"rejections": ("busy",)}, "nothing"),
    ({"cost": Cost(0.5), "attempts": 2}, "$0.5 plus an unknown amount"),
)


@pytest.mark.parametrize(("fields", "text"), COSTS)
def test_an_unknown_cost_is_never_zero(fields: dict[str, Any], text: str) -> None:
    """A zero is shown only where the provider itself reported one."""
    assert job_format.format_job_cost(job(**fields)) == text


AGES = (
    (-5.0, "0 s"), (0.0, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (3600.0, "60 min"), (5400.0, "2 h"),
    (86_400.0, "24 h"), (86_400.0 * 2, "2 days"), (86_400.0 * 400, "400 days"),
)  # fmt: skip


@pytest.mark.parametrize(("seconds", "text"), AGES)
def test_an_age_has_a_unit(seconds: float, text: str) -> None:
    """A negative one, of a clock that was set back, is zero."""
    assert job_format.format_age(seconds) == text


TIMES = (
    ("30m", NOW - 1800), ("3h", NOW - 10_800), ("2d", NOW - 172_800), ("4w", NOW - 2_419_200), ("90 s", NOW - 90),
    ("1.5h", NOW - 5400), (" 2D ", NOW - 172_800), ("2025-11-03", datetime(2025, 11, 3).timestamp()),
    ("2025-11-03T10:00:00Z", 1_762_164_000.0), ("2025-11-03T10:00+02:00", 1_762_156_800.0),
)  # fmt: skip


@pytest.mark.parametrize(("text", "timestamp"), TIMES)
def test_a_time_is_a_span_or_a_date(text: str, timestamp: float) -> None:
    """A date is the local one, unless it names its zone."""
    assert job_format.parse_when(text, NOW, option="--since") == timestamp


@pytest.mark.parametrize("text", ["", "yesterday", "3", "-3h", "3y", "2025-13-01", "9" * 400 + "d", "0001-01-01x"])
def test_an_invalid_time_is_rejected_with_examples(text: str) -> None:
    """The message names the option and valid values."""
    with pytest.raises(InvalidRequestError, match=r"--since .* 2025-11-03"):
        job_format.parse_when(text, NOW, option="--since")


IDS = ("abc1", "abc2", "b00")
PREFIXES = (("abc1", "abc1"), ("b", "b00"), ("B0", "b00"), (" abc2 ", "abc2"))


@pytest.mark.parametrize(("text", "job_id"), PREFIXES)
def test_a_unique_prefix_of_an_id_is_enough(text: str, job_id: str) -> None:
    """Whatever its case."""
    assert job_format.select_job_id(text, IDS) == job_id


@pytest.mark.parametrize(
    ("text", "message"), [("a", "abc1, abc2"), ("z", "no job ID starts"), ("", "no job ID starts")]
)
def test_an_unknown_or_ambiguous_prefix_is_rejected(text: str, message: str) -> None:
    """Several matches are listed."""
    with pytest.raises(InvalidRequestError, match=message):
        job_format.select_job_id(text, IDS)


STATE_NAMES = (
    ((), None),
    (("running",), ("running",)),
    (("done",), ("stored",)),
    (("stored", "done"), ("stored",)),
    (("In Doubt",), ("in_doubt",)),
    (("in-doubt", "failed"), ("in_doubt", "failed")),
    (("in_doubt", "Submitting"), ("in_doubt", "submitting")),
    (("not-sent",), ("created", "routed")),
)


@pytest.mark.parametrize(("texts", "states"), STATE_NAMES)
def test_a_state_is_known_by_its_name_and_by_its_label(texts: tuple[str, ...], states: Any) -> None:
    """What the list shows can be used as a filter."""
    assert job_format.parse_states(texts) == states


ENTRY: dict[str, Any] = {"job_id": "abc1", "timestamp": NOW}
REQUEST = GenerationRequest(task="text-to-image", model="a/b", prompt="a fox")
ENTRIES: tuple[tuple[entry_types.LedgerEntry, str], ...] = (
    (
        entry_types.CreatedEntry(**ENTRY, request=REQUEST, requested_model="a/b:fal-ai"),
        "created: text-to-image with a/b:fal-ai",
    ),
    (
        entry_types.RoutedEntry(**ENTRY, route=route(), request=REQUEST),
        "routed to fal-ai, through the router, with FAL_KEY",
    ),
    (entry_types.SubmittingEntry(**ENTRY, attempt=2), "submitted, attempt 2"),
    (entry_types.AcceptedEntry(**ENTRY, handle=JobHandle("77")), "accepted as provider job 77"),
    (entry_types.RejectedEntry(**ENTRY, kind="rate_limited", message="fal-ai is busy"), "rejected: fal-ai is busy"),
    (entry_types.InDoubtEntry(**ENTRY, message="no response"), "in doubt: no response"),
    (entry_types.ResolvedEntry(**ENTRY, decision="resend"), "resolved: to be resent"),
    (entry_types.ResolvedEntry(**ENTRY, decision="drop"), "resolved: dropped"),
    (entry_types.CompletedEntry(**ENTRY, outputs=BY_URL), "completed: 1 output, cost unknown"),
    (entry_types.CompletedEntry(**ENTRY, outputs=BY_URL * 2, cost=Cost(0.5)), "completed: 2 outputs, cost $0.5"),
    (entry_types.StoredEntry(**ENTRY, media=STORED["media"]), "stored: /there/x.png"),
    (entry_types.FailedEntry(**ENTRY, kind="generation_failed", message="no luck"), "failed: no luck"),
    (entry_types.CancelledEntry(**ENTRY, provider_confirmed=None), "cancelled: nothing was sent, so nothing is billed"),
    (entry_types.CancelledEntry(**ENTRY, provider_confirmed=True), "cancelled: the provider confirmed"),
    (
        entry_types.CancelledEntry(**ENTRY, provider_confirmed=False, message="too late"),
        "cancelled: too late; it may still be billed",
    ),
)


@pytest.mark.parametrize(("entry", "text"), ENTRIES)
def test_every_entry_has_a_text(entry: entry_types.LedgerEntry, text: str) -> None:
    """One sentence each, in JSON as well."""
    assert job_format.describe_entry(entry) == text
    assert job_json.entry_to_dict(entry)["message"] == text
    assert job_json.entry_to_dict(entry)["timestamp"].endswith("Z")


def test_every_kind_of_entry_is_in_the_table() -> None:
    """A new one needs a text."""
    assert {type(entry) for entry, _ in ENTRIES} == {
        kind for row in entry_types.TRANSITIONS.values() for kind in row
    } | {entry_types.CreatedEntry}


HOSTILE = "\x1b[31mred\x07\n  Bearer hf_abcdefghijklmnopqrstuvwxyz012345"


def test_external_text_is_never_executed_by_a_terminal() -> None:
    """No control characters, one line, no secrets: in rows, details and history."""
    hostile = GenerationRequest(task="text-to-image", model="a/b", prompt=HOSTILE)
    snapshot = JobSnapshot(
        job=job(state="failed", request=hostile, error=HOSTILE, warnings=(HOSTILE,), rejections=(HOSTILE,)), now=NOW
    )
    texts = [
        job_format.list_hint(snapshot),
        *(text for _, text in job_format.detail_rows(snapshot)),
        job_format.format_line(hostile.prompt),
    ]
    texts.append(job_format.describe_entry(entry_types.FailedEntry(**ENTRY, kind="generation_failed", message=HOSTILE)))
    for text in texts:
        assert text.isprintable()
        assert "abcdefghij" not in text
    assert sum("red" in text for text in texts) >= 6


def test_an_earlier_rejection_does_not_explain_a_running_job() -> None:
    """It belongs to its attempt; the job continues at another provider."""
    assert job_format.failure_reason(job(state="running", error="together is busy")) is None
    assert job_format.failure_reason(job(state="failed", error="no luck")) == "no luck"
