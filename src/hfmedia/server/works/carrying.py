"""Carrying: the outputs of orders, each in a task of its own, to their ends; and how each of them stands meanwhile.

What was let go of (trouble on the way, a full disk) is tried again later; what was bought is never bought again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress

from hfmedia.core.costs import bought
from hfmedia.core.errors import HfmediaError, InDoubtError, OutOfTimeError
from hfmedia.core.job import Job
from hfmedia.engine import Event, JobFailed, MediaReady, Started
from hfmedia.server.books.book import Book
from hfmedia.server.books.money import charge_of
from hfmedia.server.books.orders import Order
from hfmedia.server.config import Config

from .clients import Clients
from .inputs import Inputs
from .live import Live, heard, live_of
from .run import Outcome, Run

TRY_AGAIN = (5.0, 15.0, 60.0, 300.0, 900.0)  # seconds before a job that was let go of is carried on; then the last
GIVE_UP = 24 * 3600.0  # seconds after which a job is left to its owner: no provider keeps a result longer
JUST_NOW = 60.0  # seconds in which an order without jobs may still be begun by another process
ANSWERED = 60.0  # seconds for which a stop waits for the answer to a request that buys: providers that answer when they
# are done need that long for an image, and a second signal ends it at once
LOOK_AGAIN = 0.1  # seconds between two looks whether it was answered
LOOK_EVERY = 30.0  # seconds between two looks at a job that another process may carry, which rings no bell here
STOPPING = "the gateway is stopping; the work goes on at its next start, and GET /v1/jobs/{job} tells how it stands"
MOST_HEARD = 4096  # jobs of which it is remembered when they were last heard of
UNFINISHED = ("new", "ready", "sending", "running", "finished")
Heard = Callable[[Order, Event], None]
Changed = Callable[[Order, str], None]  # an order, and the id of its job that stands otherwise than before


class Carrying:
    """Carries orders. ``clock`` gives unix seconds.

    ``hear_also`` are told every event, ``on_change`` each job that stands otherwise than before.
    """

    def __init__(
        self, clients: Clients, book: Book, inputs: Inputs, config: Config, *, clock: Callable[[], float]
    ) -> None:
        self.clients, self.book, self.inputs, self.config = clients, book, inputs, config
        self.ledger = clients.base.ledger
        self.hear_also: list[Heard] = []
        self.on_change: list[Changed] = []
        self.runs: dict[str, Run] = {}
        self.beginning: set[str] = set()  # orders that are written down here and about to be carried
        self.live: dict[str, Live] = {}
        self.heard: OrderedDict[str, float] = OrderedDict()  # when each job was last heard of, also after its end
        self.leaving = asyncio.Event()  # the gateway is about to stop
        self.clock = clock
        self._bells: dict[str, set[asyncio.Event]] = {}

    def run(self, order: Order) -> Run:
        """The order carried from now on: its first output, and the others as soon as that is a job."""
        made = self.runs[order.id] = Run(order)
        made.tasks.add(asyncio.create_task(self._whole(made), name=f"order {order.id}"))
        return made

    async def jobs_of(self, order: Order) -> list[Job]:
        """The jobs of an order that are in the ledger, by output."""
        found = [await self.ledger.find(order.job_key(index)) for index in range(order.n)]
        return [job for job in found if job is not None]

    async def settle(self, order: Order) -> None:
        """Puts what was really bought in the place of what was reserved, once every output has ended.

        An order of which nothing was bought gives its idempotency key free: the same may be tried anew.
        """
        jobs = await self.jobs_of(order)
        if any(not job.ended for job in jobs):
            return
        charged, images, videos = charge_of(jobs, order, self.config)
        await asyncio.to_thread(self.book.settle, order.id, charged=charged, images=images, videos=videos)
        if not any(bought(job) for job in jobs):
            await asyncio.to_thread(self.book.rebind, order.id)

    async def listen(self, job_id: str) -> AsyncIterator[Live]:
        """How a job stands, now and at each change, until it ends. A slow listener hears the latest only."""
        bell = asyncio.Event()
        self._bells.setdefault(job_id, set()).add(bell)
        try:
            while True:
                bell.clear()
                job = await self.ledger.job(job_id)
                if job is None:
                    return
                live = self.live.get(job_id) or live_of(job)
                yield live
                if live.ended or self.closing:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY):
                        await bell.wait()
        finally:
            bells = self._bells.get(job_id, set())
            bells.discard(bell)
            if not bells:
                self._bells.pop(job_id, None)

    def changed(self, order: Order, job_id: str) -> None:
        """Wakes whoever listens to a job that something was done to, and tells those who listen to all of them."""
        self.ring(job_id)
        for listener in tuple(self.on_change):
            listener(order, job_id)

    def ring(self, job_id: str) -> None:
        """Wakes whoever listens to a job."""
        for bell in self._bells.get(job_id, ()):
            bell.set()

    @property
    def closing(self) -> bool:
        """Whether the gateway is about to stop."""
        return self.leaving.is_set()

    def leave(self) -> None:
        """Carries nothing new from now on; whoever listens hears the last word."""
        self.leaving.set()
        for job_id in list(self._bells):
            self.ring(job_id)

    async def let_go(self) -> None:
        """Lets go of every job: what a provider accepted goes on there, what was not sent is sent later.

        A request that is on its way out is given time to be answered, for what it bought would be in doubt without.
        """
        self.leave()
        runs = list(self.runs.values())
        await asyncio.gather(*(self._detach(run) for run in runs), return_exceptions=True)
        tasks = [task for run in runs for task in run.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job_id in list(self._bells):
            self.ring(job_id)

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _detach(self, run: Run) -> None:
        client = self.clients.of_order(run.order)

        async def detach(job_id: str) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWERED):
                    while (job := await self.ledger.job(job_id)) and job.state == "sending":  # noqa: ASYNC110 - a ledger
                        await asyncio.sleep(LOOK_AGAIN)
            await client.detach(job_id, keep_unsent=True)

        await asyncio.gather(*(detach(job_id) for job_id in run.job_ids))

    async def _whole(self, run: Run) -> None:
        first = asyncio.create_task(self._carry(run, 0))
        run.tasks.add(first)
        try:
            await run.begun(0)
            if run.ids:
                rest = [asyncio.create_task(self._carry(run, index)) for index in range(1, run.order.n)]
                run.tasks.update(rest)
                await asyncio.gather(first, *rest)
            else:  # it never became a job, and the others would meet the same
                for index in range(1, run.order.n):
                    run.end(Outcome(index=index, error=run.outcomes[0].error))
                await first
            await self.settle(run.order)
        finally:
            self.runs.pop(run.order.id, None)
            for job_id in run.job_ids:
                self.live.pop(job_id, None)
                self.ring(job_id)

    def _now(self, job_id: str) -> float:
        """The time, remembered as that of the last word on a job."""
        now = self.heard[job_id] = self.clock()
        self.heard.move_to_end(job_id)
        while len(self.heard) > MOST_HEARD:
            self.heard.popitem(last=False)
        return now

    async def _carry(self, run: Run, index: int) -> None:
        """One output to its end; one that was let go of (trouble on the way, a full disk) is tried again later."""
        tries = 0
        while True:
            over = await self._once(run, index)
            if over or self.closing or self.clock() - run.order.at > GIVE_UP:
                return
            await asyncio.sleep(TRY_AGAIN[min(tries, len(TRY_AGAIN) - 1)])
            tries += 1

    async def _once(self, run: Run, index: int) -> bool:
        """Carries an output as far as it gets; whether that was its end."""
        try:
            async with aclosing(self._events(run.order, index)) as told:
                async for event in told:
                    await self._hear(run, index, event)
        except HfmediaError as error:
            job = await self.ledger.find(run.order.job_key(index))
            job_id = job.id if job else ""
            run.end(Outcome(index=index, job_id=job_id, error=error, bought=bool(job and bought(job))))
            if job is None:
                return True
            if job.state in ("new", "ready") and not error.retryable:
                await self.clients.base.cancel(job.id)
        except Exception as error:  # a defect of ours: told as such, and the other outputs go on
            wrong = HfmediaError(f"unexpected: {type(error).__name__}: {error}")
            wrong.__cause__ = error
            run.end(Outcome(index=index, job_id=run.ids.get(index, ""), error=wrong, bought=True))
            raise
        job = await self.ledger.find(run.order.job_key(index))
        return job is None or job.state not in UNFINISHED

    async def _events(self, order: Order, index: int) -> AsyncGenerator[Event, None]:
        client, ask = self.clients.of_order(order), order.ask
        key = order.job_key(index)
        job = await self.ledger.find(key)
        if job is not None and job.state not in ("new", "ready"):
            told = client.resume_events(job.id)
        else:
            image = await asyncio.to_thread(self.inputs.whole, ask.image) if ask.image else None
            told = client.generate(
                ask.prompt,
                task=ask.task,
                image=image,
                idempotency_key=key,
                model=ask.model,
                seed=ask.seed_of(index),
                **ask.options,
            )
        async with aclosing(told):
            async for event in told:
                yield event

    async def _hear(self, run: Run, index: int, event: Event) -> None:
        over, made = isinstance(event, MediaReady), False
        if isinstance(event, JobFailed):
            job = await self.ledger.job(event.job_id)
            made = job is not None and job.state == "finished"
            over = job is None or job.state not in UNFINISHED
            stopping = OutOfTimeError(STOPPING.format(job=event.job_id), job_id=event.job_id)
            error = stopping if self.closing and not over else event.error
            if job is not None and job.state == "doubt" and not isinstance(error, InDoubtError):
                error = InDoubtError(f"job {job.id} is in doubt: {job.error}", job_id=job.id, provider=error.provider)
            run.end(Outcome(index=index, job_id=event.job_id, error=error, bought=bool(job and bought(job))))
        elif isinstance(event, MediaReady) and not (index in run.outcomes and run.outcomes[index].media):
            run.end(Outcome(index=index, job_id=event.job_id, media=event.media, bought=True))
        if isinstance(event, Started) and event.notes:  # they matter for as long as what was made does
            await asyncio.to_thread(self.book.warn, run.order.id, event.notes)
        live = self.live.get(event.job_id) or Live(job_id=event.job_id, status="queued")
        self.live[event.job_id] = heard(live, event, at=self._now(event.job_id), over=over, made=made)
        run.hear(index, event)
        self.changed(run.order, event.job_id)
        for listener in self.hear_also:
            listener(run.order, event)
