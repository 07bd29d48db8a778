"""The ledgers as a state machine: facts in, jobs out, and nothing that the table of life forbids."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from hfmedia.core.job import (
    TERMINAL_STATES,
    TRANSITIONS,
    AcceptedEntry,
    CancelledEntry,
    CompletedEntry,
    CreatedEntry,
    FailedEntry,
    InDoubtEntry,
    InvalidTransitionError,
    LedgerEntry,
    RejectedEntry,
    ResolvedEntry,
    RoutedEntry,
    StoredEntry,
    SubmittingEntry,
    replay,
)
from hfmedia.core.protocol import Cost, JobHandle, Output
from hfmedia.ledger import Ledger, MemoryLedger, SqliteLedger

from .builders import ENTRY_TYPES, REQUEST, ROUTES, created_entry

T = TypeVar("T")


def made(kind: type[LedgerEntry], job: str, at: float, data: st.DataObject) -> LedgerEntry:
    """A fact of this kind, with fields drawn at random."""
    fields: dict[type[LedgerEntry], dict[str, Any]] = {
        CreatedEntry: {"request": REQUEST, "index": 1},
        RoutedEntry: {"route": data.draw(st.sampled_from(ROUTES)), "request": REQUEST, "warnings": ("w",)},
        SubmittingEntry: {"attempt": data.draw(st.integers(0, 9))},
        AcceptedEntry: {"handle": JobHandle(data.draw(st.sampled_from(["r1", "r2"])))},
        RejectedEntry: {"kind": "rate_limited", "message": "later"},
        InDoubtEntry: {"message": "the line broke"},
        ResolvedEntry: {"decision": data.draw(st.sampled_from(["resend", "drop"]))},
        CompletedEntry: {"outputs": (Output(url="https://a/x.png"),), "cost": Cost(0.1), "warnings": ("m",)},
        StoredEntry: {"media": {"path": "x.png"}},
        FailedEntry: {"kind": "generation_failed", "message": "no"},
        CancelledEntry: {"provider_confirmed": data.draw(st.sampled_from([True, False, None]))},
    }
    return kind(job_id=job, timestamp=at, **fields[kind])


class Lives(RuleBasedStateMachine):
    """Jobs to which anything at all may be said to have happened, in any order and mixed."""

    jobs: Bundle[str] = Bundle("jobs")
    durable = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = self.open()
        self.told: dict[str, list[LedgerEntry]] = {}
        self.forgotten: set[str] = set()
        self.clock = 0.0

    def open(self) -> Ledger:
        """The ledger, as whoever starts anew finds it."""
        return MemoryLedger()

    def wait(self, deed: Coroutine[Any, Any, T]) -> T:
        """The result of a deed of the ledger."""
        return self.loop.run_until_complete(deed)

    def teardown(self) -> None:
        self.wait(self.ledger.aclose())
        self.loop.close()
        self.folder.cleanup()

    @initialize(target=jobs)
    def first(self) -> str:
        return self.create()

    @rule(target=jobs)
    def another(self) -> str:
        return self.create()

    def create(self) -> str:
        """A new job."""
        name = f"j{len(self.told) + len(self.forgotten)}"
        fact = created_entry(name, self.clock)
        assert self.wait(self.ledger.append(fact)).state == "created"
        self.told[name] = [fact]
        return name

    @rule(name=jobs, kind=st.sampled_from(ENTRY_TYPES), data=st.data())
    def anything(self, name: str, kind: type[LedgerEntry], data: st.DataObject) -> None:
        """Any fact: most are impossible, and those must leave no trace."""
        if name in self.told:
            self.clock += data.draw(st.sampled_from([1.0, 0.0, -5.0]))
            self.tell(name, made(kind, name, self.clock, data))

    @rule(name=jobs, data=st.data())
    def something_possible(self, name: str, data: st.DataObject) -> None:
        """A fact that the table allows, so that jobs get on with their lives."""
        job = self.wait(self.ledger.get(name))
        if job is None:
            assert name in self.forgotten
            return
        self.clock += 1
        possible = [kind for kind in ENTRY_TYPES if kind in TRANSITIONS[job.state]]
        if possible:
            self.tell(name, made(data.draw(st.sampled_from(possible)), name, self.clock, data))

    @precondition(lambda self: self.durable)
    @rule()
    def start_again(self) -> None:
        """The process ends and another begins."""
        self.wait(self.ledger.aclose())
        self.ledger = self.open()

    @rule()
    def forget(self) -> None:
        """Ended jobs go, and they alone."""
        old = {
            name
            for name, told in self.told.items()
            if (job := replay(told)).state in TERMINAL_STATES and job.updated_at < self.clock - 3
        }
        assert self.wait(self.ledger.prune(self.clock - 3)) == len(old)
        self.forgotten |= old
        for name in old:
            del self.told[name]

    def tell(self, name: str, fact: LedgerEntry) -> None:
        """Appends one fact, and compares the job before and after."""
        before = self.wait(self.ledger.get(name))
        assert before is not None
        if type(fact) not in TRANSITIONS[before.state]:
            with pytest.raises(InvalidTransitionError):
                self.wait(self.ledger.append(fact))
            assert self.wait(self.ledger.get(name)) == before
            assert self.wait(self.ledger.entries(name)) == self.told[name]
            return
        after = self.wait(self.ledger.append(fact))
        self.told[name].append(fact)
        assert after.attempts - before.attempts == (1 if isinstance(fact, SubmittingEntry) else 0)
        assert not (before.state in TERMINAL_STATES and after.state != before.state)
        if after.state == "submitting":
            assert before.state == "routed"
        if before.state == "in_doubt" and after.state == "routed":
            assert isinstance(fact, ResolvedEntry)

    @invariant()
    def a_job_is_the_fold_of_its_facts(self) -> None:
        for name, told in self.told.items():
            assert self.wait(self.ledger.entries(name)) == told
            assert self.wait(self.ledger.get(name)) == replay(told)

    @invariant()
    def all_jobs_are_there_oldest_first(self) -> None:
        async def listed(**how: Any) -> list[str]:
            return [job.id async for job in self.ledger.iter_jobs(**how)]

        assert self.wait(listed()) == list(self.told)
        live = [name for name, told in self.told.items() if replay(told).state not in TERMINAL_STATES]
        states = {state for state in TRANSITIONS if state not in TERMINAL_STATES}
        assert self.wait(listed(states=states, newest_first=True)) == live[::-1]

    @invariant()
    def no_doubt_was_sent_again_without_a_word(self) -> None:
        for told in self.told.values():
            doubted = False
            for fact in told:
                assert not (doubted and isinstance(fact, SubmittingEntry))
                if isinstance(fact, InDoubtEntry):
                    doubted = True
                elif isinstance(fact, ResolvedEntry):
                    doubted = False


class LivesOnDisk(Lives):
    """The same, in a file that is closed and opened again."""

    durable = True

    def open(self) -> Ledger:
        return SqliteLedger(Path(self.folder.name) / "ledger.sqlite3")


Lives.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
LivesOnDisk.TestCase.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
TestLives = Lives.TestCase
TestLivesOnDisk = LivesOnDisk.TestCase
