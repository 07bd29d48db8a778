"""The janitor: removes files that are older than the operator keeps them, and those whose owner deleted them.

It touches nothing but files of jobs that this gateway ordered and that have ended; what would not go it tries again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from hfmedia.core.errors import HfmediaError
from hfmedia.core.job import Job
from hfmedia.server.db.generations import Generation, parse_job_key
from hfmedia.storage import Media
from hfmedia.storage.filenames import sidecar_path

from .signed_urls import stored_media

if TYPE_CHECKING:
    from hfmedia.server.gateway import Gateway

INITIAL_DELAY = 60.0  # seconds after the start, which has better things to do
SWEEP_INTERVAL = 3600.0  # seconds between two sweeps
UNDELETE_GRACE_PERIOD = 3600.0  # seconds in which an owner may change their mind about what they deleted
SECONDS_PER_DAY = 86_400.0
PAGE_SIZE = 200  # orders read at once
log = logging.getLogger("hfmedia.server")


class SweepResult(Struct, frozen=True, kw_only=True):
    """What a sweep did: outputs and inputs whose files it removed, orders forgotten, and files that would not go."""

    outputs: int = 0
    inputs: int = 0
    generations: int = 0
    errors: int = 0


async def sweep(gateway: Gateway, now: float) -> SweepResult:
    """Removes what is too old at this time (unix seconds), or was deleted an hour ago; StoreError: the book."""
    retention_days = gateway.config.media_retention_days
    cutoff = now - retention_days * SECONDS_PER_DAY if retention_days else 0.0
    outputs = errors = 0
    needed_inputs: set[str] = set()  # digests of input images
    purge_before = cutoff  # no order from here on is forgotten, nor one whose file would not go
    finished: set[str] = set()
    async for generation in _iter_generations(gateway):
        is_expired = generation.created_at < cutoff
        is_complete = True
        for index, job in (await _jobs_by_output(gateway, generation)).items():
            deleted = generation.deleted_outputs.get(index)
            if not job.is_terminal or not (
                is_expired or (deleted is not None and deleted < now - UNDELETE_GRACE_PERIOD)
            ):
                is_complete = False
                continue
            if not is_expired and await _was_restored(gateway, generation, index):
                is_complete = False
                continue
            removed, failed = await asyncio.to_thread(_remove_output, gateway, job)
            outputs, errors = outputs + removed, errors + failed
            if failed:
                is_complete, purge_before = False, min(purge_before, generation.created_at)
        if is_complete and (generation.is_settled or is_expired or len(generation.deleted_outputs) >= generation.n):
            finished.add(generation.id)
        elif generation.spec.image is not None and generation.spec.image.sha256:
            needed_inputs.add(generation.spec.image.sha256)
    inputs = await asyncio.to_thread(_remove_inputs, gateway.input_store.folder, needed_inputs, now)
    purged = await asyncio.to_thread(gateway.database.purge, purge_before) if retention_days else []
    for generation in purged:
        if generation.id not in finished:  # it was over only just now
            for job in (await _jobs_by_output(gateway, generation)).values():
                outputs += (await asyncio.to_thread(_remove_output, gateway, job))[0]
    return SweepResult(outputs=outputs, inputs=inputs, generations=len(purged), errors=errors)


class Janitor:
    """Sweeps from time to time, until it is closed."""

    def __init__(
        self, gateway: Gateway, *, initial_delay: float = INITIAL_DELAY, interval: float = SWEEP_INTERVAL
    ) -> None:
        self._gateway, self._initial_delay, self._interval = gateway, initial_delay, interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins, on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="janitor")

    async def close(self) -> None:
        """Sweeps no more; twice is fine."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        await asyncio.sleep(self._initial_delay)
        while True:
            try:
                result = await sweep(self._gateway, self._gateway.database.clock())
                if result != SweepResult():
                    log.info("swept: %d outputs, %d inputs, %d orders; %d files would not go",
                             result.outputs, result.inputs, result.generations, result.errors)  # fmt: skip
            except (HfmediaError, OSError) as error:  # a full disk, say; the next sweep does it
                log.warning("the janitor could not sweep: %s", error)
            await asyncio.sleep(self._interval)


# -- inside -----------------------------------------------------------------------------------------------------------


async def _iter_generations(gateway: Gateway) -> AsyncIterator[Generation]:
    """Every order, the oldest first, read a page at a time."""
    after: str | None = None
    while True:
        page = await asyncio.to_thread(
            gateway.database.generations, None, after=after, limit=PAGE_SIZE, newest_first=False
        )  # fmt: skip
        for generation in page:
            yield generation
        if len(page) < PAGE_SIZE:
            return
        after = page[-1].id


async def _jobs_by_output(gateway: Gateway, generation: Generation) -> dict[int, Job]:
    """The jobs of an order, by output."""
    jobs_by_ref = {parse_job_key(job.idempotency_key): job for job in await gateway.runner.jobs_of(generation)}
    return {job_ref[1]: job for job_ref, job in jobs_by_ref.items() if job_ref is not None}


async def _was_restored(gateway: Gateway, generation: Generation, index: int) -> bool:
    """Whether its owner has changed their mind since the order was read."""
    current = await asyncio.to_thread(gateway.database.generation, generation.id)
    return current is not None and index not in current.deleted_outputs


def _remove_output(gateway: Gateway, job: Job) -> tuple[int, int]:
    """Removes the files of a job and all that was made of them: 1 if any was there, and how many would not go."""
    removed = failed = 0
    try:
        files = stored_media(job)
    except (ValueError, KeyError, TypeError):  # facts that nobody can read name no file that may be touched
        return 0, 0
    for media in files:
        try:
            gateway.renditions.remove(media.sha256)
            removed += _remove_media(media)
        except OSError as error:
            failed += 1
            log.warning("a file of job %s could not be removed: %s", job.id, error.strerror or error)
    return min(removed, 1), failed


def _remove_media(media: Media) -> bool:
    """Removes a file and its facts, unless the name belongs to something else by now; whether it was there."""
    sidecars = [
        path
        for path in (sidecar_path(media.path), media.path.with_name(f"{media.path.name}.hfmedia.json"))
        if _read_sidecar(path) == (media.job_id, media.sha256)
    ]
    existed = media.path.is_file()
    if existed and not sidecars and _digest(media.path) != media.sha256:
        return False
    if existed:
        media.path.unlink(missing_ok=True)
    for path in sidecars:
        path.unlink(missing_ok=True)
    return existed


def _read_sidecar(path: Path) -> tuple[str, str] | None:
    """The job and the digest that facts beside a file tell of."""
    try:
        sidecar = json.loads(path.read_bytes())
        return str(sidecar["job_id"]), str(sidecar["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_inputs(folder: Path, needed: set[str], now: float) -> int:
    """Removes the input images that no order needs, except very fresh ones, whose order is being written perhaps."""
    removed = 0
    for path in folder.glob("*") if folder.is_dir() else ():
        with suppress(OSError):
            if path.name not in needed and path.stat().st_mtime < now - UNDELETE_GRACE_PERIOD:
                path.unlink()
                removed += 1
    return removed
