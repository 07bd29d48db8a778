"""The shelf of media: what has been promised, drawn when first fetched, kept within bounds.

The same recipe gives the same bytes; a dropped drawing is made again from its recipe.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict

import msgspec

MAX_RECIPES = 20_000
MAX_DRAWN = 96 * 2**20
MAX_SOURCES = 64 * 2**20
TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "mp4": "video/mp4"}


class Recipe(msgspec.Struct, frozen=True):
    """All that a medium is made from."""

    prompt: str
    seed: int
    width: int
    height: int
    video: bool = False
    form: str = "jpeg"
    seconds: float = 2.0
    fps: int = 16
    source: bytes | None = None
    black: bool = False
    suffix: str = ""

    def digest(self) -> str:
        """The recipe in 16 letters."""
        return hashlib.sha256(msgspec.msgpack.encode(self)).hexdigest()[:16]


class Medium(msgspec.Struct, frozen=True):
    """A drawn medium."""

    data: bytes
    type: str
    etag: str


class Entry(msgspec.Struct):
    """A place on the shelf, and what a fault has done to it for good."""

    recipe: Recipe
    provider: str
    job: str
    ignore_range: bool = False
    changed: int = 0


class Shelf:
    """Media by name."""

    def __init__(self) -> None:
        self.entries: OrderedDict[str, Entry] = OrderedDict()
        self._drawn: OrderedDict[str, bytes] = OrderedDict()
        self._drawing: dict[str, asyncio.Task[bytes]] = {}
        self._hands = asyncio.Semaphore(2)
        self._held = 0
        self._sources = 0

    def put(self, recipe: Recipe, provider: str, job: str) -> str:
        """Promise a medium; its name."""
        words = "-".join(re.findall(r"[a-z0-9]+", recipe.prompt.lower())[:4])[:32] or "picture"
        ending = recipe.suffix or {"jpeg": "jpg"}.get(recipe.form, recipe.form)
        name = f"{words}-{job[:8]}-{recipe.digest()}.{ending}"
        self.entries[name] = Entry(recipe, provider, job)
        self._sources += len(recipe.source or b"")
        while len(self.entries) > MAX_RECIPES or (self._sources > MAX_SOURCES and len(self.entries) > 1):
            _, old = self.entries.popitem(last=False)
            self._sources -= len(old.recipe.source or b"")
        return name

    def has(self, name: str) -> bool:
        """Whether this name was promised."""
        return name in self.entries

    async def fetch(self, name: str) -> Medium:
        """The medium of that name, drawn now if it has to be. KeyError where none was promised."""
        entry = self.entries[name]
        recipe = entry.recipe
        if entry.changed:
            recipe = msgspec.structs.replace(recipe, seed=(recipe.seed + entry.changed) % 2**63)
        return Medium(await self.draw(recipe), TYPES[recipe.form], f'"{recipe.digest()}"')

    async def draw(self, recipe: Recipe) -> bytes:
        """The bytes of a recipe, drawn in a thread once for all who wait."""
        key = recipe.digest()
        if key in self._drawn:
            self._drawn.move_to_end(key)
            return self._drawn[key]
        if key not in self._drawing:
            self._drawing[key] = asyncio.create_task(self._draw(key, recipe))
        return await asyncio.shield(self._drawing[key])

    async def _draw(self, key: str, recipe: Recipe) -> bytes:
        try:
            async with self._hands:
                data = await asyncio.to_thread(drawn, recipe)
        finally:
            self._drawing.pop(key, None)
        self._drawn[key] = data
        self._held += len(data)
        while self._held > MAX_DRAWN and len(self._drawn) > 1:
            _, old = self._drawn.popitem(last=False)
            self._held -= len(old)
        return data

    async def close(self) -> None:
        """Wait for what is being drawn."""
        await asyncio.gather(*self._drawing.values(), return_exceptions=True)


def drawn(recipe: Recipe) -> bytes:
    """Draw a recipe (heavy: call it in a thread)."""
    if recipe.video:
        from . import films

        return films.film(
            recipe.prompt,
            recipe.seed,
            recipe.width,
            recipe.height,
            seconds=recipe.seconds,
            fps=recipe.fps,
            source=recipe.source,
            black=recipe.black,
        )
    from . import pictures

    return pictures.picture(
        recipe.prompt,
        recipe.seed,
        recipe.width,
        recipe.height,
        form=recipe.form,
        source=recipe.source,
        black=recipe.black,
    )
