"""A job in words: tables of what is said of it, and of what is understood of what a person wrote."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from hfmedia.cli import job_format
from hfmedia.cli.job_format import JobSnapshot
from hfmedia.core import job as life
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import STATES, Job
from hfmedia.core.protocol import Cost, JobHandle, Output, Route
from hfmedia.core.request import GenerationRequest, InputImage

NOW = 1_762_000_000.0


def route(provider: str = "fal-ai") -> Route:
    """A way to that provider."""
    return Route(
        provider=provider,
        provider_id="x",
        model="a/b",
        task="text-to-image",
        base_url="https://x",
        credential="FAL_KEY",
    )


def job(**told: Any) -> Job:
    """A job that was sent once to fal-ai, unless told otherwise."""
    wish = GenerationRequest(task="text-to-image", model="a/b", prompt="a fox")
    known = {"id": "abc1", "request": wish, "route": route(), "attempts": 1, "created": NOW - 60, "updated": NOW}
    return Job(**{**known, **told})


WHERE = (Output(url="https://cdn/x.png"),)
STORED = {"media": {"files": [{"path": "/there/x.png"}]}}
INSIDE = (Output(mime="image/png"),)
PICTURE = GenerationRequest(task="image-to-image", model="a/b", image=InputImage(name="day.png", sha256="0"))
LINKED = GenerationRequest(task="image-to-image", model="a/b", image=InputImage(url="https://x/day.png"))

STEPS: tuple[tuple[dict[str, Any], dict[str, Any], tuple[str, ...]], ...] = (
    ({"state": "new"}, {}, ("`hfmedia jobs resume abc1` sends it", "`hfmedia jobs cancel abc1`")),
    ({"state": "ready"}, {}, ("`hfmedia jobs resume abc1` sends it",)),
    ({"state": "ready"}, {"carrier": "77"}, ("wait: process 77",)),
    ({"state": "ready", "request": PICTURE}, {}, ("image is not kept", "`hfmedia jobs cancel abc1`")),
    ({"state": "ready", "request": LINKED}, {}, ("`hfmedia jobs resume abc1` sends it",)),
    ({"state": "sending"}, {"carrier": "77"}, ("wait: process 77",)),
    ({"state": "running"}, {"carrier": "77"}, ("wait: process 77",)),
    ({"state": "running"}, {}, ("`hfmedia jobs resume abc1` carries it on, without paying again",)),
    ({"state": "finished", "outputs": WHERE}, {}, ("`hfmedia jobs resume abc1` fetches it",)),
    ({"state": "finished", "outputs": INSIDE}, {}, ("can only be made again",)),
    ({"state": "stored", **STORED}, {}, ()),
    ({"state": "stored", "outputs": WHERE, **STORED}, {"gone": ("/there/x.png",)}, ("is gone", "jobs resume abc1")),
    ({"state": "stored", "outputs": INSIDE, **STORED}, {"gone": ("/there/x.png",)}, ("can only be made again",)),
    (
        {"state": "doubt"},
        {},
        ("look at fal-ai's own dashboard", "`hfmedia jobs resolve abc1 --drop`", "`--resend`", "may be paid twice"),
    ),
    ({"state": "doubt", "route": route("replicate")}, {}, ("ask replicate with `hfmedia jobs resolve abc1 --ask`",)),
    ({"state": "failed"}, {}, ()),
    ({"state": "cancelled"}, {}, ()),
)


@pytest.mark.parametrize(("told", "known", "words"), STEPS)
def test_what_to_do_next_is_told_for_every_state(
    told: dict[str, Any], known: dict[str, Any], words: tuple[str, ...]
) -> None:
    """A command that can be copied, or nothing where nothing is left to do."""
    step = job_format.next_step(JobSnapshot(job=job(**told), **known))
    assert (step is None) == (words == ())
    assert all(part in (step or "") for part in words), step


def test_no_state_is_left_out() -> None:
    """Each state has its words, and a row in the table above."""
    assert set(job_format.STATE_LABELS) == set(STATES) == {told["state"] for told, _, _ in STEPS}


COSTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"cost": Cost(0.003)}, "$0.003"),
    ({"cost": Cost(0.00000125)}, "$0.00000125"),
    ({"cost": Cost(2.0, "fal-units")}, "2 fal-units"),
    ({"cost": Cost(0.0)}, "$0"),
    ({}, "unknown"),
    ({"attempts": 0}, "nothing"),
    ({"refusals": ("busy",)}, "nothing"),
    ({"cost": Cost(0.5), "attempts": 2}, "$0.5 and what nobody told"),
)


@pytest.mark.parametrize(("told", "words"), COSTS)
def test_an_unknown_cost_is_never_told_as_none(told: dict[str, Any], words: str) -> None:
    """A zero is said only where the provider itself reported one."""
    assert job_format.format_cost(job(**told)) == words


AGES = (
    (-5.0, "0 s"), (0.0, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (3600.0, "60 min"), (5400.0, "2 h"),
    (86_400.0, "24 h"), (86_400.0 * 2, "2 days"), (86_400.0 * 400, "400 days"),
)  # fmt: skip


@pytest.mark.parametrize(("seconds", "words"), AGES)
def test_an_age_has_a_unit(seconds: float, words: str) -> None:
    """A clock that jumped back makes nothing younger than now."""
    assert job_format.format_age(seconds) == words


MOMENTS = (
    ("30m", NOW - 1800), ("3h", NOW - 10_800), ("2d", NOW - 172_800), ("4w", NOW - 2_419_200), ("90 s", NOW - 90),
    ("1.5h", NOW - 5400), (" 2D ", NOW - 172_800), ("2025-11-03", datetime(2025, 11, 3).timestamp()),
    ("2025-11-03T10:00:00Z", 1_762_164_000.0), ("2025-11-03T10:00+02:00", 1_762_156_800.0),
)  # fmt: skip


@pytest.mark.parametrize(("text", "at"), MOMENTS)
def test_a_moment_is_a_span_or_a_date(text: str, at: float) -> None:
    """A date is the local one, unless it names its zone."""
    assert job_format.parse_when(text, NOW, option="--since") == at


@pytest.mark.parametrize("text", ["", "yesterday", "3", "-3h", "3y", "2025-13-01", "9" * 400 + "d", "0001-01-01x"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    """The option is named, and what would be right."""
    with pytest.raises(InvalidRequestError, match=r"--since .* 2025-11-03"):
        job_format.parse_when(text, NOW, option="--since")


IDS = ("abc1", "abc2", "b00")
CHOSEN = (("abc1", "abc1"), ("b", "b00"), ("B0", "b00"), (" abc2 ", "abc2"))


@pytest.mark.parametrize(("text", "found"), CHOSEN)
def test_the_beginning_of_an_id_is_enough(text: str, found: str) -> None:
    """Where only one job begins so."""
    assert job_format.select_job_id(text, IDS) == found


@pytest.mark.parametrize(("text", "words"), [("a", "abc1, abc2"), ("z", "no job begins"), ("", "no job begins")])
def test_an_id_that_is_none_or_several_is_refused(text: str, words: str) -> None:
    """The several are listed."""
    with pytest.raises(InvalidRequestError, match=words):
        job_format.select_job_id(text, IDS)


STATE_NAMES = (
    ((), None),
    (("running",), ("running",)),
    (("done",), ("stored",)),
    (("stored", "done"), ("stored",)),
    (("In Doubt",), ("doubt",)),
    (("in-doubt", "failed"), ("doubt", "failed")),
    (("not-sent",), ("new", "ready")),
)


@pytest.mark.parametrize(("texts", "states"), STATE_NAMES)
def test_a_state_is_known_by_its_name_and_by_its_words(texts: tuple[str, ...], states: Any) -> None:
    """What the list shows can be asked for."""
    assert job_format.parse_states(texts) == states


ABOUT: dict[str, Any] = {"job": "abc1", "at": NOW}
WISH = GenerationRequest(task="text-to-image", model="a/b", prompt="a fox")
DEEDS: tuple[tuple[life.LedgerEntry, str], ...] = (
    (life.CreatedEntry(**ABOUT, request=WISH, requested_model="a/b:fal-ai"), "created: text-to-image with a/b:fal-ai"),
    (life.RoutedEntry(**ABOUT, route=route(), request=WISH), "goes to fal-ai, through the router, with FAL_KEY"),
    (life.SubmittingEntry(**ABOUT, attempt=2), "sent, attempt 2"),
    (life.AcceptedEntry(**ABOUT, handle=JobHandle("77")), "accepted; the provider's id for it: 77"),
    (life.RejectedEntry(**ABOUT, kind="busy", message="fal-ai is busy"), "not accepted: fal-ai is busy"),
    (life.InDoubtEntry(**ABOUT, message="no answer"), "in doubt: no answer"),
    (life.ResolvedEntry(**ABOUT, decision="resend"), "resolved: to be sent again"),
    (life.ResolvedEntry(**ABOUT, decision="drop"), "resolved: dropped"),
    (life.CompletedEntry(**ABOUT, outputs=WHERE), "made: 1 output, cost not told"),
    (life.CompletedEntry(**ABOUT, outputs=WHERE * 2, cost=Cost(0.5)), "made: 2 outputs, cost $0.5"),
    (life.StoredEntry(**ABOUT, media=STORED["media"]), "stored: /there/x.png"),
    (life.FailedEntry(**ABOUT, kind="failed", message="no luck"), "failed: no luck"),
    (life.CancelledEntry(**ABOUT, provider_confirmed=None), "cancelled: nothing was sent, so there is nothing to pay"),
    (life.CancelledEntry(**ABOUT, provider_confirmed=True), "cancelled: the provider agreed to stop"),
    (
        life.CancelledEntry(**ABOUT, provider_confirmed=False, message="too late"),
        "cancelled: too late; it may still be billed",
    ),
)


@pytest.mark.parametrize(("fact", "words"), DEEDS)
def test_every_fact_is_told_in_words(fact: life.LedgerEntry, words: str) -> None:
    """One sentence each, and the same as data."""
    assert job_format.describe_entry(fact) == words
    assert job_format.entry_to_dict(fact)["words"] == words
    assert job_format.entry_to_dict(fact)["at"].endswith("Z")


def test_every_sort_of_fact_is_in_the_table() -> None:
    """A new one would need its words."""
    assert {type(fact) for fact, _ in DEEDS} == {kind for row in life.TRANSITIONS.values() for kind in row} | {
        life.CreatedEntry
    }


NASTY = "\x1b[31mred\x07\n  Bearer hf_abcdefghijklmnopqrstuvwxyz012345"


def test_words_from_elsewhere_are_shown_and_never_obeyed() -> None:
    """No control characters, one line, no secrets: in a row, on a page, and in what happened."""
    nasty = GenerationRequest(task="text-to-image", model="a/b", prompt=NASTY)
    one = JobSnapshot(
        job=job(state="failed", request=nasty, error=NASTY, warnings=(NASTY,), refusals=(NASTY,)), now=NOW
    )
    told = [
        job_format.list_hint(one),
        *(words for _, words in job_format.detail_rows(one)),
        job_format.format_line(nasty.prompt),
    ]
    told.append(job_format.describe_entry(life.FailedEntry(**ABOUT, kind="failed", message=NASTY)))
    for words in told:
        assert words.isprintable()
        assert "abcdefghij" not in words
    assert sum("red" in words for words in told) >= 6


def test_what_was_refused_before_is_not_why_a_running_job_stands() -> None:
    """An old refusal belongs to its attempt; the job goes on elsewhere."""
    assert job_format.failure_reason(job(state="running", error="together is busy")) is None
    assert job_format.failure_reason(job(state="failed", error="no luck")) == "no luck"
