"""The ledger that lives in memory: for ``ledger=None``, for tests, for throw-away runs.

It keeps what every ledger promises, but for durability: it ends with its process.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection

from hfmedia.core.job import ENDED, Fact, Job, State

from .port import KeyTakenError, Ledger, after, ended_only, key_of, wanted

__all__ = ["Ledger", "MemoryLedger"]


class MemoryLedger:
    """A ledger that ends with its process."""

    def __init__(self) -> None:
        self._facts: dict[str, list[Fact]] = {}
        self._jobs: dict[str, Job] = {}
        self._keys: dict[str, str] = {}
        self._claims: set[str] = set()
        self._me = f"{os.getpid()}-memory"

    async def append(self, fact: Fact, *more: Fact) -> Job:
        """The job after these facts."""
        before = self._jobs.get(fact.job)
        job = after(before, fact, *more)
        key = key_of(fact) if before is None else None
        if key is not None and self._keys.setdefault(key, job.id) != job.id:
            raise KeyTakenError(self._keys[key])
        self._facts.setdefault(fact.job, []).extend((fact, *more))
        self._jobs[fact.job] = job
        if before is None:
            self._claims.add(job.id)
        elif job.ended:
            self._claims.discard(job.id)
        return job

    async def job(self, job_id: str) -> Job | None:
        """The job of that id, or None."""
        return self._jobs.get(job_id)

    async def find(self, key: str) -> Job | None:
        """The job that was created under that idempotency key, or None."""
        return self._jobs.get(self._keys.get(key, ""))

    async def facts(self, job_id: str) -> list[Fact]:
        """Everything that happened to the job, oldest first."""
        return list(self._facts.get(job_id, ()))

    async def jobs(
        self,
        *,
        states: Collection[State] | None = None,
        provider: str | None = None,
        model: str | None = None,
        since: float | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[Job]:
        """The jobs there were when asked, by the order of their creation."""
        which = wanted(states, provider, model, since)
        left = len(self._jobs) if limit is None else limit
        for job_id in list(reversed(self._jobs) if newest_first else self._jobs):
            job = self._jobs.get(job_id)
            if left <= 0:
                return
            if job is not None and which.holds(job):
                left -= 1
                yield job

    async def claim(self, job_id: str) -> bool:
        """Always: nobody else knows this ledger."""
        self._claims.add(job_id)
        return True

    async def release(self, job_id: str) -> None:
        """Carries the job no longer."""
        self._claims.discard(job_id)

    async def owner(self, job_id: str) -> str | None:
        """This ledger, when it carries the job."""
        return self._me if job_id in self._claims else None

    async def carried(self) -> dict[str, str]:
        """Every job that is carried, with who."""
        return dict.fromkeys(sorted(self._claims), self._me)

    async def me(self) -> str:
        """The name under which this ledger claims jobs."""
        return self._me

    async def prune(self, before: float, states: Collection[State] = ENDED) -> int:
        """Forgets jobs in these states whose last fact is older than ``before``; tells how many."""
        old = ended_only(states)
        gone = {
            job.id
            for job in self._jobs.values()
            if job.state in old and job.updated < before and job.id not in self._claims
        }
        for job_id in gone:
            del self._jobs[job_id], self._facts[job_id]
        self._keys = {key: job_id for key, job_id in self._keys.items() if job_id not in gone}
        return len(gone)

    async def aclose(self) -> None:
        """Nothing to let go of."""
