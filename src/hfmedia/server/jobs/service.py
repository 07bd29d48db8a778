"""Works: what is asked for becomes orders, and orders become jobs that no longer need whoever asked.

A connection only ever waits here; whether it is still there decides nothing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal
from weakref import WeakValueDictionary

from msgspec import structs

from hfmedia.core.costs import billable_attempts
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import Job
from hfmedia.core.request import MAX_SEED, Task
from hfmedia.engine.several import RANDOM_SEED_LIMIT
from hfmedia.server.auth.authentication import require_model_access
from hfmedia.server.auth.caller import Caller
from hfmedia.server.config import Config
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.generations import (
    Api,
    Generation,
    GenerationSpec,
    OutputKind,
    fingerprint_of,
    new_generation_id,
    parse_job_key,
)
from hfmedia.server.db.pricing import estimate_cost
from hfmedia.server.errors import RATE_LIMIT, SERVER_ERROR, ApiError

from .account_clients import AccountClients
from .active import ActiveGeneration, OutputResult
from .input_store import InputStore
from .recovery import RecoveryLoop
from .runner import ChangeListener, EventListener, GenerationRunner
from .status import JobStatus, job_status_of


class GenerationService:
    """Begins orders and tells how they stand. ``clock`` gives unix seconds, ``dice`` a number in [0, 1)."""

    def __init__(
        self,
        account_clients: AccountClients,
        database: GatewayDatabase,
        input_store: InputStore,
        config: Config,
        *,
        clock: Callable[[], float] = time.time,
        random_fraction: Callable[[], float] = random.random,
    ) -> None:
        self.account_clients, self.database, self.input_store, self.config = (
            account_clients,
            database,
            input_store,
            config,
        )
        self._runner = GenerationRunner(account_clients, database, input_store, config, clock=clock)
        self._recovery = RecoveryLoop(self._runner)
        self._random_fraction = random_fraction
        self._shutdown_task: asyncio.Future[None] | None = None
        self._idempotency_locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    # -- making ---------------------------------------------------------------------------------------------------

    def remember_caller(self, caller: Caller) -> None:
        """Remembers who came; what waited for an own token goes on now."""
        if self.account_clients.register(caller.id, caller.hf_token):
            self._recovery.wake()

    def new_generation(
        self,
        caller: Caller,
        spec: GenerationSpec,
        *,
        kind: OutputKind,
        api: Api,
        response_context: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Generation:
        """An order of this caller, not begun yet. Outputs without a seed of their own get one each, drawn at random."""
        context = response_context or {}
        seeds = spec.seeds or self._output_seeds(spec)
        return Generation(
            id=new_generation_id(),
            caller_id=caller.id,
            kind=kind,
            created_at=self._runner.clock(),
            n=spec.n,
            api=api,
            spec=structs.replace(spec, seeds=seeds),
            response_context=context,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint_of(spec, api, context),
            bill_to=caller.bill_to,
            uses_caller_token=caller.hf_token is not None,
        )

    async def start(self, caller: Caller, generation: Generation) -> ActiveGeneration:
        """The order under way, once each of its jobs is in the ledger. It goes on whatever becomes of the caller.

        With an idempotency key that an earlier order has, it is that order: joined, carried on, or answered again.
        Raises Refusal or one of hfmedia's errors when nothing was bought.
        """
        if self._runner.is_shutting_down:
            raise ApiError(
                503, "the gateway is stopping; try again in a moment", type=SERVER_ERROR, retry=True, retry_after=5
            )
        self.remember_caller(caller)
        active_count = self.active_count(caller.id)
        if active_count + generation.n > self.config.max_jobs:
            message = f"{active_count} jobs of this key are under way, and at most {self.config.max_jobs} may be"
            raise ApiError(429, message, type=RATE_LIMIT, code="too_many_jobs", retry=True, retry_after=10)
        generation = await self._resolve_model(caller, generation)
        start_task = asyncio.ensure_future(self._serialized_by_key(caller, generation))
        try:
            return await asyncio.shield(start_task)
        except asyncio.CancelledError:  # the caller is gone; what was begun goes on
            start_task.add_done_callback(lambda task: task.cancelled() or task.exception())
            raise

    async def _resolve_model(self, caller: Caller, generation: Generation) -> Generation:
        """The order with a model, the default of its task if it names none, that its caller may use."""
        spec = generation.spec
        if spec.model is None:
            task: Task = spec.task or ("image-to-image" if spec.image else "text-to-image")
            client = self.account_clients.get(caller.id, caller.bill_to, uses_caller_token=caller.hf_token is not None)
            spec = structs.replace(spec, task=task, model=await client.default_model(task))
        assert spec.model is not None
        require_model_access(caller, spec.model)
        return structs.replace(generation, spec=spec)

    async def _serialized_by_key(self, caller: Caller, generation: Generation) -> ActiveGeneration:
        """Begins it; requests with the same idempotency key wait for each other, so that the second finds the first."""
        self._runner.starting.add(generation.id)
        try:
            if generation.idempotency_key is None:
                return await self._reserve_and_start(caller, generation)
            async with self._idempotency_locks.setdefault(
                (generation.caller_id, generation.idempotency_key), asyncio.Lock()
            ):
                return await self._reserve_and_start(caller, generation)
        finally:
            self._runner.starting.discard(generation.id)

    async def _reserve_and_start(self, caller: Caller, generation: Generation) -> ActiveGeneration:
        provider_stats = await self.account_clients.base.stats.load()
        estimated_usd = estimate_cost(generation.spec, self.config, provider_stats.median_usd, kind=generation.kind)
        reservation = structs.replace(generation, reserved_usd=estimated_usd)
        for _ in range(2):
            existing = await asyncio.to_thread(
                self.database.reserve, reservation, caller.limits, now=self._runner.clock()
            )
            if existing.id == generation.id:
                return await self._launch(reservation)
            if active := self._runner.active.get(existing.id):
                return await self._await_created(active)
            jobs = await self._runner.jobs_of(existing)
            produced_nothing = all(job.state in ("failed", "cancelled") and not billable_attempts(job) for job in jobs)
            if not produced_nothing or not (
                jobs or existing.is_settled
            ):  # without a job yet: its process died, or is at it now
                return await self._await_created(self._runner.launch(existing))
            await self._runner.settle_charges(
                existing
            )  # nothing came of it and nothing was bought: it may be tried anew
            await asyncio.to_thread(self.database.release_idempotency_key, existing.id)
        raise ApiError(
            409, "two requests with this idempotency key arrived at once; try again", retry=True, retry_after=1
        )

    async def _launch(self, generation: Generation) -> ActiveGeneration:
        try:
            if generation.spec.image is not None:
                await asyncio.to_thread(self.input_store.save, generation.spec.image)
        except BaseException:
            await self._runner.settle_charges(generation)
            raise
        active = self._runner.launch(generation)
        await active.wait_created(0)
        if 0 not in active.job_ids_by_output and (error := active.results[0].error):
            await asyncio.gather(*active.tasks, return_exceptions=True)
            raise error
        return await self._await_created(active, is_joined=False)

    async def _await_created(self, active: ActiveGeneration, *, is_joined: bool = True) -> ActiveGeneration:
        active.is_joined = is_joined
        for index in range(active.generation.n):
            await active.wait_created(index)
        return active

    async def wait(self, active: ActiveGeneration, seconds: float) -> list[OutputResult]:
        """What became of every output; Refusal 504 when that takes longer (the jobs go on)."""
        try:
            async with asyncio.timeout(seconds):
                return await active.wait_done()
        except TimeoutError:
            ids = active.job_ids
            message = (
                f"not ready after {seconds:.0f} s; the work goes on, and GET /v1/jobs/{ids[0]} tells how it stands"
            )
            details = {"job_id": ids[0], "job_ids": ids}
            raise ApiError(504, message, type=SERVER_ERROR, code="out_of_time", retry=False, extra=details) from None

    # -- looking and stopping -------------------------------------------------------------------------------------

    async def jobs_of(self, generation: Generation) -> list[Job]:
        """The jobs of an order that are in the ledger, by output."""
        return await self._runner.jobs_of(generation)

    async def get_owned(self, caller: Caller, job_id: str) -> tuple[Generation, Job]:
        """The order and the job of that id; Refusal 404 unless it is the caller's own and not deleted."""
        generation, job, index = await self._find_owned(caller, job_id)
        if index in generation.deleted_outputs:
            raise _job_not_found(job_id)
        return generation, job

    async def get_owned_including_deleted(self, caller: Caller, job_id: str) -> tuple[Generation, Job]:
        """The same, even if it is deleted: a place in a list."""
        return (await self._find_owned(caller, job_id))[:2]

    async def delete(self, caller: Caller, job_id: str, *, restore: bool = False) -> tuple[Generation, Job]:
        """Takes a job out of its owner's sight, cancelled first if it is under way; ``undo`` brings it back.

        Its files go later, so there is time to change one's mind.
        """
        generation, job, index = await self._find_owned(caller, job_id)
        if not restore and not job.is_terminal and job.state != "in_doubt":
            job = await self.cancel(generation, job_id)
        deleted_at = None if restore else self._runner.clock()
        await asyncio.to_thread(self.database.mark_deleted, generation.id, index, deleted_at)
        self._runner.notify_changed(generation, job_id)
        return generation, job

    async def status_of(self, job: Job) -> JobStatus:
        """How a job stands, whoever carries it."""
        return self._runner.statuses.get(job.id) or job_status_of(job)

    def last_update(self, job_id: str) -> float:
        """When a job was last heard of here, in unix seconds; 0 if it was not."""
        return self._runner.last_updates.get(job_id, 0.0)

    def live_status(self, job_id: str) -> JobStatus | None:
        """What is known of a job beyond the ledger; None when nobody here carries it."""
        return self._runner.statuses.get(job_id)

    def subscribe(self, job_id: str) -> AsyncIterator[JobStatus]:
        """How a job stands, now and at each change, until it ends. A slow listener hears the latest only."""
        return self._runner.subscribe(job_id)

    def add_listener(self, listener: EventListener) -> None:
        """Tells a listener every event of every order from now on."""
        self._runner.event_listeners.append(listener)

    @contextmanager
    def subscribe_changes(self, listener: ChangeListener) -> Generator[None, None, None]:
        """Tells a listener, within the block, each job that stands otherwise than before, whatever made it so."""
        self._runner.change_listeners.append(listener)
        try:
            yield
        finally:
            self._runner.change_listeners.remove(listener)

    @property
    def shutdown_event(self) -> asyncio.Event:
        """Set when the gateway is about to stop."""
        return self._runner.shutdown_event

    @property
    def is_shutting_down(self) -> bool:
        """Whether the gateway is about to stop."""
        return self._runner.is_shutting_down

    def active_count(self, caller_id: str | None = None) -> int:
        """How many outputs are being carried here, of one caller or of all."""
        generations = [
            active
            for active in self._runner.active.values()
            if caller_id is None or active.generation.caller_id == caller_id
        ]
        return sum(
            active.generation.n - sum(result.media is not None for result in active.results.values())
            for active in generations
        )

    async def cancel(self, generation: Generation, job_id: str) -> Job:
        """The job after it was told to stop, at the provider too where that is possible."""
        job = await self.account_clients.for_generation(generation).cancel(job_id)
        self._runner.notify_changed(generation, job_id)
        if generation.id not in self._runner.active:
            await self._runner.settle_charges(generation)
        return job

    async def resolve(self, generation: Generation, job_id: str, decision: Literal["resend", "drop", "ask"]) -> Job:
        """The job after its doubt was settled; one that is to be sent again, or goes on, is carried at once."""
        try:
            job = await self.account_clients.for_generation(generation).resolve(job_id, decision)
        except InvalidRequestError as error:
            current = await self._runner.ledger.get(job_id)
            if current is None or current.state == "in_doubt":
                raise
            raise ApiError(400, error.message, code="not_in_doubt", retry=False) from None
        self._runner.notify_changed(generation, job_id)
        if job.is_terminal:
            await self._runner.settle_charges(generation)
        elif generation.id not in self._runner.active:
            self._runner.launch(generation)
        return job

    # -- start and end --------------------------------------------------------------------------------------------

    def start_recovery(self) -> None:
        """Takes up what an earlier process left, and looks for more from time to time."""
        self._recovery.start()

    def begin_shutdown(self) -> None:
        """Begins to let go of every job, so that whoever waits for one hears that it goes on later."""
        self._runner.stop_accepting()
        if self._shutdown_task is None:
            self._shutdown_task = asyncio.ensure_future(self._shutdown())

    async def aclose(self) -> None:
        """Lets go of every job: what a provider accepted goes on there, and the next start takes it up."""
        self.begin_shutdown()
        assert self._shutdown_task is not None
        await self._shutdown_task

    async def _shutdown(self) -> None:
        await self._recovery.aclose()
        await self._runner.detach_all()

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _find_owned(self, caller: Caller, job_id: str) -> tuple[Generation, Job, int]:
        self.remember_caller(caller)
        job = await self._runner.ledger.get(job_id)
        job_ref = parse_job_key(job.idempotency_key) if job else None
        generation = self.database.generation(job_ref[0]) if job_ref else None
        if (
            job is None
            or job_ref is None
            or generation is None
            or not (caller.admin or generation.caller_id == caller.id)
        ):
            raise _job_not_found(job_id)
        return generation, job, job_ref[1]

    def _output_seeds(self, spec: GenerationSpec) -> tuple[int | None, ...]:
        if spec.n == 1:
            return (spec.seed,)
        first_seed = int(self._random_fraction() * RANDOM_SEED_LIMIT) if spec.seed is None else spec.seed
        return tuple((first_seed + index) % (MAX_SEED + 1) for index in range(spec.n))


def _job_not_found(job_id: str) -> ApiError:
    return ApiError(404, f"there is no job {job_id[:64]!r}", code="job_not_found")
