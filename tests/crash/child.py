"""What a child of the crash harness does with a client of its own; each deed returns what it was told.

Everything a deed needs stands in its order: the environment, the jobs, the step at which to die.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from msgspec import structs

from hfmedia.client import MediaClient
from hfmedia.core.errors import HfmediaError
from hfmedia.engine import Event, JobFailed, MediaReady, Started, Timeouts

from .fate import Fate, arm

NAP = 0.02  # seconds at most between two questions: the sandbox is in a hurry
Order = dict[str, Any]


async def obey(order: Order) -> Any:
    """What the deed of this order returns."""
    fate = Fate(*order["fate"]) if order.get("fate") else Fate()
    arm(fate)
    limit_files(order.get("most_bytes", resource.RLIM_INFINITY))
    timeouts = Timeouts(**order.get("timeouts", {}))
    client = MediaClient(environ=order["environ"], timeout=timeouts, concurrency=order.get("concurrency"))

    async def nap(seconds: float) -> None:
        fate.at("between polls")
        await asyncio.sleep(min(seconds, NAP))

    def clock() -> float:
        return time.time() + order.get("clock", 0.0)

    client.engine.world = structs.replace(client.engine.world, sleep=nap, clock=clock)
    async with client:
        return await DEEDS[order["deed"]](client, order)


def limit_files(most_bytes: int) -> None:
    """No file of this process grows beyond that, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


async def make(client: MediaClient, order: Order) -> Any:
    """Makes jobs side by side; tells of each, by its prompt, what came of it."""

    async def one(wish: Order) -> tuple[str, Any]:
        return wish["prompt"], await _heard(client.generate(**wish))

    return dict(await asyncio.gather(*(one(wish) for wish in order["wishes"])))


async def resume(client: MediaClient, order: Order) -> Any:
    """Carries on every unfinished job, or those that are named, as ``hfmedia jobs resume`` does."""
    ids = order.get("jobs") or [job.id for job in await client.unfinished()]
    output = order.get("output")

    async def one(job_id: str) -> tuple[str, Any]:
        return job_id, await _heard(client.resume_events(job_id, output=output))

    return dict(await asyncio.gather(*(one(job_id) for job_id in ids)))


async def make_room(client: MediaClient, order: Order) -> Any:
    """Makes, then finds room on the disk and resumes in the same process what could not be kept."""
    first = await make(client, order)
    limit_files(resource.RLIM_INFINITY)
    return {"first": first, "then": await resume(client, order)}


async def settle(client: MediaClient, order: Order) -> Any:
    """Settles doubts; tells the state of each job afterwards, or why nothing was settled."""
    told: dict[str, str] = {}
    for job_id, decision in order["decisions"].items():
        try:
            told[job_id] = (await client.resolve(job_id, decision)).state
        except HfmediaError as error:
            told[job_id] = f"{type(error).__name__}: {error}"
    return told


async def look(client: MediaClient, order: Order) -> Any:
    """Every job, with its state, its words and its files."""
    return [
        {
            "id": job.id,
            "prompt": job.request.prompt,
            "state": job.state,
            "provider": job.route.provider if job.route else None,
            "attempts": job.attempts,
            "error": job.error,
            "urls": [output.url for output in job.outputs],
            "files": [facts["path"] for facts in (job.media or {}).get("files", ())],
        }
        for job in await client.jobs()
    ]


async def _heard(events: AsyncGenerator[Event, None]) -> Any:
    """The id of the job, its file, or its error in words."""
    told: dict[str, Any] = {}
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Started | MediaReady | JobFailed):
                    told["job"] = event.job_id
                if isinstance(event, MediaReady):
                    told["path"] = str(event.media.path)
                elif isinstance(event, JobFailed):
                    told |= {"error": type(event.error).__name__, "words": str(event.error)}
    except HfmediaError as error:
        told |= {"error": type(error).__name__, "words": str(error)}
    return told


DEEDS: dict[str, Callable[[MediaClient, Order], Awaitable[Any]]] = {
    "make": make,
    "resume": resume,
    "make_room": make_room,
    "settle": settle,
    "look": look,
}
