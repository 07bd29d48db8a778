"""Batch runner: generates the outputs of an input source into a folder, some at a time, resumable at any moment.

Every output has its own idempotency key, so that a new run does only what is missing; a line is read when it is due.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, get_args

from hfmedia.client import MediaClient
from hfmedia.core.costs import cost_status
from hfmedia.core.errors import HfmediaError, InvalidRequestError, JobCancelledError, StorageError
from hfmedia.engine import Event, JobFailed, MediaReady

from .columns import keyed_column, parse_options
from .estimate import BatchPlan, CostGroups, estimate_groups
from .index import OutputFolder, ResultsIndex, failure_line, result_line
from .input_files import InputSource
from .items import BatchItem
from .reader import InputReader, ValidationSummary
from .reconcile import Reconciler
from .scratch import ScratchDb
from .stats import MAX_CONSECUTIVE_FATAL, BatchStats
from .status import ItemStatus, item_state, job_attempts, output_target, with_pinned_model
from .validation import (
    BatchEvent,
    InFlightItem,
    is_filename_error,
    require_in_range,
    to_input_source,
    validate_defaults,
)

T = TypeVar("T")
StopReason = Literal["cost", "failures", "repeated_auth_failures", "stopped", "fatal_error"]
MAX_CONCURRENCY = 1000  # outputs in progress; beyond that the machine, not the providers, is the limit
DEFAULT_CONCURRENCY = 8
EVENT_QUEUE_SIZE = 1024  # events waiting for a slow consumer


class Batch:
    """Requests of an input source, and the folder of their results.

    Args:
        client: generates them; its ledger records them, its ``concurrency`` limits each provider.
        source: a file (JSON Lines, CSV, Parquet, text), ``-`` for stdin, or a list of mappings.
        folder: receives the results and ``index.jsonl``; created when it does not exist.
        input_format: the file's format where its suffix does not say it.
        defaults: columns for the lines that do not set them.
        concurrency: number of outputs in progress at once, at all providers together.
        max_cost: USD; once the providers reported that much for the outputs of this batch, in this run or an earlier
            one, nothing new is started. What is in progress finishes, so a little more may be billed.
        max_failures: nothing new is started after this many failures in this run.
        namespace: results of different namespaces never count for each other (the sandbox and real providers).

    Raises:
        InvalidRequestError: an argument or a file cannot be used.
    """

    def __init__(
        self,
        client: MediaClient,
        source: str | os.PathLike[str] | InputSource | Iterable[Mapping[str, Any]],
        folder: str | os.PathLike[str],
        *,
        input_format: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
        max_cost: float | None = None,
        max_failures: int | None = None,
        namespace: str = "",
    ) -> None:
        self.concurrency = require_in_range("concurrency", concurrency, 1, MAX_CONCURRENCY)
        self.max_failures = None if max_failures is None else require_in_range("max_failures", max_failures, 1, 10**9)
        if max_cost is not None and not max_cost >= 0:
            raise InvalidRequestError(f"max_cost is {max_cost!r}, but must be an amount in USD")
        self.max_cost, self.client = max_cost, client
        self.folder = Path(os.path.abspath(Path(folder).expanduser()))  # noqa: PTH100 - resolve() would follow links
        default_options = validate_defaults(defaults or {})
        self.source = to_input_source(source, input_format)
        self.stats = BatchStats(0)
        self.stop_reason: StopReason | None = None
        self.fatal_error: HfmediaError | None = None
        self.summary: ValidationSummary | None = None
        self._scratch = ScratchDb()
        self._reader = InputReader(
            self.source,
            self.folder,
            default_options,
            self._scratch,
            keyed_defaults=parse_options(defaults or {}, name_of=keyed_column),
            namespace=namespace,
        )
        self._index = ResultsIndex(self.folder)
        self._reconciler = Reconciler(client.ledger, self._reader, self._scratch, self._index, self._run_in_thread)
        self._output_folder: OutputFolder | None = None
        self._thread = ThreadPoolExecutor(1, "hfmedia-batch")
        self._active: set[InFlightItem] = set()
        self._next_lock = asyncio.Lock()
        self._safe_to_exit = asyncio.Event()

    # -- validation and plan ------------------------------------------------------------------------------------------

    async def check(self) -> ValidationSummary:
        """Read and validate the whole input; nothing is sent. Raises InvalidInputFileError that lists invalid lines."""
        if self.summary is None:
            self.summary = await self._run_in_thread(self._reader.validate)
            self.stats.total = self.summary.outputs
        return self.summary

    async def plan(self) -> BatchPlan:
        """Return what ``run`` would do: counts, models, providers, costs reported and estimated. Sends nothing."""
        summary, groups, stats = await self.check(), CostGroups(), BatchStats(0)
        by_status: dict[str, int] = dict.fromkeys(get_args(ItemStatus), 0)
        await self._reconciler.load_previous_index()
        async for item, state in self._reconciler.iter_states():
            by_status[state.status] += 1
            for cost in state.costs():
                stats.add_cost(cost)
            if state.status == "pending":
                groups.add(item)
        cost_groups = await estimate_groups(self.client, groups)
        return BatchPlan(
            lines=summary.lines,
            outputs=summary.outputs,
            by_status=by_status,
            groups=cost_groups,
            reported_cost=stats.cost_line(),
        )

    # -- running ------------------------------------------------------------------------------------------------------

    async def run(self) -> AsyncGenerator[BatchEvent, None]:
        """Yield the events of every missing output as they happen; each output ends with MediaReady or JobFailed.

        One failure never ends the rest. After the last event, ``stop_reason`` says why outputs were not started, None
        when all were; ``fatal_error`` is the error of the folder, the disk or the input file, if there was one. Closing
        the generator cancels what is in progress; ``stop`` lets it finish.
        """
        await self.check()
        queue: asyncio.Queue[BatchEvent | None] = asyncio.Queue(EVENT_QUEUE_SIZE)
        workers: list[asyncio.Task[None]] = []
        closer: asyncio.Task[None] | None = None
        try:
            self._output_folder = await self._run_in_thread(OutputFolder, self.folder)
            await self._run_in_thread(self._output_folder.remove_stale_parts)
            await self._reconciler.rebuild_index(self.stats, self._look_up_in_doubt)
            self.stats.start(time.monotonic())
            pending = self._reconciler.pending()
            workers = [asyncio.create_task(self._worker(pending, queue.put)) for _ in range(self.concurrency)]
            closer = asyncio.create_task(self._close_when_done(workers, queue))
            while (event := await queue.get()) is not None:
                yield event
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            if closer is not None:
                closer.cancel()
            await self._run_in_thread(self._index.close)
            if self._output_folder is not None:
                await self._run_in_thread(self._output_folder.close)

    def stop(self) -> None:
        """Start nothing new. Outputs that are not sent yet are cancelled; those in progress continue to their end."""
        self.stop_reason = self.stop_reason or "stopped"
        for active in self._active:
            if active.is_unsent and active.task is not None:
                active.task.cancel()
        self._update_safe_to_exit()

    async def wait_until_safe_to_exit(self) -> int:
        """Wait, after ``stop``, until every submission is answered; return the number of outputs at a provider then.

        From there on this process may end in any way: the ledger knows these jobs, and the next run continues them.
        """
        await self._safe_to_exit.wait()
        return len(self._active)

    async def aclose(self) -> None:
        """Close the input source and the scratch database."""
        await self._run_in_thread(self.source.close)
        await self._run_in_thread(self._scratch.close)
        self._thread.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- internals ----------------------------------------------------------------------------------------------------

    async def _look_up_in_doubt(self, job_id: str) -> None:
        """Resolve a job in doubt where the provider offers a lookup, which is free; leave any other as it is."""
        with suppress(HfmediaError):
            await self.client.resolve(job_id, "ask")

    async def _worker(
        self, pending: AsyncGenerator[BatchItem, None], publish: Callable[[BatchEvent], Awaitable[None]]
    ) -> None:
        """Process one output after another until none is left, or nothing new may start."""
        while (item := await self._next_item(pending)) is not None:
            active = InFlightItem(item, asyncio.current_task())
            self._active.add(active)
            try:
                await self._process_item(active, publish)
            finally:
                self._active.discard(active)
                self._update_safe_to_exit()

    async def _next_item(self, pending: AsyncGenerator[BatchItem, None]) -> BatchItem | None:
        async with self._next_lock:
            try:
                if self._limit_reached() or self._output_folder is None:
                    return None
                await self._run_in_thread(self._output_folder.ensure_present)
                item = await anext(pending, None)
            except HfmediaError as error:
                self._record_fatal_error(error)
                return None
        return None if self._limit_reached() else item

    def _limit_reached(self) -> bool:
        """Whether nothing new may start, for any reason; the first reason is recorded."""
        if self.stop_reason is None:
            if self.max_cost is not None and self.stats.reported_usd >= self.max_cost:
                self.stop_reason = "cost"
            elif self.max_failures is not None and self.stats.failed >= self.max_failures:
                self.stop_reason = "failures"
            elif self.stats.fatal_streak >= MAX_CONSECUTIVE_FATAL:
                self.stop_reason = "repeated_auth_failures"
        return self.stop_reason is not None

    def _record_fatal_error(self, error: HfmediaError) -> None:
        self.stop_reason, self.fatal_error = self.stop_reason or "fatal_error", self.fatal_error or error

    async def _process_item(self, active: InFlightItem, publish: Callable[[BatchEvent], Awaitable[None]]) -> None:
        item, result_count = active.item, 0
        try:
            async with aclosing(self._item_events(item)) as events:
                async for event in events:
                    active.last_event = event
                    if isinstance(event, MediaReady):
                        result_count += 1
                        await self._record_result(item, event, is_first=result_count == 1)
                    elif isinstance(event, JobFailed):
                        await self._record_failure(item, event.error)
                    self._update_safe_to_exit()
                    await publish(BatchEvent(item, event))
        except HfmediaError as error:
            event = active.last_event = JobFailed(job_id=error.job_id or "", error=error)
            await self._record_failure(item, error)
            await publish(BatchEvent(item, event))

    async def _item_events(self, item: BatchItem) -> AsyncGenerator[Event, None]:
        options = dict(item.options)
        if "model" not in options or "task" not in options:
            jobs = await job_attempts(self.client.ledger, item.key)
            options = dict(with_pinned_model(item, await self._run_in_thread(item_state, jobs)))
        prompt = options.pop("prompt", None)
        target = output_target(self.folder, item)
        events = self.client.generate(prompt, idempotency_key=item.key, output=target, **options)
        try:
            async with aclosing(events) as stream:
                async for event in stream:
                    yield event
        except HfmediaError:
            raise
        except Exception as error:  # a bug in hfmedia: the other lines continue
            raise HfmediaError(f"unexpected: {type(error).__name__}: {error}") from error

    async def _record_result(self, item: BatchItem, event: MediaReady, *, is_first: bool) -> None:
        if is_first:
            self.stats.add_success(event.media.cost, time.monotonic())
        try:
            await self._run_in_thread(self._index.append, result_line(item, event.media, self.folder))
        except StorageError as error:
            self._record_fatal_error(error)

    async def _record_failure(self, item: BatchItem, error: HfmediaError) -> None:
        if isinstance(error, JobCancelledError) and self.stop_reason == "stopped":
            return
        self.stats.add_failure(error, time.monotonic())
        if isinstance(error, StorageError) and not is_filename_error(error):
            self._record_fatal_error(await self._diagnose_storage_error(error))
        with suppress(HfmediaError):
            job = await self.client.ledger.get(error.job_id) if error.job_id else None
            if job is not None and cost_status(job) != "free":
                self.stats.add_cost(job.cost)
        try:
            await self._run_in_thread(self._index.append, failure_line(item, error))
        except StorageError as write_error:
            self._record_fatal_error(write_error)

    async def _diagnose_storage_error(self, error: StorageError) -> StorageError:
        """Return the error of the folder when the whole folder is gone, which explains more; else the error itself."""
        try:
            if self._output_folder is not None:
                await self._run_in_thread(self._output_folder.ensure_present)
        except StorageError as folder_error:
            return folder_error
        return error

    async def _close_when_done(
        self, workers: list[asyncio.Task[None]], queue: asyncio.Queue[BatchEvent | None]
    ) -> None:
        for result in await asyncio.gather(*workers, return_exceptions=True):
            if isinstance(result, Exception):  # a bug in hfmedia; the ledger knows the jobs in progress
                unexpected_error = HfmediaError(f"unexpected: {type(result).__name__}: {result}")
                unexpected_error.__cause__ = result
                self._record_fatal_error(unexpected_error)
        await queue.put(None)

    def _update_safe_to_exit(self) -> None:
        if self.stop_reason is not None and all(active.can_detach for active in self._active):
            self._safe_to_exit.set()
        else:
            self._safe_to_exit.clear()

    async def _run_in_thread(self, func: Callable[..., T], *args: Any) -> T:
        """Run a blocking function in the batch's own thread, where such calls run one after another."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, func, *args)
