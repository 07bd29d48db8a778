"""The ledger on disk: one SQLite file that several processes share, and that a person can open.

Nothing here touches the disk in the event loop: one thread writes, one reads.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from pathlib import Path
from sqlite3 import Connection

from hfmedia.core.job import ENDED, Fact, Job, State

from . import reading, writing
from .owners import Owners
from .port import ended_only, wanted
from .rows import entry
from .worker import Worker

PATIENCE = 30.0  # seconds to wait for another process's transaction; each of ours takes milliseconds


class SqliteLedger:
    """A ledger in a file: durable when ``append`` returns, shared by the processes of one machine.

    The file is made when it is first needed, readable for its owner only. Facts that are appended side by side share
    one commit. Who carries a job is known by a lock that ends with the process.

    Args:
        path: the file; ``-wal``, ``-shm`` and ``.owners`` lie beside it while it is in use.
        patience: how long to wait while another process writes, in seconds, before a StoreError says so.
        on_commit: hears, in the writing thread, of each commit and how many deeds it made durable.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        patience: float = PATIENCE,
        on_commit: Callable[[int], None] | None = None,
    ) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would look at the disk
        self._owners = owners = Owners(self.path)
        self._writer = Worker("hfmedia-ledger", writing.Writing(self.path, owners, patience, on_commit))
        self._reader = Worker("hfmedia-ledger-reader", reading.Reading(self.path, patience))
        for worker in (self._writer, self._reader):  # for a ledger that is dropped without being closed
            weakref.finalize(self, worker.stop).atexit = False

    def __repr__(self) -> str:
        return f"SqliteLedger({str(self.path)!r})"

    async def append(self, fact: Fact, *more: Fact) -> Job:
        """The job after these facts, once they are on the disk; see Ledger.append."""
        told = tuple(map(entry, (fact, *more)))
        return await self._writer.do(partial(writing.append, owners=self._owners, told=told))

    async def job(self, job_id: str) -> Job | None:
        """The job of that id, or None."""
        return await self._reader.ask(partial(reading.job, job_id=job_id))

    async def find(self, key: str) -> Job | None:
        """The job that was created under that idempotency key, or None."""
        return await self._reader.ask(partial(reading.find, key=key))

    async def facts(self, job_id: str) -> list[Fact]:
        """Everything that happened to the job, oldest first; empty for an unknown one."""
        return await self._reader.ask(partial(reading.facts, job_id=job_id))

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
        """The jobs there were when asked, by the order of their creation, a page at a time; see Ledger.jobs."""
        which = wanted(states, provider, model, since)
        low, high = 0, await self._reader.ask(reading.newest)
        left = high if limit is None else limit
        while left > 0 and low <= high:
            most = min(left, reading.PAGE)
            ask = partial(reading.page, which=which, place=(low, high), newest_first=newest_first, most=most)
            found = await self._reader.ask(ask)
            for place, job in found:
                low, high = (low, place - 1) if newest_first else (place + 1, high)
                yield job
            left -= len(found)
            if len(found) < most:
                return

    async def claim(self, job_id: str) -> bool:
        """True when this ledger carries the job now, False when another living one does."""
        return await self._writer.do(partial(writing.claim, owners=self._owners, job_id=job_id))

    async def release(self, job_id: str) -> None:
        """Carries the job no longer."""
        await self._writer.do(partial(writing.release, owners=self._owners, job_id=job_id))

    async def owner(self, job_id: str) -> str | None:
        """The living process that carries the job as ``PID-random``, or None."""
        return await self._reader.ask(partial(reading.owner, owners=self._owners, job_id=job_id))

    async def carried(self) -> dict[str, str]:
        """Every job that somebody living carries, with who."""
        return await self._reader.ask(partial(reading.carried, owners=self._owners))

    async def me(self) -> str:
        """The name under which this ledger claims jobs."""

        def name(_: Connection) -> str:
            return self._owners.me()

        return await self._writer.do(name)

    async def prune(self, before: float, states: Collection[State] = ENDED) -> int:
        """Forgets ended jobs in these states whose last fact is older than ``before``; see Ledger.prune."""
        forget = partial(writing.forget, owners=self._owners, before=before, states=ended_only(states))
        count = 0
        while gone := await self._writer.do(forget):
            count += gone
        return count

    async def aclose(self) -> None:
        """Ends both threads once everything begun is written, and gives up what this ledger carries."""
        try:
            await self._reader.close()
        finally:
            await self._writer.close()
