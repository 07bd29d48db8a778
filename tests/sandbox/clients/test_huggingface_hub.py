"""The Hub's official client finds nothing strange in the sandbox: each provider and task it knows runs to its end.

It is the one oracle here that knows nothing of hfmedia.
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
    ("provider", "model", "provider_request", "size"),
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
async def test_a_picture_through_each_provider(
    sandbox: Sandbox, client: Client, provider: str, model: str, provider_request: dict[str, Any], size: tuple[int, int]
) -> None:
    """In the size asked for, paid once, and no credential shown to the CDN."""
    native = {name: provider_request[name] for name in ("width", "height") if name in provider_request}
    extra = {name: provider_request[name] for name in provider_request if name not in native} or None
    make = client(provider).text_to_image
    image = await asyncio.to_thread(make, "a red fox", model=model, seed=7, extra_body=extra, **native)
    assert isinstance(image, Image.Image)
    assert image.size == size
    assert dict(sandbox.submissions) == {provider: 1}
    assert sandbox.leaks == []


@pytest.mark.parametrize(
    ("provider", "model"), [(name, T2V) for name in ("fal-ai", "together", "novita", "wavespeed", "replicate")]
)
async def test_a_video_through_each_provider(sandbox: Sandbox, client: Client, provider: str, model: str) -> None:
    """An mp4 from every provider that makes videos from text, paid once."""
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
async def test_a_picture_from_a_picture(
    sandbox: Sandbox, client: Client, photo: bytes, provider: str, model: str
) -> None:
    """Left stays unlike right, as in the picture that was sent."""
    make = client(provider).image_to_image
    image = await asyncio.to_thread(make, photo, prompt="at night", model=model)
    grey = image.convert("L")
    width, height = grey.size
    left = grey.crop((0, 0, width // 3, height // 3)).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    right = grey.crop((width * 2 // 3, 0, width, height // 3)).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(left, int) and isinstance(right, int)
    assert abs(left - right) > 25
    assert dict(sandbox.submissions) == {provider: 1}


async def test_hf_inference_takes_a_bare_picture_as_the_body(sandbox: Sandbox, client: Client, photo: bytes) -> None:
    """Without parameters the official client sends the bytes themselves, and the size stays."""
    image = await asyncio.to_thread(client("hf-inference").image_to_image, photo, model=KONTEXT)
    assert image.size == (320, 240)
    assert sandbox.requests[-1].body == photo


@pytest.mark.parametrize("provider", ["fal-ai", "together", "wavespeed"])
async def test_a_video_from_a_picture(sandbox: Sandbox, client: Client, photo: bytes, provider: str) -> None:
    """An mp4 for each provider that makes them."""
    video = await asyncio.to_thread(client(provider).image_to_video, photo, model=I2V, prompt="it moves")
    assert video[4:8] == b"ftyp"
    assert dict(sandbox.submissions) == {provider: 1}


async def test_its_asynchronous_client_works_too(sandbox: Sandbox, client: Client) -> None:
    """On a loop of its own, since it asks the Hub for the mapping without giving way to others."""
    client("together")

    async def make() -> Image.Image:
        async with AsyncInferenceClient(provider="together", api_key=sandbox.token) as official:
            return await official.text_to_image("a fox", model=FLUX, width=128, height=128)

    image = await asyncio.to_thread(asyncio.run, make())
    assert image.size == (128, 128)


@pytest.mark.parametrize(
    ("provider", "kind", "status", "words"),
    [
        ("together", "credit", 402, "credits"),
        ("fal-ai", "credit;by=provider", 403, "Exhausted balance"),
        ("nscale", "credit;by=provider", 429, "Insufficient credit"),
        ("hf-inference", "loading", 503, "loaded"),
        ("replicate", "rate-limit", 429, "rate limit resets"),
    ],
)
async def test_it_reads_the_errors(
    sandbox: Sandbox, client: Client, provider: str, kind: str, status: int, words: str
) -> None:
    """With the status and the words that the real ones use."""
    name, _, detail = kind.partition(";")
    options: dict[str, Any] = dict([detail.split("=")] if detail else [])
    sandbox.fault(provider, name, **options)
    with pytest.raises(HfHubHTTPError) as caught:
        await asyncio.to_thread(client(provider).text_to_image, "a fox", model=FLUX)
    assert caught.value.response.status_code == status
    assert words in caught.value.response.text
    assert sandbox.submissions.total() == 0


async def test_a_refused_token_is_an_error_of_the_hubs_client(sandbox: Sandbox, client: Client) -> None:
    """Another hf_ token opens nothing."""
    with pytest.raises(HfHubHTTPError) as caught:
        await asyncio.to_thread(client("together", api_key="hf_another").text_to_image, "a fox", model=FLUX)
    assert caught.value.response.status_code == 401


async def test_its_hub_client_lists_pages_and_reads_mappings(sandbox: Sandbox, client: Client) -> None:
    """List, one model, and who the token belongs to, through HfApi."""
    client("together")
    api = HfApi(endpoint=sandbox.url, token=sandbox.token)

    def read() -> tuple[list[Any], Any, Any]:
        listed = list(api.list_models(pipeline_tag="text-to-image", inference_provider="all", limit=12))
        return listed, api.model_info(FLUX, expand=["inferenceProviderMapping"]), api.whoami()

    listed, one, who = await asyncio.to_thread(read)
    assert len({model.id for model in listed}) == 12
    assert {entry.provider for entry in one.inference_provider_mapping} >= {"fal-ai", "nscale", "zai-org"}
    assert who["name"] == "sandbox"


async def test_pictures_of_the_official_client_are_the_same_each_time(sandbox: Sandbox, client: Client) -> None:
    """Prompt and seed decide, whoever asks."""

    def make() -> bytes:
        image = client("together").text_to_image("a fox", model=FLUX, seed=5, width=128, height=96)
        out = io.BytesIO()
        image.save(out, "PNG")
        return out.getvalue()

    assert await asyncio.to_thread(make) == await asyncio.to_thread(make)
