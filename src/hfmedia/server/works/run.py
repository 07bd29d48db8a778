"""A run: one order under way in this process, whoever still listens. It remembers what ended how, and wakes waiters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from msgspec import Struct

from hfmedia.core.errors import HfmediaError
from hfmedia.engine import Accepted, Event, JobFailed, MediaReady, Moved, Started
from hfmedia.server.books.orders import Order
from hfmedia.store import Media

KEPT = (Started, Accepted, Moved, MediaReady, JobFailed)  # events that late listeners hear, too; progress is for Live


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one output: its media, or its error.

    ``job_id`` is empty when it never became a job; ``bought`` tells whether a provider may have accepted it.
    """

    index: int
    job_id: str = ""
    media: Media | None = None
    error: HfmediaError | None = None
    bought: bool = False


class Run:
    """One order under way. ``joined``: it was begun by an earlier request with the same idempotency key."""

    def __init__(self, order: Order, *, joined: bool = False) -> None:
        self.order, self.joined = order, joined
        self.ids: dict[int, str] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self._told: list[Event] = []
        self._changed = asyncio.Event()

    @property
    def job_ids(self) -> list[str]:
        """The jobs there are, in the order of their outputs."""
        return [self.ids[index] for index in sorted(self.ids)]

    def hear(self, index: int, event: Event) -> None:
        """One more event of an output."""
        self.ids[index] = event.job_id
        if isinstance(event, KEPT):
            self._told.append(event)
        self._ring()

    def end(self, outcome: Outcome) -> None:
        """What became of an output. A later end (it was tried again, and came) replaces an earlier one."""
        self.outcomes[outcome.index] = outcome
        self._ring()

    async def begun(self, index: int) -> None:
        """Returns when the output is a job, or is known never to become one."""
        while index not in self.ids and index not in self.outcomes:
            await self._changed.wait()

    async def done(self) -> list[Outcome]:
        """What became of every output, in order."""
        while len(self.outcomes) < self.order.n:
            await self._changed.wait()
        return [self.outcomes[index] for index in sorted(self.outcomes)]

    async def ended(self) -> AsyncIterator[Outcome]:
        """What became of each output, as each one ends."""
        told: set[int] = set()
        while len(told) < self.order.n:
            fresh = [index for index in self.outcomes if index not in told]
            if not fresh:
                await self._changed.wait()
            for index in fresh:
                told.add(index)
                yield self.outcomes[index]

    async def events(self) -> AsyncIterator[Event]:
        """The events that matter, those before as well, until every output has ended."""
        heard = 0
        while True:
            while heard < len(self._told):
                heard += 1
                yield self._told[heard - 1]
            if len(self.outcomes) >= self.order.n:
                return
            await self._changed.wait()

    def _ring(self) -> None:
        """Wakes everybody who waits now; those who wait later wait for the next change."""
        before, self._changed = self._changed, asyncio.Event()
        before.set()
