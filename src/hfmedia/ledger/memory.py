"""What a ledger is, and the one that lives in memory.

``append`` returns when the fact is as durable as this ledger makes facts; nothing that costs money happens before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from hfmedia.core.job import Created, Fact, ImpossibleError, Job, begin, follow


class Ledger(Protocol):
    """Remembers facts, in the order in which they were appended."""

    async def append(self, fact: Fact) -> Job:
        """The job after this fact, once the fact is durable; ImpossibleError when the table of life forbids it."""
        ...

    async def job(self, job_id: str) -> Job | None:
        """The job of that id, or None."""
        ...

    async def facts(self, job_id: str) -> list[Fact]:
        """Everything that happened to the job, oldest first; empty for an unknown one."""
        ...

    def jobs(self) -> AsyncIterator[Job]:
        """Every job, oldest first."""
        ...

    async def aclose(self) -> None:
        """Lets go of what the ledger holds; what was appended stays."""
        ...


class MemoryLedger:
    """A ledger that ends with its process: for ``ledger=None``, for tests, for throw-away runs."""

    def __init__(self) -> None:
        self._facts: dict[str, list[Fact]] = {}
        self._jobs: dict[str, Job] = {}

    async def append(self, fact: Fact) -> Job:
        """The job after this fact."""
        before = self._jobs.get(fact.job)
        if before is None:
            if not isinstance(fact, Created):
                raise ImpossibleError(f"job {fact.job} was never created")
            after = begin(fact)
        else:
            after = follow(before, fact)
        self._facts.setdefault(fact.job, []).append(fact)
        self._jobs[fact.job] = after
        return after

    async def job(self, job_id: str) -> Job | None:
        """The job of that id, or None."""
        return self._jobs.get(job_id)

    async def facts(self, job_id: str) -> list[Fact]:
        """Everything that happened to the job, oldest first."""
        return list(self._facts.get(job_id, ()))

    async def jobs(self) -> AsyncIterator[Job]:
        """Every job, oldest first."""
        for job in list(self._jobs.values()):
            yield job

    async def aclose(self) -> None:
        """Nothing to let go of."""
