"""Server-sent events of jobs: one stream for a job, and one for all jobs of a caller.

Each event carries the whole job, so that no earlier event is needed. A slow reader receives only the latest state.
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

MIN_EVENT_INTERVAL = 0.1  # seconds between two rounds of events in the stream of all jobs; a page renders no faster
EVENT_NAMES = {
    "waiting": "queued",
    "submitting": "queued",
    "queued": "queued",
    "running": "running",
    "downloading": "downloading",
    "ended": "done",
}


def event_name(job_status: JobStatus, *, deleted: bool = False) -> str:
    """Return the name of an event: queued, position, running, downloading, done or deleted."""
    if deleted:
        return "deleted"
    if job_status.stage == "queued" and job_status.position is not None:
        return "position"
    return EVENT_NAMES[job_status.stage]


def to_sse(name: str, view: JobView) -> bytes:
    """Return an event as bytes of the stream."""
    return sse.format_event(name, view.model_dump_json().encode())


async def job_event_stream(gateway: Gateway, caller: Caller, job_id: str, request: Request) -> AsyncIterator[bytes]:
    """Yield the events of one job: the first immediately, the last when it has ended."""
    async with aclosing(sse.with_keepalive(gateway.runner.subscribe(job_id))) as updates:
        async for job_status in updates:
            if not is_still_authorized(gateway, caller):
                return
            if job_status is None:
                yield sse.KEEPALIVE
                continue
            try:
                generation, job = await gateway.service.get_owned(caller, job_id)
            except JobNotFoundError:  # deleted in the meantime
                return
            yield to_sse(event_name(job_status), serialize_job(job, job_status, generation, gateway, request))


async def caller_event_stream(gateway: Gateway, caller: Caller, request: Request) -> AsyncIterator[bytes]:
    """Yield the events of all jobs of a caller (for an administrator: of all callers) until the client disconnects."""
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
    """Return True once one of the events is set; False after ``KEEPALIVE_INTERVAL`` without one."""
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waiters, timeout=sse.KEEPALIVE_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
