"""What a job is doing, in words; and what it cost, never a false zero."""

from __future__ import annotations

from typing import Any

import pytest

from hfmedia.cli.progress import describe_event, format_costs, megabytes, ordinal
from hfmedia.cli.reporter import Reporter
from hfmedia.core.errors import DeadlineExceededError, HfmediaError, InsufficientCreditError
from hfmedia.core.protocol import Cost
from hfmedia.core.text import strip_control
from hfmedia.engine import (
    Accepted,
    Downloading,
    Event,
    FailedOver,
    JobFailed,
    Queued,
    Retrying,
    Running,
    Started,
    Submitting,
)

AT: dict[str, Any] = {"job_id": "1", "provider": "fal-ai"}
WORDS: tuple[tuple[Event, str], ...] = (
    (Started(job_id="1", model="a/b"), "waiting"),
    (Submitting(**AT), "asked, waiting for the answer"),
    (Submitting(**AT, attempt=2), "asked again (2), waiting for the answer"),
    (Accepted(**AT, provider_job_id="x"), "accepted"),
    (Queued(**AT), "queued"),
    (Queued(**AT, position=3), "queued, 3rd"),
    (Queued(**AT, position=0), "queued, next"),
    (Running(**AT), "running"),
    (Running(**AT, fraction=0.45), "running 45 %"),
    (Running(**AT, message="step 3\n of 4"), "running step 3 of 4"),
    (Retrying(**AT, reason="busy", delay=3.0), "again in 3 s: busy"),
    (FailedOver(**AT, previous_provider="novita", reason="no credit"), "moved here from novita"),
    (Downloading(**AT, received=1_200_000, total=3_400_000), "downloading 1.2 of 3.4 MB"),
    (Downloading(**AT, received=1_200_000), "downloading 1.2 MB"),
    (JobFailed(job_id="1", error=InsufficientCreditError("none left")), "credit"),
    (JobFailed(job_id="1", error=DeadlineExceededError("too late")), "out of time"),
    (JobFailed(job_id="1", error=HfmediaError("a defect")), "failed"),
)


@pytest.mark.parametrize(("event", "told"), WORDS)
def test_each_event_has_its_words(event: Event, told: str) -> None:
    """A few words for each, with what the provider tells and nothing it does not."""
    assert describe_event(event) == told


@pytest.mark.parametrize(
    ("position", "told"),
    [
        (0, "next"),
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (13, "13th"),
        (21, "21st"),
        (112, "112th"),
    ],
)
def test_places_in_a_queue_are_counted_as_people_do(position: int, told: str) -> None:
    """Teens are no exception to the exception."""
    assert ordinal(position) == told


COSTS: tuple[tuple[list[Any], str], ...] = (
    ([], "cost not told"),
    ([None], "cost not told"),
    ([Cost(0.003), Cost(0.003)], "cost $0.006"),
    ([Cost(0.003), None], "cost $0.003 (and 1 not told)"),
    ([Cost(1.5, "fal-units"), Cost(0.25)], "cost 1.5 fal-units + $0.25"),
    ([Cost(0.0)], "cost $0"),
)


@pytest.mark.parametrize(("known", "told"), COSTS)
def test_an_unknown_cost_is_never_a_zero(known: list[Cost | None], told: str) -> None:
    """Units are not mixed, and what was not told is said to be so."""
    assert format_costs(known) == told


def test_a_size_without_a_total_is_told_alone() -> None:
    """Nothing is divided by what is not known."""
    assert (megabytes(0, None), megabytes(0, 0)) == ("0.0 MB", "0.0 MB")


def test_what_a_provider_says_cannot_move_the_cursor() -> None:
    """Control characters out of a reply are shown as what they are: nothing readable."""
    assert strip_control(
        "ok\x1b[2J\x07\rgone\u202e"
    ) == "ok\N{REPLACEMENT CHARACTER}[2J" + 2 * "\N{REPLACEMENT CHARACTER}" + ("gone\N{REPLACEMENT CHARACTER}")


def test_a_secret_in_an_error_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Not in words, not in JSON, not in what came before."""
    error = HfmediaError("refused hf_abcdefghijk", attempts=("with hf_lmnopqrstuv",))
    for as_json in (False, True):
        Reporter(as_json=as_json).error(error)
    said = capsys.readouterr().err
    assert said.count("***") == 4
    assert "abcdefghijk" not in said
    assert "lmnopqrstuv" not in said


def test_the_same_warning_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred outputs with one trouble are one line."""
    voice = Reporter()
    for index in range(3):
        voice.warning("rounded", f"{index + 1}/3: ")
    assert capsys.readouterr().err == "warning: 1/3: rounded\n"
