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
from hfmedia.core.answers import Output, Route
from hfmedia.core.errors import HfmediaError, InvalidRequestError, JobCancelledError
from hfmedia.core.ports import Place
from hfmedia.core.request import Request, check_outputs, with_seed
from hfmedia.ledger import KeyTakenError

from .carry import Carrier
from .doubts import ask_provider
from .events import Event, JobFailed, MediaReady, Started
from .keep import Made
from .several import numbered, seeds
from .world import Timeouts, World

MOST_ATTEMPTS = 1000  # under one idempotency key; beyond that something else is wrong
MOST_HELD = 16  # jobs whose inline media waits in memory for another try; each may be tens of MB
SENDING: tuple[life.State, ...] = ("sending",)
JOIN_EVERY = 0.5  # seconds between two looks at a job that another process carries

Told = asyncio.Queue[Event | None]
Replan = Callable[[life.Job], Awaitable[Sequence[Route]]]
Work = Callable[[Carrier], Awaitable[Made]]


class Engine:
    """Carries jobs. One engine serves a whole client; it is used from one event loop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._carried: dict[str, asyncio.Task[None]] = {}
        self._carriers: dict[str, Carrier] = {}
        self._inline: OrderedDict[str, tuple[Output, ...]] = OrderedDict()

    # -- making ---------------------------------------------------------------------------------------------------

    async def generate(
        self,
        wish: Request,
        routes: Sequence[Route],
        *,
        place: Place,
        n: int = 1,
        timeouts: Timeouts | None = None,
        notes: Sequence[str] = (),
        key: str | None = None,
        choice: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """The events of n jobs side by side, as they happen, each ending in MediaReady or JobFailed.

        With a seed, the outputs get seed, seed+1, …; without one, several outputs get seeds drawn at random, so that
        no two are the same picture. With an idempotency ``key``, a job that has it already is joined instead. Closing
        the generator cancels what is still under way.
        """
        wishes = [with_seed(wish, seed) for seed in seeds(wish, check_outputs(n), self.world.dice)]
        patience = timeouts or Timeouts()
        told: Told = asyncio.Queue()
        tell = told.put_nowait
        tasks: list[asyncio.Task[None]] = []
        try:
            for index, one in enumerate(wishes):
                there = structs.replace(place, file=numbered(place, index, n))
                mine = key if key is None or n == 1 else f"{key}#{index}"
                job, fresh = await self._created(one, index, there, mine, choice, seeded=wish.seed is not None)
                there = structs.replace(there, job_id=job.id, at=job.created)  # the same name if it is resumed
                tell(Started(job_id=job.id, index=index, model=one.model, seed=job.request.seed, notes=tuple(notes)))
                known = job if fresh else None
                carrier = Carrier(self.world, job.id, index, tell=tell, place=there, timeouts=patience, known=known)
                if fresh or (job.state == "new" and await self.world.ledger.claim(job.id)):
                    tasks.append(self._start(carrier, _buying(one, routes), told, mine=True))
                else:
                    tasks.append(self._start(carrier, self._joining(job.id, one, routes), told, mine=False))
            for _ in tasks:
                while (event := await told.get()) is not None:
                    yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _created(
        self, wish: Request, index: int, place: Place, key: str | None, choice: str | None, *, seeded: bool
    ) -> tuple[life.Job, bool]:
        """A new job for a wish, carried by us, or the one that has its key already; and whether it is new."""
        written = life.without_media(wish)
        fact = life.Created(
            job=self.world.new_id(),
            at=self.world.clock(),
            request=written,
            index=index,
            choice=choice,
            folder=str(place.folder.absolute()),
            file=str(place.file.absolute()) if place.file else None,
        )
        for attempt in range(1, MOST_ATTEMPTS):
            mine = f"{key}~{attempt}" if key and attempt > 1 else key
            try:
                return await self.world.ledger.append(structs.replace(fact, key=mine)), True
            except KeyTakenError as taken:
                job = await self.job(taken.job_id)
            if job.state not in ("failed", "cancelled"):  # those were told, and may be tried anew
                break
        else:
            raise InvalidRequestError(f"the idempotency key {key!r} has failed {MOST_ATTEMPTS} times; use a new key")
        before, now = job.request, written
        if not seeded:  # a seed that was drawn at random says nothing of what was asked for
            before, now = with_seed(before, None), with_seed(now, None)
        if before != now:
            raise InvalidRequestError(
                f"the idempotency key {key!r} belongs to another request (job {job.id}); use a new key", job_id=job.id
            )
        return job, False

    def _joining(self, job_id: str, wish: Request, routes: Sequence[Route]) -> Work:
        """What joins a job that exists: waits for whoever carries it, or carries it on when nobody does.

        One that was never sent is sent as this wish, which still has the input image that no ledger keeps.
        """

        async def join(carrier: Carrier) -> Made:
            while True:
                other = self._carried.get(job_id)
                if other is not None:
                    await asyncio.wait({other})
                elif await self.world.ledger.claim(job_id):
                    task = asyncio.current_task()
                    assert task is not None
                    self._carried[job_id], self._carriers[job_id] = task, carrier
                    try:
                        return await self._resumed(carrier, routes, wish)
                    finally:
                        self._carried.pop(job_id, None)
                        self._carriers.pop(job_id, None)
                        await self.world.ledger.release(job_id)
                else:
                    await self.world.sleep(JOIN_EVERY)

        return join

    # -- later ----------------------------------------------------------------------------------------------------

    async def resume(
        self, job_id: str, *, place: Place, timeouts: Timeouts | None = None, replan: Replan | None = None
    ) -> AsyncGenerator[Event, None]:
        """The events of one job that was let go of, from where it stands. What was bought is not bought again.

        ``replan`` gives the routes for a job that was never sent. InvalidRequestError when the job is being carried,
        here or by another process that lives.
        """
        job = await self.job(job_id)
        if job_id in self._carried or not await self.world.ledger.claim(job_id):
            raise InvalidRequestError(f"job {job_id} is being carried already", job_id=job_id)
        told: Told = asyncio.Queue()
        there = structs.replace(place, job_id=job_id, words=job.request.prompt or job.request.task)
        patience = timeouts or Timeouts()
        carrier = Carrier(self.world, job_id, job.index, tell=told.put_nowait, place=there, timeouts=patience)

        async def work(carrier: Carrier) -> Made:
            unsent = job.state in ("new", "ready")
            return await self._resumed(carrier, await replan(job) if unsent and replan else ())

        task = self._start(carrier, work, told, mine=True)
        try:
            while (event := await told.get()) is not None:
                yield event
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def cancel(self, job_id: str) -> life.Job:
        """The job after it was told to stop: here if it is carried here, and at the provider where that is possible.

        A job that the provider finished already stays as it is: paid for, and there to be fetched.
        """
        job = await self.job(job_id)
        task = self._carried.get(job_id)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        elif not job.ended and not await self.world.ledger.claim(job_id):
            raise InvalidRequestError(f"job {job_id} is carried by another process; stop that one", job_id=job_id)
        elif job.state == "running" and job.route and job.handle:
            place = Place(folder=Path())
            carrier = Carrier(self.world, job_id, job.index, tell=_unheard, place=place, timeouts=Timeouts())
            reached, message = await carrier.ask_to_stop(job.route, job.handle)
            await self._write(life.Stopped, job_id, reached=reached, message=message)
        elif job.state in ("new", "ready"):
            await self._write(life.Stopped, job_id, reached=None, message="nothing was sent")
        job = await self.job(job_id)
        if not job.ended:  # one in doubt, or done at the provider: it stays, and whoever wants it may carry it on
            await self.world.ledger.release(job_id)
        return job

    async def detach(self, job_id: str, *, keep_unsent: bool = False) -> life.Job:
        """The job after it was let go of here: what the provider accepted goes on there, and can be resumed.

        A job that was not sent yet is cancelled, or with ``keep_unsent`` left to be sent when it is resumed; one on its
        way out is awaited until it is known what became of it.
        """
        task, carrier = self._carried.get(job_id), self._carriers.get(job_id)
        if task is not None and carrier is not None:
            carrier.detached, carrier.keeps_unsent = True, keep_unsent
            task.cancel()
            await asyncio.wait({task})
        return await self.job(job_id)

    async def settle(self) -> None:
        """Marks as in doubt each job whose process ended while its request was on its way."""
        async for job in self.world.ledger.jobs(states=SENDING):
            if job.id in self._carried or not await self.world.ledger.claim(job.id):
                continue
            try:
                if (await self.job(job.id)).state == "sending":
                    message = "the process ended while the request was on its way"
                    await self._write(life.Doubted, job.id, message=message)
            finally:
                await self.world.ledger.release(job.id)

    async def resolve(self, job_id: str, decision: str) -> life.Job:
        """The job after a doubt was settled: ``resend``, ``drop``, or ``ask`` the provider where it can be asked.

        InvalidRequestError when the job is not in doubt, or the provider cannot be asked or does not know it.
        """
        await self.settle()
        job = await self.job(job_id)
        if job.state != "doubt":
            raise InvalidRequestError(f"job {job_id} is {job.state}, not in doubt", job_id=job_id)
        if decision not in ("ask", "resend", "drop"):
            raise InvalidRequestError(f"a doubt is settled by resend, drop or ask, not {decision!r}", job_id=job_id)
        try:
            if decision == "ask":
                for fact in await ask_provider(self.world, job):
                    await self.world.ledger.append(fact)
            else:
                await self._write(life.Resolved, job_id, decision=decision)
        except life.ImpossibleError as error:
            raise InvalidRequestError(f"job {job_id} was settled by somebody else meanwhile", job_id=job_id) from error
        return await self.job(job_id)

    async def job(self, job_id: str) -> life.Job:
        """The job of that id; InvalidRequestError when the ledger knows none."""
        job = await self.world.ledger.job(job_id)
        if job is None:
            raise InvalidRequestError(f"there is no job {job_id!r} in the ledger", job_id=job_id)
        return job

    async def aclose(self) -> None:
        """Cancels what is still carried, and waits until it has let go."""
        tasks = list(self._carried.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _start(self, carrier: Carrier, work: Work, told: Told, *, mine: bool) -> asyncio.Task[None]:
        """The task that does this work and ends its events with None; ``mine``: it carries the job it tells of."""
        task = asyncio.create_task(self._carry(carrier, work, told, mine), name=f"hfmedia job {carrier.job_id}")
        if mine:
            self._carried[carrier.job_id] = task
            self._carriers[carrier.job_id] = carrier

        def ended(_: asyncio.Task[None]) -> None:
            if mine:
                self._carried.pop(carrier.job_id, None)
                self._carriers.pop(carrier.job_id, None)
            told.put_nowait(None)

        task.add_done_callback(ended)
        return task

    async def _carry(self, carrier: Carrier, work: Work, told: Told, mine: bool) -> None:
        about: dict[str, Any] = {"job_id": carrier.job_id, "index": carrier.index}
        try:
            made = await work(carrier)
            self._inline.pop(carrier.job_id, None)
            for media, url in made:
                told.put_nowait(MediaReady(**about, media=media, url=url))
        except HfmediaError as error:
            self._hold(carrier)
            told.put_nowait(JobFailed(**about, error=error))
        except asyncio.CancelledError:
            self._hold(carrier)
            told.put_nowait(JobFailed(**about, error=await self._cancelled(carrier.job_id)))
            raise
        except Exception as error:  # a defect of ours: the other jobs go on, and this one keeps its id
            wrong = HfmediaError(f"unexpected: {type(error).__name__}: {error}", job_id=carrier.job_id)
            wrong.__cause__ = error
            told.put_nowait(JobFailed(**about, error=wrong))
        finally:
            if mine and not carrier.desk.ended:
                await self.world.ledger.release(carrier.job_id)

    async def _resumed(self, carrier: Carrier, routes: Sequence[Route], wish: Request | None = None) -> Made:
        job = await self.job(carrier.job_id)
        if wish is not None and job.state in ("new", "ready"):
            return await carrier.carry(with_seed(wish, job.request.seed), routes)
        return await carrier.resume(job, routes=routes, outputs=self._inline.get(carrier.job_id, ()))

    def _hold(self, carrier: Carrier) -> None:
        """Keeps inline media that could not be stored (a full disk, say), so that resuming need not pay again."""
        if carrier.inline:
            self._inline[carrier.job_id] = carrier.inline
            while len(self._inline) > MOST_HELD:
                self._inline.popitem(last=False)

    async def _cancelled(self, job_id: str) -> JobCancelledError:
        job = await self.job(job_id)
        provider = job.route.provider if job.route else None
        if job.state == "running":
            what = f"job {job_id} was let go of; it goes on at {provider} and can be resumed without paying again"
            return JobCancelledError(what, provider=provider, model=job.request.model, job_id=job_id)
        done = "the provider was already done, and it may be billed; resuming fetches it"
        files = ", ".join(facts["path"] for facts in (job.media or {}).get("files", ()))
        kept = f"the provider was already done; its media is kept ({files})"
        why = {"finished": done, "stored": kept}.get(job.state, job.error or "nothing was sent")
        what = f"job {job_id} was cancelled: {why}"
        return JobCancelledError(what, provider=provider, model=job.request.model, job_id=job_id)

    async def _write(self, fact: type[life.Fact], job_id: str, /, **told: Any) -> life.Job:
        return await self.world.ledger.append(fact(job=job_id, at=self.world.clock(), **told))


def _buying(wish: Request, routes: Sequence[Route]) -> Work:
    async def buy(carrier: Carrier) -> Made:
        return await carrier.carry(wish, routes)

    return buy


def _unheard(event: Event) -> None:
    return None
