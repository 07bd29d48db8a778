"""/v1/images: OpenAI's images API. The jobs are the gateway's own, so a client that hangs up loses nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import structs

from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import InputImage
from hfmedia.engine.images import input_image
from hfmedia.server.entrance.bodies import read_body
from hfmedia.server.entrance.caller import Caller
from hfmedia.server.entrance.gate import admitted
from hfmedia.server.entrance.idempotency import idempotency_key
from hfmedia.server.errors import MAKING, answers, refusal_of
from hfmedia.server.gateway import Gateway
from hfmedia.server.here import gateway_of
from hfmedia.server.works import Outcome, Run

from .fields import with_provider, wrong
from .items import failure, item
from .shapes import ANSWERED, EDITING, GENERATING
from .stream import streamed
from .wishes import Wish, image_wish

router = APIRouter(tags=["images"])
Asking = Annotated[Caller, Depends(admitted)]
NO_RETRY = {"x-should-retry": "false"}


@router.post("/v1/images/generations", responses={**ANSWERED, **answers(*MAKING)}, openapi_extra=GENERATING)
async def generate_images(request: Request, caller: Asking) -> Response:
    """Make n images out of a prompt."""
    return await _made(request, caller, edits=False)


@router.post("/v1/images/edits", responses={**ANSWERED, **answers(*MAKING)}, openapi_extra=EDITING)
async def edit_images(request: Request, caller: Asking) -> Response:
    """Make n images out of an image and a prompt."""
    return await _made(request, caller, edits=True)


@router.options("/v1/images/generations", include_in_schema=False)
@router.options("/v1/images/edits", include_in_schema=False)
async def may_post() -> Response:
    """Whether there is such a route: SillyTavern asks."""
    return Response(status_code=204, headers={"allow": "OPTIONS, POST"})


async def _made(request: Request, caller: Caller, *, edits: bool) -> Response:
    gateway = gateway_of(request)
    body = await read_body(request, gateway.config)
    uploads = body.uploads("image") if edits else []
    files = {name: len(some) for name, some in body.files.items()}
    wish = image_wish(body.fields, gateway.config, edits=edits, files=files)
    given: Any = uploads[0].data if uploads else (wish.references[0] if wish.references else None)
    picture = await _picture(given) if edits else None
    ask = structs.replace(wish.ask, image=picture)
    if wish.provider:
        client = gateway.clients.of(caller.key, caller.bill_to, own_token=caller.token is not None)
        assert ask.task is not None
        ask = structs.replace(
            ask, model=with_provider(ask.model or await client.default_model(ask.task), wish.provider)
        )
    told = {"warnings": list(wish.warnings)}
    key = idempotency_key(request)
    order = gateway.works.new_order(caller, ask, kind="image", api="images", told=told, idempotency_key=key)
    run = await gateway.works.begin(caller, order)
    request.state.job_ids = run.job_ids
    if wish.stream:
        return streamed(request, gateway, caller, wish, run, edits=edits)
    outcomes = await gateway.works.wait(run, gateway.config.most_wait)
    return await _answer(request, gateway, caller, wish, run, outcomes)


async def _picture(given: Any) -> InputImage:
    try:
        return await input_image(given)
    except HfmediaError as error:
        raise wrong("image", error.message) from None


async def _answer(
    request: Request, gateway: Gateway, caller: Caller, wish: Wish, run: Run, outcomes: list[Outcome]
) -> Response:
    own = caller.token is not None
    failures = [one for one in outcomes if one.error is not None]
    if len(failures) == len(outcomes):
        error = failures[0].error
        assert error is not None
        raise refusal_of(error, bought=any(one.bought for one in failures), own_token=own)
    made = await asyncio.gather(*(item(request, gateway, wish, one.media) for one in outcomes if one.media))
    first = made[0]
    answer: dict[str, Any] = {
        "created": int(time.time()),
        "data": made,
        "background": wish.told.get("background"),
        "output_format": first["mime"].partition("/")[2],
        "quality": wish.told.get("quality"),
        "size": f"{first['width']}x{first['height']}" if first["width"] else None,
        "warnings": [*wish.warnings, *dict.fromkeys(words for one in made for words in one["warnings"])],
        "failures": [failure(one, own_token=own) for one in failures],
        "job_ids": run.job_ids,
    }
    return Response(msgspec.json.encode(answer), headers=NO_RETRY, media_type="application/json")
