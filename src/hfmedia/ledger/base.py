"""The interface of a ledger: append-only entries per job, and the claims of the processes that run the jobs.

``append`` returns once the entry is as durable as this ledger makes entries; nothing that costs money happens before.
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
    """Raised when the idempotency key already belongs to a job, ``job_id``: attach to that one. Nothing was written."""

    job_id: str

    def __init__(self, job_id: str) -> None:
        super().__init__(f"the idempotency key already belongs to job {job_id}", job_id=job_id)


class Ledger(Protocol):
    """Keeps entries in the order in which they were appended; raises StorageError for what it cannot keep or read."""

    async def append(self, entry: LedgerEntry, *more: LedgerEntry) -> Job:
        """Append an entry and return the job once it is durable; a cancelled caller waits for that as well.

        With ``more`` entries of the same job, all of them become durable together, or none does. Appending the creation
        of a job claims it; appending a terminal entry releases it.

        Raises:
            InvalidTransitionError: the transition table forbids it, for example because another process moved the job;
                nothing was written.
            IdempotencyKeyInUseError: its idempotency key belongs to another job; nothing was written.
            StorageError: it could not be made durable; act as if it never happened.
        """
        ...

    async def get(self, job_id: str) -> Job | None:
        """Return the job with that id, or None."""
        ...

    async def find_by_key(self, key: str) -> Job | None:
        """Return the job created under that idempotency key, or None."""
        ...

    async def entries(self, job_id: str) -> list[LedgerEntry]:
        """Return the entries of a job, oldest first; empty for an unknown job."""
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
        """Iterate in creation order, page by page, over the jobs that exist at the time of the call; None means any.

        ``since`` is in unix seconds and inclusive.
        """
        ...

    async def claim(self, job_id: str) -> bool:
        """Claim a job for this ledger; False when another live process owns it.

        Claiming is idempotent and possible before the job is created. The claim of a dead process is taken over,
        however the process died.
        """
        ...

    async def release(self, job_id: str) -> None:
        """Release the claim on a job; no effect when this ledger does not hold it."""
        ...

    async def owner(self, job_id: str) -> str | None:
        """Return the live owner of a job as ``PID-random``, or None; equal to ``owner_id()`` when it is this ledger."""
        ...

    async def claims(self) -> dict[str, str]:
        """Return the owner of every job that a live process has claimed."""
        ...

    async def owner_id(self) -> str:
        """Return the owner id under which this ledger claims jobs."""
        ...

    async def prune(self, before: float, states: Collection[State] = TERMINAL_STATES) -> int:
        """Delete jobs in these states whose last entry is older than ``before`` (unix seconds); return their number.

        Claimed jobs are kept. Raises InvalidRequestError for a state that is not terminal.
        """
        ...

    async def aclose(self) -> None:
        """Finish pending writes, then release every claim and resource."""
        ...


class JobFilter(Struct, frozen=True, kw_only=True):
    """Conditions on jobs; None means any."""

    states: frozenset[str] | None = None
    provider: str | None = None
    model: str | None = None
    since: float | None = None

    def matches(self, job: Job) -> bool:
        """Test a job against every condition."""
        return (
            (self.states is None or job.state in self.states)
            and (self.provider is None or (job.route is not None and job.route.provider == self.provider))
            and (self.model is None or job.request.model == self.model)
            and (self.since is None or job.created_at >= self.since)
        )


def build_job_filter(
    states: Collection[State] | None, provider: str | None, model: str | None, since: float | None
) -> JobFilter:
    """Build the filter of ``Ledger.iter_jobs`` from its arguments."""
    return JobFilter(states=None if states is None else frozenset(states), provider=provider, model=model, since=since)


def apply_entries(previous: Job | None, entry: LedgerEntry, *more: LedgerEntry) -> Job:
    """Apply entries, the first of which may create the job; raises InvalidTransitionError for a forbidden one."""
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
    """Return the idempotency key of a job's creation, if it has one."""
    return getattr(entry, "idempotency_key", None)


def require_terminal(states: Collection[State]) -> frozenset[str]:
    """Return the states as a set; raises InvalidRequestError unless all of them are terminal."""
    non_terminal = sorted(set(states) - TERMINAL_STATES)
    if non_terminal:
        raise InvalidRequestError(
            f"jobs in state {non_terminal[0]} may still be billed; "
            f"only {', '.join(sorted(TERMINAL_STATES))} can be pruned"
        )
    return frozenset(states)
