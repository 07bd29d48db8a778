"""A separate process for the tests: it uses a ledger, prints results, and may be killed at any moment.

Each line it prints is one JSON value. ``python -m tests.ledger.child_process COMMAND PATH [ARGUMENTS]``.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hfmedia.core.errors import StorageError
from hfmedia.core.job import InvalidTransitionError, RoutedEntry, SubmittingEntry
from hfmedia.ledger import SqliteLedger

from .builders import REQUEST, ROUTES, created_entry, job_entries

KEPT: list[SqliteLedger] = []  # so that a ledger outlives its loop
ROOT = Path(__file__).resolve().parents[2]


def start_command(command: str, path: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start the child."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.child_process", command, str(path), *map(str, arguments)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def run_command(command: str, path: Path, *arguments: object) -> Any:
    """Run a child to completion and return its last line."""
    with start_command(command, path, *arguments) as child:
        output, _ = child.communicate(timeout=100)
    assert child.returncode == 0
    return json.loads(output.splitlines()[-1])


def print_json(value: Any) -> None:
    """Print one line in one write."""
    os.write(1, (json.dumps(value) + "\n").encode())


async def stream(path: Path, name: str) -> None:
    """Append forever, eight jobs concurrently, and print each acknowledged entry."""
    ledger = SqliteLedger(path)

    async def line(number: int) -> None:
        for turn in range(1_000_000):
            job = f"{name}-{number}-{turn}"
            for count, entry in enumerate(job_entries(job), 1):
                await ledger.append(entry)
                print_json([job, count])

    await asyncio.gather(*(line(number) for number in range(8)))


async def race(path: Path, name: str, jobs: str) -> None:
    """Compete for every job: print which it created, claimed and sent; own them until its input ends."""
    ledger = SqliteLedger(path)
    print_json("ready")
    await asyncio.to_thread(sys.stdin.readline)

    async def compete(number: int) -> list[str]:
        job, got = f"j{number}", []
        try:
            await ledger.append(created_entry(job))
            got.append("created")
            await ledger.append(RoutedEntry(job_id=job, timestamp=0.0, route=ROUTES[0], request=REQUEST))
            await ledger.release(job)
        except InvalidTransitionError:
            while (found := await ledger.get(job)) is None or found.state == "created":
                pass
        while await ledger.owner(job) is None:
            if await ledger.claim(job):
                got.append("claimed")
                break
        try:
            await ledger.append(SubmittingEntry(job_id=job, timestamp=0.0, attempt=1))
            got.append("sent")
        except InvalidTransitionError:
            pass
        await ledger.append(created_entry(f"{name}-{number}"))
        return got

    print_json(await asyncio.gather(*(compete(number) for number in range(int(jobs)))))
    await asyncio.to_thread(sys.stdin.readline)
    await ledger.aclose()


async def run_job(path: Path, job: str) -> None:
    """Create a job and own it until the input ends; then exit without closing."""
    ledger = SqliteLedger(path)
    await ledger.append(created_entry(job))
    print_json(await ledger.owner_id())
    await asyncio.to_thread(sys.stdin.readline)
    os._exit(0)


def parent(path: Path, job: str) -> None:
    """Own a job and fork; the child prints what it may do, and outlives its parent."""
    ledger = SqliteLedger(path)

    async def before() -> None:
        await ledger.append(created_entry(job))
        assert await ledger.get(job)

    async def after() -> None:
        await ledger.append(RoutedEntry(job_id=job, timestamp=0.0, route=ROUTES[0], request=REQUEST))
        print_json({"parent": await ledger.owner_id()})

    asyncio.run(before())
    if os.fork():
        asyncio.run(after())
        time.sleep(100)
    else:
        asyncio.run(orphan(ledger, path, job))
        sys.stdin.readline()  # until the test ends
        os._exit(0)


async def orphan(ledger: SqliteLedger, path: Path, job: str) -> None:
    """The forked child: it cannot use the inherited ledger, only one that it opens."""
    message: list[str] = []
    for operation in (ledger.append(created_entry("x")), ledger.get(job), ledger.claim(job)):
        try:
            await operation
            message.append("done")
        except StorageError as error:
            message.append(str(error))
    await ledger.aclose()
    own_ledger = SqliteLedger(path)
    KEPT.append(own_ledger)
    print_json({"child": message, "claimed": await own_ledger.claim(job), "own": await own_ledger.claim("own")})


async def grow(path: Path, limit: str) -> None:
    """Append until the disk is full, then once more with free space; print what was written and rejected."""
    import resource

    ledger = SqliteLedger(path)
    await ledger.append(created_entry("first"))
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    written, rejected, message = ["first"], 0, ""
    for number in range(2000):
        names = [f"j{number}-{side}" for side in range(5)]
        results = await asyncio.gather(*(ledger.append(created_entry(name)) for name in names), return_exceptions=True)
        written += [name for name, result in zip(names, results, strict=True) if not isinstance(result, Exception)]
        errors = [result for result in results if isinstance(result, BaseException)]
        assert all(isinstance(error, StorageError) for error in errors), errors
        rejected += len(errors)
        if errors:
            message = str(errors[0])
        if rejected > 20:
            break
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=8m", str(path.parent)], check=True)
    await ledger.append(created_entry("last"))
    assert [job.id async for job in ledger.iter_jobs()] == [*written, "last"]
    await ledger.aclose()
    print_json({"written": [*written, "last"], "rejected": rejected, "message": message})


COMMANDS: dict[str, Any] = {"stream": stream, "race": race, "carry": run_job, "parent": parent, "grow": grow}

if __name__ == "__main__":
    command_name = COMMANDS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
    if command_name is not None:
        asyncio.run(command_name)
