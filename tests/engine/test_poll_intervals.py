"""How often a running job is polled, and how late its end is seen: on a simulated clock.

The numbers are budgets: at most 40 polls for a minute, at most 15 where it is known how long such jobs take.
"""

from __future__ import annotations

import pytest
from msgspec import structs

from hfmedia.core.protocol import JobHandle, OperationResult, Pending, Route
from hfmedia.engine import MediaReady
from hfmedia.ledger import MemoryLedger
from hfmedia.routing import LedgerStats, ProviderStats

from .conftest import DONE, EngineHarness, ScriptedProviders, route

RUNNING = Pending(handle=JobHandle("p1"))  # which says nothing of when to come back
BEGAN = 1_000_000.0  # unix seconds


class Clock:
    """A clock that only sleeping moves, and a provider that is done after so many of its seconds."""

    def __init__(self, scene: EngineHarness, script: ScriptedProviders) -> None:
        self.now, self.scene, self.script = BEGAN, scene, script
        self.observed = ProviderStats()
        self.use(MemoryLedger())

    def use(self, ledger: MemoryLedger) -> None:
        """A new process on this ledger: it has seen nothing yet."""
        self.observed = ProviderStats()
        self.scene.engine.deps = structs.replace(
            self.scene.engine.deps,
            ledger=ledger,
            clock=lambda: self.now,
            sleep=self.sleep,
            record_stats=self.observed.add,
            expected_duration=LedgerStats(self.observed, ledger).expected_seconds,
        )

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def job(self, takes: float, to: Route) -> tuple[int, float]:
        """The polls that a job took there, and how late its end was seen, in seconds."""
        before, started_at = self.script.call_count(to.provider, "check"), self.now

        async def look() -> OperationResult:
            return DONE if self.now >= started_at + takes else RUNNING

        self.script.script(to.provider, RUNNING, look)
        events = await self.scene.run(to)
        assert isinstance(events[-1], MediaReady)
        return self.script.call_count(to.provider, "check") - before, self.now - started_at - takes


@pytest.fixture
def clock(scene: EngineHarness, script: ScriptedProviders) -> Clock:
    """The clock of a scene."""
    return Clock(scene, script)


async def test_the_first_job_of_a_minute_costs_at_most_forty_polls(clock: Clock) -> None:
    """Nothing is known of such jobs yet; the result is seen before an eighth of the minute is over."""
    polls, late = await clock.job(60, route("one"))
    assert polls <= 40
    assert 0 <= late <= 60 / 8


@pytest.mark.parametrize("takes", [54.0, 57.0, 60.0, 60.5, 63.0, 66.0])
async def test_the_next_job_of_about_a_minute_costs_at_most_fifteen(clock: Clock, takes: float) -> None:
    """And is seen sooner than the first one was, though it is a tenth quicker or slower."""
    for _ in range(3):
        await clock.job(60, route("one"))
    polls, late = await clock.job(takes, route("one"))
    assert polls <= 15
    assert 0 <= late <= 60 / 16


async def test_a_new_process_knows_what_the_ledger_knows(clock: Clock) -> None:
    """Of the same provider and model, and of no other."""
    ledger = MemoryLedger()
    clock.use(ledger)
    await clock.job(60, route("one"))
    clock.use(ledger)
    assert (await clock.job(60, route("one")))[0] <= 15
    clock.use(ledger)
    assert (await clock.job(60, route("two")))[0] > 15


@pytest.mark.parametrize("takes", [0.3, 2.0, 5.0, 20.0])
async def test_a_job_that_is_quicker_than_ever_is_seen_in_time(clock: Clock, takes: float) -> None:
    """What is expected is a guess: at most as late as the job was long, or a second."""
    await clock.job(60, route("one"))
    _, late = await clock.job(takes, route("one"))
    assert 0 <= late <= max(1.0, takes)


@pytest.mark.parametrize("known", [False, True])
async def test_a_job_of_two_seconds_is_seen_within_a_quarter_of_a_second(clock: Clock, known: bool) -> None:
    """The case that people feel most; with fewer polls once it is known."""
    if known:
        await clock.job(2, route("one"))
    polls, late = await clock.job(2, route("one"))
    assert late <= (0.1 if known else 0.25)
    assert polls <= (6 if known else 8)


async def test_what_the_provider_says_of_when_to_come_back_is_obeyed(clock: Clock, script: ScriptedProviders) -> None:
    """Whatever we know better."""
    await clock.job(60, route("one"))
    script.script("one", RUNNING, Pending(handle=JobHandle("p1"), poll_after=7.0), DONE)
    began = clock.now
    await clock.scene.run(route("one"))
    assert clock.now - began == pytest.approx(1.0 + 7.0)
