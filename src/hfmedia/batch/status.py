"""Status of each output before a run: done, to be downloaded, in progress, in doubt or pending.

Reads the ledger and checks files; sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from hfmedia.core.costs import cost_status
from hfmedia.core.idempotency import attempt_key
from hfmedia.core.job import Job, State
from hfmedia.core.protocol import Cost
from hfmedia.ledger import Ledger
from hfmedia.storage import Media

from .items import BatchItem

ItemStatus = Literal["done", "to_download", "in_progress", "in_doubt", "pending"]
STATUS_OF_STATE: dict[State, ItemStatus] = {
    "created": "in_progress",
    "routed": "in_progress",
    "running": "in_progress",
    "completed": "to_download",
    "submitting": "in_doubt",
    "in_doubt": "in_doubt",
    "failed": "pending",
    "cancelled": "pending",
}


class ItemState(Struct, frozen=True, kw_only=True):
    """The state of one output.

    Attributes:
        status: whether it is done, and if not, what remains.
        job: its latest job.
        media: its files, where all of them exist.
        failed_jobs: its jobs that failed or were cancelled.
        previous_lines: lines of an earlier index about it, where the ledger knows nothing.
    """

    status: ItemStatus
    job: Job | None = None
    media: tuple[Media, ...] = ()
    failed_jobs: tuple[Job, ...] = ()
    previous_lines: tuple[dict[str, Any], ...] = ()

    def costs(self) -> list[Cost | None]:
        """Return each charge so far, None for a charge whose amount was not reported."""
        if self.previous_lines:
            with suppress(msgspec.ValidationError):  # an edited index: then the cost is unknown
                return [msgspec.convert(self.previous_lines[0].get("cost"), Cost | None)]
            return [None]
        jobs = (*self.failed_jobs, *((self.job,) if self.job and self.status == "done" else ()))
        return [job.cost for job in jobs if cost_status(job) != "free"]


async def job_attempts(ledger: Ledger, key: str) -> list[Job]:
    """Return the jobs of an idempotency key, oldest first: each but the last has failed or was cancelled."""
    attempts: list[Job] = []
    job = await ledger.find_by_key(key)
    while job is not None:
        attempts.append(job)
        if job.state not in ("failed", "cancelled"):
            break
        job = await ledger.find_by_key(attempt_key(key, len(attempts) + 1))
    return attempts


def item_state(jobs: Sequence[Job]) -> ItemState:
    """Return the state of an output with these jobs; checks whether its files exist."""
    if not jobs:
        return ItemState(status="pending")
    *failed_jobs, job = jobs
    media: tuple[Media, ...] = ()
    if job.state == "stored":
        media = tuple(Media.from_dict(fields) for fields in job.stored_files())
        all_present = bool(media) and all(media_file.path.is_file() for media_file in media)
        return ItemState(
            status="done" if all_present else "to_download",
            job=job,
            media=media if all_present else (),
            failed_jobs=tuple(failed_jobs),
        )
    if STATUS_OF_STATE[job.state] == "pending":
        failed_jobs.append(job)
    return ItemState(status=STATUS_OF_STATE[job.state], job=job, failed_jobs=tuple(failed_jobs))


def with_pinned_model(item: BatchItem, state: ItemState) -> dict[str, Any]:
    """Return the item's options, with the model and task of its existing job where it names none.

    The client selects a model that is live now; the job was created with one that was live then.
    """
    job = state.job
    if job is None or state.status == "pending":
        return item.options
    pinned_options = {"model": job.requested_model or job.request.model, "task": job.request.task}
    return {**pinned_options, **item.options}


def output_target(folder: Path, item: BatchItem) -> str:
    """Return the client's output target: a file in the folder, or the folder itself, which ends in a slash."""
    return str(folder / item.output) if item.output else f"{folder}/"
