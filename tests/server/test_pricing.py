"""Pricing and budgets: estimated and actual costs, and the days and months of limits."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfmedia.core.job import Job
from hfmedia.core.protocol import Cost, Route
from hfmedia.core.request import GenerationRequest, InputImage, Task
from hfmedia.server.config import Config, Price, Reserve
from hfmedia.server.db.budgets import QuotaExceededError, day_of, dollars, format_usd, month_of, to_micro_usd
from hfmedia.server.db.generations import Generation, GenerationSpec, IdempotencyConflictError, OutputKind
from hfmedia.server.db.pricing import actual_cost, estimate_cost
from hfmedia.server.errors import to_api_error

FLUX, WAN = "black-forest-labs/FLUX.1-schnell", "Wan-AI/Wan2.2-T2V-A14B"
CONFIG = Config(
    prices={
        "org/flat": Price(output=0.03),
        "org/flat:fal-ai": Price(output=0.01),
        "org/long": Price(second=0.1),
        "org/both": Price(output=0.5, second=0.1),
        "org/tenth": Price(output=0.1),
        "org/free": Price(),
        "org/some:novita": Price(output=0.2),
        "org/some:fal-ai": Price(output=0.7),
    },
    reserve=Reserve(image=0.05, video=0.5),
)
OBSERVED = {("fal-ai", "org/seen"): 0.002, ("novita", "org/seen"): 0.04, ("fal-ai", "org/odd"): math.nan,
            ("fal-ai", "org/flat"): 9.0}  # fmt: skip


def observed(provider: str, model: str) -> float | None:
    """The cost observed in earlier jobs."""
    return OBSERVED.get((provider, model))


# -- numbers ----------------------------------------------------------------------------------------------------------


@given(st.floats(min_value=0, max_value=1e6, allow_nan=False), st.integers(1, 100))
def test_rounding_never_spends(usd: float, n: int) -> None:
    """A price is never rounded down, a limit never up, and neither is off by a millionth of a dollar."""
    exact, dust = Fraction(repr(usd)) * 10**6, Fraction(1, 10**6)
    assert exact - dust <= to_micro_usd(usd) < exact + 1
    assert exact - 1 < to_micro_usd(usd, round_down=True) <= exact + dust
    assert to_micro_usd(usd) * n >= (exact - dust) * n
    assert to_micro_usd(dollars(to_micro_usd(usd))) == to_micro_usd(usd)


@pytest.mark.parametrize(
    ("usd", "up", "down"),
    [(0.05, 50_000, 50_000), (1e-9, 1, 0), (0.1 + 0.2, 300_000, 300_000), (0.3 - 1e-9, 300_000, 299_999),
     (-1.0, 0, 0), (math.nan, 0, 0),
     (math.inf, 10**15, 10**15), (1e300, 10**15, 10**15), (0.0, 0, 0)],
)  # fmt: skip
def test_no_number_is_too_odd(usd: float, up: int, down: int) -> None:
    """Anything that a provider or a file may contain."""
    assert (to_micro_usd(usd), to_micro_usd(usd, round_down=True)) == (up, down)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0.00"), (1_500_000, "$1.50"), (37_500, "$0.0375"), (1, "$0.000001"), (5 * 10**9, "$5000.00")],
)
def test_usd_is_formatted(amount: int, text: str) -> None:
    """Always with cents, and with more digits where needed."""
    assert format_usd(amount) == text


@given(st.floats(min_value=0, max_value=4e9))
def test_every_time_lies_in_its_day_and_its_month(now: float) -> None:
    """Both start at midnight UTC, the month on its first day."""
    day, month = day_of(now), month_of(now)
    assert month.starts_at <= day.starts_at <= now < day.resets_at <= month.resets_at
    assert day.resets_at - day.starts_at == 86_400
    assert day_of(day.resets_at).starts_at == day.resets_at
    assert month_of(month.resets_at).starts_at == month.resets_at
    for at in (month.starts_at, month.resets_at):
        assert datetime.fromtimestamp(at, UTC).timetuple()[2:6] == (1, 0, 0, 0)
    assert 28 <= (month.resets_at - month.starts_at) / 86_400 <= 31


# -- before -----------------------------------------------------------------------------------------------------------

PRICES: list[tuple[dict[str, Any], OutputKind | None, float]] = [
    # spec, kind of output, USD
    ({"model": "org/flat"}, "image", 0.03),
    ({"model": "org/flat", "n": 4}, "image", 0.12),
    ({"model": "org/tenth", "n": 3}, "image", 0.3),
    ({"model": "org/flat:fal-ai"}, "image", 0.01),
    ({"model": "org/flat:novita"}, "image", 0.03),
    ({"model": "org/flat:cheapest"}, "image", 0.03),
    ({"model": "org/free", "n": 9}, "image", 0.0),
    ({"model": "org/some"}, "image", 0.7),
    ({"model": "org/some:novita"}, "image", 0.2),
    ({"model": "org/some:replicate"}, "image", 0.05),
    ({"model": "org/long", "options": {"seconds": 4}}, "video", 0.4),
    ({"model": "org/long", "options": {"num_frames": 50, "fps": 25}}, "video", 0.2),
    ({"model": "org/long", "options": {"num_frames": 48}}, "video", 0.3),
    ({"model": "org/long"}, "video", 1.0),
    ({"model": "org/long", "options": {"seconds": "five"}}, "video", 1.0),
    ({"model": "org/long", "options": {"seconds": math.nan}}, "video", 1.0),
    ({"model": "org/both", "options": {"seconds": 2}, "n": 2}, "video", 1.4),
    ({"model": "org/seen:fal-ai"}, "image", 0.002),
    ({"model": "org/seen"}, "image", 0.04),
    ({"model": "org/odd"}, "image", 0.05),
    ({"model": "org/new"}, "image", 0.05),
    ({"model": "org/new", "task": "text-to-video", "n": 2}, None, 1.0),
    ({"model": "org/new", "task": "text-to-image"}, None, 0.05),
    ({"model": "org/new"}, None, 0.5),
    ({"model": "not a model!"}, "image", 0.05),
    ({}, "image", 0.05),
    ({"task": "image-to-video", "image": InputImage(url="https://example.org/a.png")}, None, 0.5),
]


@pytest.mark.parametrize(("fields", "kind", "usd"), PRICES)
def test_the_reservation_is_the_estimated_cost(fields: dict[str, Any], kind: OutputKind | None, usd: float) -> None:
    """The configured price, else the observed cost, else the configured reserve; the highest of several."""
    assert estimate_cost(GenerationSpec(**fields), CONFIG, observed, kind=kind) == usd


def test_without_a_model_the_default_models_are_priced() -> None:
    """The most expensive of those that may run it."""
    config = Config(prices={FLUX: Price(output=0.9)})
    assert estimate_cost(GenerationSpec(task="text-to-image"), config, observed) == 0.9


# -- after ------------------------------------------------------------------------------------------------------------


def generation(n: int = 1, reserved: float = 0.0, kind: OutputKind = "image") -> Generation:
    """A generation with this reservation."""
    return Generation(
        id="o",
        caller_id="k",
        kind=kind,
        created_at=0,
        n=n,
        api="images",
        spec=GenerationSpec(n=n),
        reserved_usd=reserved,
    )


def job(cost: float | None = None, *, model: str = "org/new", attempts: int = 1, refused: int = 0, unit: str = "USD",
        provider: str = "fal-ai", task: Task = "text-to-image", seconds: float | None = None) -> Job:  # fmt: skip
    """A job that has ended."""
    route = Route(
        provider=provider, provider_id="x", model=model, task=task, base_url="https://example.org", credential="c"
    )
    return Job(
        id="j",
        request=GenerationRequest(task=task, model=model, prompt="a fox", seconds=seconds),
        state="stored",
        attempts=attempts,
        rejections=("no",) * refused,
        route=route,
        cost=None if cost is None else Cost(cost, unit),
    )


CHARGES: list[tuple[list[Job], Generation, float | None, int]] = [
    # jobs, their generation, USD, outputs that count
    ([], generation(2, 0.1), 0.0, 0),
    ([job(attempts=0)], generation(1, 0.1), 0.0, 0),
    ([job(attempts=2, refused=2)], generation(1, 0.1), 0.0, 0),
    ([job(0.004)], generation(1, 0.1), 0.004, 1),
    ([job(0.0)], generation(1, 0.1), 0.0, 1),
    ([job(0.25)], generation(1, 0.1), 0.25, 1),
    ([job()], generation(1, 0.1), None, 1),
    ([job(), job()], generation(2, 0.1), None, 2),
    ([job(), job(attempts=0)], generation(2, 0.1), None, 1),
    ([job(0.02), job()], generation(2, 0.1), 0.07, 2),
    ([job(7, unit="fal-units")], generation(1, 0.1), None, 1),
    ([job(7, unit="fal-units", model="org/flat")], generation(1, 0.1), 0.01, 1),
    ([job(model="org/flat", provider="novita")], generation(1, 0.1), 0.03, 1),
    ([job(math.nan)], generation(1, 0.1), None, 1),
    ([job(-3)], generation(1, 0.1), None, 1),
    ([job(0.02, attempts=2)], generation(1, 0.1), 0.12, 1),
    ([job(0.02, attempts=2, refused=1)], generation(1, 0.1), 0.02, 1),
    ([job(model="org/long", seconds=3)], generation(1, 9), 0.3, 1),
    ([job(0.001)] * 3, generation(3, 0.3), 0.003, 3),
]


@pytest.mark.parametrize(("jobs", "charged_generation", "usd", "outputs"), CHARGES)
def test_the_actual_cost_of_a_generation(
    jobs: list[Job], charged_generation: Generation, usd: float | None, outputs: int
) -> None:
    """The reported cost first, then the price list, then its share; nothing is charged when nothing was billed."""
    charged, images, videos = actual_cost(jobs, charged_generation, CONFIG)
    assert charged == usd
    assert (images, videos) == (outputs, 0)


def test_videos_count_as_videos() -> None:
    """According to the kind of the generation."""
    assert actual_cost([job(1.0)], generation(1, 1.0, "video"), CONFIG) == (1.0, 0, 1)


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), min_size=1, max_size=20))
def test_a_charge_is_never_less_than_what_was_reported(costs: list[tuple[float, bool]]) -> None:
    """And never more than a millionth of a dollar per job above it."""
    jobs = [job(cost, attempts=int(sent)) for cost, sent in costs]
    charged = actual_cost(jobs, generation(len(jobs)), CONFIG).charged_usd
    exact = sum(Fraction(repr(cost)) for cost, sent in costs if sent)
    assert charged is not None
    assert exact - Fraction(1, 10**9) <= Fraction(repr(charged)) <= exact + Fraction(len(jobs), 10**6)


# -- errors -----------------------------------------------------------------------------------------------------------


def test_an_exceeded_quota_has_its_limit_usage_and_reset() -> None:
    """For people, for programs, and for a client that retries automatically."""
    now = datetime(2026, 11, 30, 23, 0, tzinfo=UTC).timestamp()
    day = day_of(now).resets_at
    error = QuotaExceededError("images_per_day", "web", limit=10, used=9, requested=2, resets_at=day, now=now)
    assert (error.limit_name, error.limit, error.used, error.resets_at, error.is_permanent) == (
        "images_per_day",
        10,
        9,
        day,
        False,
    )
    assert error.message == (
        "quota exceeded: the key 'web' allows 10 images per day: 9 are used or reserved, "
        "and this request is for 2 more; the limit resets at 2026-12-01 00:00 UTC. Nothing was sent."
    )
    api_error = to_api_error(error)
    assert (api_error.status, api_error.code) == (429, "rate_limit_exceeded")
    assert api_error.response_headers() == {"x-should-retry": "false", "retry-after": "3600"}
    assert api_error.body()["error"]["message"] == error.message
    assert api_error.body()["error"]["resets_at"] == day
    soon = QuotaExceededError("images_per_day", "web", limit=10, used=9, requested=2, resets_at=day, now=day - 30)
    assert to_api_error(soon).response_headers() == {"x-should-retry": "true", "retry-after": "30"}


def test_a_request_that_can_never_run_is_rejected_permanently() -> None:
    """There is no time to wait for."""
    error = QuotaExceededError("usd_per_month", "web", limit=500_000, used=0, requested=1_200_000, resets_at=99, now=1)
    assert error.is_permanent
    assert error.resets_at is None
    assert "allows $0.50 per month, and this request alone may cost $1.20, so it can never run" in error.message
    api_error = to_api_error(error)
    assert (api_error.status, api_error.code) == (429, "insufficient_quota")
    assert api_error.response_headers() == {"x-should-retry": "false"}


def test_a_reused_idempotency_key_is_422() -> None:
    """And never retried automatically."""
    api_error = to_api_error(IdempotencyConflictError())
    assert (api_error.status, api_error.code) == (422, "idempotency_key_reused")
    assert api_error.response_headers() == {"x-should-retry": "false"}
