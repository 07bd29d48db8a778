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

from .kill_points import KillPoint, install

POLL_DELAY = 0.02  # seconds at most between two questions: the sandbox is in a hurry
Command = dict[str, Any]


async def execute(command: Command) -> Any:
    """What the deed of this order returns."""
    kill_point = KillPoint(*command["fate"]) if command.get("fate") else KillPoint()
    install(kill_point)
    limit_files(command.get("most_bytes", resource.RLIM_INFINITY))
    timeouts = Timeouts(**command.get("timeouts", {}))
    client = MediaClient(environ=command["environ"], timeout=timeouts, concurrency=command.get("concurrency"))

    async def nap(seconds: float) -> None:
        kill_point.reach("between polls")
        await asyncio.sleep(min(seconds, POLL_DELAY))

    def clock() -> float:
        return time.time() + command.get("clock", 0.0)

    client.engine.deps = structs.replace(client.engine.deps, sleep=nap, clock=clock)
    async with client:
        return await COMMANDS[command["deed"]](client, command)


def limit_files(most_bytes: int) -> None:
    """No file of this process grows beyond that, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


async def generate(client: MediaClient, command: Command) -> Any:
    """Makes jobs side by side; tells of each, by its prompt, what came of it."""

    async def one(wish: Command) -> tuple[str, Any]:
        return wish["prompt"], await _collect(client.generate(**wish))

    return dict(await asyncio.gather(*(one(wish) for wish in command["wishes"])))


async def resume(client: MediaClient, command: Command) -> Any:
    """Carries on every unfinished job, or those that are named, as ``hfmedia jobs resume`` does."""
    ids = command.get("jobs") or [job.id for job in await client.resumable_jobs()]
    output = command.get("output")

    async def one(job_id: str) -> tuple[str, Any]:
        return job_id, await _collect(client.resume_stream(job_id, output=output))

    return dict(await asyncio.gather(*(one(job_id) for job_id in ids)))


async def free_space_and_generate(client: MediaClient, command: Command) -> Any:
    """Makes, then finds room on the disk and resumes in the same process what could not be kept."""
    first = await generate(client, command)
    limit_files(resource.RLIM_INFINITY)
    return {"first": first, "then": await resume(client, command)}


async def resolve(client: MediaClient, command: Command) -> Any:
    """Settles doubts; tells the state of each job afterwards, or why nothing was settled."""
    told: dict[str, str] = {}
    for job_id, decision in command["decisions"].items():
        try:
            told[job_id] = (await client.resolve(job_id, decision)).state
        except HfmediaError as error:
            told[job_id] = f"{type(error).__name__}: {error}"
    return told


async def list_jobs(client: MediaClient, command: Command) -> Any:
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


async def _collect(events: AsyncGenerator[Event, None]) -> Any:
    """The id of the job, its file, or its error in words."""
    collected: dict[str, Any] = {}
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Started | MediaReady | JobFailed):
                    collected["job"] = event.job_id
                if isinstance(event, MediaReady):
                    collected["path"] = str(event.media.path)
                elif isinstance(event, JobFailed):
                    collected |= {"error": type(event.error).__name__, "words": str(event.error)}
    except HfmediaError as error:
        collected |= {"error": type(error).__name__, "words": str(error)}
    return collected


COMMANDS: dict[str, Callable[[MediaClient, Command], Awaitable[Any]]] = {
    "make": generate,
    "resume": resume,
    "make_room": free_space_and_generate,
    "settle": resolve,
    "look": list_jobs,
}
