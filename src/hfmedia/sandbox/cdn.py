"""Media cache: files are named when a job is accepted, rendered on first fetch and kept within limits.

The same spec yields the same bytes; an evicted rendering is created again from its spec.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict

import msgspec

MAX_ENTRIES = 20_000
MAX_RENDERED_BYTES = 96 * 2**20
MAX_SOURCE_BYTES = 64 * 2**20
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "mp4": "video/mp4"}


class RenderSpec(msgspec.Struct, frozen=True):
    """Everything that determines a media file."""

    prompt: str
    seed: int
    width: int
    height: int
    is_video: bool = False
    format: str = "jpeg"
    seconds: float = 2.0
    fps: int = 16
    source: bytes | None = None
    is_blacked_out: bool = False
    suffix: str = ""

    def digest(self) -> str:
        """Return the hash of the spec, as 16 hex digits."""
        return hashlib.sha256(msgspec.msgpack.encode(self)).hexdigest()[:16]


class RenderedFile(msgspec.Struct, frozen=True):
    """A rendered media file."""

    data: bytes
    media_type: str
    etag: str


class MediaEntry(msgspec.Struct):
    """A named media file and the permanent effects of faults on it."""

    spec: RenderSpec
    provider: str
    job_id: str
    ignore_range: bool = False
    version: int = 0


class MediaCache:
    """Media files by name."""

    def __init__(self) -> None:
        self.entries: OrderedDict[str, MediaEntry] = OrderedDict()
        self._rendered: OrderedDict[str, bytes] = OrderedDict()
        self._in_flight: dict[str, asyncio.Task[bytes]] = {}
        self._semaphore = asyncio.Semaphore(2)
        self._rendered_bytes = 0
        self._source_bytes = 0

    def put(self, spec: RenderSpec, provider: str, job_id: str) -> str:
        """Add a media file to be rendered on demand. Returns its name."""
        slug = "-".join(re.findall(r"[a-z0-9]+", spec.prompt.lower())[:4])[:32] or "image"
        suffix = spec.suffix or {"jpeg": "jpg"}.get(spec.format, spec.format)
        name = f"{slug}-{job_id[:8]}-{spec.digest()}.{suffix}"
        self.entries[name] = MediaEntry(spec, provider, job_id)
        self._source_bytes += len(spec.source or b"")
        while len(self.entries) > MAX_ENTRIES or (self._source_bytes > MAX_SOURCE_BYTES and len(self.entries) > 1):
            _, evicted = self.entries.popitem(last=False)
            self._source_bytes -= len(evicted.spec.source or b"")
        return name

    def has(self, name: str) -> bool:
        """Return True when this name exists."""
        return name in self.entries

    async def fetch(self, name: str) -> RenderedFile:
        """Return the media file of that name, rendering it if needed. Raises KeyError when the name is unknown."""
        entry = self.entries[name]
        spec = entry.spec
        if entry.version:
            spec = msgspec.structs.replace(spec, seed=(spec.seed + entry.version) % 2**63)
        return RenderedFile(await self.render(spec), MEDIA_TYPES[spec.format], f'"{spec.digest()}"')

    async def render(self, spec: RenderSpec) -> bytes:
        """Render a spec in a thread, once for all concurrent callers."""
        key = spec.digest()
        if key in self._rendered:
            self._rendered.move_to_end(key)
            return self._rendered[key]
        if key not in self._in_flight:
            self._in_flight[key] = asyncio.create_task(self._render(key, spec))
        return await asyncio.shield(self._in_flight[key])

    async def _render(self, key: str, spec: RenderSpec) -> bytes:
        try:
            async with self._semaphore:
                data = await asyncio.to_thread(render, spec)
        finally:
            self._in_flight.pop(key, None)
        self._rendered[key] = data
        self._rendered_bytes += len(data)
        while self._rendered_bytes > MAX_RENDERED_BYTES and len(self._rendered) > 1:
            _, evicted = self._rendered.popitem(last=False)
            self._rendered_bytes -= len(evicted)
        return data

    async def close(self) -> None:
        """Wait for renderings in progress."""
        await asyncio.gather(*self._in_flight.values(), return_exceptions=True)


def render(spec: RenderSpec) -> bytes:
    """Render a spec (CPU-bound: call it in a thread)."""
    if spec.is_video:
        from .art import video

        return video.render_video(
            spec.prompt,
            spec.seed,
            spec.width,
            spec.height,
            seconds=spec.seconds,
            fps=spec.fps,
            source=spec.source,
            is_blacked_out=spec.is_blacked_out,
        )
    from .art import image

    return image.render_image(
        spec.prompt,
        spec.seed,
        spec.width,
        spec.height,
        image_format=spec.format,
        source=spec.source,
        is_blacked_out=spec.is_blacked_out,
    )
