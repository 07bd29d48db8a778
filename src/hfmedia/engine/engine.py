"""The engine: several jobs side by side, their events as one stream, and what may be done with a job later.

It owns the tasks that carry jobs; everything they touch is in the World it was given.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from msgspec import structs

from hfmedia.core import job as life
from hfmedia.core.answers import Output, Route
from hfmedia.core.errors import HfmediaError, InvalidRequestError, JobCancelledError
from hfmedia.core.ports import Place
from hfmedia.core.request import LARGEST_SEED, Request, check_outputs, with_seed

from .carry import Carrier
from .events import Event, JobFailed, MediaReady, Started
from .world import Timeouts, World

MOST_HELD = 16  # jobs whose inline media waits in memory for another try; each may be tens of MB
RANDOM_SEEDS = 2**31  # models take at least that many; the whole range of 64 bits is refused by some


class Engine:
    """Carries jobs. One engine serves a whole client; it is used from one event loop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._carried: dict[str, asyncio.Task[None]] = {}
        self._inline: OrderedDict[str, tuple[Output, ...]] = OrderedDict()

    async def generate(
        self,
        wish: Request,
        routes: Sequence[Route],
        *,
        place: Place,
        n: int = 1,
        timeouts: Timeouts | None = None,
        notes: Sequence[str] = (),
    ) -> AsyncGenerator[Event, None]:
        """The events of n jobs side by side, as they happen, each ending in MediaReady or JobFailed.

        With a seed, the outputs get seed, seed+1, …; without one, several outputs get seeds drawn at random, so that
        no two are the same picture. Closing the generator cancels what is still under way.
        """
        wishes = [with_seed(wish, seed) for seed in self._seeds(wish, check_outputs(n))]
        told: asyncio.Queue[Event | None] = asyncio.Queue()
        tasks: list[asyncio.Task[None]] = []
        try:
            for index, one in enumerate(wishes):
                job_id = self.world.new_id()
                fact = life.Created(job=job_id, at=self.world.clock(), request=life.without_media(one), index=index)
                await self.world.ledger.append(fact)
                told.put_nowait(Started(job_id=job_id, index=index, model=one.model, seed=one.seed, notes=tuple(notes)))
                there = structs.replace(place, job_id=job_id, file=_numbered(place, index, n))
                carrier = Carrier(
                    self.world, job_id, index, tell=told.put_nowait, place=there, timeouts=timeouts or Timeouts()
                )
                tasks.append(self._start(carrier, one, routes, told))
            for _ in tasks:
                while (event := await told.get()) is not None:
                    yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def resume(
        self, job_id: str, *, place: Place, timeouts: Timeouts | None = None
    ) -> AsyncGenerator[Event, None]:
        """The events of one job that was let go of, from where it stands. Nothing is bought again."""
        job = await self.job(job_id)
        if job_id in self._carried:
            raise InvalidRequestError(f"job {job_id} is being carried already", job_id=job_id)
        told: asyncio.Queue[Event | None] = asyncio.Queue()
        there = structs.replace(place, job_id=job_id, words=job.request.prompt or job.request.task)
        carrier = Carrier(
            self.world, job_id, job.index, tell=told.put_nowait, place=there, timeouts=timeouts or Timeouts()
        )
        task = self._start(carrier, None, (), told)
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
        elif job.state == "running" and job.route and job.handle:
            place = Place(folder=Path())
            carrier = Carrier(self.world, job_id, job.index, tell=_unheard, place=place, timeouts=Timeouts())
            reached, message = await carrier.ask_to_stop(job.route, job.handle)
            fact = life.Stopped(job=job_id, at=self.world.clock(), reached=reached, message=message)
            await self.world.ledger.append(fact)
        elif job.state in ("new", "ready"):
            fact = life.Stopped(job=job_id, at=self.world.clock(), reached=None, message="nothing was sent")
            await self.world.ledger.append(fact)
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

    def _start(
        self, carrier: Carrier, wish: Request | None, routes: Sequence[Route], told: asyncio.Queue[Event | None]
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(self._carry(carrier, wish, routes, told), name=f"hfmedia job {carrier.job_id}")
        self._carried[carrier.job_id] = task

        def ended(_: asyncio.Task[None]) -> None:
            self._carried.pop(carrier.job_id, None)
            told.put_nowait(None)

        task.add_done_callback(ended)
        return task

    async def _carry(
        self, carrier: Carrier, wish: Request | None, routes: Sequence[Route], told: asyncio.Queue[Event | None]
    ) -> None:
        about: dict[str, Any] = {"job_id": carrier.job_id, "index": carrier.index}
        try:
            if wish is None:
                made = await carrier.resume(await self.job(carrier.job_id), self._inline.get(carrier.job_id, ()))
            else:
                made = await carrier.carry(wish, routes)
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

    def _hold(self, carrier: Carrier) -> None:
        """Keeps inline media that could not be stored (a full disk, say), so that resuming need not pay again."""
        if carrier.inline:
            self._inline[carrier.job_id] = carrier.inline
            while len(self._inline) > MOST_HELD:
                self._inline.popitem(last=False)

    async def _cancelled(self, job_id: str) -> JobCancelledError:
        job = await self.job(job_id)
        provider = job.route.provider if job.route else None
        done = "the provider was already done, and it may be billed; resuming fetches it"
        why = {"finished": done, "stored": f"the provider was already done; its media is kept ({_files(job)})"}.get(
            job.state, job.error or "nothing was sent"
        )
        what = f"job {job_id} was cancelled: {why}"
        return JobCancelledError(what, provider=provider, model=job.request.model, job_id=job_id)

    def _seeds(self, wish: Request, n: int) -> list[int | None]:
        if n == 1:
            return [wish.seed]
        first = wish.seed if wish.seed is not None else int(self.world.dice() * RANDOM_SEEDS)
        return [(first + number) % (LARGEST_SEED + 1) for number in range(n)]


def _numbered(place: Place, index: int, n: int) -> Path | None:
    """The file of one of several outputs: ``fox.png`` becomes ``fox-1.png``, ``fox-2.png``, …"""
    if place.file is None or n == 1:
        return place.file
    return place.file.with_name(f"{place.file.stem}-{index + 1}{place.file.suffix}")


def _files(job: life.Job) -> str:
    return ", ".join((job.media or {}).get("files", ()))


def _unheard(event: Event) -> None:
    return None
