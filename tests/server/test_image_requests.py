"""What the images API understands: each field mapped, ignored with a word, or refused by name; and no other end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfmedia.core.parameters import PARAMETERS_BY_NAME
from hfmedia.server.api.openai.image_requests import BODY_FIELDS, ImageRequest, parse_image_request
from hfmedia.server.api.openai.video_requests import parse_video_request
from hfmedia.server.config import Config
from hfmedia.server.db.generations import GenerationSpec
from hfmedia.server.errors import ApiError

CONFIG = Config(
    aliases={"gpt-image-1": "a/b:fal-ai", "pen": {"text-to-image": "a/draw", "image-to-image": "a/edit"}},
)
X = {"prompt": "x"}


def ask(**options: Any) -> GenerationSpec:
    """What the library is asked when a prompt and these options were given."""
    return GenerationSpec(prompt="x", task="text-to-image", options=options)


MAPPED: list[tuple[dict[str, Any], GenerationSpec]] = [
    ({}, ask()),
    ({"size": "auto"}, ask()),
    ({"size": "512x256"}, ask(width=512, height=256)),
    ({"size": "16:9"}, ask(aspect_ratio="16:9")),
    ({"size": "720p"}, ask(resolution="720p")),
    ({"image_size": "512x256"}, ask(width=512, height=256)),
    ({"width": 64, "height": 32, "size": "512x512"}, ask(width=64, height=32)),
    ({"negative_prompt": "y", "guidance_scale": "3.5", "num_inference_steps": 4},
     ask(negative_prompt="y", guidance_scale=3.5, num_inference_steps=4)),
    ({"steps": 4, "cfg_scale": 2}, ask(num_inference_steps=4, guidance_scale=2.0)),
    ({"extra_body": {"a": 1}}, ask(extra_body={"a": 1})),
    ({"extra_body": '{"a": 1}'}, ask(extra_body={"a": 1})),
    ({"model": "a/b"}, GenerationSpec(prompt="x", task="text-to-image", model="a/b")),
    ({"model": "gpt-image-1"}, GenerationSpec(prompt="x", task="text-to-image", model="a/b:fal-ai")),
    ({"model": "pen"}, GenerationSpec(prompt="x", task="text-to-image", model="a/draw")),
    ({"n": "3", "seed": "7"}, GenerationSpec(prompt="x", task="text-to-image", n=3, seed=7)),
    ({"quality": "high"}, ask(quality="high")),
    ({"batch_size": 2}, GenerationSpec(prompt="x", task="text-to-image", n=2)),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "expected"), MAPPED)
def test_fields_become_what_the_library_is_asked(fields: dict[str, Any], expected: GenerationSpec) -> None:
    """Without a warning, for nothing was lost."""
    payload = parse_image_request({**X, **fields}, CONFIG, edits=False)
    assert payload.spec == expected
    assert payload.warnings == ()


TOLD: list[tuple[dict[str, Any], str]] = [
    ({"size": "1e9x1"}, "1e9x1"),
    ({"size": "banana"}, "banana"),
    ({"size": "0x0"}, "0x0"),
    ({"size": "9000x10"}, "9000x10"),
    ({"size": "99999x99999"}, "16384x16384"),
    ({"size": "8x8"}, "16x16"),
    ({"background": "transparent"}, "background"),
    ({"moderation": "low"}, "moderation"),
    ({"style": "natural"}, "style"),
    ({"complexity": "low"}, "complexity"),
    ({"frame_count": 4}, "frame_count"),
    ({"svg": {"model": "x"}}, "svg"),
    ({"mask": "x"}, "mask"),
    ({"markup": "x"}, "markup"),
    ({"input_fidelity": "high"}, "input_fidelity"),
    ({"quality": "4k"}, "4k"),
    ({"seconds": 0.1, "fps": 24}, "fps, seconds"),
    ({"partial_images": 2, "stream": True}, "partial_images"),
    ({"colour": "red", "loras[]": ["a"]}, "colour"),
    ({"provider": "fal-ai", "model": "a/b:together"}, "fal-ai"),
    ({"model": "dall-e-3"}, "'dall-e-3'"),
    ({"model": "gpt-image-2:together"}, "'gpt-image-2:together'"),
    ({"image": "https://a/b.png"}, "/v1/images/edits"),
    ({"images": [{"image_url": "https://a/b.png"}]}, "/v1/images/edits"),
]


@pytest.mark.parametrize(("fields", "word"), TOLD)
def test_unsupported_fields_are_reported_and_the_rest_is_used(fields: dict[str, Any], word: str) -> None:
    """In one warning that names it."""
    (warning,) = parse_image_request({**X, **fields}, CONFIG, edits=False).warnings
    assert word in warning


QUIET = [
    {"quality": "auto"},
    {"quality": "standard"},
    {"background": "auto"},
    {"moderation": "auto"},
    {"user": "me"},
    {"safety_identifier": "x"},
]


@pytest.mark.parametrize("fields", QUIET)
def test_what_asks_for_nothing_needs_no_warning(fields: dict[str, Any]) -> None:
    """Front-ends send these always."""
    assert parse_image_request({**X, **fields}, CONFIG, edits=False).warnings == ()


FILES: list[tuple[bool, dict[str, int], str | None]] = [
    (True, {"image": 1}, None),
    (True, {"image": 3}, "3 images"),
    (True, {"image": 1, "mask": 1}, "mask"),
    (True, {"image": 1, "markup": 1}, "markup"),
    (True, {"image": 1, "virus": 1}, "virus"),
    (False, {"image": 1}, "/v1/images/edits"),
    (False, {"virus": 1}, "virus"),
]


@pytest.mark.parametrize(("edits", "files", "word"), FILES)
def test_each_file_is_used_or_reported(edits: bool, files: dict[str, int], word: str | None) -> None:
    """None is dropped in silence."""
    warnings = parse_image_request(X, CONFIG, edits=edits, files=files).warnings
    assert len(warnings) == (word is not None)
    assert all(word in warning for warning in warnings if word)


PROVIDERS: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"provider": "together"}, "together"),
    ({"model": "a/b", "provider": "together"}, "together"),
    ({"model": "a/b:fal-ai", "provider": "together"}, None),
    ({"model": "dall-e-3:together"}, "together"),
    ({"model": "dall-e-3:together", "provider": "fal-ai"}, "fal-ai"),
    ({"model": "dall-e-3:"}, None),
    ({"model": "gpt-image-1:together"}, None),  # an alias of the configuration that names its provider itself
]


@pytest.mark.parametrize(("fields", "provider"), PROVIDERS)
def test_a_provider_may_be_named_apart_or_behind_the_model(fields: dict[str, Any], provider: str | None) -> None:
    """Behind a name that stands for the default model as well."""
    assert parse_image_request({**X, **fields}, CONFIG, edits=False).provider == provider


SIZES = ["auto", "720p", "16:9", "832x480", "9999x64", "100000x100", "4096x256", "1e9x1", "0x0", "big", ""]


@pytest.mark.parametrize("size", SIZES)
def test_a_size_means_the_same_for_images_and_videos(size: str) -> None:
    """The same options, and a warning for the one where there is a warning for the other."""
    image = parse_image_request({**X, "size": size}, CONFIG, edits=False)
    video = parse_video_request({**X, "size": size}, CONFIG, uploaded=False)
    assert image.spec.options == video.spec.options
    assert len(image.warnings) == len(video.warnings)


def test_an_alias_may_differ_by_task_and_miss_one() -> None:
    """What it does not stand for is refused by name."""
    assert (
        parse_image_request({**X, "model": "pen", "image": "https://a/b.png"}, CONFIG, edits=True).spec.model
        == "a/edit"
    )
    only = Config(aliases={"pen": {"text-to-image": "a/draw"}})
    with pytest.raises(ApiError, match="has no model for image-to-image"):
        parse_image_request({**X, "model": "pen", "image": "https://a/b.png"}, only, edits=True)


def test_the_built_in_names_can_be_switched_off() -> None:
    """Then they are models like any other, which the Hub does not know."""
    assert (
        parse_image_request({**X, "model": "dall-e-3"}, Config(builtin_aliases=False), edits=False).spec.model
        == "dall-e-3"
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["512x512", "auto", "b64_json", "png", "gpt-image-1", "\ud800", "data:,", "https://["]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
OTHER_NAMES = ("image", "images", "svg", "mask", "image_size", "batch_size")
NAMES = st.sampled_from([*BODY_FIELDS, *PARAMETERS_BY_NAME, *OTHER_NAMES])


@settings(max_examples=300, deadline=None)
@given(fields=st.dictionaries(NAMES | st.text(max_size=12), VALUES, max_size=8), edits=st.booleans())
def test_any_body_is_a_request_or_an_error(fields: dict[str, Any], edits: bool) -> None:
    """And nothing else, whatever is in it."""
    try:
        assert isinstance(parse_image_request({**X, **fields}, CONFIG, edits=edits), ImageRequest)
    except ApiError as refusal:
        assert refusal.status == 400
        refusal.message.encode()


def test_a_provider_behind_a_name_of_openais_is_kept() -> None:
    """For images and for videos alike; and a warning says that a default was used."""
    image = parse_image_request({**X, "model": "dall-e-3:fal-ai"}, CONFIG, edits=False)
    video = parse_video_request({**X, "model": "sora-2:fal-ai"}, CONFIG, uploaded=False)
    for payload, name in ((image, "dall-e-3"), (video, "sora-2")):
        assert (payload.spec.model, payload.provider) == (None, "fal-ai")
        assert name in payload.warnings[0]
