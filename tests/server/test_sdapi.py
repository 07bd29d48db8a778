"""The Stable Diffusion web UI's API, as far as SillyTavern and LibreChat's tool ask for it."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.support.gateway import RunningGateway
from tests.support.gateway_jobs import asked, png
from tests.support.models import FLUX, KONTEXT


async def painted(
    http: aiohttp.ClientSession, gateway: RunningGateway, route: str, **fields: Any
) -> tuple[int, dict[str, Any]]:
    """Status and answer."""
    return await asked(http, "POST", f"{gateway.url}/sdapi/v1/{route}", json={"prompt": "a fox", **fields})


async def test_text_becomes_images(shared: RunningGateway, http: aiohttp.ClientSession) -> None:
    """As many as n_iter times batch_size; ignored fields are reported in ``info``, which is JSON as text."""
    options = {"sd_model_checkpoint": f"{FLUX}:together"}
    payload = {"n_iter": 1, "batch_size": 2, "seed": 7, "sampler_name": "Euler", "override_settings": options}
    status, body = await painted(http, shared, "txt2img", **payload)
    assert status == 200, body
    assert len(set(body["images"])) == 2
    for data in body["images"]:
        Image.open(BytesIO(base64.b64decode(data))).load()
    info = json.loads(body["info"])
    assert info["all_seeds"] == [7, 8]
    assert (info["sd_model_name"], info["provider"]) == (FLUX, "together")
    assert "sampler_name" in info["warnings"][0]
    assert body["parameters"]["batch_size"] == 2


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
async def test_an_image_becomes_another(shared: RunningGateway, http: aiohttp.ClientSession, prefix: str) -> None:
    """With or without the head of a data: URL, and it is not sent back."""
    images = [prefix + base64.b64encode(png()).decode()]
    status, body = await painted(http, shared, "img2img", init_images=images, model=KONTEXT)
    assert status == 200, body
    assert "init_images" not in body["parameters"]


async def test_one_failure_spares_the_others_and_is_reported(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """In ``info``; and the same idempotency key is the same images."""
    gateway.fault("replicate", "fail", times=1)
    payload = {"prompt": "a fox", "model": f"{FLUX}:replicate", "batch_size": 2}
    route, key = f"{gateway.url}/sdapi/v1/txt2img", {"Idempotency-Key": "mine"}
    status, body = await asked(http, "POST", route, json=payload, headers=key)
    assert status == 200, body
    (failed,) = json.loads(body["info"])["failures"]
    assert (len(body["images"]), failed["code"]) == (1, "provider_failed")
    assert (await asked(http, "POST", route, json=payload, headers=key))[1]["images"] == body["images"]
    assert gateway.submissions == 2


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("txt2img", {"prompt": ""}, "prompt"),
    ("txt2img", {"batch_size": 0}, "batch_size"),
    ("txt2img", {"n_iter": 50, "batch_size": 50}, "batch_size"),
    ("txt2img", {"seed": 2**70}, "seed"),
    ("txt2img", {"steps": "many"}, "steps"),
    ("txt2img", {"model": "no model at all"}, "model"),
    ("img2img", {}, "init_images"),
    ("img2img", {"init_images": ["AAAA"]}, "init_images"),
]


@pytest.mark.parametrize(("route", "fields", "param"), BAD)
async def test_bad_input_is_refused_by_name(
    shared: RunningGateway, http: aiohttp.ClientSession, route: str, fields: dict[str, Any], param: str
) -> None:
    """Before anything is sent."""
    status, body = await painted(http, shared, route, **fields)
    assert (status, body["error"]["param"]) == (400, param)
    assert shared.submissions == 0


async def test_the_menus_of_those_clients_are_filled(shared: RunningGateway, http: aiohttp.ClientSession) -> None:
    """With what there is, and nothing that is not."""
    for name in ("samplers", "schedulers", "upscalers", "sd-vae", "loras", "embeddings", "progress", "options",
                 "latent-upscale-modes", "memory"):  # fmt: skip
        status, _ = await asked(http, "GET", f"{shared.url}/sdapi/v1/{name}")
        assert status == 200, name
    _, models = await asked(http, "GET", f"{shared.url}/sdapi/v1/sd-models")
    assert FLUX in [model["title"] for model in models]
    assert (await asked(http, "GET", f"{shared.url}/sdapi/v1/cmd-flags"))[0] == 404
    assert await asked(http, "POST", f"{shared.url}/sdapi/v1/options", json={"a": 1}) == (200, None)
    assert (await asked(http, "POST", f"{shared.url}/sdapi/v1/interrupt"))[0] == 200
