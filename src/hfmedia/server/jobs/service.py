"""Generation service: validates, prices, reserves budget and runs generations independently of the client connection.

A connection only ever waits for a generation; closing it changes nothing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Literal
from weakref import WeakValueDictionary

from msgspec import structs

from hfmedia.core.costs import billable_attempts
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import Job
from hfmedia.core.seeds import seeds_for
from hfmedia.ids import new_id
from hfmedia.server.config import Config
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.generations import Api, Generation, GenerationSpec, OutputKind, fingerprint_of, parse_job_key
from hfmedia.server.db.pricing import estimate_cost

from .account_clients import AccountClients, CallerAccount
from .active import ActiveGeneration, OutputResult
from .errors import (
    GenerationTimeoutError,
    IdempotencyRaceError,
    JobNotFoundError,
    ModelNotAllowedError,
    NotInDoubtError,
    ShuttingDownError,
    TooManyJobsError,
)
from .input_store import InputStore
from .recovery import RecoveryLoop
from .runner import GenerationRunner

Decision = Literal["resend", "drop", "ask"]


class GenerationService:
    """Starts generations, and acts on jobs for their callers. ``runner`` runs them and knows their status.

    ``clock`` returns unix seconds, ``random_float`` a number in [0, 1).
    """

    def __init__(
        self,
        account_clients: AccountClients,
        database: GatewayDatabase,
        input_store: InputStore,
        config: Config,
        *,
        clock: Callable[[], float] = time.time,
        random_float: Callable[[], float] = random.random,
    ) -> None:
        self.account_clients, self.database = account_clients, database
        self.input_store, self.config = input_store, config
        self.runner = GenerationRunner(account_clients, database, input_store, config, clock=clock)
        self._recovery = RecoveryLoop(self.runner)
        self._random_float = random_float
        self._shutdown_task: asyncio.Future[None] | None = None
        self._idempotency_locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    # -- starting -------------------------------------------------------------------------------------------------

    def remember_caller(self, caller: CallerAccount) -> None:
        """Register the caller's token and resume generations that were waiting for it."""
        if self.account_clients.register(caller.id, caller.hf_token):
            self._recovery.wake()

    def new_generation(
        self,
        caller: CallerAccount,
        spec: GenerationSpec,
        *,
        kind: OutputKind,
        api: Api,
        response_context: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Generation:
        """Return a generation that is not started. Several outputs get consecutive seeds, random without a seed."""
        context = response_context or {}
        return Generation(
            id=new_id(),
            caller_id=caller.id,
            kind=kind,
            created_at=self.runner.clock(),
            n=spec.n,
            api=api,
            spec=structs.replace(spec, seeds=spec.seeds or tuple(seeds_for(spec.seed, spec.n, self._random_float))),
            response_context=context,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint_of(spec, api, context),
            bill_to=caller.bill_to,
            uses_caller_token=caller.hf_token is not None,
        )

    async def start(self, caller: CallerAccount, generation: Generation) -> ActiveGeneration:
        """Run a generation and return it once each of its jobs is in the ledger. It outlives its caller's connection.

        An earlier generation with the same idempotency key is joined or resumed instead.

        Raises:
            ShuttingDownError, TooManyJobsError, ModelNotAllowedError, QuotaExceededError, IdempotencyConflictError,
            IdempotencyRaceError: nothing was sent.
            HfmediaError: the first output did not become a job.
        """
        if self.runner.is_shutting_down:
            raise ShuttingDownError
        self.remember_caller(caller)
        active_count = self.runner.active_count(caller.id)
        if active_count + generation.n > self.config.max_jobs:
            raise TooManyJobsError(active_count, self.config.max_jobs)
        generation = await self._resolve_model(caller, generation)
        start_task = asyncio.ensure_future(self._serialized_by_key(caller, generation))
        try:
            return await asyncio.shield(start_task)
        except asyncio.CancelledError:  # the caller disconnected; what was started continues
            start_task.add_done_callback(lambda task: task.cancelled() or task.exception())
            raise

    async def _resolve_model(self, caller: CallerAccount, generation: Generation) -> Generation:
        """Return the generation with a model that its caller can use: the default of its task if it names none."""
        spec = generation.spec
        if spec.model is None:
            task = spec.default_task
            model = await self.account_clients.for_caller(caller).default_model(task)
            spec = structs.replace(spec, task=task, model=model)
        assert spec.model is not None
        if not caller.limits.allows_model(spec.model):
            raise ModelNotAllowedError(caller.name, spec.model, caller.limits.models)
        return structs.replace(generation, spec=spec)

    async def _serialized_by_key(self, caller: CallerAccount, generation: Generation) -> ActiveGeneration:
        """Start a generation after any other with the same idempotency key, so that it finds that one."""
        self.runner.starting.add(generation.id)
        try:
            if generation.idempotency_key is None:
                return await self._reserve_and_start(caller, generation)
            key = (generation.caller_id, generation.idempotency_key)
            async with self._idempotency_locks.setdefault(key, asyncio.Lock()):
                return await self._reserve_and_start(caller, generation)
        finally:
            self.runner.starting.discard(generation.id)

    async def _reserve_and_start(self, caller: CallerAccount, generation: Generation) -> ActiveGeneration:
        provider_stats = await self.account_clients.base.stats.load()
        estimated_usd = estimate_cost(generation.spec, self.config, provider_stats.median_usd, kind=generation.kind)
        reservation = structs.replace(generation, reserved_usd=estimated_usd)
        for _ in range(2):
            existing = await asyncio.to_thread(
                self.database.reserve, reservation, caller.limits, now=self.runner.clock()
            )
            if existing.id == generation.id:
                return await self._launch(reservation)
            if active := self.runner.active.get(existing.id):
                return await self._await_created(active)
            jobs = await self.runner.jobs_of(existing)
            produced_nothing = all(job.state in ("failed", "cancelled") and not billable_attempts(job) for job in jobs)
            # Without a job yet, its process died or is starting it now.
            if not produced_nothing or not (jobs or existing.is_settled):
                return await self._await_created(self.runner.launch(existing))
            await self.runner.settle_charges(existing)  # nothing was billed, so the request can be tried again
            await asyncio.to_thread(self.database.release_idempotency_key, existing.id)
        raise IdempotencyRaceError

    async def _launch(self, generation: Generation) -> ActiveGeneration:
        try:
            if generation.spec.image is not None:
                await asyncio.to_thread(self.input_store.save, generation.spec.image)
        except BaseException:
            await self.runner.settle_charges(generation)
            raise
        active = self.runner.launch(generation)
        await active.wait_created(0)
        if 0 not in active.job_ids_by_output and (error := active.results[0].error):
            await asyncio.gather(*active.tasks, return_exceptions=True)
            raise error
        return await self._await_created(active)

    async def _await_created(self, active: ActiveGeneration) -> ActiveGeneration:
        for index in range(active.generation.n):
            await active.wait_created(index)
        return active

    async def wait(self, active: ActiveGeneration, seconds: float) -> list[OutputResult]:
        """Return the results of all outputs; raise GenerationTimeoutError after this time, while the jobs continue."""
        try:
            async with asyncio.timeout(seconds):
                return await active.wait_done()
        except TimeoutError:
            raise GenerationTimeoutError(active.job_ids, seconds) from None

    # -- acting on jobs -------------------------------------------------------------------------------------------

    async def get_owned(self, caller: CallerAccount, job_id: str) -> tuple[Generation, Job]:
        """Return a job and its generation; raise JobNotFoundError unless it is the caller's and not deleted."""
        generation, job, index = await self._find_owned(caller, job_id)
        if index in generation.deleted_outputs:
            raise JobNotFoundError(job_id)
        return generation, job

    async def get_owned_including_deleted(self, caller: CallerAccount, job_id: str) -> tuple[Generation, Job]:
        """Return a job and its generation, deleted or not; raise JobNotFoundError if it is not the caller's."""
        return (await self._find_owned(caller, job_id))[:2]

    async def delete(self, caller: CallerAccount, job_id: str) -> None:
        """Hide a job from its owner, cancelled first if it is active; ``restore`` undoes it."""
        generation, job, index = await self._find_owned(caller, job_id)
        if not job.is_terminal and job.state != "in_doubt":
            await self.cancel(generation, job_id)
        await self._mark_deleted(generation, job_id, index, self.runner.clock())

    async def restore(self, caller: CallerAccount, job_id: str) -> None:
        """Show a deleted job to its owner again."""
        generation, _, index = await self._find_owned(caller, job_id)
        await self._mark_deleted(generation, job_id, index, None)

    async def cancel(self, generation: Generation, job_id: str) -> Job:
        """Cancel a job, at its provider too where that is possible, and return it."""
        job = await self.account_clients.for_generation(generation).cancel(job_id)
        self.runner.notify_changed(generation, job_id)
        if generation.id not in self.runner.active:
            await self.runner.settle_charges(generation)
        return job

    async def resolve(self, generation: Generation, job_id: str, decision: Decision) -> Job:
        """Resolve a job in doubt and return it; one that is resent, or was accepted after all, runs at once.

        Raises NotInDoubtError if it is not in doubt.
        """
        try:
            job = await self.account_clients.for_generation(generation).resolve(job_id, decision)
        except InvalidRequestError as error:
            current = await self.runner.ledger.get(job_id)
            if current is None or current.state == "in_doubt":
                raise
            raise NotInDoubtError(error.message) from None
        self.runner.notify_changed(generation, job_id)
        if job.is_terminal:
            await self.runner.settle_charges(generation)
        elif generation.id not in self.runner.active:
            self.runner.launch(generation)
        return job

    async def _find_owned(self, caller: CallerAccount, job_id: str) -> tuple[Generation, Job, int]:
        self.remember_caller(caller)
        job = await self.runner.ledger.get(job_id)
        job_ref = parse_job_key(job.idempotency_key) if job else None
        generation = self.database.generation(job_ref[0]) if job_ref else None
        if job is None or job_ref is None or generation is None:
            raise JobNotFoundError(job_id)
        if not (caller.admin or generation.caller_id == caller.id):
            raise JobNotFoundError(job_id)
        return generation, job, job_ref[1]

    async def _mark_deleted(self, generation: Generation, job_id: str, index: int, deleted_at: float | None) -> None:
        await asyncio.to_thread(self.database.mark_deleted, generation.id, index, deleted_at)
        self.runner.notify_changed(generation, job_id)

    # -- start-up and shutdown ------------------------------------------------------------------------------------

    def start_recovery(self) -> None:
        """Resume the generations of earlier processes, now and periodically."""
        self._recovery.start()

    def begin_shutdown(self) -> None:
        """Start to detach from every job, so that those who wait for one get a response."""
        self.runner.stop_accepting()
        if self._shutdown_task is None:
            self._shutdown_task = asyncio.ensure_future(self._shutdown())

    async def aclose(self) -> None:
        """Detach from every job: providers keep running what they accepted, and the next start resumes it."""
        self.begin_shutdown()
        assert self._shutdown_task is not None
        await self._shutdown_task

    async def _shutdown(self) -> None:
        await self._recovery.aclose()
        await self.runner.detach_all()
