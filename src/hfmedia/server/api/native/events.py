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
from hfmedia.server.auth.authentication import is_still_authorized
from hfmedia.server.auth.caller import Caller
from hfmedia.server.db.generations import Generation
from hfmedia.server.gateway import Gateway
from hfmedia.server.jobs import JobStatus
from hfmedia.server.jobs.errors import JobNotFoundError

from .serializers import JobView, load_job_view, serialize_job

MIN_EVENT_INTERVAL = 0.1  # seconds at least between two events of the stream of all jobs: a page draws no faster
EVENT_NAMES = {
    "waiting": "queued",
    "submitting": "queued",
    "queued": "queued",
    "running": "running",
    "downloading": "downloading",
    "ended": "done",
}


def event_name(job_status: JobStatus, *, deleted: bool = False) -> str:
    """What an event is called: queued, position, running, downloading, done or deleted."""
    if deleted:
        return "deleted"
    return (
        "position"
        if job_status.stage == "queued" and job_status.position is not None
        else EVENT_NAMES[job_status.stage]
    )


def to_sse(name: str, view: JobView) -> bytes:
    """One event as it is written."""
    return sse.format_event(name, view.model_dump_json().encode())


async def job_event_stream(gateway: Gateway, caller: Caller, job_id: str, request: Request) -> AsyncIterator[bytes]:
    """The events of one job, the first at once, the last when it has ended."""
    async with aclosing(sse.with_keepalive(gateway.runner.subscribe(job_id))) as updates:
        async for job_status in updates:
            if not is_still_authorized(gateway, caller):
                return
            if job_status is None:
                yield sse.KEEPALIVE
                continue
            try:
                generation, job = await gateway.service.get_owned(caller, job_id)
            except JobNotFoundError:  # deleted meanwhile
                return
            yield to_sse(event_name(job_status), serialize_job(job, job_status, generation, gateway, request))


async def caller_event_stream(gateway: Gateway, caller: Caller, request: Request) -> AsyncIterator[bytes]:
    """The events of all jobs of a caller (of everybody's for an admin), for as long as somebody listens."""
    changed: dict[str, None] = {}  # the jobs that changed, oldest first
    wakeup = asyncio.Event()

    def on_change(generation: Generation, job_id: str) -> None:
        if caller.admin or generation.caller_id == caller.id:
            changed[job_id] = None
            wakeup.set()

    with gateway.runner.subscribe_changes(on_change):
        yield b": listening\n\n"
        while not gateway.runner.is_shutting_down:
            notified = await _wait_any(wakeup, gateway.runner.shutdown_event)
            if not is_still_authorized(gateway, caller):
                return
            if not notified:
                yield sse.KEEPALIVE
                continue
            wakeup.clear()
            for job_id in [changed.popitem()[0] for _ in range(len(changed))][::-1]:
                try:
                    generation, job = await gateway.service.get_owned_including_deleted(caller, job_id)
                except JobNotFoundError:
                    continue
                job_status, view = (
                    gateway.runner.status_of(job),
                    await load_job_view(job, generation, gateway, request),
                )
                yield to_sse(event_name(job_status, deleted=view.deleted_at is not None), view)
            await asyncio.sleep(MIN_EVENT_INTERVAL)


async def _wait_any(*events: asyncio.Event) -> bool:
    """Whether one of these rings before it has been quiet for long."""
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waiters, timeout=sse.KEEPALIVE_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
