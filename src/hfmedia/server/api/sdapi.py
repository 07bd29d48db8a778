"""/sdapi/v1: the part of the Stable Diffusion web UI's API that SillyTavern and LibreChat use.

It is stateless: options are accepted and ignored, and each request names its own model.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from msgspec import Meta, Struct, field, structs
from pydantic import BaseModel

from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import MAX_OUTPUTS, InputImage, Task
from hfmedia.engine.input_images import load_input_image

from ..auth.caller import Caller
from ..auth.policy import can_use_model
from ..config import Config
from ..db.generations import GenerationSpec
from ..dependencies import CallerDep, GatewayDep
from ..errors import CREATE_ERRORS, READ_ERRORS, ApiError, error_responses, to_api_error
from ..gateway import Gateway
from ..http.headers import NO_RETRY_HEADERS, idempotency_key
from ..http.request_body import read_body
from .fields import (
    EMPTY,
    PARAMETER_SCHEMAS,
    Prompt,
    build_spec,
    invalid_field,
    parse_as,
    parse_parameters,
    request_body,
    request_schema,
    struct_properties,
)
from .openai.image_responses import failure_item
from .openai.parsing import normalize_names, resolve_model

router = APIRouter(tags=["sdapi"], prefix="/sdapi/v1")
FREE_FORM_SCHEMA: dict[str, Any] = {"type": "object", "additionalProperties": True}
# The web UI's names of generation parameters; strength has its meaning there too: 0 keeps the input image.
WEB_UI_NAMES = {"steps": "num_inference_steps", "cfg_scale": "guidance_scale", "denoising_strength": "strength"}
IGNORED_FIELDS = ("sampler_name", "scheduler")  # the web UI's own names, which no provider knows
# Lists for the menus of those clients, with one entry where the provider decides.
STATIC_LISTS: dict[str, Any] = {
    "samplers": [{"name": "automatic", "aliases": [], "options": {}}],
    "schedulers": [{"name": "automatic", "label": "Automatic"}],
    "upscalers": [{"name": "None", "model_name": None, "model_path": None, "model_url": None, "scale": 4}],
    "latent-upscale-modes": [{"name": "None"}],
    "sd-vae": [],
    "loras": [],
    "hypernetworks": [],
    "embeddings": {"loaded": {}, "skipped": {}},
    "memory": {"ram": {}, "cuda": {}},
}


class Txt2ImgRequest(Struct, frozen=True, kw_only=True):
    """The fields that have an effect, besides the generation parameters; ``model`` is not of the web UI's API."""

    prompt: Prompt = ""
    model: Annotated[
        str | None, Meta(description="Model or alias; also accepted as override_settings.sd_model_checkpoint.")
    ] = None
    n_iter: Annotated[int, Meta(ge=1, le=MAX_OUTPUTS, description="Number of batches.")] = 1
    batch_size: Annotated[int, Meta(ge=1, le=MAX_OUTPUTS, description="Number of images in each batch.")] = 1
    init_images: Annotated[list[str], Meta(description="Input images in base64; only the first one is used.")] = field(
        default_factory=list[str]
    )
    override_settings: Annotated[
        dict[str, Any], Meta(description="sd_model_checkpoint and any generation parameter.")
    ] = field(default_factory=dict[str, Any])


class Txt2ImgResponse(BaseModel):
    """The images in base64; ``info`` is JSON as text, as those clients read it."""

    images: list[str]
    parameters: dict[str, Any]
    info: str


PROPERTIES: dict[str, Any] = {
    **struct_properties(Txt2ImgRequest, Txt2ImgRequest.__struct_fields__),
    "seed": {**PARAMETER_SCHEMAS["seed"], "minimum": -1, "description": "Seed; -1 for a random one."},
    **{alias: PARAMETER_SCHEMAS[name] for alias, name in WEB_UI_NAMES.items()},
}
REQUEST_BODY = request_body(request_schema(PROPERTIES, ["prompt"]))
ANY_RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"schema": {}}}}}


@router.post(
    "/txt2img",
    responses={200: {"model": Txt2ImgResponse}, **error_responses(*CREATE_ERRORS)},
    openapi_extra=REQUEST_BODY,
)
async def txt2img(request: Request, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Generate images from a prompt."""
    return await _create_images(request, gateway, caller, from_image=False)


@router.post(
    "/img2img",
    responses={200: {"model": Txt2ImgResponse}, **error_responses(*CREATE_ERRORS)},
    openapi_extra=REQUEST_BODY,
)
async def img2img(request: Request, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Generate images from a prompt and the first of ``init_images``."""
    return await _create_images(request, gateway, caller, from_image=True)


@router.get("/sd-models", responses={**ANY_RESPONSES, **error_responses(*READ_ERRORS)})
async def sd_models(caller: CallerDep, gateway: GatewayDep) -> JSONResponse:
    """List the models that generate images from a prompt."""
    models = await gateway.client.catalog.models("text-to-image")
    names = [*gateway.config.aliases, *(model.id for model in models if can_use_model(caller, model.id))]
    rows = [{"title": name, "model_name": name, "hash": None, "sha256": None, "filename": name} for name in names]
    return JSONResponse(rows)


@router.get("/options", responses={**ANY_RESPONSES, **error_responses(*READ_ERRORS)})
async def get_options(caller: CallerDep, gateway: GatewayDep) -> JSONResponse:
    """Return the options: the default model; none can be changed."""
    return JSONResponse({"sd_model_checkpoint": await gateway.client.default_model("text-to-image")})


@router.post(
    "/options",
    responses={**ANY_RESPONSES, **error_responses(*READ_ERRORS, 413, 415)},
    openapi_extra=request_body(FREE_FORM_SCHEMA),
)
async def set_options(request: Request, caller: CallerDep, gateway: GatewayDep) -> JSONResponse:
    """Accept and ignore options: name the model in each request, as ``override_settings.sd_model_checkpoint``."""
    await read_body(request, gateway.config)
    return JSONResponse(None)


@router.get("/progress", responses={**ANY_RESPONSES, **error_responses(*READ_ERRORS)})
async def progress(caller: CallerDep, gateway: GatewayDep) -> JSONResponse:
    """Return the overall progress: always 0 (not supported)."""
    active_count = gateway.runner.active_count(caller.id)
    state = {"skipped": False, "interrupted": False, "job": "", "job_count": active_count, "job_no": 0}
    return JSONResponse({"progress": 0.0, "eta_relative": 0.0, "state": state, "current_image": None, "textinfo": None})


@router.post("/interrupt", responses={**ANY_RESPONSES, **error_responses(*READ_ERRORS)})
async def interrupt(caller: CallerDep) -> JSONResponse:
    """Accept and ignore an interrupt, which names no job. Cancel a job at /v1/jobs/{id}/cancel."""
    return JSONResponse({})


@router.get("/{menu}", responses={**ANY_RESPONSES, **error_responses(*READ_ERRORS)})
async def get_static_list(caller: CallerDep, menu: str) -> JSONResponse:
    """Return a list for a menu of those clients."""
    if menu not in STATIC_LISTS:
        raise ApiError(404, f"/sdapi/v1/{menu[:80]} not found", code="not_found")
    return JSONResponse(STATIC_LISTS[menu])


async def _create_images(request: Request, gateway: Gateway, caller: Caller, *, from_image: bool) -> Response:
    body = await read_body(request, gateway.config)
    spec, source, warnings = parse_txt2img(body.fields, gateway.config, from_image=from_image)
    if source is not None:
        spec = structs.replace(spec, image=await _load_image(source))
    response_context, key = {"warnings": warnings}, idempotency_key(request)
    generation = gateway.service.new_generation(
        caller, spec, kind="image", api="sdapi", response_context=response_context, idempotency_key=key
    )
    active = await gateway.service.start(caller, generation)
    request.state.job_ids = active.job_ids
    results = await gateway.service.wait(active, gateway.config.max_wait_seconds)
    media_items = [result.media for result in results if result.media is not None]
    if not media_items:
        failed = next(result for result in results if result.error is not None)
        assert failed.error is not None
        billable = any(result.billable for result in results)
        raise to_api_error(failed.error, billable=billable, uses_caller_token=caller.hf_token is not None)
    images = [b64encode(await asyncio.to_thread(media.path.read_bytes)).decode("ascii") for media in media_items]
    first_media = media_items[0]
    info = {
        "prompt": spec.prompt or "",
        "negative_prompt": spec.options.get("negative_prompt", ""),
        "seed": first_media.seed if first_media.seed is not None else -1,
        "all_seeds": [media.seed if media.seed is not None else -1 for media in media_items],
        "width": first_media.width,
        "height": first_media.height,
        "sd_model_name": first_media.model,
        "provider": first_media.provider,
        "job_ids": active.job_ids,
        "warnings": [*warnings, *dict.fromkeys(warning for media in media_items for warning in media.warnings)],
        "failures": [
            failure_item(result, uses_caller_token=caller.hf_token is not None)
            for result in results
            if result.error is not None
        ],
    }
    content = {"images": images, "parameters": _echoed_parameters(body.fields), "info": json.dumps(info)}
    return JSONResponse(content, headers=NO_RETRY_HEADERS)


def parse_txt2img(
    fields: Mapping[str, Any], config: Config, *, from_image: bool
) -> tuple[GenerationSpec, str | None, list[str]]:
    """Return the spec of a body, its image not yet loaded, the data: URL of that image, and warnings.

    Raises ApiError 400 with the invalid field, by the name under which it was sent.
    """
    parsed = parse_as(fields, Txt2ImgRequest, Txt2ImgRequest.__struct_fields__, json_field="override_settings")
    checkpoint = parsed.override_settings.get("sd_model_checkpoint")
    task: Task = "image-to-image" if from_image else "text-to-image"
    model = resolve_model(parsed.model or (checkpoint if isinstance(checkpoint, str) else None), task, config)
    if from_image and not parsed.init_images:
        raise invalid_field("init_images", "init_images is empty; send an image in base64")
    sent = {**parsed.override_settings, **{name: value for name, value in fields.items() if value not in EMPTY}}
    ignored = [name for name in IGNORED_FIELDS if sent.pop(name, None) is not None]
    if not from_image and sent.pop("denoising_strength", None) is not None:
        ignored.append("denoising_strength")
    sent_names = {name: alias for alias, name in WEB_UI_NAMES.items() if alias in sent}
    try:
        parameters = parse_parameters(normalize_names(sent, WEB_UI_NAMES))
        if parameters.get("seed", 0) < 0:
            del parameters["seed"]
        spec = build_spec(
            prompt=parsed.prompt or None,
            model=model,
            task=task,
            n=parsed.n_iter * parsed.batch_size,
            parameters=parameters,
            extra=None,
            has_image=from_image,
        )
    except ApiError as error:
        raise invalid_field(
            {"n": "batch_size", **sent_names}.get(error.param or "", error.param), error.message
        ) from None
    source = parsed.init_images[0] if from_image else None
    if source is not None and source[:5].lower() != "data:":
        source = f"data:image/png;base64,{source}"
    return spec, source, [f"{name} was ignored: the provider decides" for name in ignored]


async def _load_image(source: str) -> InputImage:
    try:
        return await load_input_image(source)
    except HfmediaError as error:
        raise invalid_field("init_images", error.message) from None


def _echoed_parameters(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request as it was sent, without its images."""
    return {name: value for name, value in fields.items() if name not in ("init_images", "mask")}
