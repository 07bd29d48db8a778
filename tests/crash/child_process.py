"""The commands that a child of the crash harness runs with its own client; each returns its results.

Everything that a command needs is in its options: the environment, the jobs, the step at which to die.
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

POLL_DELAY = 0.02  # seconds at most between two polls: the sandbox runs fast
Command = dict[str, Any]


async def execute(command: Command) -> Any:
    """Run a command and return its result."""
    kill_point = KillPoint(*command["kill_point"]) if command.get("kill_point") else KillPoint()
    install(kill_point)
    limit_files(command.get("max_bytes", resource.RLIM_INFINITY))
    timeouts = Timeouts(**command.get("timeouts", {}))
    client = MediaClient(environ=command["environ"], timeout=timeouts, concurrency=command.get("concurrency"))

    async def sleep(seconds: float) -> None:
        kill_point.reach("between polls")
        await asyncio.sleep(min(seconds, POLL_DELAY))

    def clock() -> float:
        return time.time() + command.get("clock", 0.0)

    client.engine.deps = structs.replace(client.engine.deps, sleep=sleep, clock=clock)
    async with client:
        return await COMMANDS[command["command"]](client, command)


def limit_files(max_bytes: int) -> None:
    """Let no file of this process grow beyond that, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, resource.RLIM_INFINITY))


async def generate(client: MediaClient, command: Command) -> Any:
    """Generate concurrently; return the outcome of each request by its prompt."""

    async def run_one(request: Command) -> tuple[str, Any]:
        return request["prompt"], await _collect(client.generate(**request))

    return dict(await asyncio.gather(*(run_one(request) for request in command["requests"])))


async def resume(client: MediaClient, command: Command) -> Any:
    """Resume every unfinished job, or the given ones, as ``hfmedia jobs resume`` does."""
    ids = command.get("jobs") or [job.id for job in await client.resumable_jobs()]
    output = command.get("output")

    async def run_one(job_id: str) -> tuple[str, Any]:
        return job_id, await _collect(client.resume_stream(job_id, output=output))

    return dict(await asyncio.gather(*(run_one(job_id) for job_id in ids)))


async def free_space_and_generate(client: MediaClient, command: Command) -> Any:
    """Generate on a full disk, then free space and resume in the same process what could not be stored."""
    first = await generate(client, command)
    limit_files(resource.RLIM_INFINITY)
    return {"first": first, "then": await resume(client, command)}


async def resolve(client: MediaClient, command: Command) -> Any:
    """Resolve jobs in doubt; return the state of each job afterwards, or the error."""
    states: dict[str, str] = {}
    for job_id, decision in command["decisions"].items():
        try:
            states[job_id] = (await client.resolve(job_id, decision)).state
        except HfmediaError as error:
            states[job_id] = f"{type(error).__name__}: {error}"
    return states


async def list_jobs(client: MediaClient, command: Command) -> Any:
    """Return every job with its state, error and files."""
    return [
        {
            "id": job.id,
            "prompt": job.request.prompt,
            "state": job.state,
            "provider": job.route.provider if job.route else None,
            "attempts": job.attempts,
            "error": job.error,
            "urls": [output.url for output in job.outputs],
            "files": list(job.stored_paths()),
        }
        for job in await client.jobs()
    ]


async def _collect(events: AsyncGenerator[Event, None]) -> Any:
    """Return the id of the job, and its file or its error."""
    collected: dict[str, Any] = {}
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Started | MediaReady | JobFailed):
                    collected["job"] = event.job_id
                if isinstance(event, MediaReady):
                    collected["path"] = str(event.media.path)
                elif isinstance(event, JobFailed):
                    collected |= {"error": type(event.error).__name__, "message": str(event.error)}
    except HfmediaError as error:
        collected |= {"error": type(error).__name__, "message": str(error)}
    return collected


COMMANDS: dict[str, Callable[[MediaClient, Command], Awaitable[Any]]] = {
    "generate": generate,
    "resume": resume,
    "free_space": free_space_and_generate,
    "resolve": resolve,
    "list": list_jobs,
}
