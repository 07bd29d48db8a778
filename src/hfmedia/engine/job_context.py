"""A job's desk: what every step of carrying it needs at hand. Its world, its patience, its place at a provider.

It writes and tells; it decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from msgspec import structs

from hfmedia.core import job as life
from hfmedia.core.credentials import redact
from hfmedia.core.errors import DeadlineExceededError
from hfmedia.core.http import HttpRequest
from hfmedia.core.protocol import Completed, Pending, Route

from .dependencies import EngineDependencies, Timeouts
from .events import Event, Queued, Running


class JobContext:
    """What belongs to one job while it is carried. ``tell`` hears its events; ``known`` is a job that is surely so."""

    def __init__(
        self,
        deps: EngineDependencies,
        job_id: str,
        index: int,
        *,
        emit: Callable[[Event], None],
        timeouts: Timeouts,
        current_job: life.Job | None = None,
    ) -> None:
        self.deps, self.job_id, self.index, self.timeouts = deps, job_id, index, timeouts
        self._emit = emit
        self._deadline = asyncio.get_running_loop().time() + timeouts.total if timeouts.total else None
        self._slot: AbstractAsyncContextManager[object] | None = None
        self._current_job = current_job

    async def load(self) -> life.Job:
        """The job as the ledger knows it."""
        job = await self.deps.ledger.get(self.job_id)
        if job is None:
            raise life.InvalidTransitionError(f"job {self.job_id} is not in the ledger")
        return job

    async def current_job(self) -> life.Job:
        """The job as it was when this desk last wrote of it, which is how it is while it is carried here."""
        return self._current_job or await self.load()

    async def record(self, entry_type: type[life.LedgerEntry], /, **fields: Any) -> life.Job:
        """One more fact of this job, durable when this returns."""
        return await self.record_all(self.new_entry(entry_type, **fields))

    async def record_all(self, entry: life.LedgerEntry, *more: life.LedgerEntry) -> life.Job:
        """These facts of this job, durable together when this returns."""
        self._current_job = None  # a write that is cancelled may be done all the same
        self._current_job = await self.deps.ledger.append(entry, *more)
        return self._current_job

    def new_entry(self, entry_type: type[life.LedgerEntry], /, **fields: Any) -> life.LedgerEntry:
        """A fact of this job, now; not written yet."""
        return entry_type(job_id=self.job_id, timestamp=self.deps.clock(), **fields)

    @property
    def is_terminal(self) -> bool:
        """Whether this desk wrote the last word on its job, with which nobody carries it any more."""
        return self._current_job is not None and self._current_job.is_terminal

    def emit(self, event_type: type[Event], /, **fields: Any) -> None:
        """One event of this job."""
        self._emit(event_type(job_id=self.job_id, index=self.index, **fields))

    def emit_progress(self, route: Route, pending: Pending) -> None:
        """How far the provider says it is."""
        progress = pending.progress
        if progress is None:
            self.emit(Running, provider=route.provider)
        elif progress.position is not None and progress.fraction is None:
            self.emit(Queued, provider=route.provider, position=progress.position)
        else:
            message = redact(progress.message) if progress.message else None
            fields = {"fraction": progress.fraction, "message": message, "eta": progress.eta}
            self.emit(Running, provider=route.provider, **fields)

    async def record_completed(self, route: Route, completed: Completed) -> None:
        """The provider is done: written down, and remembered for the next choice of a provider."""
        self.deps.health.mark_healthy(route.provider)
        job = await self.record(
            life.CompletedEntry,
            outputs=life.strip_inline_outputs(completed.outputs),
            seed=completed.seed,
            cost=completed.cost,
            timings=completed.timings,
            warnings=completed.warnings,
        )
        self.deps.record_stats(route, job.updated_at - (job.submitted_at or job.updated_at), completed.cost)

    async def acquire_slot(self, provider: str) -> None:
        """A place at the provider, unless this job has one; held until the provider is done with it."""
        if self._slot is None:
            slot = self.deps.slot(provider)
            await slot.__aenter__()
            self._slot = slot

    async def release_slot(self) -> None:
        """Gives the place back, if there is one."""
        slot, self._slot = self._slot, None
        if slot is not None:
            await slot.__aexit__(None, None, None)

    def remaining(self) -> float | None:
        """Seconds until the deadline, negative after it; None without one."""
        return None if self._deadline is None else self._deadline - asyncio.get_running_loop().time()

    def with_router_headers(self, http_request: HttpRequest, route: Route) -> HttpRequest:
        """The request with the headers that the router alone is told (who is billed, for one)."""
        if route.via == "direct":
            return http_request
        return structs.replace(http_request, headers={**http_request.headers, **self.deps.router_headers})

    async def deadline_error(self, when: str, *, not_submitted: bool) -> DeadlineExceededError:
        """The error for a deadline that passed; ``over`` when nothing was bought, so that the job ends."""
        route = (await self.load()).route
        if not_submitted:
            await self.record(life.FailedEntry, kind="deadline_exceeded", message=f"out of time {when}")
            hint = "Nothing was bought."
        else:
            resume_hint = f"`hfmedia jobs resume {self.job_id}` carries it on, without paying again"
            hint = f"Job {self.job_id} is detached, not lost: {resume_hint}."
        return DeadlineExceededError(
            f"the time limit passed {when}. {hint}",
            provider=route.provider if route else None,
            model=route.model if route else None,
            job_id=self.job_id,
        )


async def run_uncancelled(coroutine: Coroutine[Any, Any, None]) -> None:
    """Does this to its end, however often the caller is cancelled meanwhile; the work bounds itself."""
    task = asyncio.ensure_future(coroutine)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    task.result()


def min_timeout(*limits: float | None) -> float | None:
    """The smallest of the limits that there are."""
    return min((limit for limit in limits if limit is not None), default=None)
