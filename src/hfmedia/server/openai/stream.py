"""Images as a stream of events, exactly as OpenAI's SDKs read it.

Each event is its ``event`` line, its ``data`` line and an empty line; only comments keep a connection alive.
An ``id`` or ``retry`` line, or an event without data, would break their parsers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import structs
from starlette.requests import Request
from starlette.responses import StreamingResponse

from hfmedia.server.entrance.caller import Caller
from hfmedia.server.errors import refusal_of
from hfmedia.server.gateway import Gateway
from hfmedia.server.works import Outcome, Run

from .items import item
from .wishes import Wish

QUIET = 10.0  # seconds without an event after which a comment keeps the connection alive
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no", "x-should-retry": "false"}


def streamed(
    request: Request, gateway: Gateway, caller: Caller, wish: Wish, run: Run, *, edits: bool
) -> StreamingResponse:
    """The answer: each image as it is finished. Whoever hangs up stops nothing."""
    kind = "image_edit" if edits else "image_generation"
    pieces = _pieces(request, gateway, caller, structs.replace(wish, shape="b64_json"), run, kind)
    return StreamingResponse(pieces, media_type="text/event-stream", headers=HEADERS)


async def _pieces(
    request: Request, gateway: Gateway, caller: Caller, wish: Wish, run: Run, kind: str
) -> AsyncIterator[bytes]:
    ended = aiter(run.ended())
    following: asyncio.Future[Outcome] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(ended))
            done, _ = await asyncio.wait({following}, timeout=QUIET)
            if not done:
                yield b": still at work\n\n"
                continue
            try:
                outcome = following.result()
            except StopAsyncIteration:
                return
            following = None
            yield await _event(request, gateway, caller, wish, outcome, kind)
    finally:
        if following:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _event(request: Request, gateway: Gateway, caller: Caller, wish: Wish, outcome: Outcome, kind: str) -> bytes:
    if outcome.media is None:
        assert outcome.error is not None
        refusal = refusal_of(outcome.error, bought=outcome.bought, own_token=caller.token is not None)
        return written("error", refusal.body())
    made = await item(request, gateway, wish, outcome.media)
    told: dict[str, Any] = {
        **made,
        "created_at": int(time.time()),
        "size": f"{made['width']}x{made['height']}" if made["width"] else "auto",
        "quality": wish.told.get("quality", "auto"),
        "background": wish.told.get("background", "auto"),
        "output_format": made["mime"].partition("/")[2],
        "url": gateway.links.url(request, outcome.media),
        "warnings": [*wish.warnings, *made["warnings"]],
    }
    return written(f"{kind}.completed", told)


def written(name: str, facts: dict[str, Any]) -> bytes:
    """One event as it goes out."""
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode({"type": name, **facts}) + b"\n\n"
