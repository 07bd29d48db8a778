"""Films that cost next to nothing: half a second long, small, and each drawn once. Drawing real ones takes seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from hfmedia.sandbox.cdn import RenderSpec, render

from .sandbox_thread import SandboxThread

SIZE = (128, 72)


@pytest.fixture
def short_videos(beside: SandboxThread) -> Iterator[None]:
    """Makes every video of the simulated world a small one, for one test."""
    shelf = beside.sandbox.state.media_cache
    real = shelf.render
    known: dict[RenderSpec, bytes] = {}

    async def draw(recipe: RenderSpec) -> bytes:
        if not recipe.is_video:
            return await real(recipe)
        small = {"prompt": "a red fox", "seed": 1, "width": SIZE[0], "height": SIZE[1], "seconds": 0.5, "source": None}
        plain = msgspec.structs.replace(recipe, **small)
        if plain not in known:
            known[plain] = await asyncio.to_thread(render, plain)
        return known[plain]

    shelf.render = draw  # type: ignore[method-assign]
    yield
    del shelf.render  # what hid the class's own
