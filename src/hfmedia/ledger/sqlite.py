"""The ledger on disk: one SQLite file, shared by several processes and readable with any SQLite client.

The event loop never touches the disk: one thread writes, one reads.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from pathlib import Path
from sqlite3 import Connection

from hfmedia.core.job import TERMINAL_STATES, Job, LedgerEntry, State

from . import reader, writer
from .base import build_job_filter, require_terminal
from .db_thread import DatabaseThread
from .process_locks import ProcessLocks
from .serialization import encode_entry

BUSY_TIMEOUT = 30.0  # seconds to wait for another process's transaction, which takes milliseconds


class SqliteLedger:
    """A ledger in a file: durable when ``append`` returns, shared by the processes of one machine.

    The file is created on first use, readable by its owner only. Entries that are appended concurrently share one
    commit. A claim on a job is backed by a file lock that ends with the process.

    Args:
        path: the file; ``-wal``, ``-shm`` and ``.owners`` are next to it while it is in use.
        busy_timeout: seconds to wait while another process writes, before raising StorageError.
        on_commit: called in the writer thread after each commit, with the number of writes it made durable.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_timeout: float = BUSY_TIMEOUT,
        on_commit: Callable[[int], None] | None = None,
    ) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would look at the disk
        self._locks = locks = ProcessLocks(self.path)
        self._writer = DatabaseThread("hfmedia-ledger", writer.LedgerWriter(self.path, locks, busy_timeout, on_commit))
        self._reader = DatabaseThread("hfmedia-ledger-reader", reader.LedgerReader(self.path, busy_timeout))
        for db_thread in (self._writer, self._reader):  # for a ledger that is garbage-collected without being closed
            weakref.finalize(self, db_thread.stop).atexit = False

    def __repr__(self) -> str:
        return f"SqliteLedger({str(self.path)!r})"

    async def append(self, entry: LedgerEntry, *more: LedgerEntry) -> Job:
        """Append entries and return the job once they are on disk; see Ledger.append."""
        encoded = tuple(map(encode_entry, (entry, *more)))
        return await self._writer.write(partial(writer.append, locks=self._locks, entries=encoded))

    async def get(self, job_id: str) -> Job | None:
        """Return the job with that id, or None."""
        return await self._reader.read(partial(reader.get_job, job_id=job_id))

    async def find_by_key(self, key: str) -> Job | None:
        """Return the job created under that idempotency key, or None."""
        return await self._reader.read(partial(reader.find_by_key, key=key))

    async def entries(self, job_id: str) -> list[LedgerEntry]:
        """Return the entries of a job, oldest first; empty for an unknown job."""
        return await self._reader.read(partial(reader.list_entries, job_id=job_id))

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
        """Iterate over jobs in creation order, a page at a time; see Ledger.iter_jobs."""
        job_filter = build_job_filter(states, provider, model, since)
        low, high = 0, await self._reader.read(reader.last_seq)
        remaining = high if limit is None else limit
        while remaining > 0 and low <= high:
            page_limit = min(remaining, reader.PAGE_SIZE)
            query = partial(
                reader.list_page,
                job_filter=job_filter,
                seq_range=(low, high),
                newest_first=newest_first,
                limit=page_limit,
            )
            page = await self._reader.read(query)
            for seq, job in page:
                low, high = (low, seq - 1) if newest_first else (seq + 1, high)
                yield job
            remaining -= len(page)
            if len(page) < page_limit:
                return

    async def claim(self, job_id: str) -> bool:
        """Claim a job for this ledger; False when another live process owns it."""
        return await self._writer.write(partial(writer.claim, locks=self._locks, job_id=job_id))

    async def release(self, job_id: str) -> None:
        """Release the claim on a job."""
        await self._writer.write(partial(writer.release, locks=self._locks, job_id=job_id))

    async def owner(self, job_id: str) -> str | None:
        """Return the live owner of a job as ``PID-random``, or None."""
        return await self._reader.read(partial(reader.find_owner, locks=self._locks, job_id=job_id))

    async def claims(self) -> dict[str, str]:
        """Return the owner of every job that a live process has claimed."""
        return await self._reader.read(partial(reader.list_claims, locks=self._locks))

    async def owner_id(self) -> str:
        """Return the owner id under which this ledger claims jobs."""

        def acquire(_: Connection) -> str:
            return self._locks.acquire_owner_id()

        return await self._writer.write(acquire)

    async def prune(self, before: float, states: Collection[State] = TERMINAL_STATES) -> int:
        """Delete terminal jobs whose last entry is older than ``before``; see Ledger.prune."""
        prune_batch = partial(writer.prune, locks=self._locks, before=before, states=require_terminal(states))
        count = 0
        while pruned := await self._writer.write(prune_batch):
            count += pruned
        return count

    async def aclose(self) -> None:
        """Finish pending writes, end both threads and release every claim."""
        try:
            await self._reader.close()
        finally:
            await self._writer.close()
