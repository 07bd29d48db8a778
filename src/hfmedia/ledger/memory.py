"""A ledger in memory: for ``ledger=None``, tests and throw-away runs.

It keeps every promise of a ledger except durability: it ends with its process.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection

from hfmedia.core.job import TERMINAL_STATES, Job, LedgerEntry, State

from .base import (
    IdempotencyKeyInUseError,
    Ledger,
    apply_entries,
    build_job_filter,
    idempotency_key_of,
    require_terminal,
)

__all__ = ["Ledger", "MemoryLedger"]


class MemoryLedger:
    """A ledger that ends with its process."""

    def __init__(self) -> None:
        self._entries: dict[str, list[LedgerEntry]] = {}
        self._jobs: dict[str, Job] = {}
        self._ids_by_key: dict[str, str] = {}
        self._claims: set[str] = set()
        self._owner_id = f"{os.getpid()}-memory"

    async def append(self, entry: LedgerEntry, *more: LedgerEntry) -> Job:
        """Append entries and return the job; see Ledger.append."""
        previous = self._jobs.get(entry.job_id)
        job = apply_entries(previous, entry, *more)
        key = idempotency_key_of(entry) if previous is None else None
        if key is not None and self._ids_by_key.setdefault(key, job.id) != job.id:
            raise IdempotencyKeyInUseError(self._ids_by_key[key])
        self._entries.setdefault(entry.job_id, []).extend((entry, *more))
        self._jobs[entry.job_id] = job
        if previous is None:
            self._claims.add(job.id)
        elif job.is_terminal:
            self._claims.discard(job.id)
        return job

    async def get(self, job_id: str) -> Job | None:
        """Return the job with that id, or None."""
        return self._jobs.get(job_id)

    async def find_by_key(self, key: str) -> Job | None:
        """Return the job created under that idempotency key, or None."""
        return self._jobs.get(self._ids_by_key.get(key, ""))

    async def entries(self, job_id: str) -> list[LedgerEntry]:
        """Return the entries of a job, oldest first."""
        return list(self._entries.get(job_id, ()))

    async def iter_jobs(
        self,
        *,
        states: Collection[State] | None = None,
        provider: str | None = None,
        model: str | None = None,
        since: float | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[Job]:
        """Iterate over the jobs that exist at the time of the call, in creation order."""
        job_filter = build_job_filter(states, provider, model, since)
        remaining = len(self._jobs) if limit is None else limit
        for job_id in list(reversed(self._jobs) if newest_first else self._jobs):
            job = self._jobs.get(job_id)
            if remaining <= 0:
                return
            if job is not None and job_filter.matches(job):
                remaining -= 1
                yield job

    async def claim(self, job_id: str) -> bool:
        """Claim a job; always succeeds, since no other process shares this ledger."""
        self._claims.add(job_id)
        return True

    async def release(self, job_id: str) -> None:
        """Release the claim on a job."""
        self._claims.discard(job_id)

    async def owner(self, job_id: str) -> str | None:
        """Return this ledger's owner id when it has claimed the job."""
        return self._owner_id if job_id in self._claims else None

    async def claims(self) -> dict[str, str]:
        """Return the owner of every claimed job."""
        return dict.fromkeys(sorted(self._claims), self._owner_id)

    async def owner_id(self) -> str:
        """Return the owner id under which this ledger claims jobs."""
        return self._owner_id

    async def prune(self, before: float, states: Collection[State] = TERMINAL_STATES) -> int:
        """Delete jobs in these states whose last entry is older than ``before``; return their number."""
        terminal_states = require_terminal(states)
        pruned_ids = {
            job.id
            for job in self._jobs.values()
            if job.state in terminal_states and job.updated_at < before and job.id not in self._claims
        }
        for job_id in pruned_ids:
            del self._jobs[job_id], self._entries[job_id]
        self._ids_by_key = {key: job_id for key, job_id in self._ids_by_key.items() if job_id not in pruned_ids}
        return len(pruned_ids)

    async def aclose(self) -> None:
        """Do nothing: there is no resource to release."""
