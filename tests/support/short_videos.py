"""Videos that take no time: half a second long, small, and each rendered once. Real ones take seconds to render."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from hfmedia.sandbox.cdn import RenderSpec, render

from .sandbox_thread import SandboxThread

SIZE = (128, 72)


@pytest.fixture
def short_videos(beside: SandboxThread) -> Iterator[None]:
    """Makes every video of the sandbox a small one, for one test."""
    cache: Any = beside.sandbox.state.media_cache
    original_render = cache.render
    videos: dict[RenderSpec, bytes] = {}

    async def render_small(spec: RenderSpec) -> bytes:
        if not spec.is_video:
            data: bytes = await original_render(spec)
            return data
        small = {"prompt": "a red fox", "seed": 1, "width": SIZE[0], "height": SIZE[1], "seconds": 0.5, "source": None}
        small_spec = msgspec.structs.replace(spec, **small)
        if small_spec not in videos:
            videos[small_spec] = await asyncio.to_thread(render, small_spec)
        return videos[small_spec]

    cache.render = render_small
    yield
    del cache.render  # the attribute that hid the class's method
