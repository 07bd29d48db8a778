"""The engine: runs several jobs concurrently, merges their events, and resumes, cancels or resolves jobs later.

It owns the tasks that run jobs; everything outside is reached through its EngineDependencies.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import structs

from hfmedia.core.errors import HfmediaError, InvalidRequestError, JobCancelledError
from hfmedia.core.idempotency import attempt_key, output_key
from hfmedia.core.job import (
    CancelledEntry,
    CreatedEntry,
    Job,
    strip_inline_media,
)
from hfmedia.core.ports import OutputTarget
from hfmedia.core.protocol import Output, Route
from hfmedia.core.request import GenerationRequest, comparable, validate_output_count, with_seed
from hfmedia.core.seeds import seeds_for
from hfmedia.core.timeouts import Timeouts
from hfmedia.ledger import IdempotencyKeyInUseError
from hfmedia.storage.filenames import indexed_path

from .dependencies import EngineDependencies
from .event_stream import EventStream
from .events import JobFailed, MediaReady, Started
from .recovery import context_of, discard_event, mark_orphans_in_doubt, resolve_in_doubt
from .runner import JobRunner
from .storing import StoredOutputs

MAX_KEY_ATTEMPTS = 1000  # under one idempotency key; beyond that something else is wrong
MAX_RETAINED = 16  # jobs whose inline media stays in memory for another attempt to store it; each may be tens of MB
ATTACH_POLL_INTERVAL = 0.5  # seconds between two reads of a job that another process runs

Replan = Callable[[Job], Awaitable[Sequence[Route]]]
JobFunc = Callable[[JobRunner], Awaitable[StoredOutputs]]


class Engine:
    """Runs the jobs of one client, from one event loop."""

    def __init__(self, deps: EngineDependencies) -> None:
        self.deps = deps
        self._running: dict[str, asyncio.Task[None]] = {}
        self._runners: dict[str, JobRunner] = {}
        self._retained: OrderedDict[str, tuple[Output, ...]] = OrderedDict()

    # -- generating -------------------------------------------------------------------------------------------------

    def generate(
        self,
        request: GenerationRequest,
        routes: Sequence[Route],
        *,
        target: OutputTarget,
        n: int = 1,
        timeouts: Timeouts | None = None,
        warnings: Sequence[str] = (),
        idempotency_key: str | None = None,
        requested_model: str | None = None,
    ) -> EventStream:
        """Stream the events of n concurrent jobs as they happen, each ending in MediaReady or JobFailed.

        With a seed, the outputs get seed, seed+1, …; without one, several outputs get distinct random seeds. With an
        idempotency key, a job that already has it is attached to instead. Closing the stream cancels what still runs.
        """
        limits = timeouts or Timeouts()

        async def start(events: EventStream) -> None:
            seeds = seeds_for(request.seed, validate_output_count(n), self.deps.random_float)
            for index, seed in enumerate(seeds):
                output_request = with_seed(request, seed)
                output_target = structs.replace(target, file=indexed_path(target.file, index, n))
                key = idempotency_key if idempotency_key is None or n == 1 else output_key(idempotency_key, index)
                job, is_new = await self._create_or_find(
                    output_request, index, output_target, key, requested_model, seeded=request.seed is not None
                )
                events.emit(
                    Started(
                        job_id=job.id,
                        index=index,
                        model=output_request.model,
                        seed=job.request.seed,
                        warnings=tuple(warnings),
                    )
                )
                # the creation time is part of the file name: a resumed job gets the same one
                output_target = structs.replace(output_target, job_id=job.id, created_at=job.created_at)
                runner = JobRunner(
                    self.deps,
                    job.id,
                    index,
                    emit=events.emit,
                    target=output_target,
                    timeouts=limits,
                    current_job=job if is_new else None,
                )
                if is_new or (job.state == "created" and await self.deps.ledger.claim(job.id)):
                    self._start(runner, _starter(output_request, routes), events, owned=True)
                else:
                    self._start(runner, self._attach(job.id, output_request, routes), events, owned=False)

        return EventStream(start)

    async def _create_or_find(
        self,
        request: GenerationRequest,
        index: int,
        target: OutputTarget,
        idempotency_key: str | None,
        requested_model: str | None,
        *,
        seeded: bool,
    ) -> tuple[Job, bool]:
        """Create and claim a job, or find the one that has its key; the flag is True for a new job.

        Raises InvalidRequestError when the key belongs to a different request.
        """
        stored_request = strip_inline_media(request)
        entry = CreatedEntry(
            job_id=self.deps.new_id(),
            timestamp=self.deps.clock(),
            request=stored_request,
            index=index,
            requested_model=requested_model,
            output_folder=str(target.folder.absolute()),
            output_file=str(target.file.absolute()) if target.file else None,
        )
        for attempt in range(1, MAX_KEY_ATTEMPTS):
            key = attempt_key(idempotency_key, attempt) if idempotency_key else idempotency_key
            try:
                return await self.deps.ledger.append(structs.replace(entry, idempotency_key=key)), True
            except IdempotencyKeyInUseError as conflict:
                job = await self.get_job(conflict.job_id)
            if job.state not in ("failed", "cancelled"):  # those were reported, and may be tried again
                break
        else:
            raise InvalidRequestError(
                f"the idempotency key {idempotency_key!r} has failed {MAX_KEY_ATTEMPTS} times; use a new key"
            )
        previous, current = job.request, stored_request
        if not seeded:  # a random seed is not part of the caller's request
            previous, current = with_seed(previous, None), with_seed(current, None)
        if comparable(previous) != comparable(current):
            raise InvalidRequestError(
                f"the idempotency key {idempotency_key!r} belongs to another request (job {job.id}); use a new key",
                job_id=job.id,
            )
        return job, False

    def _attach(self, job_id: str, request: GenerationRequest, routes: Sequence[Route]) -> JobFunc:
        """Return a function that waits for the process that runs an existing job, or runs it when none does.

        A job that was never sent is sent with this request, whose input image the ledger does not keep.
        """

        async def attach(runner: JobRunner) -> StoredOutputs:
            while True:
                running_task = self._running.get(job_id)
                if running_task is not None:
                    await asyncio.wait({running_task})
                elif await self.deps.ledger.claim(job_id):
                    task = asyncio.current_task()
                    assert task is not None
                    self._running[job_id], self._runners[job_id] = task, runner
                    try:
                        return await self._resume_job(runner, routes, request)
                    finally:
                        self._running.pop(job_id, None)
                        self._runners.pop(job_id, None)
                        await self.deps.ledger.release(job_id)
                else:
                    await self.deps.sleep(ATTACH_POLL_INTERVAL)

        return attach

    # -- later ------------------------------------------------------------------------------------------------------

    def resume(
        self, job_id: str, *, target: OutputTarget, timeouts: Timeouts | None = None, replan: Replan | None = None
    ) -> EventStream:
        """Stream the events of an interrupted job, continued from its state; nothing is submitted twice.

        ``replan`` returns the routes for a job that was never sent. Raises InvalidRequestError, on the first step, when
        the job is already running here or in another live process.
        """

        async def start(events: EventStream) -> None:
            job = await self.get_job(job_id)
            if job_id in self._running or not await self.deps.ledger.claim(job_id):
                raise InvalidRequestError(f"job {job_id} is already running", job_id=job_id)
            output_target = structs.replace(target, job_id=job_id, name_hint=job.request.prompt or job.request.task)
            limits = timeouts or Timeouts()
            runner = JobRunner(self.deps, job_id, job.index, emit=events.emit, target=output_target, timeouts=limits)

            async def run(runner: JobRunner) -> StoredOutputs:
                unsent = job.state in ("created", "routed")
                return await self._resume_job(runner, await replan(job) if unsent and replan else ())

            self._start(runner, run, events, owned=True)

        return EventStream(start)

    async def cancel(self, job_id: str) -> Job:
        """Stop a job here, and at the provider where possible; return it afterwards.

        A job that the provider completed keeps its state: it is billed and can be downloaded. Raises
        InvalidRequestError when another process runs the job.
        """
        job = await self.get_job(job_id)
        task = self._running.get(job_id)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        elif not job.is_terminal and not await self.deps.ledger.claim(job_id):
            raise InvalidRequestError(f"job {job_id} is running in another process; stop it there", job_id=job_id)
        elif job.state == "running" and job.route and job.handle:
            target = OutputTarget(folder=Path())
            runner = JobRunner(self.deps, job_id, job.index, emit=discard_event, target=target, timeouts=Timeouts())
            confirmed, message = await runner.cancel_remote(job.route, job.handle)
            await runner.context.record(CancelledEntry, provider_confirmed=confirmed, message=message)
        elif job.state in ("created", "routed"):
            await context_of(self.deps, job).record(CancelledEntry, provider_confirmed=None, message="nothing was sent")
        job = await self.get_job(job_id)
        if not job.is_terminal:  # in doubt, or completed at the provider: it keeps its state and can be resumed
            await self.deps.ledger.release(job_id)
        return job

    async def detach(self, job_id: str, *, keep_unsent: bool = False) -> Job:
        """Stop running a job here while the provider continues it; ``resume`` fetches the result later.

        A job that was not sent yet is cancelled, or with ``keep_unsent`` left to be sent when it is resumed. A
        submission in flight is awaited until its outcome is known.
        """
        task, runner = self._running.get(job_id), self._runners.get(job_id)
        if task is not None and runner is not None:
            runner.detached, runner.keep_unsent = True, keep_unsent
            task.cancel()
            await asyncio.wait({task})
        return await self.get_job(job_id)

    async def mark_orphans_in_doubt(self) -> None:
        """Mark each job as in doubt whose process ended while its request was in flight."""
        await mark_orphans_in_doubt(self.deps, self._running)

    async def resolve(self, job_id: str, decision: str) -> Job:
        """Resolve a job in doubt: ``resend``, ``drop``, or ``ask`` the provider where it can look up its jobs.

        Raises InvalidRequestError when the job is not in doubt, or the provider cannot tell.
        """
        await self.mark_orphans_in_doubt()
        await resolve_in_doubt(self.deps, await self.get_job(job_id), decision)
        return await self.get_job(job_id)

    async def get_job(self, job_id: str) -> Job:
        """Return a job; raises InvalidRequestError when the ledger does not know it."""
        job = await self.deps.ledger.get(job_id)
        if job is None:
            raise InvalidRequestError(f"there is no job {job_id!r} in the ledger", job_id=job_id)
        return job

    async def aclose(self) -> None:
        """Cancel the running jobs and wait for them."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- internals --------------------------------------------------------------------------------------------------

    def _start(self, runner: JobRunner, func: JobFunc, events: EventStream, *, owned: bool) -> None:
        """Start the task of a job; ``owned`` means that this engine holds the claim on it."""
        task = events.run(self._run(runner, func, events, owned), name=f"hfmedia job {runner.job_id}")
        if not owned:
            return
        self._running[runner.job_id] = task
        self._runners[runner.job_id] = runner

        def on_done(_: asyncio.Task[None]) -> None:
            self._running.pop(runner.job_id, None)
            self._runners.pop(runner.job_id, None)

        task.add_done_callback(on_done)

    async def _run(self, runner: JobRunner, func: JobFunc, events: EventStream, owned: bool) -> None:
        event_fields: dict[str, Any] = {"job_id": runner.job_id, "index": runner.index}
        try:
            stored = await func(runner)
            self._retained.pop(runner.job_id, None)
            for media, url in stored:
                events.emit(MediaReady(**event_fields, media=media, url=url))
        except HfmediaError as error:
            self._retain_inline(runner)
            events.emit(JobFailed(**event_fields, error=error))
        except asyncio.CancelledError:
            self._retain_inline(runner)
            events.emit(JobFailed(**event_fields, error=await self._cancelled_error(runner.job_id)))
            raise
        except Exception as error:  # a defect of hfmedia: the other jobs continue, and this one keeps its id
            wrapped = HfmediaError(f"unexpected: {type(error).__name__}: {error}", job_id=runner.job_id)
            wrapped.__cause__ = error
            events.emit(JobFailed(**event_fields, error=wrapped))
        finally:
            if owned and not runner.context.is_terminal:
                await self.deps.ledger.release(runner.job_id)

    async def _resume_job(
        self, runner: JobRunner, routes: Sequence[Route], request: GenerationRequest | None = None
    ) -> StoredOutputs:
        job = await self.get_job(runner.job_id)
        if request is not None and job.state in ("created", "routed"):
            return await runner.run(with_seed(request, job.request.seed), routes)
        return await runner.resume(job, routes=routes, outputs=self._retained.get(runner.job_id, ()))

    def _retain_inline(self, runner: JobRunner) -> None:
        """Keep inline media that could not be stored (on a full disk, say), so that resuming need not pay again."""
        if runner.unsaved_outputs:
            self._retained[runner.job_id] = runner.unsaved_outputs
            while len(self._retained) > MAX_RETAINED:
                self._retained.popitem(last=False)

    async def _cancelled_error(self, job_id: str) -> JobCancelledError:
        job = await self.get_job(job_id)
        provider = job.route.provider if job.route else None
        if job.state == "running":
            message = (
                f"job {job_id} was detached; it keeps running at {provider} and can be resumed without paying again"
            )
            return JobCancelledError(message, provider=provider, model=job.request.model, job_id=job_id)
        if job.state == "completed":
            reason = "the provider had already completed it and may bill it; resuming it downloads the result"
        elif job.state == "stored":
            reason = f"the provider had already completed it; its media is stored ({', '.join(job.stored_paths())})"
        else:
            reason = job.error or "nothing was sent"
        message = f"job {job_id} was cancelled: {reason}"
        return JobCancelledError(message, provider=provider, model=job.request.model, job_id=job_id)


def _starter(request: GenerationRequest, routes: Sequence[Route]) -> JobFunc:
    async def start(runner: JobRunner) -> StoredOutputs:
        return await runner.run(request, routes)

    return start
