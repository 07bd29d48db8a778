"""Taking stock of a batch: every order of its sheet, how it stands, and the index made anew out of that.

What the ledger knows goes first; what it has lost is known from the old index, as long as the file is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import islice
from typing import Any, Protocol, TypeVar, cast

import msgspec

from hfmedia.core.job import Job
from hfmedia.ledger import Ledger

from .checking import Reading
from .index import Index, media_of, result_line
from .keys import Order
from .marks import Marks
from .survey import Found, chain, stand_of
from .tally import Tally

T = TypeVar("T")
CHUNK = 64  # lines read, or looked up in the ledger, in one go


class Doing(Protocol):
    """Does something that blocks in a thread, and returns what it returned."""

    def __call__(self, work: Callable[..., T], /, *given: Any) -> Awaitable[T]: ...


class Stock:
    """What there is of a batch. ``do`` runs what blocks, one thing after the other."""

    def __init__(self, ledger: Ledger, reading: Reading, marks: Marks, index: Index, do: Doing) -> None:
        self._ledger, self._reading, self._marks, self._index, self._do = ledger, reading, marks, index, do

    async def recall(self) -> None:
        """Reads the index of an earlier start."""

        def read() -> None:
            self._marks.forget_told()
            for body in self._index.old():
                self._marks.tell(str(body.get("key")), msgspec.json.encode(body))

        await self._do(read)

    async def survey(self) -> AsyncGenerator[tuple[Order, Found], None]:
        """Every order in the sheet's order, with how it stands."""
        async with aclosing(self._chunks()) as chunks:
            async for orders in chunks:
                jobs = await asyncio.gather(*(chain(self._ledger, order.key) for order in orders))
                for order, found in zip(orders, await self._do(self._stood, orders, jobs), strict=True):
                    yield order, found

    async def take(self, tally: Tally, ask: Callable[[str], Awaitable[None]]) -> None:
        """Makes the index anew, marks what is there, and counts it with all that was paid so far.

        ``ask`` is given the id of each job in doubt, so that a provider that can tell what became of it is asked.
        """
        await self.recall()
        await self._do(self._index.begin)
        kept: list[tuple[Order, Found]] = []
        async for order, found in self.survey():
            for cost in found.costs():
                tally.also(cost)
            if found.stand == "done":
                tally.earlier += 1
                kept.append((order, found))
            elif found.stand == "in doubt" and found.job is not None:
                await ask(found.job.id)
            if len(kept) >= CHUNK:
                await self._do(self._enter, kept)
                kept.clear()
        await self._do(self._enter, kept)
        await self._do(self._strangers)
        await self._do(self._index.settle)

    async def missing(self) -> AsyncGenerator[Order, None]:
        """Every order that was not there when stock was taken, in the sheet's order."""
        async with aclosing(self._chunks()) as chunks:
            async for orders in chunks:
                for order in await self._do(self._unfinished, orders):
                    yield order

    async def _chunks(self) -> AsyncGenerator[list[Order], None]:
        """The sheet's orders, a few at a time."""
        orders = self._reading.orders()
        try:
            while chunk := await self._do(_take, orders):
                yield chunk
        finally:
            await self._do(cast("Any", orders).close)

    def _stood(self, orders: Sequence[Order], jobs: Sequence[Sequence[Job]]) -> list[Found]:
        folder, found = self._index.folder, list[Found]()
        for order, some in zip(orders, jobs, strict=True):
            told: list[dict[str, Any]] = [msgspec.json.decode(body) for body in self._marks.told(order.key)]
            there = tuple(body for body in told if media_of(body, folder)) if not some else ()
            found.append(Found(stand="done", told=there) if there else stand_of(some))
        return found

    def _enter(self, kept: Sequence[tuple[Order, Found]]) -> None:
        """Index lines of outputs that are there."""
        lines: list[Mapping[str, Any]] = []
        for order, found in kept:
            lines += [{**body, "line": order.line} for body in found.told]
            lines += [result_line(order, media, self._index.folder) for media in found.media]
            self._marks.finish(order.key)
        self._index.add(*lines)

    def _strangers(self) -> None:
        """Index lines of other sheets, or of lines that were changed since, whose files are there."""
        for packed in self._marks.strangers():
            body: dict[str, Any] = msgspec.json.decode(packed)
            if media_of(body, self._index.folder):
                self._index.add(body)

    def _unfinished(self, orders: Sequence[Order]) -> list[Order]:
        return [order for order in orders if not self._marks.is_finished(order.key)]


def _take(orders: Iterator[Order]) -> list[Order]:
    return list(islice(orders, CHUNK))
