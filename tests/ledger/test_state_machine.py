"""The ledgers as a state machine: entries in, jobs out, and nothing that the transition table forbids."""

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


def make_entry(kind: type[LedgerEntry], job: str, at: float, data: st.DataObject) -> LedgerEntry:
    """Build an entry of this type, with fields drawn at random."""
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


class JobMachine(RuleBasedStateMachine):
    """Jobs that get any entries at all, in any order and interleaved."""

    jobs: Bundle[str] = Bundle("jobs")
    durable = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = self.open()
        self.appended: dict[str, list[LedgerEntry]] = {}
        self.pruned: set[str] = set()
        self.clock = 0.0

    def open(self) -> Ledger:
        """Open the ledger, as a new process would."""
        return MemoryLedger()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of a call of the ledger."""
        return self.loop.run_until_complete(coroutine)

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
        """Create a job."""
        name = f"j{len(self.appended) + len(self.pruned)}"
        entry = created_entry(name, self.clock)
        assert self.wait(self.ledger.append(entry)).state == "created"
        self.appended[name] = [entry]
        return name

    @rule(name=jobs, kind=st.sampled_from(ENTRY_TYPES), data=st.data())
    def anything(self, name: str, kind: type[LedgerEntry], data: st.DataObject) -> None:
        """Any entry: most are forbidden, and those must leave no trace."""
        if name in self.appended:
            self.clock += data.draw(st.sampled_from([1.0, 0.0, -5.0]))
            self.append(name, make_entry(kind, name, self.clock, data))

    @rule(name=jobs, data=st.data())
    def something_possible(self, name: str, data: st.DataObject) -> None:
        """An entry that the table allows, so that jobs make progress."""
        job = self.wait(self.ledger.get(name))
        if job is None:
            assert name in self.pruned
            return
        self.clock += 1
        possible = [kind for kind in ENTRY_TYPES if kind in TRANSITIONS[job.state]]
        if possible:
            self.append(name, make_entry(data.draw(st.sampled_from(possible)), name, self.clock, data))

    @precondition(lambda self: self.durable)
    @rule()
    def start_again(self) -> None:
        """One process ends and another starts."""
        self.wait(self.ledger.aclose())
        self.ledger = self.open()

    @rule()
    def prune(self) -> None:
        """Only terminal jobs are deleted."""
        old = {
            name
            for name, entries in self.appended.items()
            if (job := replay(entries)).state in TERMINAL_STATES and job.updated_at < self.clock - 3
        }
        assert self.wait(self.ledger.prune(self.clock - 3)) == len(old)
        self.pruned |= old
        for name in old:
            del self.appended[name]

    def append(self, name: str, entry: LedgerEntry) -> None:
        """Append one entry, and compare the job before and after."""
        before = self.wait(self.ledger.get(name))
        assert before is not None
        if type(entry) not in TRANSITIONS[before.state]:
            with pytest.raises(InvalidTransitionError):
                self.wait(self.ledger.append(entry))
            assert self.wait(self.ledger.get(name)) == before
            assert self.wait(self.ledger.entries(name)) == self.appended[name]
            return
        after = self.wait(self.ledger.append(entry))
        self.appended[name].append(entry)
        assert after.attempts - before.attempts == (1 if isinstance(entry, SubmittingEntry) else 0)
        assert not (before.state in TERMINAL_STATES and after.state != before.state)
        if after.state == "submitting":
            assert before.state == "routed"
        if before.state == "in_doubt" and after.state == "routed":
            assert isinstance(entry, ResolvedEntry)

    @invariant()
    def a_job_is_the_replay_of_its_entries(self) -> None:
        for name, entries in self.appended.items():
            assert self.wait(self.ledger.entries(name)) == entries
            assert self.wait(self.ledger.get(name)) == replay(entries)

    @invariant()
    def all_jobs_are_listed_oldest_first(self) -> None:
        async def listed(**how: Any) -> list[str]:
            return [job.id async for job in self.ledger.iter_jobs(**how)]

        assert self.wait(listed()) == list(self.appended)
        live = [name for name, entries in self.appended.items() if replay(entries).state not in TERMINAL_STATES]
        states = {state for state in TRANSITIONS if state not in TERMINAL_STATES}
        assert self.wait(listed(states=states, newest_first=True)) == live[::-1]

    @invariant()
    def no_job_in_doubt_was_sent_again_without_a_decision(self) -> None:
        for entries in self.appended.values():
            in_doubt = False
            for entry in entries:
                assert not (in_doubt and isinstance(entry, SubmittingEntry))
                if isinstance(entry, InDoubtEntry):
                    in_doubt = True
                elif isinstance(entry, ResolvedEntry):
                    in_doubt = False


class JobMachineOnDisk(JobMachine):
    """The same, in a file that is closed and opened again."""

    durable = True

    def open(self) -> Ledger:
        return SqliteLedger(Path(self.folder.name) / "ledger.sqlite3")


JobMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
JobMachineOnDisk.TestCase.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
TestJobs = JobMachine.TestCase
TestJobsOnDisk = JobMachineOnDisk.TestCase
