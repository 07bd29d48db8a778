"""Tending: takes up what an earlier process left under way, at the start and whenever somebody else has died since."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from hfmedia.core.errors import HfmediaError
from hfmedia.server.books.orders import Order

from .carrying import GIVE_UP, JUST_NOW, UNFINISHED, Carrying

TEND_EVERY = 30.0  # seconds between two looks for orders that nobody carries
log = logging.getLogger("hfmedia.server")


class Tending:
    """Looks after the orders that nobody carries."""

    def __init__(self, carrying: Carrying) -> None:
        self._carrying = carrying
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()

    def start(self) -> None:
        """Looks now, and from time to time until it is closed."""
        self._task = asyncio.create_task(self._tend(), name="tending orders")

    def wake(self) -> None:
        """Looks again soon: somebody came without whom an order could not go on."""
        self._woken.set()

    async def aclose(self) -> None:
        """Looks no more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _tend(self) -> None:
        while True:
            self._woken.clear()
            try:
                await self.once()
            except HfmediaError as error:  # a full disk, say; it is looked again later
                log.warning("orders could not be tended: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(TEND_EVERY):
                    await self._woken.wait()

    async def once(self) -> None:
        """Takes up every order that is not over and that nobody here carries."""
        carrying = self._carrying
        await carrying.clients.base.engine.settle()
        for order in await asyncio.to_thread(carrying.book.unsettled):
            here = order.id in carrying.runs or order.id in carrying.beginning
            if not here and carrying.clients.knows(order) and not carrying.closing:
                await self._take_up(order)

    async def _take_up(self, order: Order) -> None:
        """Carries on what is left of an order; what was never sent only if somebody will still ask for it."""
        carrying = self._carrying
        if carrying.clock() - order.at > GIVE_UP:
            return
        jobs = await carrying.jobs_of(order)
        if not order.survives:
            if len(jobs) < order.n and carrying.clock() - order.at < JUST_NOW:
                return  # another process may begin it at this moment
            for job in jobs:
                if job.state in ("new", "ready"):
                    with suppress(HfmediaError):  # another process carries it
                        await carrying.clients.base.cancel(job.id)
            jobs = await carrying.jobs_of(order)
        missing = order.survives and len(jobs) < order.n
        if missing or any(job.state in UNFINISHED for job in jobs):
            carrying.run(order)
        else:
            await carrying.settle(order)
