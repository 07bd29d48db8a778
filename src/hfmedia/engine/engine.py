"""The engine: several jobs side by side, their events as one stream, and what may be done with a job later.

It owns the tasks that carry jobs; everything they touch is in the World it was given.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import structs

from hfmedia.core import job as life
from hfmedia.core.errors import HfmediaError, InvalidRequestError, JobCancelledError
from hfmedia.core.ports import OutputTarget
from hfmedia.core.protocol import Output, Route
from hfmedia.core.request import GenerationRequest, validate_output_count, with_seed
from hfmedia.ledger import IdempotencyKeyInUseError

from .dependencies import EngineDependencies, Timeouts
from .events import Event, JobFailed, MediaReady, Started
from .lookup import look_up_submission
from .runner import JobRunner
from .several import numbered_path, seeds_for
from .storing import StoredOutputs

MAX_KEY_ATTEMPTS = 1000  # under one idempotency key; beyond that something else is wrong
MAX_RETAINED = 16  # jobs whose inline media waits in memory for another try; each may be tens of MB
SUBMITTING_STATES: tuple[life.State, ...] = ("submitting",)
ATTACH_POLL_INTERVAL = 0.5  # seconds between two looks at a job that another process carries

EventQueue = asyncio.Queue[Event | None]
Replan = Callable[[life.Job], Awaitable[Sequence[Route]]]
JobFunc = Callable[[JobRunner], Awaitable[StoredOutputs]]


class Engine:
    """Carries jobs. One engine serves a whole client; it is used from one event loop."""

    def __init__(self, deps: EngineDependencies) -> None:
        self.deps = deps
        self._running: dict[str, asyncio.Task[None]] = {}
        self._runners: dict[str, JobRunner] = {}
        self._retained: OrderedDict[str, tuple[Output, ...]] = OrderedDict()

    # -- making ---------------------------------------------------------------------------------------------------

    async def generate(
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
    ) -> AsyncGenerator[Event, None]:
        """The events of n jobs side by side, as they happen, each ending in MediaReady or JobFailed.

        With a seed, the outputs get seed, seed+1, …; without one, several outputs get seeds drawn at random, so that
        no two are the same picture. With an idempotency ``key``, a job that has it already is joined instead. Closing
        the generator cancels what is still under way.
        """
        requests = [
            with_seed(request, seed) for seed in seeds_for(request, validate_output_count(n), self.deps.random_float)
        ]
        limits = timeouts or Timeouts()
        events: EventQueue = asyncio.Queue()
        emit = events.put_nowait
        tasks: list[asyncio.Task[None]] = []
        try:
            for index, output_request in enumerate(requests):
                output_target = structs.replace(target, file=numbered_path(target, index, n))
                output_key = idempotency_key if idempotency_key is None or n == 1 else f"{idempotency_key}#{index}"
                job, is_new = await self._create_or_find(
                    output_request, index, output_target, output_key, requested_model, seeded=request.seed is not None
                )
                output_target = structs.replace(
                    output_target, job_id=job.id, created_at=job.created_at
                )  # the same name if it is resumed
                emit(
                    Started(
                        job_id=job.id,
                        index=index,
                        model=output_request.model,
                        seed=job.request.seed,
                        warnings=tuple(warnings),
                    )
                )
                current_job = job if is_new else None
                runner = JobRunner(
                    self.deps, job.id, index, emit=emit, target=output_target, timeouts=limits, current_job=current_job
                )
                if is_new or (job.state == "created" and await self.deps.ledger.claim(job.id)):
                    tasks.append(self._start(runner, _starter(output_request, routes), events, owned=True))
                else:
                    tasks.append(self._start(runner, self._attach(job.id, output_request, routes), events, owned=False))
            for _ in tasks:
                while (event := await events.get()) is not None:
                    yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _create_or_find(
        self,
        request: GenerationRequest,
        index: int,
        target: OutputTarget,
        idempotency_key: str | None,
        requested_model: str | None,
        *,
        seeded: bool,
    ) -> tuple[life.Job, bool]:
        """A new job for a wish, carried by us, or the one that has its key already; and whether it is new."""
        stored_request = life.strip_inline_media(request)
        entry = life.CreatedEntry(
            job_id=self.deps.new_id(),
            timestamp=self.deps.clock(),
            request=stored_request,
            index=index,
            requested_model=requested_model,
            output_folder=str(target.folder.absolute()),
            output_file=str(target.file.absolute()) if target.file else None,
        )
        for attempt in range(1, MAX_KEY_ATTEMPTS):
            attempt_key = f"{idempotency_key}~{attempt}" if idempotency_key and attempt > 1 else idempotency_key
            try:
                return await self.deps.ledger.append(structs.replace(entry, idempotency_key=attempt_key)), True
            except IdempotencyKeyInUseError as conflict:
                job = await self.get_job(conflict.job_id)
            if job.state not in ("failed", "cancelled"):  # those were told, and may be tried anew
                break
        else:
            raise InvalidRequestError(
                f"the idempotency key {idempotency_key!r} has failed {MAX_KEY_ATTEMPTS} times; use a new key"
            )
        previous, current = job.request, stored_request
        if not seeded:  # a seed that was drawn at random says nothing of what was asked for
            previous, current = with_seed(previous, None), with_seed(current, None)
        if previous != current:
            raise InvalidRequestError(
                f"the idempotency key {idempotency_key!r} belongs to another request (job {job.id}); use a new key",
                job_id=job.id,
            )
        return job, False

    def _attach(self, job_id: str, request: GenerationRequest, routes: Sequence[Route]) -> JobFunc:
        """What joins a job that exists: waits for whoever carries it, or carries it on when nobody does.

        One that was never sent is sent as this wish, which still has the input image that no ledger keeps.
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

    # -- later ----------------------------------------------------------------------------------------------------

    async def resume(
        self, job_id: str, *, target: OutputTarget, timeouts: Timeouts | None = None, replan: Replan | None = None
    ) -> AsyncGenerator[Event, None]:
        """The events of one job that was let go of, from where it stands. What was bought is not bought again.

        ``replan`` gives the routes for a job that was never sent. InvalidRequestError when the job is being carried,
        here or by another process that lives.
        """
        job = await self.get_job(job_id)
        if job_id in self._running or not await self.deps.ledger.claim(job_id):
            raise InvalidRequestError(f"job {job_id} is being carried already", job_id=job_id)
        events: EventQueue = asyncio.Queue()
        output_target = structs.replace(target, job_id=job_id, name_hint=job.request.prompt or job.request.task)
        limits = timeouts or Timeouts()
        runner = JobRunner(self.deps, job_id, job.index, emit=events.put_nowait, target=output_target, timeouts=limits)

        async def run(runner: JobRunner) -> StoredOutputs:
            unsent = job.state in ("created", "routed")
            return await self._resume_job(runner, await replan(job) if unsent and replan else ())

        task = self._start(runner, run, events, owned=True)
        try:
            while (event := await events.get()) is not None:
                yield event
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def cancel(self, job_id: str) -> life.Job:
        """The job after it was told to stop: here if it is carried here, and at the provider where that is possible.

        A job that the provider finished already stays as it is: paid for, and there to be fetched.
        """
        job = await self.get_job(job_id)
        task = self._running.get(job_id)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        elif not job.is_terminal and not await self.deps.ledger.claim(job_id):
            raise InvalidRequestError(f"job {job_id} is carried by another process; stop that one", job_id=job_id)
        elif job.state == "running" and job.route and job.handle:
            target = OutputTarget(folder=Path())
            runner = JobRunner(self.deps, job_id, job.index, emit=_discard_event, target=target, timeouts=Timeouts())
            confirmed, message = await runner.cancel_remote(job.route, job.handle)
            await self._record(life.CancelledEntry, job_id, provider_confirmed=confirmed, message=message)
        elif job.state in ("created", "routed"):
            await self._record(life.CancelledEntry, job_id, provider_confirmed=None, message="nothing was sent")
        job = await self.get_job(job_id)
        if not job.is_terminal:  # one in doubt, or done at the provider: it stays, and whoever wants it may carry it on
            await self.deps.ledger.release(job_id)
        return job

    async def detach(self, job_id: str, *, keep_unsent: bool = False) -> life.Job:
        """The job after it was let go of here: what the provider accepted goes on there, and can be resumed.

        A job that was not sent yet is cancelled, or with ``keep_unsent`` left to be sent when it is resumed; one on its
        way out is awaited until it is known what became of it.
        """
        task, runner = self._running.get(job_id), self._runners.get(job_id)
        if task is not None and runner is not None:
            runner.detached, runner.keep_unsent = True, keep_unsent
            task.cancel()
            await asyncio.wait({task})
        return await self.get_job(job_id)

    async def mark_orphans_in_doubt(self) -> None:
        """Marks as in doubt each job whose process ended while its request was on its way."""
        async for job in self.deps.ledger.iter_jobs(states=SUBMITTING_STATES):
            if job.id in self._running or not await self.deps.ledger.claim(job.id):
                continue
            try:
                if (await self.get_job(job.id)).state == "submitting":
                    message = "the process ended while the request was on its way"
                    await self._record(life.InDoubtEntry, job.id, message=message)
            finally:
                await self.deps.ledger.release(job.id)

    async def resolve(self, job_id: str, decision: str) -> life.Job:
        """The job after a doubt was settled: ``resend``, ``drop``, or ``ask`` the provider where it can be asked.

        InvalidRequestError when the job is not in doubt, or the provider cannot be asked or does not know it.
        """
        await self.mark_orphans_in_doubt()
        job = await self.get_job(job_id)
        if job.state != "in_doubt":
            raise InvalidRequestError(f"job {job_id} is {job.state}, not in doubt", job_id=job_id)
        if decision not in ("ask", "resend", "drop"):
            raise InvalidRequestError(f"a doubt is settled by resend, drop or ask, not {decision!r}", job_id=job_id)
        try:
            if decision == "ask":
                for entry in await look_up_submission(self.deps, job):
                    await self.deps.ledger.append(entry)
            else:
                await self._record(life.ResolvedEntry, job_id, decision=decision)
        except life.InvalidTransitionError as error:
            raise InvalidRequestError(f"job {job_id} was settled by somebody else meanwhile", job_id=job_id) from error
        return await self.get_job(job_id)

    async def get_job(self, job_id: str) -> life.Job:
        """The job of that id; InvalidRequestError when the ledger knows none."""
        job = await self.deps.ledger.get(job_id)
        if job is None:
            raise InvalidRequestError(f"there is no job {job_id!r} in the ledger", job_id=job_id)
        return job

    async def aclose(self) -> None:
        """Cancels what is still carried, and waits until it has let go."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _start(self, runner: JobRunner, run: JobFunc, events: EventQueue, *, owned: bool) -> asyncio.Task[None]:
        """The task that does this work and ends its events with None; ``mine``: it carries the job it tells of."""
        task = asyncio.create_task(self._run(runner, run, events, owned), name=f"hfmedia job {runner.job_id}")
        if owned:
            self._running[runner.job_id] = task
            self._runners[runner.job_id] = runner

        def on_done(_: asyncio.Task[None]) -> None:
            if owned:
                self._running.pop(runner.job_id, None)
                self._runners.pop(runner.job_id, None)
            events.put_nowait(None)

        task.add_done_callback(on_done)
        return task

    async def _run(self, runner: JobRunner, run: JobFunc, events: EventQueue, owned: bool) -> None:
        event_fields: dict[str, Any] = {"job_id": runner.job_id, "index": runner.index}
        try:
            stored = await run(runner)
            self._retained.pop(runner.job_id, None)
            for media, url in stored:
                events.put_nowait(MediaReady(**event_fields, media=media, url=url))
        except HfmediaError as error:
            self._retain_inline(runner)
            events.put_nowait(JobFailed(**event_fields, error=error))
        except asyncio.CancelledError:
            self._retain_inline(runner)
            events.put_nowait(JobFailed(**event_fields, error=await self._cancelled_error(runner.job_id)))
            raise
        except Exception as error:  # a defect of ours: the other jobs go on, and this one keeps its id
            wrapped = HfmediaError(f"unexpected: {type(error).__name__}: {error}", job_id=runner.job_id)
            wrapped.__cause__ = error
            events.put_nowait(JobFailed(**event_fields, error=wrapped))
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
        """Keeps inline media that could not be stored (a full disk, say), so that resuming need not pay again."""
        if runner.unsaved_outputs:
            self._retained[runner.job_id] = runner.unsaved_outputs
            while len(self._retained) > MAX_RETAINED:
                self._retained.popitem(last=False)

    async def _cancelled_error(self, job_id: str) -> JobCancelledError:
        job = await self.get_job(job_id)
        provider = job.route.provider if job.route else None
        if job.state == "running":
            message = f"job {job_id} was let go of; it goes on at {provider} and can be resumed without paying again"
            return JobCancelledError(message, provider=provider, model=job.request.model, job_id=job_id)
        completed_reason = "the provider was already done, and it may be billed; resuming fetches it"
        files = ", ".join(file["path"] for file in (job.media or {}).get("files", ()))
        stored_reason = f"the provider was already done; its media is kept ({files})"
        reason = {"completed": completed_reason, "stored": stored_reason}.get(job.state, job.error or "nothing was sent")
        message = f"job {job_id} was cancelled: {reason}"
        return JobCancelledError(message, provider=provider, model=job.request.model, job_id=job_id)

    async def _record(self, entry_type: type[life.LedgerEntry], job_id: str, /, **fields: Any) -> life.Job:
        return await self.deps.ledger.append(entry_type(job_id=job_id, timestamp=self.deps.clock(), **fields))


def _starter(request: GenerationRequest, routes: Sequence[Route]) -> JobFunc:
    async def start(runner: JobRunner) -> StoredOutputs:
        return await runner.run(request, routes)

    return start


def _discard_event(event: Event) -> None:
    return None
