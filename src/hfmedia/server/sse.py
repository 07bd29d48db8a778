"""Server-sent events: their format, their response, and comments that keep a quiet stream open."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TypeVar

from starlette.responses import StreamingResponse

from hfmedia.aio import with_heartbeat

T = TypeVar("T")
KEEPALIVE_INTERVAL = 10.0  # seconds without an event before a comment is sent; proxies close a stream after 30
KEEPALIVE = b": keep-alive\n\n"


def format_event(name: str, data: bytes) -> bytes:
    """Format an event: its ``event`` line, its ``data`` line (JSON has no line breaks) and an empty line.

    An ``id`` or ``retry`` line, or an event without data, would break the parsers of OpenAI's SDKs.
    """
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def event_stream(chunks: AsyncIterator[bytes], headers: Mapping[str, str] | None = None) -> StreamingResponse:
    """Return a streaming response that proxies do not buffer and caches do not store."""
    base_headers = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
    return StreamingResponse(chunks, media_type="text/event-stream", headers={**base_headers, **(headers or {})})


def with_keepalive(source: AsyncIterator[T]) -> AsyncGenerator[T | None, None]:
    """Yield the items of a source as they arrive, and None after each ``KEEPALIVE_INTERVAL`` without one."""
    return with_heartbeat(source, KEEPALIVE_INTERVAL)
