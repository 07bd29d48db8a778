"""HuggingFaceMedia as its documentation shows it, for callers that run many providers by one interface."""

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
    """Everything the class yields."""
    return [chunk async for chunk in HuggingFaceMedia.create_async_generator(model, messages, **arguments)]


def kinds(chunks: list[Any]) -> list[str]:
    """The names of the kinds of chunks, Reasoning left out."""
    return [type(chunk).__name__ for chunk in chunks if not isinstance(chunk, Reasoning)]


def labels(chunks: list[Any]) -> set[str]:
    """What the Reasonings are about."""
    return {str(chunk.label) for chunk in chunks if isinstance(chunk, Reasoning)}


def sent(town: Sandbox) -> list[Any]:
    """The bodies of all submissions."""
    return [seen.json() for seen in town.requests if seen.kind == "submit"]


# -- as documented -----------------------------------------------------------------------------------------------------


def test_it_has_the_documented_bases_and_attributes() -> None:
    """What a list of providers reads."""
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
    found = inspect.signature(HuggingFaceMedia.create_async_generator).parameters
    assert {name: parameter.default for name, parameter in found.items()} == PARAMETERS
    assert list(found) == list(PARAMETERS)


# -- looking -----------------------------------------------------------------------------------------------------------


def test_get_models_lists_every_live_model_and_its_providers_videos_first(town: Sandbox) -> None:
    """``org/name`` before its ``org/name:provider``s; nothing that is not live or does something else."""
    found = HuggingFaceMedia.get_models()
    at = found.index(VIDEO)
    names = ("", ":fal-ai", ":replicate", ":together", ":novita", ":wavespeed")
    assert found[at : at + 6] == [VIDEO + name for name in names]
    assert at < found.index(IMAGE)
    for absent in (
        "acme/sleeping-model",
        "black-forest-labs/FLUX.1-dev:nscale",
        "black-forest-labs/FLUX.1-Kontext-dev",
    ):
        assert absent not in found


def test_get_models_fills_the_other_lists(town: Sandbox) -> None:
    """Of the tasks this class does, and by the model's own id."""
    HuggingFaceMedia.get_models()
    assert HuggingFaceMedia.task_mapping[VIDEO] == "text-to-video"
    assert HuggingFaceMedia.task_mapping[IMAGE] == "text-to-image"
    assert set(HuggingFaceMedia.task_mapping.values()) == set(HuggingFaceMedia.tasks)
    assert VIDEO in HuggingFaceMedia.video_models
    assert IMAGE in HuggingFaceMedia.image_models
    assert not set(HuggingFaceMedia.video_models) & set(HuggingFaceMedia.image_models)
    assert not [name for name in HuggingFaceMedia.image_models + HuggingFaceMedia.video_models if ":" in name]


async def test_get_models_works_inside_a_running_loop_and_is_quick_from_then_on(town: Sandbox) -> None:
    """It is no coroutine, as published; the Hub is asked once."""
    first = HuggingFaceMedia.get_models()
    asked = len(town.requests)
    times: list[float] = []
    for _ in range(5):  # the machine may do something else in one of them
        began = time.perf_counter()
        assert HuggingFaceMedia.get_models(api_key="hf_x") == first
        times.append(time.perf_counter() - began)
    assert min(times) < 0.05
    assert len(town.requests) == asked


def test_a_list_that_is_handed_out_is_the_callers_own(town: Sandbox) -> None:
    """Changing it changes nothing here."""
    HuggingFaceMedia.get_models().clear()
    assert HuggingFaceMedia.get_models()


async def test_get_mapping_tells_the_live_providers_in_the_hubs_words(town: Sandbox) -> None:
    """Asked once, then remembered."""
    found = await HuggingFaceMedia.get_mapping("black-forest-labs/FLUX.1-dev")
    assert list(found) == ["fal-ai", "replicate", "together", "wavespeed", "hf-inference"]
    assert found["fal-ai"] == {"status": "live", "task": "text-to-image", "providerId": "fal-ai/flux/dev"}
    asked = len(town.requests)
    assert await HuggingFaceMedia.get_mapping("black-forest-labs/FLUX.1-dev:fal-ai", api_key="hf_x") == found
    assert HuggingFaceMedia.provider_mapping == {"black-forest-labs/FLUX.1-dev": found}
    assert len(town.requests) == asked


async def test_get_mapping_of_a_lora_names_its_weights(town: Sandbox) -> None:
    """Whatever the Hub says beside the usual."""
    found = await HuggingFaceMedia.get_mapping("nerijs/pixel-art-xl", town.token)
    assert found["fal-ai"]["adapterWeightsPath"] == "pixel-art-xl.safetensors"
    assert found["fal-ai"]["adapter"] == "lora"


async def test_get_mapping_does_not_remember_that_nobody_is_live(town: Sandbox) -> None:
    """Tomorrow somebody may be."""
    assert await HuggingFaceMedia.get_mapping("acme/sleeping-model") == {}
    assert HuggingFaceMedia.provider_mapping == {}


async def test_get_mapping_of_an_unknown_model_is_a_typed_error(town: Sandbox) -> None:
    """With the model's name."""
    with pytest.raises(ModelNotFoundError, match="nobody/nothing"):
        await HuggingFaceMedia.get_mapping("nobody/nothing")


# -- making ------------------------------------------------------------------------------------------------------------


async def test_an_image_comes_with_its_provider_before_it(town: Sandbox) -> None:
    """Reasoning while it works, then ProviderInfo, then ImageResponse."""
    chunks = await collect(api_key=town.token, seed=7, **SMALL)
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
    assert image.get_list()[0].startswith(f"{town.url}/cdn/")
    assert f"]({image.get_list()[0]})" in str(image)


async def test_silence_is_told_too(town: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that answers late, and says nothing meanwhile, does not leave a chat without a word."""
    monkeypatch.setattr(huggingface, "HEARTBEAT_INTERVAL", 0.05)
    town.fault("fal-ai", "slow", step="submit", seconds=0.5)
    chunks = await collect(f"{IMAGE}:fal-ai", **SMALL)
    pulses = [str(chunk) for chunk in chunks if isinstance(chunk, Reasoning) and chunk.label == "Generating"]
    assert len([text for text in pulses if re.fullmatch(r"Generating: \d+\.\d\ds\n", text)]) >= 3
    assert isinstance(chunks[-1], ImageResponse)


async def test_inline_media_is_shown_by_its_path(town: Sandbox) -> None:
    """hf-inference answers with the bytes themselves: there is no other address than the file's."""
    image = (await collect(f"{IMAGE}:hf-inference", **SMALL))[-1]
    assert image.get_list() == [image.get("path")]


async def test_a_video_comes_as_a_video_with_progress_before_it(town: Sandbox) -> None:
    """With the published defaults for a video."""
    chunks = await collect(f"{VIDEO}:fal-ai")
    assert kinds(chunks) == ["ProviderInfo", "VideoResponse"]
    assert labels(chunks) & {"Queued", "Running"}
    assert str(chunks[-1]).startswith("<video controls src=")
    (body,) = sent(town)
    assert (body["aspect_ratio"], body["resolution"]) == ("16:9", "480p")
    assert "num_inference_steps" not in body


async def test_several_results_arrive_each_as_it_finishes(town: Sandbox) -> None:
    """n of them, side by side, with seeds of their own."""
    chunks = await collect(n=3, seed=7, **SMALL)
    assert kinds(chunks) == ["ProviderInfo", "ImageResponse"] * 3
    images = [chunk for chunk in chunks if isinstance(chunk, ImageResponse)]
    assert sorted(image.get("seed") for image in images) == [7, 8, 9]
    assert len({image.get_list()[0] for image in images}) == 3


async def test_extra_data_and_unknown_arguments_go_to_the_provider(town: Sandbox) -> None:
    """As they stand, under either name; what a chat says besides does not."""
    await collect(
        f"{IMAGE}:replicate",
        api_key=town.token,
        extra_data={"guidance_scale": 3},
        extra_body={"go_fast": True},
        output_quality=80,
        stream=True,
        **SMALL,
    )
    (body,) = sent(town)
    told = body["input"]
    assert (told["guidance_scale"], told["go_fast"], told["output_quality"]) == (3, True, 80)
    assert "stream" not in told
    assert told["prompt"] == "a red fox"


async def test_the_prompt_argument_goes_before_the_messages(town: Sandbox) -> None:
    """And text parts count as text."""
    parts = [{"role": "user", "content": [{"type": "text", "text": "a cat"}, {"type": "image_url"}]}]
    assert (await collect(prompt="a dog", **SMALL))[-1].alt == "a dog"
    assert (await collect(messages=parts, **SMALL))[-1].alt == "a cat"


async def test_without_a_model_the_first_of_the_list_is_taken(town: Sandbox) -> None:
    """Which is a video, as published."""
    chunks = await collect("")
    assert isinstance(chunks[-1], VideoResponse)
    assert chunks[-1].get("model") == HuggingFaceMedia.models[0]


async def test_no_credit_moves_on_to_the_next_provider(town: Sandbox) -> None:
    """402 at one provider, a picture from another, and a word about it."""
    town.fault("fal-ai", "credit")
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
async def test_a_refusal_by_everybody_is_raised_typed(
    town: Sandbox, kind: str, details: dict[str, Any], error: type[Exception]
) -> None:
    """400, 401 and 402 move on, and are raised when nobody is left; 404 says that they do not have the model."""
    for provider in ("fal-ai", "replicate", "together", "wavespeed", "hf-inference"):
        town.fault(provider, kind, times=None, step="submit", **details)
    with pytest.raises(error):
        await collect("black-forest-labs/FLUX.1-dev", **SMALL)


async def test_one_failure_of_several_costs_no_other_result(town: Sandbox) -> None:
    """Three of four arrive: three results, and one Reasoning that tells of the fourth."""
    town.fault("fal-ai", "fail", times=1)
    chunks = await collect(f"{VIDEO}:fal-ai", n=4)
    assert kinds(chunks) == ["ProviderInfo", "VideoResponse"] * 3
    (failed,) = [chunk for chunk in chunks if isinstance(chunk, Reasoning) and chunk.label == "Failed"]
    assert "fal-ai accepted the job, but generation failed" in str(failed)


async def test_the_last_error_is_raised_when_nothing_came(town: Sandbox) -> None:
    """The earlier ones were told."""
    town.fault("fal-ai", "credit", times=None)
    told: list[Any] = []
    with pytest.raises(InsufficientCreditError) as raised:
        async for chunk in HuggingFaceMedia.create_async_generator(f"{IMAGE}:fal-ai", FOX, n=3):
            told.append(chunk)  # noqa: PERF401 - what came before the error counts too
    assert raised.value.job_id
    assert [chunk.label for chunk in told if isinstance(chunk, Reasoning)].count("Failed") == 2


async def test_time_runs_out_only_where_there_is_a_limit(town: Sandbox) -> None:
    """0 is no limit; any other number is seconds."""
    town.fault("fal-ai", "cold", seconds=3000)
    with pytest.raises(DeadlineExceededError):
        await collect(f"{VIDEO}:fal-ai", timeout=1)


async def test_leaving_early_cancels_at_the_provider(town: Sandbox) -> None:
    """Closing the generator is enough."""
    town.fault("fal-ai", "cold", seconds=3000)
    chunks = HuggingFaceMedia.create_async_generator(f"{VIDEO}:fal-ai", FOX)
    async for chunk in chunks:
        if isinstance(chunk, Reasoning) and chunk.label == "Queued":
            break
    await chunks.aclose()
    assert [job.is_cancelled for job in town.jobs.values()] == [True]


# -- bad input ---------------------------------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
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


@pytest.mark.parametrize(("arguments", "error", "words"), BAD, ids=[next(iter(case[0])) for case in BAD])
async def test_bad_input_is_refused_before_anything_is_sent(
    town: Sandbox, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    """One clear sentence, and not even the Hub hears of it."""
    with pytest.raises(error, match=words):
        await collect(**arguments)
    assert not town.requests


async def test_without_a_credential_nothing_is_sent(town: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to get one."""
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(MissingAuthError, match="settings/tokens"):
        await collect()
    assert not town.requests


async def test_the_environments_token_stands_in_for_the_api_key(town: Sandbox) -> None:
    """An empty api_key is as none."""
    assert isinstance((await collect(api_key="", **SMALL))[-1], ImageResponse)


UNSUPPORTED = [
    ("nobody/nothing", ModelNotFoundError, "nobody/nothing"),
    ("acme/sleeping-model", ModelNotSupportedError, "staging"),
    (f"{IMAGE}:novita", ModelNotSupportedError, "novita"),
    ("black-forest-labs/FLUX.1-Kontext-dev", ModelNotSupportedError, "supports image-to-image"),
]


@pytest.mark.parametrize(("model", "error", "words"), UNSUPPORTED)
async def test_a_model_that_cannot_be_used_is_a_typed_error(
    town: Sandbox, model: str, error: type[Exception], words: str
) -> None:
    """It says what there is instead."""
    with pytest.raises(error, match=words):
        await collect(model)
    assert not town.submissions


# -- other ways to run it ----------------------------------------------------------------------------------------------


def test_it_runs_without_async(town: Sandbox) -> None:
    """As an ordinary generator, and by the names that retrying callers use."""
    for run in (HuggingFaceMedia.create_completion, HuggingFaceMedia.create_function):
        chunks = list(run(IMAGE, FOX, **SMALL))
        assert kinds(chunks) == ["ProviderInfo", "ImageResponse"]


async def test_it_runs_to_one_text(town: Sandbox) -> None:
    """Markdown alone, without what was told on the way."""
    text = await HuggingFaceMedia.create_async(IMAGE, FOX, **SMALL)
    assert text.startswith("\n<!-- generated images start -->")
    assert "Generating" not in text
    chunks = [chunk async for chunk in HuggingFaceMedia.async_create_function(IMAGE, FOX, **SMALL)]
    assert isinstance(chunks[-2], ProviderInfo)


async def test_calls_side_by_side_do_not_disturb_each_other(town: Sandbox) -> None:
    """Each has a client of its own."""
    results = await asyncio.gather(*(collect(prompt=f"fox {number}", **SMALL) for number in range(5)))
    assert [chunks[-1].alt for chunks in results] == [f"fox {number}" for number in range(5)]


def test_a_subclass_remembers_for_itself(town: Sandbox) -> None:
    """Nothing of it is seen in its base."""

    class Images(HuggingFaceMedia):
        tasks = ["text-to-image"]  # noqa: RUF012 - as callers write it

    Images.models = []
    assert IMAGE in Images.get_models()
    assert not Images.video_models
    assert HuggingFaceMedia.models == []


def test_where_a_provider_has_two_tasks_ours_goes_first() -> None:
    """The dict has room for one of them only; the Hub's order of providers stays."""
    from hfmedia.core.hub_models import HubModel, ProviderMapping

    offers = [("a", "image-to-video"), ("b", "text-to-video"), ("a", "text-to-video")]
    model = HubModel("x/y", tuple(ProviderMapping(provider=p, provider_id=t, task=t, status="live") for p, t in offers))
    assert [(name, told["task"]) for name, told in _live_mapping(model, ["text-to-video"]).items()] == [
        ("a", "text-to-video"),
        ("b", "text-to-video"),
    ]
