"""/sdapi/v1: as much of the Stable Diffusion web UI's API as SillyTavern and LibreChat's tool ask for.

It keeps nothing: options are answered and forgotten, the model is that of each request.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from msgspec import Struct, field, structs
from pydantic import BaseModel

from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import MAX_SEED, Task
from hfmedia.engine.input_images import load_input_image

from ..auth.authentication import can_use_model, require_caller
from ..auth.caller import Caller
from ..db.generations import GenerationSpec
from ..dependencies import get_gateway
from ..errors import CREATE_ERRORS, READ_ERRORS, error_responses, to_api_error
from ..gateway import Gateway
from ..http.headers import idempotency_key
from ..http.request_body import read_body
from .openai.image_responses import failure_item
from .openai.parsing import invalid_field, parse_as, resolve_model

router = APIRouter(tags=["sdapi"], prefix="/sdapi/v1")
CallerDep = Annotated[Caller, Depends(require_caller)]
NO_RETRY_HEADERS = {"x-should-retry": "false"}
FREE_FORM_SCHEMA: dict[str, Any] = {"type": "object", "additionalProperties": True}
# What those clients ask for to fill their menus, and what there is here: one way, for the provider decides.
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
    """The fields that are understood; ``model`` is ours, beside ``override_settings.sd_model_checkpoint``."""

    prompt: str = ""
    negative_prompt: str = ""
    seed: int = -1
    steps: int | None = None
    cfg_scale: float | None = None
    width: int | None = None
    height: int | None = None
    n_iter: int = 1
    batch_size: int = 1
    sampler_name: str | None = None
    scheduler: str | None = None
    denoising_strength: float | None = None
    model: str | None = None
    init_images: list[str] = field(default_factory=list[str])
    override_settings: dict[str, Any] = field(default_factory=dict[str, Any])


class Txt2ImgResponse(BaseModel):
    """The images in base64; ``info`` is JSON inside a text, as those clients read it."""

    images: list[str]
    parameters: dict[str, Any]
    info: str


class Txt2ImgBody(BaseModel):
    """What may be sent; other fields of the web UI are ignored."""

    prompt: str
    negative_prompt: str = ""
    seed: int = -1
    steps: int | None = None
    cfg_scale: float | None = None
    width: int | None = None
    height: int | None = None
    n_iter: int = 1
    batch_size: int = 1


REQUEST_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": Txt2ImgBody.model_json_schema()}}}
}
ANY_RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"schema": {}}}}}


@router.post(
    "/txt2img",
    responses={200: {"model": Txt2ImgResponse}, **error_responses(*CREATE_ERRORS)},
    openapi_extra=REQUEST_BODY,
)
async def txt2img(request: Request, caller: CallerDep) -> Response:
    """Make images out of a prompt."""
    return await _create_images(request, caller, from_image=False)


@router.post(
    "/img2img",
    responses={200: {"model": Txt2ImgResponse}, **error_responses(*CREATE_ERRORS)},
    openapi_extra=REQUEST_BODY,
)
async def img2img(request: Request, caller: CallerDep) -> Response:
    """Make images out of the first of ``init_images`` and a prompt."""
    return await _create_images(request, caller, from_image=True)


@router.get("/sd-models", responses={**ANY_RESPONSES, **error_responses(*READ_ERRORS)})
async def sd_models(request: Request, caller: CallerDep) -> JSONResponse:
    """The models that make images out of a prompt."""
    gateway = get_gateway(request)
    models = await gateway.client.catalog.models("text-to-image")
    names = [*gateway.config.aliases, *(model.id for model in models if can_use_model(caller, model.id))]
    rows = [{"title": name, "model_name": name, "hash": None, "sha256": None, "filename": name} for name in names]
    return JSONResponse(rows)


@router.get("/options", responses={**ANY_RESPONSES, **error_responses(*READ_ERRORS)})
async def get_options(request: Request, caller: CallerDep) -> JSONResponse:
    """The options: the default model, and nothing that could be changed."""
    return JSONResponse({"sd_model_checkpoint": await get_gateway(request).client.default_model("text-to-image")})


@router.post("/options", responses={**ANY_RESPONSES, **error_responses(*READ_ERRORS, 413, 415)},
             openapi_extra={"requestBody": {"content": {"application/json": {"schema": FREE_FORM_SCHEMA}}}})  # fmt: skip
async def set_options(request: Request, caller: CallerDep) -> JSONResponse:
    """Taken and forgotten: name the model in each request, as ``override_settings.sd_model_checkpoint``."""
    await read_body(request, get_gateway(request).config)
    return JSONResponse(None)


@router.get("/progress", responses={**ANY_RESPONSES, **error_responses(*READ_ERRORS)})
async def progress(request: Request, caller: CallerDep) -> JSONResponse:
    """How far it is: not known here as one number."""
    active_count = get_gateway(request).runner.active_count(caller.id)
    state = {"skipped": False, "interrupted": False, "job": "", "job_count": active_count, "job_no": 0}
    return JSONResponse({"progress": 0.0, "eta_relative": 0.0, "state": state, "current_image": None, "textinfo": None})


@router.post("/interrupt", responses={**ANY_RESPONSES, **error_responses(*READ_ERRORS)})
async def interrupt(request: Request, caller: CallerDep) -> JSONResponse:
    """Taken and ignored: which job is meant is not said. Cancel one at /v1/jobs/{id}/cancel."""
    return JSONResponse({})


@router.get("/{menu}", responses={**ANY_RESPONSES, **error_responses(*READ_ERRORS)})
async def get_static_list(request: Request, caller: CallerDep, menu: str) -> JSONResponse:
    """What fills the menus of those clients."""
    if menu not in STATIC_LISTS:
        api_error = invalid_field(None, f"there is no /sdapi/v1/{menu[:80]} here")
        api_error.status, api_error.code = 404, "not_found"
        raise api_error
    return JSONResponse(STATIC_LISTS[menu])


async def _create_images(request: Request, caller: Caller, *, from_image: bool) -> Response:
    gateway = get_gateway(request)
    body = await read_body(request, gateway.config)
    txt2img_request = parse_as(body.fields, Txt2ImgRequest)
    spec, warnings = await _to_spec(txt2img_request, gateway, from_image=from_image)
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
        "prompt": txt2img_request.prompt,
        "negative_prompt": txt2img_request.negative_prompt,
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
    content = {"images": images, "parameters": _parameters(body.fields), "info": json.dumps(info)}
    return JSONResponse(content, headers=NO_RETRY_HEADERS)


async def _to_spec(
    txt2img_request: Txt2ImgRequest, gateway: Gateway, *, from_image: bool
) -> tuple[GenerationSpec, list[str]]:
    """What is to be made, and what of the request was ignored."""
    if not txt2img_request.prompt.strip():
        raise invalid_field("prompt", "the prompt is missing; say what to make")
    if (
        min(txt2img_request.n_iter, txt2img_request.batch_size) < 1
        or txt2img_request.n_iter * txt2img_request.batch_size > 100
    ):
        raise invalid_field("batch_size", "n_iter times batch_size must be 1 to 100")
    if txt2img_request.seed > MAX_SEED:
        raise invalid_field("seed", f"seed must be -1 (any) or up to {MAX_SEED}")
    checkpoint = txt2img_request.override_settings.get("sd_model_checkpoint")
    name = txt2img_request.model or (checkpoint if isinstance(checkpoint, str) else None)
    task: Task = "image-to-image" if from_image else "text-to-image"
    spec = GenerationSpec(
        prompt=txt2img_request.prompt,
        model=resolve_model(name, task, gateway.config),
        task=task,
        n=txt2img_request.n_iter * txt2img_request.batch_size,
        seed=txt2img_request.seed if txt2img_request.seed >= 0 else None,
        options={name: value for name, value in _options(txt2img_request).items() if value not in (None, "")},
    )
    if from_image:
        if not txt2img_request.init_images:
            raise invalid_field("init_images", "init_images is empty; send an image in base64")
        source = txt2img_request.init_images[0]
        data_uri = source if source[:5].lower() == "data:" else f"data:image/png;base64,{source}"
        try:
            spec = structs.replace(spec, image=await load_input_image(data_uri))
        except HfmediaError as error:
            raise invalid_field("init_images", error.message) from None
    ignored = [
        name
        for name in ("sampler_name", "scheduler", "denoising_strength")
        if getattr(txt2img_request, name) is not None
    ]
    return spec, [f"{name} was ignored: the provider decides" for name in ignored]


def _options(txt2img_request: Txt2ImgRequest) -> dict[str, Any]:
    return {
        "negative_prompt": txt2img_request.negative_prompt,
        "num_inference_steps": txt2img_request.steps,
        "guidance_scale": txt2img_request.cfg_scale,
        "width": txt2img_request.width,
        "height": txt2img_request.height,
    }


def _parameters(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The request as it came, without its images."""
    return {
        name: value for name, value in cast("dict[str, Any]", fields).items() if name not in ("init_images", "mask")
    }
