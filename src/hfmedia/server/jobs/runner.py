"""Generation runner: runs the outputs of generations, each in its own task, and publishes their status.

A job interrupted by an error on the way (a failed download, a full disk) is retried later; what was submitted is never
submitted again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import aclosing, contextmanager, suppress

from hfmedia.core.costs import billable_attempts
from hfmedia.core.errors import DeadlineExceededError, HfmediaError, InDoubtError
from hfmedia.core.job import Job, State
from hfmedia.engine import Event, JobFailed, MediaReady, Started
from hfmedia.server.config import Config
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.generations import Generation
from hfmedia.server.db.pricing import actual_cost

from .account_clients import AccountClients
from .active import ActiveGeneration, OutputResult
from .input_store import InputStore
from .status import JobStatus, apply_event, job_status_of

RETRY_DELAYS = (5.0, 15.0, 60.0, 300.0, 900.0)  # seconds before each retry of an interrupted job; then the last
RETRY_LIMIT_SECONDS = 24 * 3600.0  # seconds after which a job is no longer retried: providers delete their results
RECENT_SECONDS = 60.0  # seconds in which another process may still be starting a generation without jobs
# Seconds that a shutdown waits for the response to a submission: providers that respond with the finished image need
# that long. A second signal ends it at once.
SUBMIT_RESPONSE_TIMEOUT = 60.0
SUBMIT_CHECK_INTERVAL = 0.1  # seconds between two checks for that response
STATUS_CHECK_INTERVAL = 30.0  # seconds between two reads of a job that another process may run, which cannot notify us
SHUTDOWN_MESSAGE = "the gateway is shutting down; the job continues after its restart, poll GET /v1/jobs/{job}"
MAX_TRACKED_UPDATES = 4096  # jobs whose last update is remembered
NOT_SUBMITTED_STATES: tuple[State, ...] = ("created", "routed")
UNFINISHED_STATES: tuple[State, ...] = (*NOT_SUBMITTED_STATES, "submitting", "running", "completed")
EventListener = Callable[[Generation, Event], None]
ChangeListener = Callable[[Generation, str], None]  # receives the generation and the ID of its job that changed


class GenerationRunner:
    """Runs generations. ``clock`` returns unix seconds."""

    def __init__(
        self,
        account_clients: AccountClients,
        database: GatewayDatabase,
        input_store: InputStore,
        config: Config,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.account_clients, self.database = account_clients, database
        self.input_store, self.config = input_store, config
        self.ledger = account_clients.base.ledger
        self.active: dict[str, ActiveGeneration] = {}
        self.starting: set[str] = set()  # generations stored here and about to be launched
        self.shutdown_event = asyncio.Event()  # set when the gateway begins to shut down
        self.clock = clock
        self._statuses: dict[str, JobStatus] = {}
        self._last_updates: OrderedDict[str, float] = OrderedDict()  # of each job, kept after its end
        self._event_listeners: list[EventListener] = []
        self._change_listeners: list[ChangeListener] = []
        self._wakeups: dict[str, set[asyncio.Event]] = {}

    def launch(self, generation: Generation) -> ActiveGeneration:
        """Run a generation: its first output now, and the others once that has become a job."""
        active = self.active[generation.id] = ActiveGeneration(generation)
        active.tasks.add(asyncio.create_task(self._run_generation(active), name=f"generation {generation.id}"))
        return active

    async def jobs_of(self, generation: Generation) -> list[Job]:
        """Return the jobs of a generation that are in the ledger, in the order of their outputs."""
        jobs = [await self.ledger.find_by_key(generation.job_key(index)) for index in range(generation.n)]
        return [job for job in jobs if job is not None]

    async def settle_charges(self, generation: Generation) -> None:
        """Replace the reservation of a generation by what was billed, once every job has ended.

        A generation of which nothing was billed releases its idempotency key: the same request can be tried again.
        """
        jobs = await self.jobs_of(generation)
        if any(not job.is_terminal for job in jobs):
            return
        charged_usd, images, videos = actual_cost(jobs, generation, self.config)
        await asyncio.to_thread(
            self.database.settle_charges, generation.id, charged_usd=charged_usd, images=images, videos=videos
        )
        if not any(billable_attempts(job) for job in jobs):
            await asyncio.to_thread(self.database.release_idempotency_key, generation.id)

    # -- status and subscriptions ---------------------------------------------------------------------------------

    def active_count(self, caller_id: str | None = None) -> int:
        """Return the number of outputs that run here, of one caller or of all."""
        return sum(
            active.generation.n - sum(result.media is not None for result in active.results.values())
            for active in self.active.values()
            if caller_id is None or active.generation.caller_id == caller_id
        )

    def status_of(self, job: Job) -> JobStatus:
        """Return the status of a job: live if it runs here, otherwise as its ledger state implies."""
        return self._statuses.get(job.id) or job_status_of(job)

    def last_update(self, job_id: str) -> float:
        """Return the time of a job's last event in this process, in unix seconds; 0 without one."""
        return self._last_updates.get(job_id, 0.0)

    def add_listener(self, listener: EventListener) -> None:
        """Pass every event of every generation to a listener from now on."""
        self._event_listeners.append(listener)

    @contextmanager
    def subscribe_changes(self, listener: ChangeListener) -> Generator[None, None, None]:
        """Pass every job that changes to a listener within the block, whatever caused the change."""
        self._change_listeners.append(listener)
        try:
            yield
        finally:
            self._change_listeners.remove(listener)

    async def subscribe(self, job_id: str) -> AsyncIterator[JobStatus]:
        """Yield the status of a job now and at each change, until it ends. A slow consumer gets the latest only."""
        wakeup = asyncio.Event()
        self._wakeups.setdefault(job_id, set()).add(wakeup)
        try:
            while True:
                wakeup.clear()
                job = await self.ledger.get(job_id)
                if job is None:
                    return
                job_status = self.status_of(job)
                yield job_status
                if job_status.is_final or self.is_shutting_down:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(STATUS_CHECK_INTERVAL):
                        await wakeup.wait()
        finally:
            wakeups = self._wakeups.get(job_id, set())
            wakeups.discard(wakeup)
            if not wakeups:
                self._wakeups.pop(job_id, None)

    def notify_changed(self, generation: Generation, job_id: str) -> None:
        """Wake the subscribers of a job, and pass it to the listeners for changes of any job."""
        self._notify(job_id)
        for listener in tuple(self._change_listeners):
            listener(generation, job_id)

    def _notify(self, job_id: str) -> None:
        for wakeup in self._wakeups.get(job_id, ()):
            wakeup.set()

    # -- shutdown -------------------------------------------------------------------------------------------------

    @property
    def is_shutting_down(self) -> bool:
        """True once the gateway begins to shut down."""
        return self.shutdown_event.is_set()

    def stop_accepting(self) -> None:
        """Launch nothing new from now on, and let every subscription end with the current status."""
        self.shutdown_event.set()
        for job_id in list(self._wakeups):
            self._notify(job_id)

    async def detach_all(self) -> None:
        """Detach from every job: providers keep running what they accepted, and the rest is submitted after a restart.

        A submission on its way gets time for its response, since the job would otherwise be in doubt.
        """
        self.stop_accepting()
        generations = list(self.active.values())
        await asyncio.gather(*(self._detach_generation(active) for active in generations), return_exceptions=True)
        tasks = [task for active in generations for task in active.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job_id in list(self._wakeups):
            self._notify(job_id)

    async def _detach_generation(self, active: ActiveGeneration) -> None:
        client = self.account_clients.for_generation(active.generation)

        async def detach(job_id: str) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(SUBMIT_RESPONSE_TIMEOUT):
                    while (job := await self.ledger.get(job_id)) and job.state == "submitting":  # noqa: ASYNC110 - a ledger has no events
                        await asyncio.sleep(SUBMIT_CHECK_INTERVAL)
            await client.detach(job_id, keep_unsent=True)

        await asyncio.gather(*(detach(job_id) for job_id in active.job_ids))

    # -- running --------------------------------------------------------------------------------------------------

    async def _run_generation(self, active: ActiveGeneration) -> None:
        first = asyncio.create_task(self._run_output(active, 0))
        active.tasks.add(first)
        try:
            await active.wait_created(0)
            if active.job_ids_by_output:
                other_outputs = [
                    asyncio.create_task(self._run_output(active, index)) for index in range(1, active.generation.n)
                ]
                active.tasks.update(other_outputs)
                await asyncio.gather(first, *other_outputs)
            else:  # it never became a job, and the others would fail the same way
                for index in range(1, active.generation.n):
                    active.finish(OutputResult(index=index, error=active.results[0].error))
                await first
            await self.settle_charges(active.generation)
        finally:
            self.active.pop(active.generation.id, None)
            for job_id in active.job_ids:
                self._statuses.pop(job_id, None)
                self._notify(job_id)

    async def _run_output(self, active: ActiveGeneration, index: int) -> None:
        """Run one output to its end, retrying what was interrupted on the way (by a full disk, for example)."""
        attempts = 0
        while True:
            is_final = await self._attempt(active, index)
            if is_final or self.is_shutting_down or self.clock() - active.generation.created_at > RETRY_LIMIT_SECONDS:
                return
            await asyncio.sleep(RETRY_DELAYS[min(attempts, len(RETRY_DELAYS) - 1)])
            attempts += 1

    async def _attempt(self, active: ActiveGeneration, index: int) -> bool:
        """Run an output as far as possible; return True if it has ended."""
        try:
            async with aclosing(self._events(active.generation, index)) as events:
                async for event in events:
                    await self._on_event(active, index, event)
        except HfmediaError as error:
            job = await self.ledger.find_by_key(active.generation.job_key(index))
            active.finish(_failed(index, job.id if job else "", error, job))
            if job is None:
                return True
            if job.state in NOT_SUBMITTED_STATES and not error.retryable:
                await self.account_clients.base.cancel(job.id)
        except Exception as error:  # a bug: reported as one, and the other outputs continue
            unexpected = HfmediaError(f"unexpected: {type(error).__name__}: {error}")
            unexpected.__cause__ = error
            job_id = active.job_ids_by_output.get(index, "")
            active.finish(OutputResult(index=index, job_id=job_id, error=unexpected, billable=True))
            raise
        job = await self.ledger.find_by_key(active.generation.job_key(index))
        return job is None or job.state not in UNFINISHED_STATES

    async def _events(self, generation: Generation, index: int) -> AsyncGenerator[Event, None]:
        client, spec = self.account_clients.for_generation(generation), generation.spec
        key = generation.job_key(index)
        job = await self.ledger.find_by_key(key)
        if job is not None and job.state not in NOT_SUBMITTED_STATES:
            events = client.resume_stream(job.id)
        else:
            image = await asyncio.to_thread(self.input_store.load, spec.image) if spec.image else None
            events = client.generate(
                spec.prompt,
                task=spec.task,
                image=image,
                idempotency_key=key,
                model=spec.model,
                seed=spec.seed_of(index),
                **spec.options,
            )
        async with aclosing(events):
            async for event in events:
                yield event

    async def _on_event(self, active: ActiveGeneration, index: int, event: Event) -> None:
        is_final, was_completed = isinstance(event, MediaReady), False
        if isinstance(event, JobFailed):
            job = await self.ledger.get(event.job_id)
            was_completed = job is not None and job.state == "completed"
            is_final = job is None or job.state not in UNFINISHED_STATES
            error = self._reported_error(event, job, is_final=is_final)
            active.finish(_failed(index, event.job_id, error, job))
        elif isinstance(event, MediaReady) and not (index in active.results and active.results[index].media):
            active.finish(OutputResult(index=index, job_id=event.job_id, media=event.media, billable=True))
        if isinstance(event, Started) and event.warnings:  # stored: they apply for as long as the result exists
            await asyncio.to_thread(self.database.add_warnings, active.generation.id, event.warnings)
        job_status = self._statuses.get(event.job_id) or JobStatus(job_id=event.job_id, status="queued")
        self._statuses[event.job_id] = apply_event(
            job_status, event, timestamp=self._touch(event.job_id), is_final=is_final, was_completed=was_completed
        )
        active.set_job_id(index, event.job_id)
        self.notify_changed(active.generation, event.job_id)
        for listener in self._event_listeners:
            listener(active.generation, event)

    def _reported_error(self, event: JobFailed, job: Job | None, *, is_final: bool) -> HfmediaError:
        """Return the error of a failed event as its caller needs it: shutting down, and in doubt, have their own."""
        error = event.error
        if self.is_shutting_down and not is_final:
            error = DeadlineExceededError(SHUTDOWN_MESSAGE.format(job=event.job_id), job_id=event.job_id)
        if job is not None and job.state == "in_doubt" and not isinstance(error, InDoubtError):
            return InDoubtError(f"job {job.id} is in doubt: {job.error}", job_id=job.id, provider=error.provider)
        return error

    def _touch(self, job_id: str) -> float:
        """Record the current time as that of a job's last update, and return it."""
        now = self._last_updates[job_id] = self.clock()
        self._last_updates.move_to_end(job_id)
        while len(self._last_updates) > MAX_TRACKED_UPDATES:
            self._last_updates.popitem(last=False)
        return now


def _failed(index: int, job_id: str, error: HfmediaError, job: Job | None) -> OutputResult:
    return OutputResult(index=index, job_id=job_id, error=error, billable=bool(job and billable_attempts(job)))
