"""Kill points: a process kills itself with SIGKILL the n-th time that it reaches a named step of a job's life.

Only children of the crash harness install them; the product has no hooks for it.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from hfmedia.core.job import Job, LedgerEntry, entry_tag
from hfmedia.ledger import SqliteLedger, writer
from hfmedia.storage import FileStorage, atomic_file, file_storage, write_buffer
from hfmedia.transport import Transport

MAX_DELAY = 0.03  # seconds; a submission in the sandbox takes about as long


class KillPoint:
    """The step at which this process dies, and how often it has to be reached."""

    def __init__(self, step: str = "", count: int = 1, seed: int = 0) -> None:
        self.step, self.remaining, self.rng = step, count, random.Random(seed)

    def reach(self, step: str) -> None:
        """Die if this is the step and its count is reached."""
        if self._is_due(step):
            os.kill(os.getpid(), signal.SIGKILL)

    def reach_amid(self, step: str) -> None:
        """Die in the middle of something that starts here, if this is the step and its count is reached."""
        if self._is_due(step):
            delay = self.rng.random() * MAX_DELAY
            asyncio.get_running_loop().call_later(delay, os.kill, os.getpid(), signal.SIGKILL)

    def _is_due(self, step: str) -> bool:
        if step != self.step:
            return False
        self.remaining -= 1
        return self.remaining == 0


def install(kill_point: KillPoint) -> None:
    """Install a kill point on the steps of a job's life, in this process."""
    _install_ledger(kill_point)
    _install_transport(kill_point)
    _install_store(kill_point)


def _install_ledger(kill_point: KillPoint) -> None:
    append, write = SqliteLedger.append, writer.append

    async def appended(self: SqliteLedger, *entries: LedgerEntry) -> Job:
        tags = [entry_tag(entry) for entry in entries]
        for tag in tags:
            kill_point.reach(f"before {tag}")
        job = await append(self, *entries)
        kill_point.reach(f"after {tags[-1]}")  # entries that are appended together are durable together
        return job

    def written(connection: Any, locks: Any, entries: Any) -> Job:
        job = write(connection, locks, entries)
        for one in entries:
            kill_point.reach(f"within {one.kind}")  # in the transaction, which is not committed yet
        return job

    SqliteLedger.append = appended  # type: ignore[method-assign,assignment]
    writer.append = written


def _install_transport(kill_point: KillPoint) -> None:
    send, fetch = Transport.send, Transport.fetch

    @wraps(send)
    async def sent(self: Transport, request: Any, **options: Any) -> Any:
        hub = urlsplit(request.url).path.startswith("/api/")
        what = "hub" if hub else "post" if request.method == "POST" else "poll"
        kill_point.reach(f"before {what}")
        kill_point.reach_amid(f"amid {what}")
        reply = await send(self, request, **options)
        kill_point.reach(f"after {what}")
        return reply

    class Halved:
        """A body that arrives in halves, so that there is a middle to die in."""

        def __init__(self, body: Any) -> None:
            self.body = body

        def __getattr__(self, name: str) -> Any:
            return getattr(self.body, name)

        async def chunks(self) -> AsyncIterator[bytes]:
            async for chunk in self.body.chunks():
                yield chunk[: len(chunk) // 2]
                kill_point.reach("amid fetch")
                yield chunk[len(chunk) // 2 :]

    @asynccontextmanager
    async def fetched(self: Transport, url: str, **options: Any) -> Any:
        kill_point.reach("before fetch")
        async with fetch(self, url, **options) as body:
            yield Halved(body)
        kill_point.reach("after fetch")

    Transport.send = sent  # type: ignore[method-assign]
    Transport.fetch = fetched  # type: ignore[method-assign,assignment]


def _install_store(kill_point: KillPoint) -> None:
    keep, describe, link = FileStorage.save, file_storage._write_sidecar, os.link
    open_media, open_sidecar = write_buffer.open_atomic, atomic_file.open_atomic  # type: ignore[attr-defined]

    async def kept(self: FileStorage, *args: Any, **options: Any) -> Any:
        kill_point.reach("before keep")
        return await keep(self, *args, **options)

    def described(*args: Any) -> Any:
        kill_point.reach("between file and facts")
        result = describe(*args)
        kill_point.reach("between facts and ledger")
        return result

    def opened(*args: Any) -> Any:
        result = open_media(*args)
        kill_point.reach("with an empty part")
        return result

    def opened_sidecar(*args: Any) -> Any:
        result = open_sidecar(*args)
        kill_point.reach("with an empty part of facts")
        return result

    def linked(*args: Any) -> None:
        kill_point.reach("before the name")
        link(*args)
        kill_point.reach("with two names")

    FileStorage.save, file_storage._write_sidecar = kept, described  # type: ignore[method-assign,assignment]
    write_buffer.open_atomic, atomic_file.open_atomic = opened, opened_sidecar  # type: ignore[attr-defined,assignment]
    os.link = linked  # type: ignore[assignment]
