"""The front-ends that people run, each with the request it sends and the way it reads the answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.support.gateway import RunningGateway
from tests.support.models import FLUX, KONTEXT

Told = dict[str, Any]
Read = Callable[[Told], bytes | str]


def is_picture(data: bytes) -> bool:
    """Whether these bytes are an image that opens."""
    with Image.open(BytesIO(data)) as picture:
        picture.load()
    return True


def b64_of_first(body: Told) -> bytes:
    """``data[0].b64_json``, as LibreChat, Dify and others read it."""
    return base64.b64decode(body["data"][0]["b64_json"], validate=True)


def url_of_first(body: Told) -> str:
    """``data[].url``, as Cherry Studio and Open WebUI read it."""
    url: str = body["data"][0]["url"]
    return url


def url_before_b64(body: Told) -> bytes | str:
    """As Open WebUI: the address if there is one, else the bytes."""
    return body["data"][0].get("url") or b64_of_first(body)


def b64_before_url(body: Told) -> bytes | str:
    """As LobeChat and AnythingLLM."""
    return b64_of_first(body) if body["data"][0].get("b64_json") else url_of_first(body)


GENERATIONS: dict[str, tuple[Told, Read]] = {
    "Open WebUI": (
        {"model": FLUX, "prompt": "a fox", "n": 1, "size": "512x512", "response_format": "b64_json"},
        url_before_b64,
    ),
    "Open WebUI, gpt-image": ({"model": "gpt-image-1", "prompt": "a fox", "n": 1}, url_before_b64),
    "LibreChat": (
        {
            "model": "gpt-image-1",
            "prompt": "a fox",
            "n": 1,
            "background": "auto",
            "output_format": "png",
            "quality": "auto",
            "size": "auto",
        },
        b64_of_first,
    ),
    "LobeChat": ({"model": FLUX, "prompt": "a fox", "n": 1}, b64_before_url),
    "LobeChat, dall-e": ({"model": "dall-e-3", "prompt": "x", "n": 1, "response_format": "b64_json"}, b64_before_url),
    "n8n, b64": ({"model": "dall-e-3", "prompt": "a fox", "n": 1, "response_format": "b64_json"}, b64_of_first),
    "n8n, url": ({"model": "dall-e-2", "prompt": "a fox", "n": 1, "response_format": "url"}, url_of_first),
    "n8n, gpt-image-1": ({"model": "gpt-image-1", "prompt": "a fox", "quality": "high"}, b64_of_first),
    "Dify": ({"model": "gpt-image-2", "prompt": "a fox", "n": 1, "size": "1024x1536"}, b64_of_first),
    "AnythingLLM": ({"model": FLUX, "prompt": "a fox", "size": "1024x1024", "n": 1}, b64_before_url),
    "Cherry Studio": (
        {
            "model": FLUX,
            "prompt": "a fox",
            "image_size": "512x512",
            "batch_size": 1,
            "negative_prompt": "dogs",
            "seed": 7,
            "num_inference_steps": 4,
            "guidance_scale": 3.5,
        },
        url_of_first,
    ),
}


async def fetched(http: aiohttp.ClientSession, found: bytes | str) -> bytes:
    """The bytes, fetched with the same Authorization header where there is an address; it must be an image's."""
    if isinstance(found, bytes):
        return found
    async with http.get(found, headers={"Authorization": "Bearer sk-anything"}) as answer:
        assert answer.status == 200
        assert answer.content_type.startswith("image/")
        return await answer.read()


@pytest.mark.parametrize("name", GENERATIONS)
async def test_a_front_end_gets_its_picture(shared: RunningGateway, http: aiohttp.ClientSession, name: str) -> None:
    """With a key that means nothing here, since most of them insist on sending one."""
    payload, read = GENERATIONS[name]
    async with http.post(
        f"{shared.api}/images/generations", json=payload, headers={"Authorization": "Bearer sk-anything"}
    ) as answer:
        body = await answer.json()
        assert answer.status == 200, body
    assert is_picture(await fetched(http, read(body)))


def png() -> bytes:
    """A small picture to edit."""
    made = BytesIO()
    Image.new("RGB", (128, 96), "orange").save(made, "PNG")
    return made.getvalue()


EDITS: dict[str, tuple[Told, str, int, Read]] = {
    "Open WebUI": ({"model": KONTEXT, "prompt": "x", "response_format": "b64_json"}, "image", 1, url_before_b64),
    "Open WebUI, several": ({"model": KONTEXT, "prompt": "x", "n": "1"}, "image[]", 2, url_before_b64),
    "LibreChat": ({"model": "gpt-image-1", "prompt": "x", "quality": "auto"}, "image[]", 1, b64_of_first),
    "LobeChat": ({"model": KONTEXT, "prompt": "x", "input_fidelity": "high"}, "image", 1, b64_before_url),
}


@pytest.mark.parametrize("name", EDITS)
async def test_a_front_end_gets_its_picture_edited(
    shared: RunningGateway, http: aiohttp.ClientSession, name: str
) -> None:
    """As multipart, with names and types that must not be trusted."""
    fields, part, count, read = EDITS[name]
    form = aiohttp.FormData(fields)
    for _ in range(count):
        form.add_field(part, png(), filename="upload", content_type="application/octet-stream")
    async with http.post(f"{shared.api}/images/edits", data=form) as answer:
        body = await answer.json()
        assert answer.status == 200, body
    assert is_picture(await fetched(http, read(body)))


async def test_sillytavern_finds_its_way(shared: RunningGateway, http: aiohttp.ClientSession) -> None:
    """It asks whether there is such a route, lists the models, and paints by the Stable Diffusion web UI's API."""
    async with http.options(f"{shared.api}/images/generations") as answer:
        assert answer.status < 300
    async with http.get(f"{shared.api}/models") as answer:
        names = [model["id"] for model in (await answer.json())["data"]]
    assert FLUX in names
    payload = {
        "prompt": "a fox",
        "negative_prompt": "",
        "sampler_name": "Euler a",
        "steps": 4,
        "width": 512,
        "height": 512,
    }
    async with http.post(f"{shared.url}/sdapi/v1/txt2img", json={**payload, "seed": -1, "cfg_scale": 7}) as answer:
        body = await answer.json()
        assert answer.status == 200, body
    assert is_picture(base64.b64decode(body["images"][0]))


async def test_librechats_stable_diffusion_tool_reads_its_info(
    shared: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """``info`` is JSON inside a text."""
    payload = {
        "prompt": "a fox",
        "negative_prompt": "dogs",
        "cfg_scale": 4.5,
        "steps": 22,
        "width": 1024,
        "height": 1024,
    }
    async with http.post(
        f"{shared.url}/sdapi/v1/txt2img", json={**payload, "sampler_index": "DPM++ 2M Karras"}
    ) as answer:
        body = await answer.json()
        assert answer.status == 200, body
    assert is_picture(base64.b64decode(body["images"][0]))
    assert json.loads(body["info"])["prompt"] == "a fox"
