"""Carrying: the outputs of orders, each in a task of its own, to their ends; and how each of them stands meanwhile.

What was let go of (trouble on the way, a full disk) is tried again later; what was bought is never bought again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress

from hfmedia.core.costs import billable_attempts
from hfmedia.core.errors import DeadlineExceededError, HfmediaError, InDoubtError
from hfmedia.core.job import Job
from hfmedia.engine import Event, JobFailed, MediaReady, Started
from hfmedia.server.config import Config
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.generations import Generation
from hfmedia.server.db.pricing import actual_cost

from .account_clients import AccountClients
from .active import ActiveGeneration, OutputResult
from .input_store import InputStore
from .status import JobStatus, apply_event, job_status_of

RETRY_DELAYS = (5.0, 15.0, 60.0, 300.0, 900.0)  # seconds before a job that was let go of is carried on; then the last
RETRY_LIMIT_SECONDS = 24 * 3600.0  # seconds after which a job is left to its owner: no provider keeps a result longer
RECENT_SECONDS = 60.0  # seconds in which an order without jobs may still be begun by another process
SUBMIT_RESPONSE_TIMEOUT = (
    60.0  # seconds for which a stop waits for the answer to a request that buys: providers that answer when they
)
# are done need that long for an image, and a second signal ends it at once
SUBMIT_CHECK_INTERVAL = 0.1  # seconds between two looks whether it was answered
STATUS_CHECK_INTERVAL = (
    30.0  # seconds between two looks at a job that another process may carry, which rings no bell here
)
SHUTDOWN_MESSAGE = (
    "the gateway is stopping; the work goes on at its next start, and GET /v1/jobs/{job} tells how it stands"
)
MAX_TRACKED_UPDATES = 4096  # jobs of which it is remembered when they were last heard of
UNFINISHED_STATES = ("created", "routed", "submitting", "running", "completed")
EventListener = Callable[[Generation, Event], None]
ChangeListener = Callable[[Generation, str], None]  # an order, and the id of its job that stands otherwise than before


class GenerationRunner:
    """Carries orders. ``clock`` gives unix seconds.

    ``hear_also`` are told every event, ``on_change`` each job that stands otherwise than before.
    """

    def __init__(
        self,
        account_clients: AccountClients,
        database: GatewayDatabase,
        input_store: InputStore,
        config: Config,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.account_clients, self.database, self.input_store, self.config = (
            account_clients,
            database,
            input_store,
            config,
        )
        self.ledger = account_clients.base.ledger
        self.event_listeners: list[EventListener] = []
        self.change_listeners: list[ChangeListener] = []
        self.active: dict[str, ActiveGeneration] = {}
        self.starting: set[str] = set()  # orders that are written down here and about to be carried
        self.statuses: dict[str, JobStatus] = {}
        self.last_updates: OrderedDict[str, float] = (
            OrderedDict()
        )  # when each job was last heard of, also after its end
        self.shutdown_event = asyncio.Event()  # the gateway is about to stop
        self.clock = clock
        self._wakeups: dict[str, set[asyncio.Event]] = {}

    def launch(self, generation: Generation) -> ActiveGeneration:
        """The order carried from now on: its first output, and the others as soon as that is a job."""
        active = self.active[generation.id] = ActiveGeneration(generation)
        active.tasks.add(asyncio.create_task(self._run_generation(active), name=f"order {generation.id}"))
        return active

    async def jobs_of(self, generation: Generation) -> list[Job]:
        """The jobs of an order that are in the ledger, by output."""
        jobs = [await self.ledger.find_by_key(generation.job_key(index)) for index in range(generation.n)]
        return [job for job in jobs if job is not None]

    async def settle_charges(self, generation: Generation) -> None:
        """Puts what was really bought in the place of what was reserved, once every output has ended.

        An order of which nothing was bought gives its idempotency key free: the same may be tried anew.
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

    async def subscribe(self, job_id: str) -> AsyncIterator[JobStatus]:
        """How a job stands, now and at each change, until it ends. A slow listener hears the latest only."""
        wakeup = asyncio.Event()
        self._wakeups.setdefault(job_id, set()).add(wakeup)
        try:
            while True:
                wakeup.clear()
                job = await self.ledger.get(job_id)
                if job is None:
                    return
                job_status = self.statuses.get(job_id) or job_status_of(job)
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
        """Wakes whoever listens to a job that something was done to, and tells those who listen to all of them."""
        self.notify(job_id)
        for listener in tuple(self.change_listeners):
            listener(generation, job_id)

    def notify(self, job_id: str) -> None:
        """Wakes whoever listens to a job."""
        for wakeup in self._wakeups.get(job_id, ()):
            wakeup.set()

    @property
    def is_shutting_down(self) -> bool:
        """Whether the gateway is about to stop."""
        return self.shutdown_event.is_set()

    def stop_accepting(self) -> None:
        """Carries nothing new from now on; whoever listens hears the last word."""
        self.shutdown_event.set()
        for job_id in list(self._wakeups):
            self.notify(job_id)

    async def detach_all(self) -> None:
        """Lets go of every job: what a provider accepted goes on there, what was not sent is sent later.

        A request that is on its way out is given time to be answered, for what it bought would be in doubt without.
        """
        self.stop_accepting()
        generations = list(self.active.values())
        await asyncio.gather(*(self._detach_generation(active) for active in generations), return_exceptions=True)
        tasks = [task for active in generations for task in active.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job_id in list(self._wakeups):
            self.notify(job_id)

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _detach_generation(self, active: ActiveGeneration) -> None:
        client = self.account_clients.for_generation(active.generation)

        async def detach(job_id: str) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(SUBMIT_RESPONSE_TIMEOUT):
                    while (job := await self.ledger.get(job_id)) and job.state == "submitting":  # noqa: ASYNC110 - a ledger
                        await asyncio.sleep(SUBMIT_CHECK_INTERVAL)
            await client.detach(job_id, keep_unsent=True)

        await asyncio.gather(*(detach(job_id) for job_id in active.job_ids))

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
            else:  # it never became a job, and the others would meet the same
                for index in range(1, active.generation.n):
                    active.finish(OutputResult(index=index, error=active.results[0].error))
                await first
            await self.settle_charges(active.generation)
        finally:
            self.active.pop(active.generation.id, None)
            for job_id in active.job_ids:
                self.statuses.pop(job_id, None)
                self.notify(job_id)

    def _touch(self, job_id: str) -> float:
        """The time, remembered as that of the last word on a job."""
        now = self.last_updates[job_id] = self.clock()
        self.last_updates.move_to_end(job_id)
        while len(self.last_updates) > MAX_TRACKED_UPDATES:
            self.last_updates.popitem(last=False)
        return now

    async def _run_output(self, active: ActiveGeneration, index: int) -> None:
        """One output to its end; one that was let go of (trouble on the way, a full disk) is tried again later."""
        attempts = 0
        while True:
            is_final = await self._attempt(active, index)
            if is_final or self.is_shutting_down or self.clock() - active.generation.created_at > RETRY_LIMIT_SECONDS:
                return
            await asyncio.sleep(RETRY_DELAYS[min(attempts, len(RETRY_DELAYS) - 1)])
            attempts += 1

    async def _attempt(self, active: ActiveGeneration, index: int) -> bool:
        """Carries an output as far as it gets; whether that was its end."""
        try:
            async with aclosing(self._events(active.generation, index)) as events:
                async for event in events:
                    await self._on_event(active, index, event)
        except HfmediaError as error:
            job = await self.ledger.find_by_key(active.generation.job_key(index))
            job_id = job.id if job else ""
            active.finish(
                OutputResult(index=index, job_id=job_id, error=error, billable=bool(job and billable_attempts(job)))
            )
            if job is None:
                return True
            if job.state in ("created", "routed") and not error.retryable:
                await self.account_clients.base.cancel(job.id)
        except Exception as error:  # a defect of ours: told as such, and the other outputs go on
            unexpected = HfmediaError(f"unexpected: {type(error).__name__}: {error}")
            unexpected.__cause__ = error
            active.finish(
                OutputResult(
                    index=index, job_id=active.job_ids_by_output.get(index, ""), error=unexpected, billable=True
                )
            )
            raise
        job = await self.ledger.find_by_key(active.generation.job_key(index))
        return job is None or job.state not in UNFINISHED_STATES

    async def _events(self, generation: Generation, index: int) -> AsyncGenerator[Event, None]:
        client, spec = self.account_clients.for_generation(generation), generation.spec
        key = generation.job_key(index)
        job = await self.ledger.find_by_key(key)
        if job is not None and job.state not in ("created", "routed"):
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
            shutdown_error = DeadlineExceededError(SHUTDOWN_MESSAGE.format(job=event.job_id), job_id=event.job_id)
            error = shutdown_error if self.is_shutting_down and not is_final else event.error
            if job is not None and job.state == "in_doubt" and not isinstance(error, InDoubtError):
                error = InDoubtError(f"job {job.id} is in doubt: {job.error}", job_id=job.id, provider=error.provider)
            active.finish(
                OutputResult(
                    index=index, job_id=event.job_id, error=error, billable=bool(job and billable_attempts(job))
                )
            )
        elif isinstance(event, MediaReady) and not (index in active.results and active.results[index].media):
            active.finish(OutputResult(index=index, job_id=event.job_id, media=event.media, billable=True))
        if isinstance(event, Started) and event.warnings:  # they matter for as long as what was made does
            await asyncio.to_thread(self.database.add_warnings, active.generation.id, event.warnings)
        job_status = self.statuses.get(event.job_id) or JobStatus(job_id=event.job_id, status="queued")
        self.statuses[event.job_id] = apply_event(
            job_status, event, timestamp=self._touch(event.job_id), is_final=is_final, was_completed=was_completed
        )
        active.on_event(index, event)
        self.notify_changed(active.generation, event.job_id)
        for listener in self.event_listeners:
            listener(active.generation, event)
