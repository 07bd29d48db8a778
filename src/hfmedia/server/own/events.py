"""Server-sent events of jobs: one stream for a job, and one for all jobs of a caller.

Each event carries the whole job as it stands, so that nobody needs to have heard the ones before. A slow reader gets
the latest only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from starlette.requests import Request

from hfmedia.server import sse
from hfmedia.server.books.orders import Order
from hfmedia.server.entrance.caller import Caller
from hfmedia.server.entrance.gate import welcome
from hfmedia.server.errors import Refusal
from hfmedia.server.gateway import Gateway
from hfmedia.server.works import Live

from .views import JobView, job_view, seen

GENTLE = 0.1  # seconds at least between two events of the stream of all jobs: a page draws no faster
NAMES = {
    "waiting": "queued",
    "asking": "queued",
    "queued": "queued",
    "running": "running",
    "downloading": "downloading",
    "ended": "done",
}


def name_of(live: Live, *, deleted: bool = False) -> str:
    """What an event is called: queued, position, running, downloading, done or deleted."""
    if deleted:
        return "deleted"
    return "position" if live.stage == "queued" and live.position is not None else NAMES[live.stage]


def event_of(name: str, view: JobView) -> bytes:
    """One event as it is written."""
    return sse.event(name, view.model_dump_json().encode())


async def of_job(gateway: Gateway, caller: Caller, job_id: str, request: Request) -> AsyncIterator[bytes]:
    """The events of one job, the first at once, the last when it has ended."""
    async with aclosing(sse.with_silence(gateway.works.listen(job_id))) as heard:
        async for live in heard:
            if not welcome(gateway, caller):
                return
            if live is None:
                yield sse.ALIVE
                continue
            try:
                order, job = await gateway.works.order_of(caller, job_id)
            except Refusal:  # deleted meanwhile
                return
            yield event_of(name_of(live), job_view(job, live, order, gateway, request))


async def of_caller(gateway: Gateway, caller: Caller, request: Request) -> AsyncIterator[bytes]:
    """The events of all jobs of a caller (of everybody's for an admin), for as long as somebody listens."""
    changed: dict[str, None] = {}  # the jobs that changed, oldest first
    bell = asyncio.Event()

    def hear(order: Order, job_id: str) -> None:
        if caller.admin or order.key == caller.key:
            changed[job_id] = None
            bell.set()

    with gateway.works.watching(hear):
        yield b": listening\n\n"
        while not gateway.works.closing:
            rung = await _rung(bell, gateway.works.leaving)
            if not welcome(gateway, caller):
                return
            if not rung:
                yield sse.ALIVE
                continue
            bell.clear()
            for job_id in [changed.popitem()[0] for _ in range(len(changed))][::-1]:
                try:
                    order, job = await gateway.works.find(caller, job_id)
                except Refusal:
                    continue
                live, view = await gateway.works.standing(job), await seen(job, order, gateway, request)
                yield event_of(name_of(live, deleted=view.deleted_at is not None), view)
            await asyncio.sleep(GENTLE)


async def _rung(*bells: asyncio.Event) -> bool:
    """Whether one of these rings before it has been quiet for long."""
    waiting = [asyncio.ensure_future(bell.wait()) for bell in bells]
    try:
        done, _ = await asyncio.wait(waiting, timeout=sse.QUIET, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
