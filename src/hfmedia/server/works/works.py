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

from hfmedia.core.costs import bought
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import Job
from hfmedia.core.request import LARGEST_SEED, Task
from hfmedia.engine.several import RANDOM_SEEDS
from hfmedia.server.books.book import Book
from hfmedia.server.books.money import price_of
from hfmedia.server.books.orders import Api, Ask, Kind, Order, fingerprint_of, order_id, order_of_key
from hfmedia.server.config import Config
from hfmedia.server.entrance.caller import Caller
from hfmedia.server.entrance.gate import check_model
from hfmedia.server.errors import LIMIT, SERVER, Refusal

from .carrying import Carrying, Changed, Heard
from .clients import Clients
from .inputs import Inputs
from .live import Live, live_of
from .run import Outcome, Run
from .tending import Tending


class Works:
    """Begins orders and tells how they stand. ``clock`` gives unix seconds, ``dice`` a number in [0, 1)."""

    def __init__(
        self,
        clients: Clients,
        book: Book,
        inputs: Inputs,
        config: Config,
        *,
        clock: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.clients, self.book, self.inputs, self.config = clients, book, inputs, config
        self._carrying = Carrying(clients, book, inputs, config, clock=clock)
        self._tending = Tending(self._carrying)
        self._dice = dice
        self._ending: asyncio.Future[None] | None = None
        self._doors: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    # -- making ---------------------------------------------------------------------------------------------------

    def meet(self, caller: Caller) -> None:
        """Remembers who came; what waited for an own token goes on now."""
        if self.clients.meet(caller.key, caller.token):
            self._tending.wake()

    def new_order(
        self,
        caller: Caller,
        ask: Ask,
        *,
        kind: Kind,
        api: Api,
        told: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Order:
        """An order of this caller, not begun yet. Outputs without a seed of their own get one each, drawn at random."""
        facts = told or {}
        seeds = ask.seeds or self._seeds(ask)
        return Order(
            id=order_id(),
            key=caller.key,
            kind=kind,
            at=self._carrying.clock(),
            n=ask.n,
            api=api,
            ask=structs.replace(ask, seeds=seeds),
            told=facts,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint_of(ask, api, facts),
            bill_to=caller.bill_to,
            own_token=caller.token is not None,
        )

    async def begin(self, caller: Caller, order: Order) -> Run:
        """The order under way, once each of its jobs is in the ledger. It goes on whatever becomes of the caller.

        With an idempotency key that an earlier order has, it is that order: joined, carried on, or answered again.
        Raises Refusal or one of hfmedia's errors when nothing was bought.
        """
        if self._carrying.closing:
            raise Refusal(503, "the gateway is stopping; try again in a moment", type=SERVER, retry=True, retry_after=5)
        self.meet(caller)
        under_way = self.under_way(caller.key)
        if under_way + order.n > self.config.most_jobs:
            words = f"{under_way} jobs of this key are under way, and at most {self.config.most_jobs} may be"
            raise Refusal(429, words, type=LIMIT, code="too_many_jobs", retry=True, retry_after=10)
        order = await self._with_model(caller, order)
        beginning = asyncio.ensure_future(self._one_at_a_time(caller, order))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:  # the caller is gone; what was begun goes on
            beginning.add_done_callback(lambda task: task.cancelled() or task.exception())
            raise

    async def _with_model(self, caller: Caller, order: Order) -> Order:
        """The order with a model, the default of its task if it names none, that its caller may use."""
        ask = order.ask
        if ask.model is None:
            task: Task = ask.task or ("image-to-image" if ask.image else "text-to-image")
            client = self.clients.of(caller.key, caller.bill_to, own_token=caller.token is not None)
            ask = structs.replace(ask, task=task, model=await client.default_model(task))
        assert ask.model is not None
        check_model(caller, ask.model)
        return structs.replace(order, ask=ask)

    async def _one_at_a_time(self, caller: Caller, order: Order) -> Run:
        """Begins it; requests with the same idempotency key wait for each other, so that the second finds the first."""
        self._carrying.beginning.add(order.id)
        try:
            if order.idempotency_key is None:
                return await self._begun(caller, order)
            async with self._doors.setdefault((order.key, order.idempotency_key), asyncio.Lock()):
                return await self._begun(caller, order)
        finally:
            self._carrying.beginning.discard(order.id)

    async def _begun(self, caller: Caller, order: Order) -> Run:
        seen = await self.clients.base.past.known()
        price = price_of(order.ask, self.config, seen.dollars, kind=order.kind)
        reserved = structs.replace(order, reserved=price)
        for _ in range(2):
            there = await asyncio.to_thread(self.book.reserve, reserved, caller.limits, now=self._carrying.clock())
            if there.id == order.id:
                return await self._started(reserved)
            if run := self._carrying.runs.get(there.id):
                return await self._joined(run)
            jobs = await self._carrying.jobs_of(there)
            fruitless = all(job.state in ("failed", "cancelled") and not bought(job) for job in jobs)
            if not fruitless or not (jobs or there.settled):  # without a job yet: its process died, or is at it now
                return await self._joined(self._carrying.run(there))
            await self._carrying.settle(there)  # nothing came of it and nothing was bought: it may be tried anew
            await asyncio.to_thread(self.book.rebind, there.id)
        raise Refusal(
            409, "two requests with this idempotency key arrived at once; try again", retry=True, retry_after=1
        )

    async def _started(self, order: Order) -> Run:
        try:
            if order.ask.image is not None:
                await asyncio.to_thread(self.inputs.keep, order.ask.image)
        except BaseException:
            await self._carrying.settle(order)
            raise
        run = self._carrying.run(order)
        await run.begun(0)
        if 0 not in run.ids and (error := run.outcomes[0].error):
            await asyncio.gather(*run.tasks, return_exceptions=True)
            raise error
        return await self._joined(run, joined=False)

    async def _joined(self, run: Run, *, joined: bool = True) -> Run:
        run.joined = joined
        for index in range(run.order.n):
            await run.begun(index)
        return run

    async def wait(self, run: Run, seconds: float) -> list[Outcome]:
        """What became of every output; Refusal 504 when that takes longer (the jobs go on)."""
        try:
            async with asyncio.timeout(seconds):
                return await run.done()
        except TimeoutError:
            ids = run.job_ids
            words = f"not ready after {seconds:.0f} s; the work goes on, and GET /v1/jobs/{ids[0]} tells how it stands"
            facts = {"job_id": ids[0], "job_ids": ids}
            raise Refusal(504, words, type=SERVER, code="out_of_time", retry=False, extra=facts) from None

    # -- looking and stopping -------------------------------------------------------------------------------------

    async def jobs_of(self, order: Order) -> list[Job]:
        """The jobs of an order that are in the ledger, by output."""
        return await self._carrying.jobs_of(order)

    async def order_of(self, caller: Caller, job_id: str) -> tuple[Order, Job]:
        """The order and the job of that id; Refusal 404 unless it is the caller's own and not deleted."""
        order, job, index = await self._found(caller, job_id)
        if index in order.deleted:
            raise _unknown(job_id)
        return order, job

    async def find(self, caller: Caller, job_id: str) -> tuple[Order, Job]:
        """The same, even if it is deleted: a place in a list."""
        return (await self._found(caller, job_id))[:2]

    async def delete(self, caller: Caller, job_id: str, *, undo: bool = False) -> tuple[Order, Job]:
        """Takes a job out of its owner's sight, cancelled first if it is under way; ``undo`` brings it back.

        Its files go later, so there is time to change one's mind.
        """
        order, job, index = await self._found(caller, job_id)
        if not undo and not job.ended and job.state != "doubt":
            job = await self.cancel(order, job_id)
        at = None if undo else self._carrying.clock()
        await asyncio.to_thread(self.book.mark_deleted, order.id, index, at)
        self._carrying.changed(order, job_id)
        return order, job

    async def standing(self, job: Job) -> Live:
        """How a job stands, whoever carries it."""
        return self._carrying.live.get(job.id) or live_of(job)

    def heard(self, job_id: str) -> float:
        """When a job was last heard of here, in unix seconds; 0 if it was not."""
        return self._carrying.heard.get(job_id, 0.0)

    def live(self, job_id: str) -> Live | None:
        """What is known of a job beyond the ledger; None when nobody here carries it."""
        return self._carrying.live.get(job_id)

    def listen(self, job_id: str) -> AsyncIterator[Live]:
        """How a job stands, now and at each change, until it ends. A slow listener hears the latest only."""
        return self._carrying.listen(job_id)

    def hear_also(self, listener: Heard) -> None:
        """Tells a listener every event of every order from now on."""
        self._carrying.hear_also.append(listener)

    @contextmanager
    def watching(self, listener: Changed) -> Generator[None, None, None]:
        """Tells a listener, within the block, each job that stands otherwise than before, whatever made it so."""
        self._carrying.on_change.append(listener)
        try:
            yield
        finally:
            self._carrying.on_change.remove(listener)

    @property
    def leaving(self) -> asyncio.Event:
        """Set when the gateway is about to stop."""
        return self._carrying.leaving

    @property
    def closing(self) -> bool:
        """Whether the gateway is about to stop."""
        return self._carrying.closing

    def under_way(self, key: str | None = None) -> int:
        """How many outputs are being carried here, of one caller or of all."""
        runs = [run for run in self._carrying.runs.values() if key is None or run.order.key == key]
        return sum(run.order.n - sum(one.media is not None for one in run.outcomes.values()) for run in runs)

    async def cancel(self, order: Order, job_id: str) -> Job:
        """The job after it was told to stop, at the provider too where that is possible."""
        job = await self.clients.of_order(order).cancel(job_id)
        self._carrying.changed(order, job_id)
        if order.id not in self._carrying.runs:
            await self._carrying.settle(order)
        return job

    async def resolve(self, order: Order, job_id: str, decision: Literal["resend", "drop", "ask"]) -> Job:
        """The job after its doubt was settled; one that is to be sent again, or goes on, is carried at once."""
        try:
            job = await self.clients.of_order(order).resolve(job_id, decision)
        except InvalidRequestError as error:
            now = await self._carrying.ledger.job(job_id)
            if now is None or now.state == "doubt":
                raise
            raise Refusal(400, error.message, code="not_in_doubt", retry=False) from None
        self._carrying.changed(order, job_id)
        if job.ended:
            await self._carrying.settle(order)
        elif order.id not in self._carrying.runs:
            self._carrying.run(order)
        return job

    # -- start and end --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Takes up what an earlier process left, and looks for more from time to time."""
        self._tending.start()

    def stopping(self) -> None:
        """Begins to let go of every job, so that whoever waits for one hears that it goes on later."""
        self._carrying.leave()
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())

    async def aclose(self) -> None:
        """Lets go of every job: what a provider accepted goes on there, and the next start takes it up."""
        self.stopping()
        assert self._ending is not None
        await self._ending

    async def _end(self) -> None:
        await self._tending.aclose()
        await self._carrying.let_go()

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _found(self, caller: Caller, job_id: str) -> tuple[Order, Job, int]:
        self.meet(caller)
        job = await self._carrying.ledger.job(job_id)
        named = order_of_key(job.key) if job else None
        order = self.book.order(named[0]) if named else None
        if job is None or named is None or order is None or not (caller.admin or order.key == caller.key):
            raise _unknown(job_id)
        return order, job, named[1]

    def _seeds(self, ask: Ask) -> tuple[int | None, ...]:
        if ask.n == 1:
            return (ask.seed,)
        first = int(self._dice() * RANDOM_SEEDS) if ask.seed is None else ask.seed
        return tuple((first + index) % (LARGEST_SEED + 1) for index in range(ask.n))


def _unknown(job_id: str) -> Refusal:
    return Refusal(404, f"there is no job {job_id[:64]!r}", code="job_not_found")
