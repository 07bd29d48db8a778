"""A run: one order under way in this process, whoever still listens. It remembers what ended how, and wakes waiters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from msgspec import Struct

from hfmedia.core.errors import HfmediaError
from hfmedia.engine import Accepted, Event, FailedOver, JobFailed, MediaReady, Started
from hfmedia.server.db.generations import Generation
from hfmedia.storage import Media

REPLAYED_EVENTS = (
    Started,
    Accepted,
    FailedOver,
    MediaReady,
    JobFailed,
)  # events that late listeners hear, too; progress is for Live


class OutputResult(Struct, frozen=True, kw_only=True):
    """What became of one output: its media, or its error.

    ``job_id`` is empty when it never became a job; ``bought`` tells whether a provider may have accepted it.
    """

    index: int
    job_id: str = ""
    media: Media | None = None
    error: HfmediaError | None = None
    billable: bool = False


class ActiveGeneration:
    """One order under way. ``joined``: it was begun by an earlier request with the same idempotency key."""

    def __init__(self, generation: Generation, *, is_joined: bool = False) -> None:
        self.generation, self.is_joined = generation, is_joined
        self.job_ids_by_output: dict[int, str] = {}
        self.results: dict[int, OutputResult] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self._replayed: list[Event] = []
        self._change_event = asyncio.Event()

    @property
    def job_ids(self) -> list[str]:
        """The jobs there are, in the order of their outputs."""
        return [self.job_ids_by_output[index] for index in sorted(self.job_ids_by_output)]

    def on_event(self, index: int, event: Event) -> None:
        """One more event of an output."""
        self.job_ids_by_output[index] = event.job_id
        if isinstance(event, REPLAYED_EVENTS):
            self._replayed.append(event)
        self._notify()

    def finish(self, result: OutputResult) -> None:
        """What became of an output. A later end (it was tried again, and came) replaces an earlier one."""
        self.results[result.index] = result
        self._notify()

    async def wait_created(self, index: int) -> None:
        """Returns when the output is a job, or is known never to become one."""
        while index not in self.job_ids_by_output and index not in self.results:
            await self._change_event.wait()

    async def wait_done(self) -> list[OutputResult]:
        """What became of every output, in order."""
        while len(self.results) < self.generation.n:
            await self._change_event.wait()
        return [self.results[index] for index in sorted(self.results)]

    async def iter_results(self) -> AsyncIterator[OutputResult]:
        """What became of each output, as each one ends."""
        yielded: set[int] = set()
        while len(yielded) < self.generation.n:
            new_indexes = [index for index in self.results if index not in yielded]
            if not new_indexes:
                await self._change_event.wait()
            for index in new_indexes:
                yielded.add(index)
                yield self.results[index]

    async def iter_events(self) -> AsyncIterator[Event]:
        """The events that matter, those before as well, until every output has ended."""
        position = 0
        while True:
            while position < len(self._replayed):
                position += 1
                yield self._replayed[position - 1]
            if len(self.results) >= self.generation.n:
                return
            await self._change_event.wait()

    def _notify(self) -> None:
        """Wakes everybody who waits now; those who wait later wait for the next change."""
        previous, self._change_event = self._change_event, asyncio.Event()
        previous.set()
