"""/v1/images: OpenAI's images API. Jobs continue when the client disconnects."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import structs

from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import InputImage
from hfmedia.engine.input_images import load_input_image
from hfmedia.server.api.fields import invalid_field
from hfmedia.server.auth.caller import Caller
from hfmedia.server.dependencies import CallerDep, GatewayDep
from hfmedia.server.errors import CREATE_ERRORS, error_responses, to_api_error
from hfmedia.server.gateway import Gateway
from hfmedia.server.http.headers import NO_RETRY_HEADERS, idempotency_key
from hfmedia.server.http.request_body import read_body
from hfmedia.server.jobs import ActiveGeneration, OutputResult

from .image_requests import ImageRequest, parse_image_request
from .image_responses import failure_item, image_item
from .image_schemas import EDIT_BODY, GENERATION_BODY, IMAGES_RESPONSES
from .image_stream import stream_images
from .parsing import with_provider

router = APIRouter(tags=["images"])


@router.post(
    "/v1/images/generations",
    responses={**IMAGES_RESPONSES, **error_responses(*CREATE_ERRORS)},
    openapi_extra=GENERATION_BODY,
)
async def generate_images(request: Request, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Generate n images from a prompt."""
    return await _create_images(request, gateway, caller, edits=False)


@router.post(
    "/v1/images/edits", responses={**IMAGES_RESPONSES, **error_responses(*CREATE_ERRORS)}, openapi_extra=EDIT_BODY
)
async def edit_images(request: Request, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Generate n images from an image and a prompt."""
    return await _create_images(request, gateway, caller, edits=True)


@router.options("/v1/images/generations", include_in_schema=False)
@router.options("/v1/images/edits", include_in_schema=False)
async def options() -> Response:
    """Confirm that the route exists: SillyTavern checks."""
    return Response(status_code=204, headers={"allow": "OPTIONS, POST"})


async def _create_images(request: Request, gateway: Gateway, caller: Caller, *, edits: bool) -> Response:
    body = await read_body(request, gateway.config)
    uploads = body.uploads("image") if edits else []
    upload_counts = {name: len(uploads_of_field) for name, uploads_of_field in body.files.items()}
    image_request = parse_image_request(body.fields, gateway.config, edits=edits, files=upload_counts)
    source: Any = uploads[0].data if uploads else (image_request.references[0] if image_request.references else None)
    image = await _load_image(source) if edits else None
    spec = structs.replace(image_request.spec, image=image)
    if image_request.provider:
        client = gateway.account_clients.for_caller(caller)
        model = spec.model or await client.default_model(spec.default_task)
        spec = structs.replace(spec, model=with_provider(model, image_request.provider))
    response_context = {"warnings": list(image_request.warnings)}
    key = idempotency_key(request)
    generation = gateway.service.new_generation(
        caller, spec, kind="image", api="images", response_context=response_context, idempotency_key=key
    )
    active = await gateway.service.start(caller, generation)
    request.state.job_ids = active.job_ids
    if image_request.stream:
        return stream_images(request, gateway, caller, image_request, active, edits=edits)
    results = await gateway.service.wait(active, gateway.config.max_wait_seconds)
    return await _images_response(request, gateway, caller, image_request, active, results)


async def _load_image(source: Any) -> InputImage:
    try:
        return await load_input_image(source)
    except HfmediaError as error:
        raise invalid_field("image", error.message) from None


async def _images_response(
    request: Request,
    gateway: Gateway,
    caller: Caller,
    image_request: ImageRequest,
    active: ActiveGeneration,
    results: list[OutputResult],
) -> Response:
    uses_caller_token = caller.hf_token is not None
    failures = [result for result in results if result.error is not None]
    if len(failures) == len(results):
        error = failures[0].error
        assert error is not None
        raise to_api_error(
            error, billable=any(result.billable for result in failures), uses_caller_token=uses_caller_token
        )
    items = await asyncio.gather(
        *(image_item(request, gateway, image_request, result.media) for result in results if result.media)
    )
    first_item = items[0]
    content: dict[str, Any] = {
        "created": int(time.time()),
        "data": items,
        "background": image_request.background,
        "output_format": first_item["mime"].partition("/")[2],
        "quality": image_request.quality,
        "size": f"{first_item['width']}x{first_item['height']}" if first_item["width"] else None,
        "warnings": [
            *image_request.warnings,
            *dict.fromkeys(warning for result in items for warning in result["warnings"]),
        ],
        "failures": [failure_item(result, uses_caller_token=uses_caller_token) for result in failures],
        "job_ids": active.job_ids,
    }
    return Response(msgspec.json.encode(content), headers=NO_RETRY_HEADERS, media_type="application/json")
