"""Where a process dies: it kills itself with SIGKILL the n-th time that it comes to a named step of a job's life.

Only a child of the crash harness is ever armed so; the product has no hooks for it.
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

from hfmedia.core.job import Fact, Job
from hfmedia.ledger import SqliteLedger, writing
from hfmedia.store import Store, files, intake, part
from hfmedia.transport import Transport

SHORTLY = 0.03  # seconds; a submission in the sandbox takes about as long


class Fate:
    """The step at which this process dies, and how often it passes there before."""

    def __init__(self, step: str = "", count: int = 1, seed: int = 0) -> None:
        self.step, self.left, self.chance = step, count, random.Random(seed)

    def at(self, step: str) -> None:
        """Here; dies if this is the step and the time has come."""
        if self._come(step):
            os.kill(os.getpid(), signal.SIGKILL)

    def amid(self, step: str) -> None:
        """Here begins something that takes a while; dies in the middle of it."""
        if self._come(step):
            delay = self.chance.random() * SHORTLY
            asyncio.get_running_loop().call_later(delay, os.kill, os.getpid(), signal.SIGKILL)

    def _come(self, step: str) -> bool:
        if step != self.step:
            return False
        self.left -= 1
        return self.left == 0


def arm(fate: Fate) -> None:
    """Puts the steps of a job's life under this fate, in this process."""
    _arm_ledger(fate)
    _arm_transport(fate)
    _arm_store(fate)


def _arm_ledger(fate: Fate) -> None:
    append, write = SqliteLedger.append, writing.append

    async def appended(self: SqliteLedger, *facts: Fact) -> Job:
        kinds = [type(fact).__struct_config__.tag for fact in facts]
        for kind in kinds:
            fate.at(f"before {kind}")
        job = await append(self, *facts)
        fate.at(f"after {kinds[-1]}")  # facts that are appended together are durable together
        return job

    def written(connection: Any, owners: Any, told: Any) -> Job:
        job = write(connection, owners, told)
        for one in told:
            fate.at(f"within {one.kind}")  # in the transaction, which is not committed yet
        return job

    SqliteLedger.append = appended  # type: ignore[method-assign]
    writing.append = written


def _arm_transport(fate: Fate) -> None:
    send, fetch = Transport.send, Transport.fetch

    @wraps(send)
    async def sent(self: Transport, request: Any, **options: Any) -> Any:
        hub = urlsplit(request.url).path.startswith("/api/")
        what = "hub" if hub else "post" if request.method == "POST" else "poll"
        fate.at(f"before {what}")
        fate.amid(f"amid {what}")
        reply = await send(self, request, **options)
        fate.at(f"after {what}")
        return reply

    class Halved:
        """A body that comes in halves, so that there is a middle to die in."""

        def __init__(self, body: Any) -> None:
            self.body = body

        def __getattr__(self, name: str) -> Any:
            return getattr(self.body, name)

        async def chunks(self) -> AsyncIterator[bytes]:
            async for chunk in self.body.chunks():
                yield chunk[: len(chunk) // 2]
                fate.at("amid fetch")
                yield chunk[len(chunk) // 2 :]

    @asynccontextmanager
    async def fetched(self: Transport, url: str, **options: Any) -> Any:
        fate.at("before fetch")
        async with fetch(self, url, **options) as body:
            yield Halved(body)
        fate.at("after fetch")

    Transport.send = sent  # type: ignore[method-assign]
    Transport.fetch = fetched  # type: ignore[method-assign,assignment]


def _arm_store(fate: Fate) -> None:
    keep, describe, link = Store.keep, files._describe, os.link
    open_media, open_facts = intake.open_part, part.open_part

    async def kept(self: Store, *given: Any, **options: Any) -> Any:
        fate.at("before keep")
        return await keep(self, *given, **options)

    def described(*given: Any) -> Any:
        fate.at("between file and facts")
        done = describe(*given)
        fate.at("between facts and ledger")
        return done

    def opened(*given: Any) -> Any:
        done = open_media(*given)
        fate.at("with an empty part")
        return done

    def opened_beside(*given: Any) -> Any:
        done = open_facts(*given)
        fate.at("with an empty part of facts")
        return done

    def linked(*given: Any) -> None:
        fate.at("before the name")
        link(*given)
        fate.at("with two names")

    Store.keep, files._describe = kept, described  # type: ignore[method-assign]
    intake.open_part, part.open_part = opened, opened_beside
    os.link = linked  # type: ignore[assignment]
