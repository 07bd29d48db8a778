"""Images as a stream of events, in the format that OpenAI's SDKs read."""

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
from hfmedia.server.auth.caller import Caller
from hfmedia.server.errors import to_api_error
from hfmedia.server.gateway import Gateway
from hfmedia.server.http.headers import NO_RETRY_HEADERS
from hfmedia.server.jobs import ActiveGeneration, OutputResult

from .image_requests import ImageRequest
from .image_responses import image_item


def stream_images(
    request: Request,
    gateway: Gateway,
    caller: Caller,
    image_request: ImageRequest,
    active: ActiveGeneration,
    *,
    edits: bool,
) -> StreamingResponse:
    """Return a streaming response with each image as it completes. Jobs continue when the client disconnects."""
    kind = "image_edit" if edits else "image_generation"
    chunks = _chunks(request, gateway, caller, structs.replace(image_request, response_format="b64_json"), active, kind)
    return sse.event_stream(chunks, NO_RETRY_HEADERS)


async def _chunks(
    request: Request, gateway: Gateway, caller: Caller, image_request: ImageRequest, active: ActiveGeneration, kind: str
) -> AsyncIterator[bytes]:
    async with aclosing(sse.with_keepalive(active.iter_results())) as results:
        async for result in results:
            yield (
                sse.KEEPALIVE
                if result is None
                else await _result_event(request, gateway, caller, image_request, result, kind)
            )


async def _result_event(
    request: Request, gateway: Gateway, caller: Caller, image_request: ImageRequest, result: OutputResult, kind: str
) -> bytes:
    if result.media is None:
        assert result.error is not None
        api_error = to_api_error(result.error, billable=result.billable, uses_caller_token=caller.hf_token is not None)
        return format_image_event("error", api_error.body())
    image = await image_item(request, gateway, image_request, result.media)
    payload: dict[str, Any] = {
        **image,
        "created_at": int(time.time()),
        "size": f"{image['width']}x{image['height']}" if image["width"] else "auto",
        "quality": image_request.quality or "auto",
        "background": image_request.background or "auto",
        "output_format": image["mime"].partition("/")[2],
        "url": gateway.url_signer.url_for(request, result.media),
        "warnings": [*image_request.warnings, *image["warnings"]],
    }
    return format_image_event(f"{kind}.completed", payload)


def format_image_event(name: str, payload: dict[str, Any]) -> bytes:
    """Return an event as bytes of the stream; its data repeats its type."""
    return sse.format_event(name, msgspec.json.encode({"type": name, **payload}))
