"""Validation of requests: invalid input gets one clear sentence and exit code 2, before anything is sent."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfmedia.core.errors import HfmediaError, InvalidRequestError
from hfmedia.core.request import (
    MAX_OUTPUTS,
    MAX_PROMPT_CHARS,
    MAX_SEED,
    ROUTING_POLICIES,
    TASKS,
    GenerationRequest,
    InputImage,
    ModelSpec,
    build_request,
    comparable,
    parse_model_spec,
    parse_task,
    validate_output_count,
    validate_request,
    with_seed,
)
from hfmedia.core.sizes import AspectRatio, SizeSpec

IMAGE = InputImage(data=b"\x89PNG", mime="image/png", name="fox.png")
HUGE = 10**5000  # Python raises an error when it formats this number


def rejection(call: Any, *args: Any, **kwargs: Any) -> str:
    """Return the message of the error that a call raises; check that it is one short sentence of the right class."""
    with pytest.raises(InvalidRequestError) as caught:
        call(*args, **kwargs)
    sentence = str(caught.value)
    assert caught.value.exit_code == 2
    assert isinstance(caught.value, ValueError)
    assert sentence
    assert "\n" not in sentence
    assert len(sentence) < 400
    return sentence


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "no prompt": ({"prompt": None}, "prompt is empty"),
    "empty prompt": ({"prompt": ""}, "prompt is empty"),
    "blank prompt": ({"prompt": " \n\t "}, "prompt is empty"),
    "long prompt": ({"prompt": "x" * (MAX_PROMPT_CHARS + 1)}, "32001 characters; at most 32000"),
    "prompt is a number": ({"prompt": 7}, "prompt is 7, but must be text"),
    "prompt is bytes": ({"prompt": b"fox"}, "must be text"),
    "prompt is half a character": ({"prompt": "fox \udcff"}, "UTF-8"),
    "long negative": ({"negative_prompt": "x" * (MAX_PROMPT_CHARS + 1)}, "negative prompt has 32001"),
    "long list of negatives": ({"negative_prompt": ["x" * 20_000] * 2}, "negative prompt has 40002"),
    "negative is a number": ({"negative_prompt": 1.5}, "negative prompt is 1.5, but must be text"),
    "negatives are numbers": ({"negative_prompt": ["a", 3]}, "negative prompt is 3, but must be text"),
    "unknown task": ({"task": "text-to-song"}, "unknown task 'text-to-song'; choose one of text-to-image"),
    "task is none": ({"task": None}, "unknown task None"),
    "long task": ({"task": "x" * 9000}, "unknown task"),
    "model is a number": ({"model": 3}, "model is 3, but must be text"),
    "unknown parameter": (
        {"color": "red"},
        "unknown parameter 'color'; use extra_body for parameters of the provider",
    ),
    "zero width": ({"width": 0, "height": 512}, "width is 0"),
    "negative height": ({"height": -512}, "height is -512"),
    "absurd width": ({"width": 999_999}, "width is 999999, but must be 16 to 16384 pixels"),
    "unprintable width": ({"width": HUGE}, "more than 40 digits"),
    "width is text": ({"width": "512"}, "width is '512', but must be a whole number"),
    "width is a fraction": ({"width": 512.0}, "width is 512.0, but must be a whole number"),
    "width is true": ({"width": True}, "width is True, but must be a whole number"),
    "height is nan": ({"height": math.nan}, "height is nan, but must be a whole number"),
    "ratio with a slash": ({"aspect_ratio": "16/9"}, "aspect ratio '16/9' is not WIDTH:HEIGHT, such as 16:9"),
    "ratio banana": ({"aspect_ratio": "banana"}, "'banana' is not WIDTH:HEIGHT"),
    "ratio of zero": ({"aspect_ratio": "0:1"}, "side of zero"),
    "ratio is a number": ({"aspect_ratio": 1.5}, "aspect ratio is 1.5, but must be text such as '16:9'"),
    "invalid AspectRatio": ({"aspect_ratio": AspectRatio(0, 1)}, "side of zero"),
    "AspectRatio of text": ({"aspect_ratio": AspectRatio("a", 1)}, "must be a whole number"),  # type: ignore[arg-type]
    "ratio beyond all models": ({"aspect_ratio": "100:1"}, "beyond 8:1"),
    "resolution banana": ({"resolution": "banana"}, "'banana' is not one of 240p"),
    "resolution is a number": ({"resolution": 480}, "resolution is 480, but must be text"),
    "seed below zero": ({"seed": -1}, "seed is -1"),
    "seed too large": ({"seed": MAX_SEED + 1}, "seed is 18446744073709551616"),
    "seed is text": ({"seed": "7"}, "seed is '7', but must be a whole number"),
    "seed is true": ({"seed": True}, "seed is True, but must be a whole number"),
    "no steps": ({"num_inference_steps": 0}, "num_inference_steps is 0, but must be 1 to 1000"),
    "steps are a fraction": ({"num_inference_steps": 2.5}, "must be a whole number"),
    "guidance is nan": ({"guidance_scale": math.nan}, "guidance_scale is nan, but must be a number"),
    "guidance is endless": ({"guidance_scale": math.inf}, "guidance_scale is inf, but must be 0 to 1000"),
    "guidance is text": ({"guidance_scale": "7"}, "guidance_scale is '7', but must be a number"),
    "guidance is false": ({"guidance_scale": False}, "guidance_scale is False, but must be a number"),
    "guidance is unprintable": ({"guidance_scale": HUGE}, "more than 40 digits"),
    "guidance below zero": ({"guidance_scale": -0.1}, "guidance_scale is -0.1, but must be 0 to 1000"),
    "no frames": ({"num_frames": 0}, "num_frames is 0"),
    "no seconds": ({"seconds": 0}, "seconds is 0"),
    "seconds are text": ({"seconds": "5"}, "seconds is '5', but must be a number"),
    "seconds in hours": ({"seconds": 3601}, "seconds is 3601, but must be 0.1 to 3600"),
    "fps of zero": ({"fps": 0}, "fps is 0, but must be 1 to 240"),
    "scheduler is a number": ({"scheduler": 3}, "scheduler is 3, but must be text"),
    "extra_body is text": ({"extra": "a=b"}, "extra_body is 'a=b', but must be a dict"),
    "extra_body is a list": ({"extra": ["a"]}, "extra_body is ['a'], but must be a dict"),
    "extra has a number for a name": ({"extra": {1: 2}}, "name of a parameter is 1, but must be text"),
    "extra_body is no JSON": ({"extra": {"a": object()}}, "extra_body cannot be sent as JSON"),
    "extra_body is half a character": ({"extra": {"a": "\ud800"}}, "extra_body cannot be sent as JSON"),
    "an image for a text task": ({"image": IMAGE}, "text-to-image takes no input image; use image-to-image"),
    "no image for an image task": ({"task": "image-to-video"}, "image-to-video needs an input image"),
    "an empty image": ({"task": "image-to-image", "image": InputImage(data=b"")}, "input image is empty"),
    "an image by its path": ({"task": "image-to-image", "image": "fox.png"}, "must be an InputImage"),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_input_is_rejected_in_one_sentence(name: str) -> None:
    """The sentence says what is wrong and what would be right."""
    change, message = INVALID[name]
    fields: dict[str, Any] = {"task": "text-to-image", "model": "a/b", "prompt": "a red fox", **change}
    assert message in rejection(build_request, fields.pop("task"), fields.pop("model"), **fields)


VALID: list[dict[str, Any]] = [
    {"prompt": "x" * MAX_PROMPT_CHARS},
    {"prompt": "ein Füchslein 🦊"},
    {"seed": 0},
    {"seed": MAX_SEED},
    {"width": 16, "height": 16_384},
    {"guidance_scale": 0},
    {"guidance_scale": 7.5},
    {"seconds": 0.5, "fps": 24, "num_frames": 81},
    {"aspect_ratio": AspectRatio(16, 9)},
    {"resolution": ""},
    {"resolution": "2K"},
    {"extra": None},
    {"extra": {"loras": [{"path": "a/b", "scale": 1}], "safe": True}},
    {"task": "image-to-image", "prompt": None, "image": IMAGE},
    {"task": "image-to-video", "image": InputImage(url="https://example.com/fox.png")},
]


@pytest.mark.parametrize("change", VALID)
def test_valid_input_is_accepted(change: dict[str, Any]) -> None:
    """The bounds are valid."""
    fields = {"task": "text-to-image", "model": "a/b", "prompt": "a red fox", **change}
    request = build_request(fields.pop("task"), fields.pop("model"), **fields)
    validate_request(request)


def test_negative_prompts_may_be_a_list() -> None:
    """huggingface_hub takes a list for videos."""
    request = build_request("text-to-video", "a/b", prompt="x", negative_prompt=["blurry", "text"])
    assert request.negative_prompt == "blurry, text"
    assert build_request("text-to-video", "a/b", prompt="x", negative_prompt="blurry").negative_prompt == "blurry"


def test_the_dict_of_a_caller_is_copied() -> None:
    """Later changes by the caller do not affect the request."""
    extra = {"a": 1}
    request = build_request("text-to-image", "a/b", prompt="x", extra=extra)
    extra["a"] = 2
    assert request.extra == {"a": 1}


def test_the_parameters_of_a_size_are_normalized() -> None:
    """Ratios are parsed, resolutions are in lower case."""
    request = build_request("text-to-image", "a/b", prompt="x", width=64, aspect_ratio="16:9", resolution="1K")
    assert request.size_spec == SizeSpec(width=64, aspect_ratio=AspectRatio(16, 9), resolution="1k")


def test_parameters_are_returned_as_plain_data() -> None:
    """For the sidecar: everything that was requested and nothing else."""
    request = build_request("text-to-image", "a/b", prompt="x", seed=0, aspect_ratio="16:9", extra={"style": "oil"})
    assert request.parameters() == {"seed": 0, "aspect_ratio": "16:9", "style": "oil"}
    assert msgspec.json.decode(msgspec.json.encode(request.parameters())) == request.parameters()


def test_the_output_kind_follows_from_the_task() -> None:
    """Images or videos."""
    kinds = {task: GenerationRequest(task=task, model="a/b").output_kind for task in TASKS}
    assert kinds == {
        "text-to-image": "image",
        "text-to-video": "video",
        "image-to-image": "image",
        "image-to-video": "video",
    }


def test_another_seed_is_another_request() -> None:
    """The first one is not modified."""
    first = build_request("text-to-image", "a/b", prompt="x", seed=1)
    assert (with_seed(first, 2).seed, first.seed, with_seed(first, None).seed) == (2, 1, None)


def test_an_image_does_not_show_its_bytes() -> None:
    """Megabytes do not belong in a traceback, neither as bytes nor as a data: URI."""
    assert repr(InputImage(data=b"x" * 10_000, mime="image/png")) == "InputImage(10000 bytes of image/png)"
    assert len(repr(InputImage(url="data:image/png;base64," + "A" * 10_000))) < 300


@pytest.mark.parametrize("n", [1, 2, MAX_OUTPUTS])
def test_a_valid_number_of_outputs_is_accepted(n: int) -> None:
    """The bounds are valid."""
    assert validate_output_count(n) == n


@pytest.mark.parametrize(
    "n", [0, -1, MAX_OUTPUTS + 1, True, 1.0, math.nan, "4", None, pytest.param(HUGE, id="unprintable")]
)
def test_an_invalid_number_of_outputs_is_rejected(n: Any) -> None:
    """Every output is billed, so a mistake here is expensive."""
    assert rejection(validate_output_count, n).startswith("n is ")


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_known_by_its_name(task: str) -> None:
    """In exactly this spelling."""
    assert parse_task(task) == task
    rejection(parse_task, task.upper())
    rejection(parse_task, f" {task}")


@pytest.mark.parametrize(
    ("text", "model_spec"),
    [
        ("a/b", ModelSpec("a/b")),
        (" a/b\n", ModelSpec("a/b")),
        ("gpt2", ModelSpec("gpt2")),
        ("black-forest-labs/FLUX.1-schnell:fal-ai", ModelSpec("black-forest-labs/FLUX.1-schnell", "fal-ai")),
        ("a/b:my_provider-2", ModelSpec("a/b", "my_provider-2")),
        ("a/b:fastest", ModelSpec("a/b", policy="fastest")),
        ("a/b:cheapest", ModelSpec("a/b", policy="cheapest")),
        ("a/b:preferred", ModelSpec("a/b", policy="preferred")),
        ("a/b:Fastest", ModelSpec("a/b", "Fastest")),
    ],
)
def test_a_model_spec_is_parsed(text: str, model_spec: ModelSpec) -> None:
    """The model, then a provider or a policy; formatting it again yields the same."""
    assert parse_model_spec(text) == model_spec
    assert parse_model_spec(str(model_spec)) == model_spec


INVALID_MODELS = [
    "", " ", ":", "/", "a/", "/b", "a//b", "a/b/c", "..", "../b", "a/..", "a/b..", ".a/b", "a/../../api/whoami-v2",
    "a b/c", "a/b c", "a/b?x=1", "a/b#f", "a/%2e%2e", "a\\b", "a/b\x00", "a/\nb", "a/b\u202e", "https://evil.com/a",
    "a/b:", "a/b: ", "a/b:fal ai", "a/b:fal/ai", "a/b:../x", "a/b:fal-ai:x", "a/b:-", "a/b:__", "a/b:f\u00e4l",
    "a/b:fal-ai\x00", "a/<b>", "a/'b'", 'a/"b"', "a/\udcff",
]  # fmt: skip


@pytest.mark.parametrize("text", INVALID_MODELS, ids=ascii)
def test_an_invalid_model_is_rejected(text: str) -> None:
    """A model's name becomes part of a URL and must not lead elsewhere."""
    rejection(parse_model_spec, text)


@pytest.mark.parametrize("text", [None, 3, b"a/b", ["a/b"], "x" * 9000, "a/" + "b" * 201], ids=lambda v: repr(v)[:20])
def test_a_model_of_the_wrong_type_or_length_is_rejected(text: Any) -> None:
    """Before it is parsed."""
    rejection(parse_model_spec, text)


@given(st.text(max_size=40))
def test_any_text_is_a_safe_model_or_rejected(text: str) -> None:
    """A model has at most two plain parts."""
    try:
        model_spec = parse_model_spec(text)
    except InvalidRequestError:
        return
    assert 1 <= len(model_spec.model.split("/")) <= 2
    assert not set(model_spec.model) & set(" ?#%\\\"'<>:\n\r\t\0")
    assert ".." not in model_spec.model
    assert model_spec.policy in (None, *ROUTING_POLICIES)
    assert model_spec.provider is None or model_spec.policy is None


FIELDS = [name for name in GenerationRequest.__struct_fields__ if name not in ("task", "model")]
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=8),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*FIELDS, "banana"]), anything), anything, anything)
def test_any_input_is_a_valid_request_or_a_clear_error(fields: dict[str, Any], task: Any, model: Any) -> None:
    """No other exception is raised, and every valid request can be encoded as JSON."""
    for any_task in (task, "text-to-image", "image-to-video"):
        try:
            request = build_request(any_task, model if isinstance(model, str) else "a/b", **fields)
        except HfmediaError as error:
            assert isinstance(error, InvalidRequestError)
            assert len(str(error)) < 400
        else:
            again = msgspec.json.decode(msgspec.json.encode(request), type=GenerationRequest)
            assert again.prompt == request.prompt
            assert again.size_spec == request.size_spec


def test_parameters_that_were_extra_before_compare_equal() -> None:
    """A job of an earlier version is found again by its key, although ``strength`` was in ``extra`` then."""
    image = InputImage(url="https://example.com/fox.png")
    options: dict[str, Any] = {"prompt": "a fox", "image": image}
    old = build_request("image-to-image", "a/b", extra={"strength": 0.5, "quality": "high", "cfg_scale": 3}, **options)
    new = build_request("image-to-image", "a/b", strength=0.5, quality="high", guidance_scale=3.0, **options)
    assert comparable(old) == comparable(new)
    assert comparable(new) != comparable(build_request("image-to-image", "a/b", strength=0.6, **options))
    assert comparable(old).extra is not old.extra
