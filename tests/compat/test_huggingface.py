"""HuggingFaceMedia as documented, for callers that run many providers through one interface."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from pathlib import Path
from typing import Any

import pytest

from hfmedia import (
    AsyncGeneratorProvider,
    AuthenticationError,
    DeadlineExceededError,
    HuggingFaceMedia,
    ImageResponse,
    InsufficientCreditError,
    InvalidRequestError,
    MissingAuthError,
    ModelNotFoundError,
    ModelNotSupportedError,
    ProviderInfo,
    ProviderModelMixin,
    Reasoning,
    RequestRejectedError,
    VideoResponse,
)
from hfmedia.compat import huggingface
from hfmedia.compat.huggingface import _live_mapping
from hfmedia.sandbox import Sandbox

IMAGE = "black-forest-labs/FLUX.1-schnell"
VIDEO = "Wan-AI/Wan2.2-T2V-A14B"
FOX: list[dict[str, Any]] = [{"role": "user", "content": "a red fox"}]
SMALL: dict[str, Any] = {"width": 64, "height": 64}

DOCUMENTED = {
    "label": "HuggingFace (Image/Video Generation)",
    "parent": "HuggingFace",
    "url": "https://huggingface.co",
    "working": True,
    "needs_auth": True,
    "tasks": ["text-to-image", "text-to-video"],
    "provider_mapping": {},
    "task_mapping": {},
    "models": [],
    "image_models": [],
    "video_models": [],
}
PARAMETERS: dict[str, Any] = {
    "model": inspect.Parameter.empty,
    "messages": inspect.Parameter.empty,
    "api_key": None,
    "extra_data": {},
    "prompt": None,
    "proxy": None,
    "timeout": 0,
    "n": 1,
    "aspect_ratio": None,
    "height": None,
    "width": None,
    "resolution": "480p",
    "kwargs": inspect.Parameter.empty,
}


async def collect(model: str | None = IMAGE, messages: Any = FOX, **arguments: Any) -> list[Any]:
    """Collect everything that the class yields."""
    return [chunk async for chunk in HuggingFaceMedia.create_async_generator(model, messages, **arguments)]


def kinds(chunks: list[Any]) -> list[str]:
    """Return the class names of the chunks, without Reasoning."""
    return [type(chunk).__name__ for chunk in chunks if not isinstance(chunk, Reasoning)]


def labels(chunks: list[Any]) -> set[str]:
    """Return the labels of all Reasoning chunks."""
    return {str(chunk.label) for chunk in chunks if isinstance(chunk, Reasoning)}


def submitted_bodies(sandbox: Sandbox) -> list[Any]:
    """Return the bodies of all submissions."""
    return [request.json() for request in sandbox.requests if request.kind == "submit"]


# -- as documented -----------------------------------------------------------------------------------------------------


def test_it_has_the_documented_bases_and_attributes() -> None:
    """They are read by lists of providers."""
    assert issubclass(HuggingFaceMedia, AsyncGeneratorProvider)
    assert issubclass(HuggingFaceMedia, ProviderModelMixin)
    assert {name: getattr(HuggingFaceMedia, name) for name in DOCUMENTED} == DOCUMENTED
    assert HuggingFaceMedia.get_parent() == "HuggingFace"
    assert HuggingFaceMedia.get_dict() == {
        "name": "HuggingFaceMedia",
        "url": "https://huggingface.co",
        "label": "HuggingFace (Image/Video Generation)",
    }


def test_it_takes_the_documented_arguments() -> None:
    """Names, order and defaults."""
    parameters = inspect.signature(HuggingFaceMedia.create_async_generator).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == PARAMETERS
    assert list(parameters) == list(PARAMETERS)


# -- models ------------------------------------------------------------------------------------------------------------


def test_get_models_lists_every_live_model_and_its_providers_videos_first(sandbox: Sandbox) -> None:
    """``org/name`` before its ``org/name:provider``s; nothing that is not live or supports only other tasks."""
    models = HuggingFaceMedia.get_models()
    at = models.index(VIDEO)
    names = ("", ":fal-ai", ":replicate", ":together", ":novita", ":wavespeed")
    assert models[at : at + 6] == [VIDEO + name for name in names]
    assert at < models.index(IMAGE)
    for absent in (
        "acme/sleeping-model",
        "black-forest-labs/FLUX.1-dev:nscale",
        "black-forest-labs/FLUX.1-Kontext-dev",
    ):
        assert absent not in models


def test_get_models_fills_the_other_lists(sandbox: Sandbox) -> None:
    """For the tasks of this class, by the model's id."""
    HuggingFaceMedia.get_models()
    assert HuggingFaceMedia.task_mapping[VIDEO] == "text-to-video"
    assert HuggingFaceMedia.task_mapping[IMAGE] == "text-to-image"
    assert set(HuggingFaceMedia.task_mapping.values()) == set(HuggingFaceMedia.tasks)
    assert VIDEO in HuggingFaceMedia.video_models
    assert IMAGE in HuggingFaceMedia.image_models
    assert not set(HuggingFaceMedia.video_models) & set(HuggingFaceMedia.image_models)
    assert not [name for name in HuggingFaceMedia.image_models + HuggingFaceMedia.video_models if ":" in name]


async def test_get_models_works_inside_a_running_loop_and_is_fast_afterwards(sandbox: Sandbox) -> None:
    """It is not a coroutine; the Hub is queried once."""
    first = HuggingFaceMedia.get_models()
    request_count = len(sandbox.requests)
    times: list[float] = []
    for _ in range(5):  # the machine may be busy during one of them
        began = time.perf_counter()
        assert HuggingFaceMedia.get_models(api_key="hf_x") == first
        times.append(time.perf_counter() - began)
    assert min(times) < 0.05
    assert len(sandbox.requests) == request_count


def test_the_returned_list_is_a_copy(sandbox: Sandbox) -> None:
    """Modifying it does not affect the cache."""
    HuggingFaceMedia.get_models().clear()
    assert HuggingFaceMedia.get_models()


async def test_get_mapping_returns_the_live_providers_in_the_hubs_format(sandbox: Sandbox) -> None:
    """Queried once, then cached."""
    mapping = await HuggingFaceMedia.get_mapping("black-forest-labs/FLUX.1-dev")
    assert list(mapping) == ["fal-ai", "replicate", "together", "wavespeed", "hf-inference"]
    assert mapping["fal-ai"] == {"status": "live", "task": "text-to-image", "providerId": "fal-ai/flux/dev"}
    request_count = len(sandbox.requests)
    assert await HuggingFaceMedia.get_mapping("black-forest-labs/FLUX.1-dev:fal-ai", api_key="hf_x") == mapping
    assert HuggingFaceMedia.provider_mapping == {"black-forest-labs/FLUX.1-dev": mapping}
    assert len(sandbox.requests) == request_count


async def test_get_mapping_of_a_lora_includes_its_weights(sandbox: Sandbox) -> None:
    """All fields of the Hub are returned."""
    mapping = await HuggingFaceMedia.get_mapping("nerijs/pixel-art-xl", sandbox.token)
    assert mapping["fal-ai"]["adapterWeightsPath"] == "pixel-art-xl.safetensors"
    assert mapping["fal-ai"]["adapter"] == "lora"


async def test_get_mapping_does_not_cache_an_empty_mapping(sandbox: Sandbox) -> None:
    """A provider may become live later."""
    assert await HuggingFaceMedia.get_mapping("acme/sleeping-model") == {}
    assert HuggingFaceMedia.provider_mapping == {}


async def test_get_mapping_of_an_unknown_model_is_a_typed_error(sandbox: Sandbox) -> None:
    """With the model's name."""
    with pytest.raises(ModelNotFoundError, match="acme/unknown"):
        await HuggingFaceMedia.get_mapping("acme/unknown")


# -- generating---------------------------------------------------------------------------------------------------------


async def test_an_image_comes_with_its_provider_before_it(sandbox: Sandbox) -> None:
    """Reasoning while the job runs, then ProviderInfo, then ImageResponse."""
    chunks = await collect(api_key=sandbox.token, seed=7, **SMALL)
    assert kinds(chunks) == ["ProviderInfo", "ImageResponse"]
    assert {"Generating", "Finished"} <= labels(chunks)
    info, image = chunks[-2:]
    assert info.get_dict() == {
        "name": "HuggingFaceMedia",
        "url": f"https://huggingface.co/{IMAGE}",
        "label": "HuggingFace (fal-ai)",
        "model": IMAGE,
        "provider": "fal-ai",
    }
    assert image.alt == "a red fox"
    assert {name: image.get(name) for name in ("seed", "width", "height", "model", "mime")} == {
        "seed": 7,
        "width": 64,
        "height": 64,
        "model": IMAGE,
        "mime": "image/jpeg",
    }
    assert image.get("warnings") == []
    assert (await asyncio.to_thread(Path(image.get("path")).stat)).st_size > 0
    assert image.get_list()[0].startswith(f"{sandbox.url}/cdn/")
    assert f"]({image.get_list()[0]})" in str(image)


async def test_a_heartbeat_is_sent_while_no_event_arrives(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow provider without progress does not leave a chat without any."""
    monkeypatch.setattr(huggingface, "HEARTBEAT_INTERVAL", 0.05)
    sandbox.fault("fal-ai", "slow", step="submit", seconds=0.5)
    chunks = await collect(f"{IMAGE}:fal-ai", **SMALL)
    pulses = [str(chunk) for chunk in chunks if isinstance(chunk, Reasoning) and chunk.label == "Generating"]
    assert len([text for text in pulses if re.fullmatch(r"Generating: \d+\.\d\ds\n", text)]) >= 3
    assert isinstance(chunks[-1], ImageResponse)


async def test_inline_media_is_shown_by_its_path(sandbox: Sandbox) -> None:
    """hf-inference responds with the bytes themselves: the only URL is the file's path."""
    image = (await collect(f"{IMAGE}:hf-inference", **SMALL))[-1]
    assert image.get_list() == [image.get("path")]


async def test_a_video_comes_as_a_video_with_progress_before_it(sandbox: Sandbox) -> None:
    """With the defaults for a video."""
    chunks = await collect(f"{VIDEO}:fal-ai")
    assert kinds(chunks) == ["ProviderInfo", "VideoResponse"]
    assert labels(chunks) & {"Queued", "Running"}
    assert str(chunks[-1]).startswith("<video controls src=")
    (body,) = submitted_bodies(sandbox)
    assert (body["aspect_ratio"], body["resolution"]) == ("16:9", "480p")
    assert "num_inference_steps" not in body


async def test_several_results_arrive_each_as_it_finishes(sandbox: Sandbox) -> None:
    """n of them, concurrently, with different seeds."""
    chunks = await collect(n=3, seed=7, **SMALL)
    assert kinds(chunks) == ["ProviderInfo", "ImageResponse"] * 3
    images = [chunk for chunk in chunks if isinstance(chunk, ImageResponse)]
    assert sorted(image.get("seed") for image in images) == [7, 8, 9]
    assert len({image.get_list()[0] for image in images}) == 3


async def test_extra_data_and_unknown_arguments_go_to_the_provider(sandbox: Sandbox) -> None:
    """Unchanged, under either name; chat arguments do not."""
    await collect(
        f"{IMAGE}:replicate",
        api_key=sandbox.token,
        extra_data={"guidance_scale": 3},
        extra_body={"go_fast": True},
        output_quality=80,
        stream=True,
        **SMALL,
    )
    (body,) = submitted_bodies(sandbox)
    provider_input = body["input"]
    assert (provider_input["guidance_scale"], provider_input["go_fast"], provider_input["output_quality"]) == (
        3,
        True,
        80,
    )
    assert "stream" not in provider_input
    assert provider_input["prompt"] == "a red fox"


async def test_the_prompt_argument_takes_precedence_over_the_messages(sandbox: Sandbox) -> None:
    """Text parts count as text."""
    parts = [{"role": "user", "content": [{"type": "text", "text": "a cat"}, {"type": "image_url"}]}]
    assert (await collect(prompt="a dog", **SMALL))[-1].alt == "a dog"
    assert (await collect(messages=parts, **SMALL))[-1].alt == "a cat"


async def test_the_default_model_is_the_first_of_the_list(sandbox: Sandbox) -> None:
    """Which is a video model."""
    chunks = await collect("")
    assert isinstance(chunks[-1], VideoResponse)
    assert chunks[-1].get("model") == HuggingFaceMedia.models[0]


async def test_insufficient_credit_fails_over_to_the_next_provider(sandbox: Sandbox) -> None:
    """402 from one provider, an image from another, and a Reasoning about it."""
    sandbox.fault("fal-ai", "credit")
    chunks = await collect(**SMALL)
    assert chunks[-1].get("provider") == "replicate"
    failover = next(chunk for chunk in chunks if isinstance(chunk, Reasoning) and chunk.label == "Failover")
    assert str(failover).startswith("Failover: from fal-ai to replicate: ")


REFUSALS = [
    ("credit", {}, InsufficientCreditError),
    ("unauthorized", {}, AuthenticationError),
    ("status", {"status": 400}, RequestRejectedError),
    ("status", {"status": 404}, ModelNotSupportedError),
]


@pytest.mark.parametrize(("kind", "details", "error"), REFUSALS)
async def test_a_rejection_by_all_providers_is_a_typed_error(
    sandbox: Sandbox, kind: str, details: dict[str, Any], error: type[Exception]
) -> None:
    """400, 401 and 402 fail over and are raised after the last provider; 404 means that it lacks the model."""
    for provider in ("fal-ai", "replicate", "together", "wavespeed", "hf-inference"):
        sandbox.fault(provider, kind, times=None, step="submit", **details)
    with pytest.raises(error):
        await collect("black-forest-labs/FLUX.1-dev", **SMALL)


async def test_one_failed_result_does_not_affect_the_others(sandbox: Sandbox) -> None:
    """Three of four succeed: three results, and one Reasoning about the fourth."""
    sandbox.fault("fal-ai", "fail", times=1)
    chunks = await collect(f"{VIDEO}:fal-ai", n=4)
    assert kinds(chunks) == ["ProviderInfo", "VideoResponse"] * 3
    (failed,) = [chunk for chunk in chunks if isinstance(chunk, Reasoning) and chunk.label == "Failed"]
    assert "fal-ai accepted the job, but generation failed" in str(failed)


async def test_the_last_error_is_raised_when_all_results_failed(sandbox: Sandbox) -> None:
    """The earlier ones are Reasoning."""
    sandbox.fault("fal-ai", "credit", times=None)
    chunks: list[Any] = []
    with pytest.raises(InsufficientCreditError) as raised:
        async for chunk in HuggingFaceMedia.create_async_generator(f"{IMAGE}:fal-ai", FOX, n=3):
            chunks.append(chunk)  # noqa: PERF401 - chunks before the error count too
    assert raised.value.job_id
    assert [chunk.label for chunk in chunks if isinstance(chunk, Reasoning)].count("Failed") == 2


async def test_a_job_times_out_only_with_a_limit(sandbox: Sandbox) -> None:
    """0 means no limit; any other number is in seconds."""
    sandbox.fault("fal-ai", "cold", seconds=3000)
    with pytest.raises(DeadlineExceededError):
        await collect(f"{VIDEO}:fal-ai", timeout=1)


async def test_leaving_early_cancels_at_the_provider(sandbox: Sandbox) -> None:
    """Closing the generator is enough."""
    sandbox.fault("fal-ai", "cold", seconds=3000)
    chunks = HuggingFaceMedia.create_async_generator(f"{VIDEO}:fal-ai", FOX)
    async for chunk in chunks:
        if isinstance(chunk, Reasoning) and chunk.label == "Queued":
            break
    await chunks.aclose()
    assert [job.is_cancelled for job in sandbox.jobs.values()] == [True]


# -- invalid input------------------------------------------------------------------------------------------------------

INVALID: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"messages": []}, InvalidRequestError, "prompt is empty"),
    ({"prompt": "x" * 32_001}, InvalidRequestError, "32001 characters"),
    ({"n": 0}, InvalidRequestError, "n is 0"),
    ({"n": 10_000}, InvalidRequestError, "n is 10000"),
    ({"aspect_ratio": "16/9"}, InvalidRequestError, "16/9"),
    ({"width": 0}, InvalidRequestError, "width is 0"),
    ({"timeout": -1}, InvalidRequestError, "timeout"),
    ({"proxy": "banana://x"}, InvalidRequestError, "proxy"),
    ({"extra_data": {"x": object()}}, InvalidRequestError, "JSON"),
    ({"model": "a/b/c"}, InvalidRequestError, "a/b/c"),
    ({"seed": "seven"}, InvalidRequestError, "seed"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), INVALID, ids=[next(iter(case[0])) for case in INVALID])
async def test_invalid_input_is_rejected_before_anything_is_sent(
    sandbox: Sandbox, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """With one clear sentence, and before the Hub is queried."""
    with pytest.raises(error, match=message):
        await collect(**arguments)
    assert not sandbox.requests


async def test_without_a_credential_nothing_is_sent(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to get one."""
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(MissingAuthError, match="settings/tokens"):
        await collect()
    assert not sandbox.requests


async def test_the_token_of_the_environment_replaces_the_api_key(sandbox: Sandbox) -> None:
    """An empty api_key counts as absent."""
    assert isinstance((await collect(api_key="", **SMALL))[-1], ImageResponse)


UNSUPPORTED = [
    ("acme/unknown", ModelNotFoundError, "acme/unknown"),
    ("acme/sleeping-model", ModelNotSupportedError, "staging"),
    (f"{IMAGE}:novita", ModelNotSupportedError, "novita"),
    ("black-forest-labs/FLUX.1-Kontext-dev", ModelNotSupportedError, "supports image-to-image"),
]


@pytest.mark.parametrize(("model", "error", "message"), UNSUPPORTED)
async def test_a_model_that_cannot_be_used_is_a_typed_error(
    sandbox: Sandbox, model: str, error: type[Exception], message: str
) -> None:
    """The message says what is supported."""
    with pytest.raises(error, match=message):
        await collect(model)
    assert not sandbox.submissions


# -- other ways to run it ----------------------------------------------------------------------------------------------


def test_it_runs_without_async(sandbox: Sandbox) -> None:
    """As an ordinary generator, and through the aliases for retrying callers."""
    for run in (HuggingFaceMedia.create_completion, HuggingFaceMedia.create_function):
        chunks = list(run(IMAGE, FOX, **SMALL))
        assert kinds(chunks) == ["ProviderInfo", "ImageResponse"]


async def test_it_returns_one_text(sandbox: Sandbox) -> None:
    """Only Markdown, without progress."""
    text = await HuggingFaceMedia.create_async(IMAGE, FOX, **SMALL)
    assert text.startswith("\n<!-- generated images start -->")
    assert "Generating" not in text
    chunks = [chunk async for chunk in HuggingFaceMedia.async_create_function(IMAGE, FOX, **SMALL)]
    assert isinstance(chunks[-2], ProviderInfo)


async def test_concurrent_calls_do_not_affect_each_other(sandbox: Sandbox) -> None:
    """Each has its own client."""
    results = await asyncio.gather(*(collect(prompt=f"fox {number}", **SMALL) for number in range(5)))
    assert [chunks[-1].alt for chunks in results] == [f"fox {number}" for number in range(5)]


def test_a_subclass_has_its_own_caches(sandbox: Sandbox) -> None:
    """Its base class does not see them."""

    class Images(HuggingFaceMedia):
        tasks = ["text-to-image"]  # noqa: RUF012 - as callers write it

    Images.models = []
    assert IMAGE in Images.get_models()
    assert not Images.video_models
    assert HuggingFaceMedia.models == []


def test_of_several_tasks_of_a_provider_a_supported_one_wins() -> None:
    """The dict holds only one per provider; the Hub's order of providers stays."""
    from hfmedia.core.hub_models import HubModel, ProviderMapping

    offers = [("a", "image-to-video"), ("b", "text-to-video"), ("a", "text-to-video")]
    model = HubModel("x/y", tuple(ProviderMapping(provider=p, provider_id=t, task=t, status="live") for p, t in offers))
    assert [(name, mapping["task"]) for name, mapping in _live_mapping(model, ["text-to-video"]).items()] == [
        ("a", "text-to-video"),
        ("b", "text-to-video"),
    ]
