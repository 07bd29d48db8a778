"""Cheap videos: half a second long, small, and rendered once each. Rendering regular ones takes seconds."""

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
    """Replace every video of the sandbox by a small one for one test."""
    media_cache = beside.sandbox.state.media_cache
    original_render = media_cache.render
    rendered: dict[RenderSpec, bytes] = {}

    async def render_short(spec: RenderSpec) -> bytes:
        if not spec.is_video:
            return await original_render(spec)
        small = {"prompt": "a red fox", "seed": 1, "width": SIZE[0], "height": SIZE[1], "seconds": 0.5, "source": None}
        short_spec = msgspec.structs.replace(spec, **small)
        if short_spec not in rendered:
            rendered[short_spec] = await asyncio.to_thread(render, short_spec)
        return rendered[short_spec]

    media_cache.render = render_short  # type: ignore[method-assign]
    yield
    del media_cache.render  # restores the method of the class
