"""The Hub's official client works with the sandbox for every provider and task that it supports.

It is the only oracle here that is independent of hfmedia.
"""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from huggingface_hub import AsyncInferenceClient, HfApi
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from hfmedia.sandbox import Sandbox

from .conftest import FLUX, Client

T2V, I2V = "Wan-AI/Wan2.2-T2V-A14B", "Wan-AI/Wan2.2-I2V-A14B"
KONTEXT = "black-forest-labs/FLUX.1-Kontext-dev"
SQUARE = {"width": 256, "height": 192}


@pytest.mark.parametrize(
    ("provider", "model", "options", "size"),
    [
        ("fal-ai", FLUX, SQUARE, (256, 192)),
        ("fal-ai", "nerijs/pixel-art-xl", SQUARE, (256, 192)),
        ("replicate", FLUX, SQUARE, (256, 192)),
        ("replicate", "stabilityai/stable-diffusion-xl-base-1.0", SQUARE, (256, 192)),
        ("replicate", "nerijs/pixel-art-xl", SQUARE, (256, 192)),
        ("together", FLUX, SQUARE, (256, 192)),
        ("nscale", FLUX, SQUARE, (256, 192)),
        ("wavespeed", FLUX, {"size": "320*256"}, (320, 256)),
        ("zai-org", "zai-org/GLM-Image", {"width": 1024, "height": 1056}, (1024, 1056)),
        ("hf-inference", FLUX, SQUARE, (256, 192)),
    ],
)
async def test_text_to_image_with_each_provider(
    sandbox: Sandbox, client: Client, provider: str, model: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    """In the requested size, billed once, and without a credential sent to the CDN."""
    native = {name: options[name] for name in ("width", "height") if name in options}
    extra = {name: options[name] for name in options if name not in native} or None
    make = client(provider).text_to_image
    image = await asyncio.to_thread(make, "a red fox", model=model, seed=7, extra_body=extra, **native)
    assert isinstance(image, Image.Image)
    assert image.size == size
    assert dict(sandbox.submissions) == {provider: 1}
    assert sandbox.leaks == []


@pytest.mark.parametrize(
    ("provider", "model"), [(name, T2V) for name in ("fal-ai", "together", "novita", "wavespeed", "replicate")]
)
async def test_text_to_video_with_each_provider(sandbox: Sandbox, client: Client, provider: str, model: str) -> None:
    """An mp4 from every provider that generates videos from text, billed once."""
    video = await asyncio.to_thread(client(provider).text_to_video, "waves", model=model, seed=3)
    assert video[4:8] == b"ftyp"
    assert dict(sandbox.submissions) == {provider: 1}


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        *[(name, KONTEXT) for name in ("fal-ai", "replicate", "together", "wavespeed", "hf-inference")],
        ("together", "black-forest-labs/FLUX.2-dev"),
        ("fal-ai", "Qwen/Qwen-Image-Edit"),
    ],
)
async def test_image_to_image_with_each_provider(
    sandbox: Sandbox, client: Client, photo: bytes, provider: str, model: str
) -> None:
    """Left and right still differ, as in the input image."""
    make = client(provider).image_to_image
    image = await asyncio.to_thread(make, photo, prompt="at night", model=model)
    grey = image.convert("L")
    width, height = grey.size
    left = grey.crop((0, 0, width // 3, height // 3)).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    right = grey.crop((width * 2 // 3, 0, width, height // 3)).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(left, int) and isinstance(right, int)
    assert abs(left - right) > 25
    assert dict(sandbox.submissions) == {provider: 1}


async def test_hf_inference_accepts_a_raw_image_as_the_body(sandbox: Sandbox, client: Client, photo: bytes) -> None:
    """Without parameters the official client sends the raw bytes, and the size is kept."""
    image = await asyncio.to_thread(client("hf-inference").image_to_image, photo, model=KONTEXT)
    assert image.size == (320, 240)
    assert sandbox.requests[-1].body == photo


@pytest.mark.parametrize("provider", ["fal-ai", "together", "wavespeed"])
async def test_image_to_video_with_each_provider(sandbox: Sandbox, client: Client, photo: bytes, provider: str) -> None:
    """An mp4 from each provider that supports it."""
    video = await asyncio.to_thread(client(provider).image_to_video, photo, model=I2V, prompt="it moves")
    assert video[4:8] == b"ftyp"
    assert dict(sandbox.submissions) == {provider: 1}


async def test_the_async_client_works_too(sandbox: Sandbox, client: Client) -> None:
    """On its own event loop, since it blocks while fetching the mapping from the Hub."""
    client("together")

    async def make() -> Image.Image:
        async with AsyncInferenceClient(provider="together", api_key=sandbox.token) as official:
            return await official.text_to_image("a fox", model=FLUX, width=128, height=128)

    image = await asyncio.to_thread(asyncio.run, make())
    assert image.size == (128, 128)


@pytest.mark.parametrize(
    ("provider", "kind", "status", "message"),
    [
        ("together", "credit", 402, "credits"),
        ("fal-ai", "credit;by=provider", 403, "Exhausted balance"),
        ("nscale", "credit;by=provider", 429, "Insufficient credit"),
        ("hf-inference", "loading", 503, "loaded"),
        ("replicate", "rate-limit", 429, "rate limit resets"),
    ],
)
async def test_it_parses_the_errors(
    sandbox: Sandbox, client: Client, provider: str, kind: str, status: int, message: str
) -> None:
    """With the status and the message of the real services."""
    name, _, detail = kind.partition(";")
    options: dict[str, Any] = dict([detail.split("=")] if detail else [])
    sandbox.fault(provider, name, **options)
    with pytest.raises(HfHubHTTPError) as caught:
        await asyncio.to_thread(client(provider).text_to_image, "a fox", model=FLUX)
    assert caught.value.response.status_code == status
    assert message in caught.value.response.text
    assert sandbox.submissions.total() == 0


async def test_a_rejected_token_is_an_error_of_the_hub_client(sandbox: Sandbox, client: Client) -> None:
    """Another hf_ token is not valid."""
    with pytest.raises(HfHubHTTPError) as caught:
        await asyncio.to_thread(client("together", api_key="hf_another").text_to_image, "a fox", model=FLUX)
    assert caught.value.response.status_code == 401


async def test_hf_api_lists_models_and_parses_mappings(sandbox: Sandbox, client: Client) -> None:
    """The list, one model and whoami, through HfApi."""
    client("together")
    api = HfApi(endpoint=sandbox.url, token=sandbox.token)

    def read() -> tuple[list[Any], Any, Any]:
        listed = list(api.list_models(pipeline_tag="text-to-image", inference_provider="all", limit=12))
        return listed, api.model_info(FLUX, expand=["inferenceProviderMapping"]), api.whoami()

    listed, model, account = await asyncio.to_thread(read)
    assert len({item.id for item in listed}) == 12
    assert {entry.provider for entry in model.inference_provider_mapping} >= {"fal-ai", "nscale", "zai-org"}
    assert account["name"] == "sandbox"


async def test_images_of_the_official_client_are_deterministic(sandbox: Sandbox, client: Client) -> None:
    """Prompt and seed determine the image."""

    def make() -> bytes:
        image = client("together").text_to_image("a fox", model=FLUX, seed=5, width=128, height=96)
        out = io.BytesIO()
        image.save(out, "PNG")
        return out.getvalue()

    assert await asyncio.to_thread(make) == await asyncio.to_thread(make)
