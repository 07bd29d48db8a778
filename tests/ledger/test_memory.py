"""The ledger in memory: facts in, jobs out, and nothing that the table of life forbids."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from hfmedia.core.answers import Cost, Handle, Output, Route
from hfmedia.core.job import (
    ENDED,
    LIFE,
    Accepted,
    Broken,
    Created,
    Doubted,
    Fact,
    ImpossibleError,
    Made,
    Refused,
    Resolved,
    Routed,
    Sending,
    Stopped,
    Stored,
    fold,
)
from hfmedia.core.request import Request
from hfmedia.ledger import Ledger, MemoryLedger

T = TypeVar("T")
WISH = Request(task="text-to-image", model="a/b", prompt="a red fox")
ROUTES = [
    Route(
        provider=name, provider_id="x", model="a/b", task="text-to-image", base_url="https://r/x", credential="HF_TOKEN"
    )
    for name in ("fal-ai", "nscale")
]


def made(kind: type[Fact], job: str, at: float, data: st.DataObject) -> Fact:
    """A fact of this kind, with fields drawn at random."""
    fields: dict[type[Fact], dict[str, Any]] = {
        Created: {"request": WISH, "index": 1},
        Routed: {"route": data.draw(st.sampled_from(ROUTES)), "request": WISH, "warnings": ("w",)},
        Sending: {"attempt": data.draw(st.integers(0, 9))},
        Accepted: {"handle": Handle(data.draw(st.sampled_from(["r1", "r2"])))},
        Refused: {"kind": "busy", "message": "later"},
        Doubted: {"message": "the line broke"},
        Resolved: {"decision": data.draw(st.sampled_from(["resend", "drop"]))},
        Made: {"outputs": (Output(url="https://a/x.png"),), "cost": Cost(0.1), "warnings": ("m",)},
        Stored: {"media": {"path": "x.png"}},
        Broken: {"kind": "failed", "message": "no"},
        Stopped: {"reached": data.draw(st.sampled_from([True, False, None]))},
    }
    return kind(job=job, at=at, **fields[kind])


KINDS = [Created, Routed, Sending, Accepted, Refused, Doubted, Resolved, Made, Stored, Broken, Stopped]


class Lives(RuleBasedStateMachine):
    """Jobs to which anything at all may be said to have happened, in any order and mixed."""

    jobs: Bundle[str] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.ledger: Ledger = MemoryLedger()
        self.told: dict[str, list[Fact]] = {}
        self.clock = 0.0

    def wait(self, deed: Coroutine[Any, Any, T]) -> T:
        """The result of a deed of the ledger."""
        return self.loop.run_until_complete(deed)

    def teardown(self) -> None:
        self.wait(self.ledger.aclose())
        self.loop.close()

    @initialize(target=jobs)
    def first(self) -> str:
        return self.create()

    @rule(target=jobs)
    def another(self) -> str:
        return self.create()

    def create(self) -> str:
        """A new job."""
        name = f"j{len(self.told)}"
        fact = Created(job=name, at=self.clock, request=WISH)
        assert self.wait(self.ledger.append(fact)).state == "new"
        self.told[name] = [fact]
        return name

    @rule(name=jobs, kind=st.sampled_from(KINDS), data=st.data())
    def anything(self, name: str, kind: type[Fact], data: st.DataObject) -> None:
        """Any fact: most are impossible, and those must leave no trace."""
        self.clock += 1
        self.tell(name, made(kind, name, self.clock, data))

    @rule(name=jobs, data=st.data())
    def something_possible(self, name: str, data: st.DataObject) -> None:
        """A fact that the table allows, so that jobs get on with their lives."""
        self.clock += 1
        job = self.wait(self.ledger.job(name))
        assert job is not None
        possible = [kind for kind in KINDS if kind in LIFE[job.state]]
        if possible:
            self.tell(name, made(data.draw(st.sampled_from(possible)), name, self.clock, data))

    def tell(self, name: str, fact: Fact) -> None:
        """Appends one fact, and compares the job before and after."""
        before = self.wait(self.ledger.job(name))
        assert before is not None
        if type(fact) not in LIFE[before.state]:
            with pytest.raises(ImpossibleError):
                self.wait(self.ledger.append(fact))
            assert self.wait(self.ledger.job(name)) == before
            assert self.wait(self.ledger.facts(name)) == self.told[name]
            return
        after = self.wait(self.ledger.append(fact))
        self.told[name].append(fact)
        assert after.attempts - before.attempts == (1 if isinstance(fact, Sending) else 0)
        assert not (before.state in ENDED and after.state != before.state)
        if after.state == "sending":
            assert before.state == "ready"
        if before.state == "doubt" and after.state == "ready":
            assert isinstance(fact, Resolved)

    @invariant()
    def a_job_is_the_fold_of_its_facts(self) -> None:
        for name, told in self.told.items():
            assert self.wait(self.ledger.facts(name)) == told
            assert self.wait(self.ledger.job(name)) == fold(told)

    @invariant()
    def all_jobs_are_there_oldest_first(self) -> None:
        async def listed() -> list[str]:
            return [job.id async for job in self.ledger.jobs()]

        assert self.wait(listed()) == list(self.told)

    @invariant()
    def no_doubt_was_sent_again_without_a_word(self) -> None:
        for told in self.told.values():
            doubted = False
            for fact in told:
                assert not (doubted and isinstance(fact, Sending))
                if isinstance(fact, Doubted):
                    doubted = True
                elif isinstance(fact, Resolved):
                    doubted = False


Lives.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLives = Lives.TestCase


async def test_an_unknown_job_is_none_and_has_no_facts() -> None:
    """Asking is no deed."""
    ledger = MemoryLedger()
    assert await ledger.job("x") is None
    assert await ledger.facts("x") == []
    assert [job async for job in ledger.jobs()] == []


async def test_nothing_can_happen_to_a_job_that_was_never_created() -> None:
    """And the attempt leaves no trace."""
    ledger = MemoryLedger()
    with pytest.raises(ImpossibleError, match="never created"):
        await ledger.append(Sending(job="x", at=0.0, attempt=1))
    assert await ledger.job("x") is None
    assert await ledger.facts("x") == []


async def test_what_a_reader_holds_is_not_the_ledger() -> None:
    """A list of facts is a copy; jobs may be added while they are listed."""
    ledger = MemoryLedger()
    await ledger.append(Created(job="a", at=0.0, request=WISH))
    (await ledger.facts("a")).clear()
    assert len(await ledger.facts("a")) == 1
    seen: list[str] = []
    async for job in ledger.jobs():
        seen.append(job.id)
        await ledger.append(Created(job=f"{job.id}b", at=1.0, request=WISH))
    assert seen == ["a"]


async def test_two_who_want_to_send_the_same_job_are_told_apart() -> None:
    """The second is refused, whoever is quicker: one sending, one payment."""
    ledger = MemoryLedger()
    await ledger.append(Created(job="a", at=0.0, request=WISH))
    await ledger.append(Routed(job="a", at=0.0, route=ROUTES[0], request=WISH))
    sends = [ledger.append(Sending(job="a", at=1.0, attempt=1)) for _ in range(5)]
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert sorted(isinstance(result, ImpossibleError) for result in results) == [False, True, True, True, True]
