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

from hfmedia.core.mapping import Model

MOST_PAGES = 256  # in memory and on disk: four lists of all their pages and a hundred models
MOST_BYTES = 64 * 1024 * 1024  # on disk; a page of a thousand models takes about half of one
LARGEST_FILE = 16 * 1024 * 1024  # bytes; nothing written here is larger, so what is was not written here
ABANDONED = 3600.0  # seconds after which a temporary file belongs to nobody


class Page(Struct, frozen=True, kw_only=True):
    """One answer of the Hub: its models, where the next page is, and since when it is known to be so (unix seconds)."""

    key: str
    at: float
    models: tuple[Model, ...]
    etag: str | None = None
    next: str | None = None


class Shelf:
    """Pages by key. ``folder`` is None to keep them in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.trouble: str | None = None
        self._pages: OrderedDict[str, Page] = OrderedDict()

    def at_hand(self, key: str) -> Page | None:
        """The page, if it is in memory."""
        page = self._pages.get(key)
        if page is not None:
            self._pages.move_to_end(key)
        return page

    async def find(self, key: str) -> Page | None:
        """The page, from memory or from disk; None when it is in neither, or damaged."""
        page = self.at_hand(key)
        if page is None and self.folder is not None:
            page = await asyncio.to_thread(_read, self.folder / f"{key}.json", key)
            if page is not None:
                self._remember(page)
        return page

    async def keep(self, page: Page) -> None:
        """Keeps a page, and forgets the oldest beyond the bounds. A disk that takes none is told as ``trouble``."""
        self._remember(page)
        if self.folder is None:
            return
        try:
            await asyncio.to_thread(_write, self.folder, page)
            self.trouble = None
        except OSError as error:
            self.trouble = f"the cache of the Hub in {self.folder} cannot be written: {error.strerror or error}"

    async def drop(self, key: str) -> None:
        """Forgets a page that is no longer true."""
        self._pages.pop(key, None)
        if self.folder is not None:
            with contextlib.suppress(OSError):
                await asyncio.to_thread((self.folder / f"{key}.json").unlink, True)

    def ids(self) -> Iterable[str]:
        """The ids of all models in memory."""
        for page in list(self._pages.values()):
            for model in page.models:
                yield model.id

    def _remember(self, page: Page) -> None:
        self._pages[page.key] = page
        self._pages.move_to_end(page.key)
        while len(self._pages) > MOST_PAGES:
            self._pages.popitem(last=False)


def _read(path: Path, key: str) -> Page | None:
    try:
        if path.stat().st_size > LARGEST_FILE:
            return None
        page = msgspec.json.decode(path.read_bytes(), type=Page)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return None
    return page if page.key == key else None


def _write(folder: Path, page: Page) -> None:
    data = msgspec.json.encode(page)
    if len(data) > LARGEST_FILE:
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")  # mode 600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.replace(folder / f"{page.key}.json")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _prune(folder, page.at)


def _prune(folder: Path, now: float) -> None:
    """Removes the oldest files beyond the bounds, and what a crash left half-written."""
    found: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may prune at the same time
            facts = path.stat()
            if path.suffix == ".json":
                found.append((facts.st_mtime, facts.st_size, path))
            elif path.suffix == ".tmp" and facts.st_mtime < now - ABANDONED:
                path.unlink()
    found.sort(reverse=True)
    room = MOST_BYTES
    for number, (_, size, path) in enumerate(found):
        room -= size
        if number >= MOST_PAGES or room < 0:
            with contextlib.suppress(OSError):
                path.unlink()
