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
from hfmedia.core.answers import Finished, Pending, Route
from hfmedia.core.errors import OutOfTimeError
from hfmedia.core.wire import HttpRequest, redact

from .events import Event, Queued, Running
from .world import Timeouts, World


class Desk:
    """What belongs to one job while it is carried. ``tell`` hears its events; ``known`` is a job that is surely so."""

    def __init__(
        self,
        world: World,
        job_id: str,
        index: int,
        *,
        tell: Callable[[Event], None],
        timeouts: Timeouts,
        known: life.Job | None = None,
    ) -> None:
        self.world, self.job_id, self.index, self.timeouts = world, job_id, index, timeouts
        self._tell = tell
        self._deadline = asyncio.get_running_loop().time() + timeouts.total if timeouts.total else None
        self._slot: AbstractAsyncContextManager[object] | None = None
        self._known = known

    async def job(self) -> life.Job:
        """The job as the ledger knows it."""
        job = await self.world.ledger.job(self.job_id)
        if job is None:
            raise life.ImpossibleError(f"job {self.job_id} is not in the ledger")
        return job

    async def known(self) -> life.Job:
        """The job as it was when this desk last wrote of it, which is how it is while it is carried here."""
        return self._known or await self.job()

    async def write(self, fact: type[life.Fact], /, **told: Any) -> life.Job:
        """One more fact of this job, durable when this returns."""
        return await self.append(self.fact(fact, **told))

    async def append(self, fact: life.Fact, *more: life.Fact) -> life.Job:
        """These facts of this job, durable together when this returns."""
        self._known = None  # a write that is cancelled may be done all the same
        self._known = await self.world.ledger.append(fact, *more)
        return self._known

    def fact(self, fact: type[life.Fact], /, **told: Any) -> life.Fact:
        """A fact of this job, now; not written yet."""
        return fact(job=self.job_id, at=self.world.clock(), **told)

    @property
    def ended(self) -> bool:
        """Whether this desk wrote the last word on its job, with which nobody carries it any more."""
        return self._known is not None and self._known.ended

    def tell(self, event: type[Event], /, **told: Any) -> None:
        """One event of this job."""
        self._tell(event(job_id=self.job_id, index=self.index, **told))

    def tell_progress(self, route: Route, pending: Pending) -> None:
        """How far the provider says it is."""
        progress = pending.progress
        if progress is None:
            self.tell(Running, provider=route.provider)
        elif progress.position is not None and progress.fraction is None:
            self.tell(Queued, provider=route.provider, position=progress.position)
        else:
            message = redact(progress.message) if progress.message else None
            told = {"fraction": progress.fraction, "message": message, "eta": progress.eta}
            self.tell(Running, provider=route.provider, **told)

    async def made(self, route: Route, done: Finished) -> None:
        """The provider is done: written down, and remembered for the next choice of a provider."""
        self.world.memory.ok(route.provider)
        job = await self.write(
            life.Made,
            outputs=life.links(done.outputs),
            seed=done.seed,
            cost=done.cost,
            timings=done.timings,
            warnings=done.warnings,
        )
        self.world.observe(route, job.updated - (job.sent or job.updated), done.cost)

    async def take_slot(self, provider: str) -> None:
        """A place at the provider, unless this job has one; held until the provider is done with it."""
        if self._slot is None:
            slot = self.world.slot(provider)
            await slot.__aenter__()
            self._slot = slot

    async def free_slot(self) -> None:
        """Gives the place back, if there is one."""
        slot, self._slot = self._slot, None
        if slot is not None:
            await slot.__aexit__(None, None, None)

    def remaining(self) -> float | None:
        """Seconds until the deadline, negative after it; None without one."""
        return None if self._deadline is None else self._deadline - asyncio.get_running_loop().time()

    def addressed(self, request: HttpRequest, route: Route) -> HttpRequest:
        """The request with the headers that the router alone is told (who is billed, for one)."""
        if route.via == "direct":
            return request
        return structs.replace(request, headers={**request.headers, **self.world.headers})

    async def out_of_time(self, when: str, *, over: bool) -> OutOfTimeError:
        """The error for a deadline that passed; ``over`` when nothing was bought, so that the job ends."""
        route = (await self.job()).route
        if over:
            await self.write(life.Broken, kind="time", message=f"out of time {when}")
            follow = "Nothing was bought."
        else:
            how = f"`hfmedia jobs resume {self.job_id}` carries it on, without paying again"
            follow = f"Job {self.job_id} is detached, not lost: {how}."
        return OutOfTimeError(
            f"the time limit passed {when}. {follow}",
            provider=route.provider if route else None,
            model=route.model if route else None,
            job_id=self.job_id,
        )


async def whole(work: Coroutine[Any, Any, None]) -> None:
    """Does this to its end, however often the caller is cancelled meanwhile; the work bounds itself."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    task.result()


def least(*limits: float | None) -> float | None:
    """The smallest of the limits that there are."""
    return min((limit for limit in limits if limit is not None), default=None)
