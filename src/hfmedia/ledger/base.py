"""What a ledger is: every fact of every job in the order of its appending, and who carries which job.

``append`` returns when the fact is as durable as this ledger makes facts; nothing that costs money happens before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Protocol

from msgspec import Struct

from hfmedia.core.errors import HfmediaError, InvalidRequestError
from hfmedia.core.job import (
    TERMINAL_STATES,
    CreatedEntry,
    InvalidTransitionError,
    Job,
    LedgerEntry,
    State,
    apply_entry,
    create_job,
)


class IdempotencyKeyInUseError(HfmediaError):
    """The idempotency key already belongs to a job: join that one, its id is ``job_id``; nothing was written."""

    job_id: str

    def __init__(self, job_id: str) -> None:
        super().__init__(f"that idempotency key already belongs to job {job_id}", job_id=job_id)


class Ledger(Protocol):
    """Remembers facts, in the order in which they were appended. What it cannot keep or read is a StoreError."""

    async def append(self, entry: LedgerEntry, *more: LedgerEntry) -> Job:
        """The job after this fact, once the fact is durable; cancelling waits for that, so that no fact is half told.

        With ``more`` of the same job's, all of them become durable together, or none does. Whoever appends a job's
        creation carries it; with the fact that ends it nobody does.

        Raises:
            ImpossibleError: the table of life forbids it, whoever else moved the job; nothing was written.
            KeyTakenError: its idempotency key belongs to another job; nothing was written.
            StoreError: it could not be made durable, so act as if it never happened.
        """
        ...

    async def get(self, job_id: str) -> Job | None:
        """The job of that id, or None."""
        ...

    async def find_by_key(self, key: str) -> Job | None:
        """The job that was created under that idempotency key, or None."""
        ...

    async def entries(self, job_id: str) -> list[LedgerEntry]:
        """Everything that happened to the job, oldest first; empty for an unknown one."""
        ...

    def iter_jobs(
        self,
        *,
        states: Collection[State] | None = None,
        provider: str | None = None,
        model: str | None = None,
        since: float | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[Job]:
        """The jobs there were when asked, by the order of their creation, a page at a time; None means any.

        ``since`` is in unix seconds: created then or later.
        """
        ...

    async def claim(self, job_id: str) -> bool:
        """True when this ledger's process now carries the job, False when another living one does.

        A job may be claimed again by its carrier, and before it is created. The claim of a process that died is
        taken over, however it died.
        """
        ...

    async def release(self, job_id: str) -> None:
        """Carries the job no longer; nothing happens if it was not carried here."""
        ...

    async def owner(self, job_id: str) -> str | None:
        """The living process that carries the job as ``PID-random``, or None; equal to ``me()`` when it is this one."""
        ...

    async def claims(self) -> dict[str, str]:
        """Every job that somebody living carries, with who."""
        ...

    async def owner_id(self) -> str:
        """The name under which this ledger claims jobs."""
        ...

    async def prune(self, before: float, states: Collection[State] = TERMINAL_STATES) -> int:
        """Forgets jobs in these states whose last fact is older than ``before`` (unix seconds); tells how many.

        A job that somebody carries stays. InvalidRequestError when a state is not one of an ended job.
        """
        ...

    async def aclose(self) -> None:
        """Lets go of what the ledger holds, once everything begun is written; what was appended stays."""
        ...


class JobFilter(Struct, frozen=True, kw_only=True):
    """Which jobs a reader wants; None means any."""

    states: frozenset[str] | None = None
    provider: str | None = None
    model: str | None = None
    since: float | None = None

    def matches(self, job: Job) -> bool:
        """Whether this is one of them."""
        return (
            (self.states is None or job.state in self.states)
            and (self.provider is None or (job.route is not None and job.route.provider == self.provider))
            and (self.model is None or job.request.model == self.model)
            and (self.since is None or job.created_at >= self.since)
        )


def build_job_filter(
    states: Collection[State] | None, provider: str | None, model: str | None, since: float | None
) -> JobFilter:
    """The filters of ``Ledger.jobs`` as one value."""
    return JobFilter(states=None if states is None else frozenset(states), provider=provider, model=model, since=since)


def apply_entries(previous: Job | None, entry: LedgerEntry, *more: LedgerEntry) -> Job:
    """The job after these facts, the first of which may create it; ImpossibleError when the table forbids one."""
    if previous is not None:
        job = apply_entry(previous, entry)
    elif isinstance(entry, CreatedEntry):
        job = create_job(entry)
    else:
        raise InvalidTransitionError(f"job {entry.job_id} was never created")
    for next_entry in more:
        job = apply_entry(job, next_entry)
    return job


def idempotency_key_of(entry: LedgerEntry) -> str | None:
    """The idempotency key under which a job is created, if there is one."""
    return getattr(entry, "idempotency_key", None)


def require_terminal(states: Collection[State]) -> frozenset[str]:
    """The states, when jobs in them may be forgotten."""
    non_terminal = sorted(set(states) - TERMINAL_STATES)
    if non_terminal:
        raise InvalidRequestError(
            f"jobs that are {non_terminal[0]} may still be paid for; only {', '.join(sorted(TERMINAL_STATES))} go"
        )
    return frozenset(states)
