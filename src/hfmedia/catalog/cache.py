"""PageCache: pages of the Hub's model lists in memory and on disk, each with its ETag and the time it was fetched.

Files are written atomically and readable only by their owner; an unreadable file counts as absent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from hfmedia.core.hub_models import HubModel

from ..files.atomic import TMP_SUFFIX, write_atomic

MAX_PAGES = 256  # in memory and on disk: all pages of four lists and a hundred models
MAX_DISK_BYTES = 64 * 1024 * 1024  # bytes on disk; a page of a thousand models takes about 0.5 MB
MAX_FILE_BYTES = 16 * 1024 * 1024  # bytes; the cache writes nothing larger, so a larger file is not one of its own
STALE_TMP_AGE = 3600.0  # seconds after which a temporary file was left by a crash


class CachedPage(Struct, frozen=True, kw_only=True):
    """One response of the Hub: its models, the URL of the next page, and the time it was last confirmed (unix seconds).

    Stored as JSON under its Python field names: change ``catalog.CACHE_VERSION`` with them.
    """

    key: str
    fetched_at: float
    models: tuple[HubModel, ...]
    etag: str | None = None
    next_url: str | None = None


class PageCache:
    """Pages by key, least recently used first out. ``folder=None`` keeps them in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.write_error: str | None = None
        self._pages: OrderedDict[str, CachedPage] = OrderedDict()

    def peek(self, key: str) -> CachedPage | None:
        """Return the page if it is in memory."""
        page = self._pages.get(key)
        if page is not None:
            self._pages.move_to_end(key)
        return page

    async def get(self, key: str) -> CachedPage | None:
        """Return the page from memory or disk; None when it is absent or unreadable."""
        page = self.peek(key)
        if page is None and self.folder is not None:
            page = await asyncio.to_thread(_load, self.folder / f"{key}.json", key)
            if page is not None:
                self._put_in_memory(page)
        return page

    async def put(self, page: CachedPage) -> None:
        """Store a page and evict the oldest beyond the limits. A disk error is reported in ``write_error``."""
        self._put_in_memory(page)
        if self.folder is None:
            return
        try:
            await asyncio.to_thread(_save, self.folder, page)
            self.write_error = None
        except OSError as error:
            self.write_error = f"cannot write the Hub cache in {self.folder}: {error.strerror or error}"

    async def delete(self, key: str) -> None:
        """Remove a page that is no longer valid."""
        self._pages.pop(key, None)
        if self.folder is not None:
            with contextlib.suppress(OSError):
                await asyncio.to_thread((self.folder / f"{key}.json").unlink, True)

    def model_ids(self) -> Iterable[str]:
        """Iterate over the IDs of all models in memory."""
        for page in list(self._pages.values()):
            for model in page.models:
                yield model.id

    def _put_in_memory(self, page: CachedPage) -> None:
        self._pages[page.key] = page
        self._pages.move_to_end(page.key)
        while len(self._pages) > MAX_PAGES:
            self._pages.popitem(last=False)


def _load(path: Path, key: str) -> CachedPage | None:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        page = msgspec.json.decode(path.read_bytes(), type=CachedPage)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return None
    return page if page.key == key else None


def _save(folder: Path, page: CachedPage) -> None:
    data = msgspec.json.encode(page)
    if len(data) > MAX_FILE_BYTES:
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(folder / f"{page.key}.json", data, durable=False)  # a page lost with the power is fetched again
    _prune(folder, page.fetched_at)


def _prune(folder: Path, now: float) -> None:
    """Remove the oldest files beyond the limits, and temporary files left by a crash."""
    files: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may prune at the same time
            info = path.stat()
            if path.suffix == ".json":
                files.append((info.st_mtime, info.st_size, path))
            elif path.suffix == TMP_SUFFIX and info.st_mtime < now - STALE_TMP_AGE:
                path.unlink()
    files.sort(reverse=True)
    remaining_bytes = MAX_DISK_BYTES
    for position, (_, size, path) in enumerate(files):
        remaining_bytes -= size
        if position >= MAX_PAGES or remaining_bytes < 0:
            with contextlib.suppress(OSError):
                path.unlink()
