"""A batch: a sheet of requests on its way into a folder, a few at a time, as often as it is started.

Every output has a key of its own, so that a new start does only what is missing; a line is read when its turn comes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, get_args

from hfmedia.client import MediaClient
from hfmedia.core.costs import standing
from hfmedia.core.errors import HfmediaError, InvalidRequestError, JobCancelledError, StoreError
from hfmedia.engine import Event, JobFailed, MediaReady

from .asked import Flight, Heard, as_sheet, bounded, checked_defaults, only_the_name
from .checking import Checked, Reading
from .index import Folder, Index, failure_line, result_line
from .keys import Order
from .marks import Marks
from .sheets import Sheet
from .stock import Stock
from .survey import Groups, Plan, Stand, chain, inside, looked_up, pinned, stand_of
from .tally import HOPELESS_STREAK, Tally

T = TypeVar("T")
Reason = Literal["cost", "failures", "hopeless", "stopped", "trouble"]
MOST_AT_ONCE = 1000  # outputs under way; beyond that the machine, not the providers, is the limit
AT_ONCE = 8
WAITING = 1024  # events that wait for whoever reads them


class Batch:
    """A sheet of requests and the folder of their results.

    Args:
        client: who makes them; its ledger remembers them, its ``concurrency`` bounds each provider.
        sheet: a file (JSON Lines, CSV, Parquet, text), ``-`` for what is piped in, or a list of mappings.
        folder: where the results and ``index.jsonl`` lie; made when it is not there.
        form: the file's format where its suffix does not say it.
        defaults: columns for the lines that do not say them.
        concurrency: how many outputs are under way at once, at all providers together.
        max_cost: USD; once the providers reported that much for the outputs of this batch, at this start or an earlier
            one, nothing new is begun. What is under way ends, so a little more may be paid.
        max_failures: nothing new is begun after so many failures of this start.
        realm: results of different realms never stand for each other (a simulated world and the real one).

    Raises:
        InvalidRequestError: an argument, or a file, that cannot be used.
    """

    def __init__(
        self,
        client: MediaClient,
        sheet: str | os.PathLike[str] | Sheet | Iterable[Mapping[str, Any]],
        folder: str | os.PathLike[str],
        *,
        form: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        concurrency: int = AT_ONCE,
        max_cost: float | None = None,
        max_failures: int | None = None,
        realm: str = "",
    ) -> None:
        self.concurrency = bounded("concurrency", concurrency, 1, MOST_AT_ONCE)
        self.max_failures = None if max_failures is None else bounded("max_failures", max_failures, 1, 10**9)
        if max_cost is not None and not max_cost >= 0:
            raise InvalidRequestError(f"max_cost is {max_cost!r}, but must be an amount in USD")
        self.max_cost, self.client = max_cost, client
        self.folder = Path(os.path.abspath(Path(folder).expanduser()))  # noqa: PTH100 - resolve() would follow links
        given = checked_defaults(defaults or {})
        self.sheet = as_sheet(sheet, form)
        self.tally = Tally(0)
        self.reason: Reason | None = None
        self.trouble: HfmediaError | None = None
        self.checked: Checked | None = None
        self._marks = Marks()
        self._reading = Reading(self.sheet, self.folder, given, self._marks, realm=realm)
        self._index = Index(self.folder)
        self._stock = Stock(client.ledger, self._reading, self._marks, self._index, self._do)
        self._guard: Folder | None = None
        self._thread = ThreadPoolExecutor(1, "hfmedia-batch")
        self._flights: set[Flight] = set()
        self._turn = asyncio.Lock()
        self._calm = asyncio.Event()

    # -- looking --------------------------------------------------------------------------------------------------

    async def check(self) -> Checked:
        """Reads the whole sheet; BrokenSheetError names what is broken in it. Nothing is sent."""
        if self.checked is None:
            self.checked = await self._do(self._reading.check)
            self.tally.total = self.checked.outputs
        return self.checked

    async def plan(self) -> Plan:
        """What ``run`` would do: counts, models, providers, costs told and estimated. Nothing is sent or written."""
        checked, groups, tally = await self.check(), Groups(), Tally(0)
        stands: dict[str, int] = dict.fromkeys(get_args(Stand), 0)
        await self._stock.recall()
        async for order, found in self._stock.survey():
            stands[found.stand] += 1
            for cost in found.costs():
                tally.also(cost)
            if found.stand == "to do":
                groups.add(order)
        looked = await looked_up(self.client, groups)
        return Plan(lines=checked.lines, outputs=checked.outputs, stands=stands, groups=looked, told=tally.cost_line())

    # -- running --------------------------------------------------------------------------------------------------

    async def run(self) -> AsyncGenerator[Heard, None]:
        """The events of every output that is missing, as they happen; each ends in MediaReady or JobFailed.

        One failure never ends the rest. After the last event ``reason`` tells why outputs were not begun, None when
        all were; ``trouble`` is what went wrong with the folder, the disk or the sheet itself. Closing the generator
        cancels what is under way; ``stop`` lets it end.
        """
        await self.check()
        heard: asyncio.Queue[Heard | None] = asyncio.Queue(WAITING)
        workers: list[asyncio.Task[None]] = []
        ender: asyncio.Task[None] | None = None
        try:
            self._guard = await self._do(Folder, self.folder)
            await self._do(self._guard.sweep)
            await self._stock.take(self.tally, self._ask)
            self.tally.begin(time.monotonic())
            missing = self._stock.missing()
            workers = [asyncio.create_task(self._work(missing, heard.put)) for _ in range(self.concurrency)]
            ender = asyncio.create_task(self._ended(workers, heard))
            while (one := await heard.get()) is not None:
                yield one
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            if ender is not None:
                ender.cancel()
            await self._do(self._index.close)
            if self._guard is not None:
                await self._do(self._guard.close)

    def stop(self) -> None:
        """Begins nothing new. What was not sent yet is let go of; what is under way goes on to its end."""
        self.reason = self.reason or "stopped"
        for flight in self._flights:
            if flight.unsent and flight.task is not None:
                flight.task.cancel()
        self._note_calm()

    async def calm(self) -> int:
        """Waits, after ``stop``, until no request is on its way without an answer; how many are at a provider then.

        From there on this process may end in any way: the ledger knows them all, and the next start goes on.
        """
        await self._calm.wait()
        return len(self._flights)

    async def aclose(self) -> None:
        """Lets go of the sheet and of what was remembered of it."""
        await self._do(self.sheet.close)
        await self._do(self._marks.close)
        self._thread.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- inside -----------------------------------------------------------------------------------------

    async def _ask(self, job_id: str) -> None:
        """Settles a doubt where the provider can be asked, which is free; anything else leaves it as it is."""
        with suppress(HfmediaError):
            await self.client.resolve(job_id, "ask")

    async def _work(self, missing: AsyncGenerator[Order, None], tell: Callable[[Heard], Awaitable[None]]) -> None:
        """Carries one output after the other until there is none, or no more shall be begun."""
        while (order := await self._next(missing)) is not None:
            flight = Flight(order, asyncio.current_task())
            self._flights.add(flight)
            try:
                await self._carry(flight, tell)
            finally:
                self._flights.discard(flight)
                self._note_calm()

    async def _next(self, missing: AsyncGenerator[Order, None]) -> Order | None:
        async with self._turn:
            try:
                if self._enough() or self._guard is None:
                    return None
                await self._do(self._guard.check)
                order = await anext(missing, None)
            except HfmediaError as error:
                self._in_trouble(error)
                return None
        return None if self._enough() else order

    def _enough(self) -> bool:
        """Whether nothing new shall be begun, for whatever reason."""
        if self.reason is None:
            if self.max_cost is not None and self.tally.dollars >= self.max_cost:
                self.reason = "cost"
            elif self.max_failures is not None and self.tally.failed >= self.max_failures:
                self.reason = "failures"
            elif self.tally.streak >= HOPELESS_STREAK:
                self.reason = "hopeless"
        return self.reason is not None

    def _in_trouble(self, error: HfmediaError) -> None:
        self.reason, self.trouble = self.reason or "trouble", self.trouble or error

    async def _carry(self, flight: Flight, tell: Callable[[Heard], Awaitable[None]]) -> None:
        order, made = flight.order, 0
        try:
            async with aclosing(self._events(order)) as told:
                async for event in told:
                    flight.last = event
                    if isinstance(event, MediaReady):
                        made += 1
                        await self._keep(order, event, first=made == 1)
                    elif isinstance(event, JobFailed):
                        await self._fail(order, event.error)
                    self._note_calm()
                    await tell(Heard(order, event))
        except HfmediaError as error:
            event = flight.last = JobFailed(job_id=error.job_id or "", error=error)
            await self._fail(order, error)
            await tell(Heard(order, event))

    async def _events(self, order: Order) -> AsyncGenerator[Event, None]:
        wish = dict(order.wish)
        if "model" not in wish or "task" not in wish:
            jobs = await chain(self.client.ledger, order.key)
            wish = dict(pinned(order, await self._do(stand_of, jobs)))
        prompt = wish.pop("prompt", None)
        place = inside(self.folder, order)
        events = self.client.generate(prompt, idempotency_key=order.key, output=place, **wish)
        try:
            async with aclosing(events) as told:
                async for event in told:
                    yield event
        except HfmediaError:
            raise
        except Exception as error:  # a defect of ours: the other lines go on
            raise HfmediaError(f"unexpected: {type(error).__name__}: {error}") from error

    async def _keep(self, order: Order, event: MediaReady, *, first: bool) -> None:
        if first:
            self.tally.add(event.media.cost, time.monotonic())
        try:
            await self._do(self._index.add, result_line(order, event.media, self.folder))
        except StoreError as error:
            self._in_trouble(error)

    async def _fail(self, order: Order, error: HfmediaError) -> None:
        if isinstance(error, JobCancelledError) and self.reason == "stopped":
            return
        self.tally.fail(error, time.monotonic())
        if isinstance(error, StoreError) and not only_the_name(error):
            self._in_trouble(await self._whole_trouble(error))
        with suppress(HfmediaError):
            job = await self.client.ledger.job(error.job_id) if error.job_id else None
            if job is not None and standing(job) != "free":
                self.tally.also(job.cost)
        try:
            await self._do(self._index.add, failure_line(order, error))
        except StoreError as full:
            self._in_trouble(full)

    async def _whole_trouble(self, error: StoreError) -> StoreError:
        """What the disk said, or that the whole folder is gone, which says it better."""
        try:
            if self._guard is not None:
                await self._do(self._guard.check)
        except StoreError as gone:
            return gone
        return error

    async def _ended(self, workers: list[asyncio.Task[None]], heard: asyncio.Queue[Heard | None]) -> None:
        for ending in await asyncio.gather(*workers, return_exceptions=True):
            if isinstance(ending, Exception):  # a defect of ours; the ledger knows what was under way
                wrong = HfmediaError(f"unexpected: {type(ending).__name__}: {ending}")
                wrong.__cause__ = ending
                self._in_trouble(wrong)
        await heard.put(None)

    def _note_calm(self) -> None:
        if self.reason is not None and all(flight.settled for flight in self._flights):
            self._calm.set()
        else:
            self._calm.clear()

    async def _do(self, work: Callable[..., T], *given: Any) -> T:
        """What ``work`` returns, done in the batch's own thread, where all that blocks is done in turn."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)
