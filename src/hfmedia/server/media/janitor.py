"""The janitor: removes files that are older than the retention period, and those that their owners deleted.

It removes only files of this gateway's own jobs that have ended. A file that cannot be removed is retried later.
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
from hfmedia.server.db.generations import Generation, output_index
from hfmedia.storage import Media
from hfmedia.storage.filenames import sidecar_path

from .signed_urls import stored_media

if TYPE_CHECKING:
    from hfmedia.server.gateway import Gateway

INITIAL_DELAY = 60.0  # seconds after the start, so that sweeping does not slow it
SWEEP_INTERVAL = 3600.0  # seconds between two sweeps
UNDELETE_GRACE_PERIOD = 3600.0  # seconds for which a deleted job can be restored
SECONDS_PER_DAY = 86_400.0
log = logging.getLogger("hfmedia.server")


class SweepResult(Struct, frozen=True, kw_only=True):
    """Counts of a sweep: outputs and inputs whose files were removed, purged generations, and failed removals."""

    outputs: int = 0
    inputs: int = 0
    generations: int = 0
    errors: int = 0


async def sweep(gateway: Gateway, now: float) -> SweepResult:
    """Remove what exceeds the retention period at this time (unix seconds), or was deleted an hour ago.

    Raises StorageError if the database fails.
    """
    retention_days = gateway.config.media_retention_days
    cutoff = now - retention_days * SECONDS_PER_DAY if retention_days else 0.0
    outputs = errors = 0
    needed_inputs: set[str] = set()  # digests of input images that are still needed
    purge_before = cutoff  # a generation stays from here on, and as long as one of its files cannot be removed
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
        if generation.id not in finished:  # it ended during the sweep
            for job in (await _jobs_by_output(gateway, generation)).values():
                outputs += (await asyncio.to_thread(_remove_output, gateway, job))[0]
    return SweepResult(outputs=outputs, inputs=inputs, generations=len(purged), errors=errors)


class Janitor:
    """Sweeps periodically until closed."""

    def __init__(
        self, gateway: Gateway, *, initial_delay: float = INITIAL_DELAY, interval: float = SWEEP_INTERVAL
    ) -> None:
        self._gateway, self._initial_delay, self._interval = gateway, initial_delay, interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="janitor")

    async def close(self) -> None:
        """Stop; idempotent."""
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
                    log.info("removed %d outputs, %d inputs and %d generations; %d files could not be removed",
                             result.outputs, result.inputs, result.generations, result.errors)  # fmt: skip
            except (HfmediaError, OSError) as error:  # a full disk, for example; the next sweep tries again
                log.warning("the janitor could not finish: %s", error)
            await asyncio.sleep(self._interval)


# -- inside -----------------------------------------------------------------------------------------------------------


async def _iter_generations(gateway: Gateway) -> AsyncIterator[Generation]:
    """Iterate over all generations, oldest first, one page at a time."""
    pages = gateway.database.iter_generations(None, newest_first=False)
    while page := await asyncio.to_thread(next, pages, None):
        for generation in page:
            yield generation


async def _jobs_by_output(gateway: Gateway, generation: Generation) -> dict[int, Job]:
    """Return the jobs of a generation by output index."""
    return {output_index(job): job for job in await gateway.runner.jobs_of(generation)}


async def _was_restored(gateway: Gateway, generation: Generation, index: int) -> bool:
    """Return True if the output was restored since the generation was read."""
    current = await asyncio.to_thread(gateway.database.generation, generation.id)
    return current is not None and index not in current.deleted_outputs


def _remove_output(gateway: Gateway, job: Job) -> tuple[int, int]:
    """Remove the files of a job and their renditions. Returns 1 if any existed, and the number of failed removals."""
    removed = failed = 0
    try:
        files = stored_media(job)
    except (ValueError, KeyError, TypeError):  # unreadable data names no file that is safe to remove
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
    """Remove a file and its sidecar, unless the name now belongs to another file. Returns True if it existed."""
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
    """Return job ID and digest in a sidecar; None if it is missing or unreadable."""
    try:
        sidecar = json.loads(path.read_bytes())
        return str(sidecar["job_id"]), str(sidecar["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_inputs(folder: Path, needed: set[str], now: float) -> int:
    """Remove input images that no generation needs, except recent ones, whose generation may not be recorded yet."""
    removed = 0
    for path in folder.glob("*") if folder.is_dir() else ():
        with suppress(OSError):
            if path.name not in needed and path.stat().st_mtime < now - UNDELETE_GRACE_PERIOD:
                path.unlink()
                removed += 1
    return removed
