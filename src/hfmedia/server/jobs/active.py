"""An active generation: one that runs in this process. Collects its results and wakes those who wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from msgspec import Struct

from hfmedia.core.errors import HfmediaError
from hfmedia.server.db.generations import Generation
from hfmedia.storage import Media


class OutputResult(Struct, frozen=True, kw_only=True):
    """Result of one output: its media, or its error.

    ``job_id`` is empty if it never became a job; ``billable`` is True if a provider may have accepted it.
    """

    index: int
    job_id: str = ""
    media: Media | None = None
    error: HfmediaError | None = None
    billable: bool = False


class ActiveGeneration:
    """A generation that runs in this process."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.job_ids_by_output: dict[int, str] = {}
        self.results: dict[int, OutputResult] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self._change_event = asyncio.Event()

    @property
    def job_ids(self) -> list[str]:
        """The jobs created so far, in the order of their outputs."""
        return [self.job_ids_by_output[index] for index in sorted(self.job_ids_by_output)]

    def set_job_id(self, index: int, job_id: str) -> None:
        """Record that an output became a job."""
        if self.job_ids_by_output.get(index) != job_id:
            self.job_ids_by_output[index] = job_id
            self._notify()

    def finish(self, result: OutputResult) -> None:
        """Record the result of an output; a later one (after a retry) replaces it."""
        self.results[result.index] = result
        self._notify()

    async def wait_created(self, index: int) -> None:
        """Wait until the output is a job, or has failed to become one."""
        while index not in self.job_ids_by_output and index not in self.results:
            await self._change_event.wait()

    async def wait_done(self) -> list[OutputResult]:
        """Wait for every output and return the results in order."""
        while len(self.results) < self.generation.n:
            await self._change_event.wait()
        return [self.results[index] for index in sorted(self.results)]

    async def iter_results(self) -> AsyncIterator[OutputResult]:
        """Iterate over the results in the order in which they arrive."""
        yielded: set[int] = set()
        while len(yielded) < self.generation.n:
            new_indexes = [index for index in self.results if index not in yielded]
            if not new_indexes:
                await self._change_event.wait()
            for index in new_indexes:
                yielded.add(index)
                yield self.results[index]

    def _notify(self) -> None:
        """Wake all current waiters; later ones wait for the next change."""
        previous, self._change_event = self._change_event, asyncio.Event()
        previous.set()
