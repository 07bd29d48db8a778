"""The shelf: pages of the Hub in memory and on disk, each with its ETag and its age.

A file is whole or absent, readable by its owner alone; one that cannot be read counts as absent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from hfmedia.core.hub_models import HubModel

MAX_PAGES = 256  # in memory and on disk: four lists of all their pages and a hundred models
MAX_DISK_BYTES = 64 * 1024 * 1024  # on disk; a page of a thousand models takes about half of one
MAX_FILE_BYTES = 16 * 1024 * 1024  # bytes; nothing written here is larger, so what is was not written here
STALE_TMP_AGE = 3600.0  # seconds after which a temporary file belongs to nobody


class CachedPage(Struct, frozen=True, kw_only=True):
    """One answer of the Hub: its models, where the next page is, and since when it is known to be so (unix seconds)."""

    key: str
    fetched_at: float
    models: tuple[HubModel, ...]
    etag: str | None = None
    next_url: str | None = None


class PageCache:
    """Pages by key. ``folder`` is None to keep them in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.write_error: str | None = None
        self._pages: OrderedDict[str, CachedPage] = OrderedDict()

    def peek(self, key: str) -> CachedPage | None:
        """The page, if it is in memory."""
        page = self._pages.get(key)
        if page is not None:
            self._pages.move_to_end(key)
        return page

    async def get(self, key: str) -> CachedPage | None:
        """The page, from memory or from disk; None when it is in neither, or damaged."""
        page = self.peek(key)
        if page is None and self.folder is not None:
            page = await asyncio.to_thread(_load, self.folder / f"{key}.json", key)
            if page is not None:
                self._put_in_memory(page)
        return page

    async def put(self, page: CachedPage) -> None:
        """Keeps a page, and forgets the oldest beyond the bounds. A disk that takes none is told as ``trouble``."""
        self._put_in_memory(page)
        if self.folder is None:
            return
        try:
            await asyncio.to_thread(_save, self.folder, page)
            self.write_error = None
        except OSError as error:
            self.write_error = f"the cache of the Hub in {self.folder} cannot be written: {error.strerror or error}"

    async def delete(self, key: str) -> None:
        """Forgets a page that is no longer true."""
        self._pages.pop(key, None)
        if self.folder is not None:
            with contextlib.suppress(OSError):
                await asyncio.to_thread((self.folder / f"{key}.json").unlink, True)

    def model_ids(self) -> Iterable[str]:
        """The ids of all models in memory."""
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
    fd, tmp_name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")  # mode 600
    tmp_path = Path(tmp_name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        tmp_path.replace(folder / f"{page.key}.json")
    except BaseException:
        tmp_path.unlink(missing_ok=True)
        raise
    _prune(folder, page.fetched_at)


def _prune(folder: Path, now: float) -> None:
    """Removes the oldest files beyond the bounds, and what a crash left half-written."""
    files: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may prune at the same time
            info = path.stat()
            if path.suffix == ".json":
                files.append((info.st_mtime, info.st_size, path))
            elif path.suffix == ".tmp" and info.st_mtime < now - STALE_TMP_AGE:
                path.unlink()
    files.sort(reverse=True)
    remaining_bytes = MAX_DISK_BYTES
    for position, (_, size, path) in enumerate(files):
        remaining_bytes -= size
        if position >= MAX_PAGES or remaining_bytes < 0:
            with contextlib.suppress(OSError):
                path.unlink()
