"""Correct uses of the public names: both type checkers accept every line and see these types."""

from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path
from typing import Any, assert_type

import hfmedia
from hfmedia import (
    GenerationOptions,
    HuggingFaceMedia,
    ImageResponse,
    Media,
    MediaClient,
    Messages,
    ProviderInfo,
    Reasoning,
    VideoResponse,
)


async def the_client() -> None:
    async with MediaClient(token="hf_x", bill_to="org", proxy=None, timeout=60, ledger=None, store="out") as client:
        assert_type(client, MediaClient)
        media = await client.text_to_image("a red fox", model="a/b", seed=7, width=512, height=512, guidance_scale=3)
        assert_type(media, Media)
        assert_type(media.path, Path)
        assert_type(media.seed, int | None)
        assert_type(media.cost, hfmedia.Cost | None)
        assert_type(media.job_id, str)
        options: GenerationOptions = {
            "model": "a/b:fal-ai",
            "negative_prompt": ["blur", "text"],
            "extra_body": {"any": 1},
        }
        await client.text_to_image("a fox", **options)
        assert_type(await client.text_to_video("waves", num_frames=81, seconds=5, fps=16, resolution="480p"), Media)
        assert_type(await client.image_to_image(b"...", "autumn", target_size={"width": 64, "height": 64}), Media)
        assert_type(await client.image_to_video(Path("fox.png"), prompt="it runs", seconds=5.0), Media)
        events = client.generate("a fox", model="a/b", n=4, timeout=hfmedia.Timeouts(total=60))
        assert_type(events, AsyncGenerator[hfmedia.Event, None])
        async for event in events:
            if isinstance(event, hfmedia.MediaReady):
                assert_type(event.media, Media)
            elif isinstance(event, hfmedia.JobFailed):
                assert_type(event.error, hfmedia.HfmediaError)
        assert_type(await client.models("text-to-image", provider="fal-ai"), list[hfmedia.HubModel])
        assert_type(await client.mapping("a/b"), hfmedia.HubModel)
        assert_type(await client.jobs(), list[hfmedia.Job])
        assert_type(await client.resume("job"), Media)
        assert_type(await client.cancel("job"), hfmedia.Job)
    MediaClient(ledger=hfmedia.MemoryLedger(), store=hfmedia.FileStorage(Path("out")), concurrency={"fal-ai": 2})


def the_synchronous_functions() -> None:
    assert_type(hfmedia.text_to_image("a fox", model="a/b", seed=7), Media)
    assert_type(hfmedia.text_to_video("waves", seconds=5), Media)
    assert_type(hfmedia.image_to_image("fox.png", "autumn", num_inference_steps=4), Media)
    assert_type(hfmedia.image_to_video("fox.png", num_frames=81), Media)
    assert_type(hfmedia.generate("a fox", n=4, task="text-to-image"), Generator[hfmedia.Event, None, None])
    assert_type(hfmedia.models(), list[hfmedia.HubModel])
    assert_type(hfmedia.mapping("a/b").mappings, tuple[hfmedia.ProviderMapping, ...])
    assert_type(hfmedia.jobs()[0].state, hfmedia.State)
    assert_type(hfmedia.resume("job"), Media)
    assert_type(hfmedia.cancel("job"), hfmedia.Job)
    assert_type(hfmedia.__version__, str)
    hfmedia.close()


async def the_compatible_class() -> None:
    assert_type(HuggingFaceMedia.get_models(api_key="hf_x"), list[str])
    assert_type(await HuggingFaceMedia.get_mapping("a/b", "hf_x"), dict[str, dict[str, Any]])
    assert_type(HuggingFaceMedia.provider_mapping, dict[str, dict[str, Any]])
    messages: Messages = [{"role": "user", "content": "a fox"}]
    chunks = HuggingFaceMedia.create_async_generator(
        model="a/b",
        messages=messages,
        api_key="hf_x",
        extra_data={"guidance_scale": 3},
        prompt=None,
        proxy=None,
        timeout=0,
        n=2,
        aspect_ratio="16:9",
        height=None,
        width=None,
        resolution="480p",
        anything_else=True,
    )
    async for chunk in chunks:
        assert_type(chunk, Reasoning | ProviderInfo | ImageResponse | VideoResponse)
        if isinstance(chunk, ImageResponse | VideoResponse):
            assert_type(chunk.get_list(), list[str])
        elif isinstance(chunk, ProviderInfo):
            assert_type(chunk.provider, str)
    plain: Iterator[Reasoning | ProviderInfo | ImageResponse | VideoResponse]
    plain = HuggingFaceMedia.create_completion("a/b", messages)
    assert_type(next(plain), Reasoning | ProviderInfo | ImageResponse | VideoResponse)
    assert_type(await HuggingFaceMedia.create_async("a/b", messages), str)


async def the_compatible_helpers() -> None:
    session = hfmedia.StreamSession(headers={"a": "b"}, timeout=5, proxy="http://localhost:1")
    async with session, session.get("https://x.example") as response:
        async for media in hfmedia.save_response_media(response, "a fox", ["1:1", "a/b"]):
            assert_type(media, ImageResponse | VideoResponse)


def errors(error: hfmedia.HfmediaError) -> None:
    assert_type(error.provider, str | None)
    assert_type(error.attempts, tuple[str, ...])
    assert_type(error.exit_code, int)
    if isinstance(error, hfmedia.InvalidResponseError):
        assert_type(error.raw, bytes)
