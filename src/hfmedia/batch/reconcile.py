"""Reconciliation of a batch: the state of every item, and the index rebuilt from it.

The ledger has precedence; what it has lost is taken from the previous index, as long as the file exists.
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

from .index import ResultsIndex, existing_media_path, result_line
from .items import BatchItem
from .reader import InputReader
from .scratch import ScratchDb
from .stats import BatchStats
from .status import ItemState, item_state, job_attempts

T = TypeVar("T")
CHUNK_SIZE = 64  # items read, or looked up in the ledger, at once


class RunInThread(Protocol):
    """Callable that runs a blocking function in a thread and returns its result."""

    def __call__(self, func: Callable[..., T], /, *args: Any) -> Awaitable[T]: ...


class Reconciler:
    """Compares the input with the ledger, the folder and its index. ``run_in_thread`` runs calls one after another."""

    def __init__(
        self, ledger: Ledger, reader: InputReader, scratch: ScratchDb, index: ResultsIndex, run_in_thread: RunInThread
    ) -> None:
        self._ledger, self._reader, self._scratch = ledger, reader, scratch
        self._index, self._run_in_thread = index, run_in_thread

    async def load_previous_index(self) -> None:
        """Read the index of an earlier run into the scratch database."""

        def load() -> None:
            self._scratch.clear_previous()
            for line in self._index.read_previous():
                self._scratch.add_previous(str(line.get("key")), msgspec.json.encode(line))

        await self._run_in_thread(load)

    async def iter_states(self) -> AsyncGenerator[tuple[BatchItem, ItemState], None]:
        """Yield every item with its state, in the order of the input."""
        async with aclosing(self._item_chunks()) as chunks:
            async for items in chunks:
                jobs = await asyncio.gather(*(job_attempts(self._ledger, item.key) for item in items))
                for item, state in zip(items, await self._run_in_thread(self._classify, items, jobs), strict=True):
                    yield item, state

    async def rebuild_index(self, stats: BatchStats, look_up: Callable[[str], Awaitable[None]]) -> None:
        """Rebuild the index, mark the outputs that are done, and count them with all costs so far.

        ``look_up`` is called with the id of each job in doubt, so that providers with a lookup can resolve it.
        """
        await self.load_previous_index()
        await self._run_in_thread(self._index.start_rewrite)
        done: list[tuple[BatchItem, ItemState]] = []
        async for item, state in self.iter_states():
            for cost in state.costs():
                stats.add_cost(cost)
            if state.status == "done":
                stats.previously_done += 1
                done.append((item, state))
            elif state.status == "in_doubt" and state.job is not None:
                await look_up(state.job.id)
            if len(done) >= CHUNK_SIZE:
                await self._run_in_thread(self._write_done, done)
                done.clear()
        await self._run_in_thread(self._write_done, done)
        await self._run_in_thread(self._write_unmatched)
        await self._run_in_thread(self._index.commit)

    async def pending(self) -> AsyncGenerator[BatchItem, None]:
        """Yield every item that was not done when the index was rebuilt, in the order of the input."""
        async with aclosing(self._item_chunks()) as chunks:
            async for items in chunks:
                for item in await self._run_in_thread(self._not_done, items):
                    yield item

    async def _item_chunks(self) -> AsyncGenerator[list[BatchItem], None]:
        items = self._reader.items()
        try:
            while chunk := await self._run_in_thread(_next_chunk, items):
                yield chunk
        finally:
            await self._run_in_thread(cast("Any", items).close)

    def _classify(self, items: Sequence[BatchItem], jobs: Sequence[Sequence[Job]]) -> list[ItemState]:
        folder, states = self._index.folder, list[ItemState]()
        for item, attempts in zip(items, jobs, strict=True):
            previous_lines: list[dict[str, Any]] = [
                msgspec.json.decode(body) for body in self._scratch.take_previous(item.key)
            ]
            present_lines = (
                tuple(body for body in previous_lines if existing_media_path(body, folder)) if not attempts else ()
            )
            states.append(
                ItemState(status="done", previous_lines=present_lines) if present_lines else item_state(attempts)
            )
        return states

    def _write_done(self, done: Sequence[tuple[BatchItem, ItemState]]) -> None:
        """Append the index lines of outputs that are done, and mark them."""
        lines: list[Mapping[str, Any]] = []
        for item, state in done:
            lines += [{**body, "line": item.line} for body in state.previous_lines]
            lines += [result_line(item, media, self._index.folder) for media in state.media]
            self._scratch.mark_done(item.key)
        self._index.append(*lines)

    def _write_unmatched(self) -> None:
        """Append the index lines of other inputs, or of lines that were changed since, whose files exist."""
        for encoded in self._scratch.unmatched_previous():
            line: dict[str, Any] = msgspec.json.decode(encoded)
            if existing_media_path(line, self._index.folder):
                self._index.append(line)

    def _not_done(self, items: Sequence[BatchItem]) -> list[BatchItem]:
        return [item for item in items if not self._scratch.is_done(item.key)]


def _next_chunk(items: Iterator[BatchItem]) -> list[BatchItem]:
    return list(islice(items, CHUNK_SIZE))
