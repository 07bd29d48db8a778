"""Films that cost next to nothing: half a second long, small, and each drawn once. Drawing real ones takes seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from hfmedia.sandbox.cdn import Recipe, drawn
from tests.cli.conftest import Beside

SIZE = (128, 72)


@pytest.fixture
def short_films(beside: Beside) -> Iterator[None]:
    """Makes every video of the simulated world a small one, for one test."""
    shelf = beside.world.world.shelf
    real = shelf.draw
    known: dict[Recipe, bytes] = {}

    async def draw(recipe: Recipe) -> bytes:
        if not recipe.video:
            return await real(recipe)
        small = {"prompt": "a red fox", "seed": 1, "width": SIZE[0], "height": SIZE[1], "seconds": 0.5, "source": None}
        plain = msgspec.structs.replace(recipe, **small)
        if plain not in known:
            known[plain] = await asyncio.to_thread(drawn, plain)
        return known[plain]

    shelf.draw = draw  # type: ignore[method-assign]
    yield
    del shelf.draw  # what hid the class's own
