"""Images as a stream of events, exactly as OpenAI's SDKs read it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import structs
from starlette.requests import Request
from starlette.responses import StreamingResponse

from hfmedia.server import sse
from hfmedia.server.entrance.caller import Caller
from hfmedia.server.errors import refusal_of
from hfmedia.server.gateway import Gateway
from hfmedia.server.works import Outcome, Run

from .items import item
from .wishes import Wish

HEADERS = {"x-should-retry": "false"}


def streamed(
    request: Request, gateway: Gateway, caller: Caller, wish: Wish, run: Run, *, edits: bool
) -> StreamingResponse:
    """The answer: each image as it is finished. Whoever hangs up stops nothing."""
    kind = "image_edit" if edits else "image_generation"
    pieces = _pieces(request, gateway, caller, structs.replace(wish, shape="b64_json"), run, kind)
    return sse.streamed(pieces, HEADERS)


async def _pieces(
    request: Request, gateway: Gateway, caller: Caller, wish: Wish, run: Run, kind: str
) -> AsyncIterator[bytes]:
    async with aclosing(sse.with_silence(run.ended())) as ended:
        async for outcome in ended:
            yield sse.ALIVE if outcome is None else await _event(request, gateway, caller, wish, outcome, kind)


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
    """One event as it goes out; its type stands in its data, too."""
    return sse.event(name, msgspec.json.encode({"type": name, **facts}))
