"""Texts of progress displays: events, costs, queue positions; and of messages."""

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
EVENTS: tuple[tuple[Event, str], ...] = (
    (Started(job_id="1", model="a/b"), "waiting"),
    (Submitting(**AT), "submitting"),
    (Submitting(**AT, attempt=2), "submitting, attempt 2"),
    (Accepted(**AT, provider_job_id="x"), "accepted"),
    (Queued(**AT), "queued"),
    (Queued(**AT, position=3), "queued, 3rd"),
    (Queued(**AT, position=0), "queued, next"),
    (Running(**AT), "running"),
    (Running(**AT, fraction=0.45), "running 45%"),
    (Running(**AT, message="step 3\n of 4"), "running step 3 of 4"),
    (Retrying(**AT, reason="busy", delay=3.0), "retrying in 3 s: busy"),
    (FailedOver(**AT, previous_provider="novita", reason="no credit"), "moved here from novita"),
    (Downloading(**AT, received=1_200_000, total=3_400_000), "downloading 1.2 of 3.4 MB"),
    (Downloading(**AT, received=1_200_000), "downloading 1.2 MB"),
    (JobFailed(job_id="1", error=InsufficientCreditError("none left")), "insufficient credit"),
    (JobFailed(job_id="1", error=DeadlineExceededError("too late")), "deadline exceeded"),
    (JobFailed(job_id="1", error=HfmediaError("a bug")), "failed"),
)


@pytest.mark.parametrize(("event", "text"), EVENTS)
def test_each_event_has_a_short_text(event: Event, text: str) -> None:
    """With what the provider reports, and nothing more."""
    assert describe_event(event) == text


@pytest.mark.parametrize(
    ("position", "text"),
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
def test_positions_in_a_queue_are_ordinals(position: int, text: str) -> None:
    """Teens included."""
    assert ordinal(position) == text


COSTS: tuple[tuple[list[Any], str], ...] = (
    ([], "cost unknown"),
    ([None], "cost unknown"),
    ([Cost(0.003), Cost(0.003)], "cost $0.006"),
    ([Cost(0.003), None], "cost $0.003 (1 unknown)"),
    ([Cost(1.5, "fal-units"), Cost(0.25)], "cost $0.25 + 1.5 fal-units"),
    ([Cost(0.0)], "cost $0"),
)


@pytest.mark.parametrize(("costs", "text"), COSTS)
def test_an_unknown_cost_is_never_a_zero(costs: list[Cost | None], text: str) -> None:
    """Units are not mixed, and unknown costs are counted."""
    assert format_costs(costs) == text


def test_a_size_may_have_no_total() -> None:
    """Then only the received size is shown."""
    assert (megabytes(0, None), megabytes(0, 0)) == ("0.0 MB", "0.0 MB")


def test_provider_text_cannot_move_the_cursor() -> None:
    """Control characters are replaced."""
    assert strip_control(
        "ok\x1b[2J\x07\rgone\u202e"
    ) == "ok\N{REPLACEMENT CHARACTER}[2J" + 2 * "\N{REPLACEMENT CHARACTER}" + ("gone\N{REPLACEMENT CHARACTER}")


def test_a_secret_in_an_error_is_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    """In the text, in JSON, and in earlier attempts."""
    error = HfmediaError("rejected hf_abcdefghijk", attempts=("with hf_lmnopqrstuv",))
    for as_json in (False, True):
        Reporter(as_json=as_json).error(error)
    output = capsys.readouterr().err
    assert output.count("***") == 4
    assert "abcdefghijk" not in output
    assert "lmnopqrstuv" not in output


def test_the_same_warning_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred outputs with one problem are one line."""
    reporter = Reporter()
    for index in range(3):
        reporter.warning("rounded", f"{index + 1}/3: ")
    assert capsys.readouterr().err == "warning: 1/3: rounded\n"
