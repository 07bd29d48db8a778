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
from hfmedia.core.request import LARGEST_SEED, Task
from hfmedia.engine.images import input_image

from .books.orders import Ask
from .entrance.bodies import read_body
from .entrance.caller import Caller
from .entrance.gate import admitted, allowed
from .entrance.idempotency import idempotency_key
from .errors import MAKING, READING, answers, refusal_of
from .gateway import Gateway
from .here import gateway_of
from .openai.fields import model_of, typed, wrong
from .openai.items import failure

router = APIRouter(tags=["sdapi"], prefix="/sdapi/v1")
Asking = Annotated[Caller, Depends(admitted)]
NO_RETRY = {"x-should-retry": "false"}
ANYTHING: dict[str, Any] = {"type": "object", "additionalProperties": True}
# What those clients ask for to fill their menus, and what there is here: one way, for the provider decides.
MENUS: dict[str, Any] = {
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


class Painting(Struct, frozen=True, kw_only=True):
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


class Painted(BaseModel):
    """The images in base64; ``info`` is JSON inside a text, as those clients read it."""

    images: list[str]
    parameters: dict[str, Any]
    info: str


class PaintBody(BaseModel):
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


BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": PaintBody.model_json_schema()}}}
}
ANY_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"schema": {}}}}}


@router.post("/txt2img", responses={200: {"model": Painted}, **answers(*MAKING)}, openapi_extra=BODY)
async def txt2img(request: Request, caller: Asking) -> Response:
    """Make images out of a prompt."""
    return await _painted(request, caller, from_image=False)


@router.post("/img2img", responses={200: {"model": Painted}, **answers(*MAKING)}, openapi_extra=BODY)
async def img2img(request: Request, caller: Asking) -> Response:
    """Make images out of the first of ``init_images`` and a prompt."""
    return await _painted(request, caller, from_image=True)


@router.get("/sd-models", responses={**ANY_ANSWER, **answers(*READING)})
async def sd_models(request: Request, caller: Asking) -> JSONResponse:
    """The models that make images out of a prompt."""
    gateway = gateway_of(request)
    found = await gateway.client.catalog.models("text-to-image")
    names = [*gateway.config.aliases, *(model.id for model in found if allowed(caller, model.id))]
    rows = [{"title": name, "model_name": name, "hash": None, "sha256": None, "filename": name} for name in names]
    return JSONResponse(rows)


@router.get("/options", responses={**ANY_ANSWER, **answers(*READING)})
async def get_options(request: Request, caller: Asking) -> JSONResponse:
    """The options: the default model, and nothing that could be changed."""
    return JSONResponse({"sd_model_checkpoint": await gateway_of(request).client.default_model("text-to-image")})


@router.post("/options", responses={**ANY_ANSWER, **answers(*READING, 413, 415)},
             openapi_extra={"requestBody": {"content": {"application/json": {"schema": ANYTHING}}}})  # fmt: skip
async def set_options(request: Request, caller: Asking) -> JSONResponse:
    """Taken and forgotten: name the model in each request, as ``override_settings.sd_model_checkpoint``."""
    await read_body(request, gateway_of(request).config)
    return JSONResponse(None)


@router.get("/progress", responses={**ANY_ANSWER, **answers(*READING)})
async def progress(request: Request, caller: Asking) -> JSONResponse:
    """How far it is: not known here as one number."""
    busy = gateway_of(request).works.under_way(caller.key)
    state = {"skipped": False, "interrupted": False, "job": "", "job_count": busy, "job_no": 0}
    return JSONResponse({"progress": 0.0, "eta_relative": 0.0, "state": state, "current_image": None, "textinfo": None})


@router.post("/interrupt", responses={**ANY_ANSWER, **answers(*READING)})
async def interrupt(request: Request, caller: Asking) -> JSONResponse:
    """Taken and ignored: which job is meant is not said. Cancel one at /v1/jobs/{id}/cancel."""
    return JSONResponse({})


@router.get("/{menu}", responses={**ANY_ANSWER, **answers(*READING)})
async def get_menu(request: Request, caller: Asking, menu: str) -> JSONResponse:
    """What fills the menus of those clients."""
    if menu not in MENUS:
        refused = wrong(None, f"there is no /sdapi/v1/{menu[:80]} here")
        refused.status, refused.code = 404, "not_found"
        raise refused
    return JSONResponse(MENUS[menu])


async def _painted(request: Request, caller: Caller, *, from_image: bool) -> Response:
    gateway = gateway_of(request)
    body = await read_body(request, gateway.config)
    wish = typed(body.fields, Painting)
    ask, warnings = await _asked(wish, gateway, from_image=from_image)
    told, key = {"warnings": warnings}, idempotency_key(request)
    order = gateway.works.new_order(caller, ask, kind="image", api="sdapi", told=told, idempotency_key=key)
    run = await gateway.works.begin(caller, order)
    request.state.job_ids = run.job_ids
    outcomes = await gateway.works.wait(run, gateway.config.most_wait)
    made = [one.media for one in outcomes if one.media is not None]
    if not made:
        failed = next(one for one in outcomes if one.error is not None)
        assert failed.error is not None
        bought = any(one.bought for one in outcomes)
        raise refusal_of(failed.error, bought=bought, own_token=caller.token is not None)
    images = [b64encode(await asyncio.to_thread(media.path.read_bytes)).decode("ascii") for media in made]
    first = made[0]
    info = {
        "prompt": wish.prompt,
        "negative_prompt": wish.negative_prompt,
        "seed": first.seed if first.seed is not None else -1,
        "all_seeds": [media.seed if media.seed is not None else -1 for media in made],
        "width": first.width,
        "height": first.height,
        "sd_model_name": first.model,
        "provider": first.provider,
        "job_ids": run.job_ids,
        "warnings": [*warnings, *dict.fromkeys(words for media in made for words in media.warnings)],
        "failures": [failure(one, own_token=caller.token is not None) for one in outcomes if one.error is not None],
    }
    answer = {"images": images, "parameters": _parameters(body.fields), "info": json.dumps(info)}
    return JSONResponse(answer, headers=NO_RETRY)


async def _asked(wish: Painting, gateway: Gateway, *, from_image: bool) -> tuple[Ask, list[str]]:
    """What is to be made, and what of the request was ignored."""
    if not wish.prompt.strip():
        raise wrong("prompt", "the prompt is missing; say what to make")
    if min(wish.n_iter, wish.batch_size) < 1 or wish.n_iter * wish.batch_size > 100:
        raise wrong("batch_size", "n_iter times batch_size must be 1 to 100")
    if wish.seed > LARGEST_SEED:
        raise wrong("seed", f"seed must be -1 (any) or up to {LARGEST_SEED}")
    checkpoint = wish.override_settings.get("sd_model_checkpoint")
    name = wish.model or (checkpoint if isinstance(checkpoint, str) else None)
    task: Task = "image-to-image" if from_image else "text-to-image"
    ask = Ask(
        prompt=wish.prompt,
        model=model_of(name, task, gateway.config),
        task=task,
        n=wish.n_iter * wish.batch_size,
        seed=wish.seed if wish.seed >= 0 else None,
        options={name: value for name, value in _options(wish).items() if value not in (None, "")},
    )
    if from_image:
        if not wish.init_images:
            raise wrong("init_images", "init_images is empty; send an image in base64")
        given = wish.init_images[0]
        text = given if given[:5].lower() == "data:" else f"data:image/png;base64,{given}"
        try:
            ask = structs.replace(ask, image=await input_image(text))
        except HfmediaError as error:
            raise wrong("init_images", error.message) from None
    ignored = [name for name in ("sampler_name", "scheduler", "denoising_strength") if getattr(wish, name) is not None]
    return ask, [f"{name} was ignored: the provider decides" for name in ignored]


def _options(wish: Painting) -> dict[str, Any]:
    return {
        "negative_prompt": wish.negative_prompt,
        "num_inference_steps": wish.steps,
        "guidance_scale": wish.cfg_scale,
        "width": wish.width,
        "height": wish.height,
    }


def _parameters(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The request as it came, without its images."""
    return {
        name: value for name, value in cast("dict[str, Any]", fields).items() if name not in ("init_images", "mask")
    }
