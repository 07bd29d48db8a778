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
from hfmedia.server.books.orders import Order, order_of_key
from hfmedia.store import Media
from hfmedia.store.names import sidecar_of

from .links import files_of

if TYPE_CHECKING:
    from hfmedia.server.gateway import Gateway

FIRST = 60.0  # seconds after the start, which has better things to do
EVERY = 3600.0  # seconds between two sweeps
GRACE = 3600.0  # seconds in which an owner may change their mind about what they deleted
DAY = 86_400.0
PAGE = 200  # orders read at once
log = logging.getLogger("hfmedia.server")


class Swept(Struct, frozen=True, kw_only=True):
    """What a sweep did: outputs and inputs whose files it removed, orders forgotten, and files that would not go."""

    outputs: int = 0
    inputs: int = 0
    orders: int = 0
    troubles: int = 0


async def sweep(gateway: Gateway, now: float) -> Swept:
    """Removes what is too old at this time (unix seconds), or was deleted an hour ago; StoreError: the book."""
    days = gateway.config.media_days
    cutoff = now - days * DAY if days else 0.0
    outputs = troubles = 0
    needed: set[str] = set()  # digests of input images
    keep_since = cutoff  # no order from here on is forgotten, nor one whose file would not go
    done: set[str] = set()
    async for order in _orders(gateway):
        old = order.at < cutoff
        whole = True
        for index, job in (await _jobs(gateway, order)).items():
            deleted = order.deleted.get(index)
            if not job.ended or not (old or (deleted is not None and deleted < now - GRACE)):
                whole = False
                continue
            if not old and await _brought_back(gateway, order, index):
                whole = False
                continue
            removed, failed = await asyncio.to_thread(_remove_output, gateway, job)
            outputs, troubles = outputs + removed, troubles + failed
            if failed:
                whole, keep_since = False, min(keep_since, order.at)
        if whole and (order.settled or old or len(order.deleted) >= order.n):
            done.add(order.id)
        elif order.ask.image is not None and order.ask.image.sha256:
            needed.add(order.ask.image.sha256)
    inputs = await asyncio.to_thread(_remove_inputs, gateway.inputs.folder, needed, now)
    forgotten = await asyncio.to_thread(gateway.book.forget, keep_since) if days else []
    for order in forgotten:
        if order.id not in done:  # it was over only just now
            for job in (await _jobs(gateway, order)).values():
                outputs += (await asyncio.to_thread(_remove_output, gateway, job))[0]
    return Swept(outputs=outputs, inputs=inputs, orders=len(forgotten), troubles=troubles)


class Janitor:
    """Sweeps from time to time, until it is closed."""

    def __init__(self, gateway: Gateway, *, first: float = FIRST, every: float = EVERY) -> None:
        self._gateway, self._first, self._every = gateway, first, every
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
        await asyncio.sleep(self._first)
        while True:
            try:
                swept = await sweep(self._gateway, self._gateway.book.clock())
                if swept != Swept():
                    log.info("swept: %d outputs, %d inputs, %d orders; %d files would not go",
                             swept.outputs, swept.inputs, swept.orders, swept.troubles)  # fmt: skip
            except (HfmediaError, OSError) as error:  # a full disk, say; the next sweep does it
                log.warning("the janitor could not sweep: %s", error)
            await asyncio.sleep(self._every)


# -- inside -----------------------------------------------------------------------------------------------------------


async def _orders(gateway: Gateway) -> AsyncIterator[Order]:
    """Every order, the oldest first, read a page at a time."""
    after: str | None = None
    while True:
        page = await asyncio.to_thread(
            gateway.book.orders, None, after=after, limit=PAGE, newest_first=False
        )  # fmt: skip
        for order in page:
            yield order
        if len(page) < PAGE:
            return
        after = page[-1].id


async def _jobs(gateway: Gateway, order: Order) -> dict[int, Job]:
    """The jobs of an order, by output."""
    found = {order_of_key(job.key): job for job in await gateway.works.jobs_of(order)}
    return {named[1]: job for named, job in found.items() if named is not None}


async def _brought_back(gateway: Gateway, order: Order, index: int) -> bool:
    """Whether its owner has changed their mind since the order was read."""
    now = await asyncio.to_thread(gateway.book.order, order.id)
    return now is not None and index not in now.deleted


def _remove_output(gateway: Gateway, job: Job) -> tuple[int, int]:
    """Removes the files of a job and all that was made of them: 1 if any was there, and how many would not go."""
    removed = failed = 0
    try:
        files = files_of(job)
    except (ValueError, KeyError, TypeError):  # facts that nobody can read name no file that may be touched
        return 0, 0
    for media in files:
        try:
            gateway.renditions.forget(media.sha256)
            removed += _remove_media(media)
        except OSError as error:
            failed += 1
            log.warning("a file of job %s could not be removed: %s", job.id, error.strerror or error)
    return min(removed, 1), failed


def _remove_media(media: Media) -> bool:
    """Removes a file and its facts, unless the name belongs to something else by now; whether it was there."""
    beside = [
        path
        for path in (sidecar_of(media.path), media.path.with_name(f"{media.path.name}.hfmedia.json"))
        if _facts(path) == (media.job_id, media.sha256)
    ]
    there = media.path.is_file()
    if there and not beside and _digest(media.path) != media.sha256:
        return False
    if there:
        media.path.unlink(missing_ok=True)
    for path in beside:
        path.unlink(missing_ok=True)
    return there


def _facts(path: Path) -> tuple[str, str] | None:
    """The job and the digest that facts beside a file tell of."""
    try:
        told = json.loads(path.read_bytes())
        return str(told["job_id"]), str(told["sha256"])
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
            if path.name not in needed and path.stat().st_mtime < now - GRACE:
                path.unlink()
                removed += 1
    return removed
