"""What our own API understands: every field by name, from JSON and from a form, and a clear word for the rest."""

from __future__ import annotations

from typing import Any

import pytest

from hfmedia.core.parameters import PARAMETERS
from hfmedia.options import VideoGenerationOptions
from hfmedia.server.api.native.requests import CreateJobsRequest, parse_create
from hfmedia.server.api.native.schemas import JSON_BODY
from hfmedia.server.db.generations import GenerationSpec
from hfmedia.server.errors import ApiError

READ: list[tuple[dict[str, Any], GenerationSpec]] = [
    ({"prompt": "a fox"}, GenerationSpec(prompt="a fox")),
    (
        {"prompt": "a fox", "model": "a/b", "provider": "fal-ai", "n": 3, "seed": 7},
        GenerationSpec(prompt="a fox", model="a/b:fal-ai", n=3, seed=7),
    ),
    ({"prompt": "a fox", "size": "64x32"}, GenerationSpec(prompt="a fox", options={"width": 64, "height": 32})),
    (
        {"prompt": "a fox", "n": "2", "guidance_scale": "3.5"},
        GenerationSpec(prompt="a fox", n=2, options={"guidance_scale": 3.5}),
    ),
    ({"prompt": "a fox", "extra": {"a": 1}}, GenerationSpec(prompt="a fox", options={"extra_body": {"a": 1}})),
    ({"prompt": "a fox", "extra": '{"a": 1}'}, GenerationSpec(prompt="a fox", options={"extra_body": {"a": 1}})),
    (
        {"task": "text-to-video", "prompt": "x", "seconds": 5, "fps": None, "resolution": ""},
        GenerationSpec(task="text-to-video", prompt="x", options={"seconds": 5.0}),
    ),
]


@pytest.mark.parametrize(("fields", "ask"), READ)
def test_fields_become_what_the_library_is_asked(fields: dict[str, Any], ask: GenerationSpec) -> None:
    """Texts of a form are read as what they stand for."""
    assert parse_create(fields) == (ask, None)


WRONG: list[tuple[dict[str, Any], str | None]] = [
    ({"prompt": 7}, "prompt"),
    ({"prompt": "x", "n": 0}, "n"),
    ({"prompt": "x", "n": 1000}, "n"),
    ({"prompt": "x", "n": [1]}, "n"),
    ({"prompt": "x", "size": "1e9x1"}, "size"),
    ({"prompt": "x", "model": "a b"}, "model"),
    ({"prompt": "x", "task": "text-to-sound"}, "task"),
    ({"prompt": "x", "extra": "{"}, "extra"),
    ({"prompt": "x", "extra": [1]}, "extra"),
    ({"prompt": "x", "colour": "red"}, None),
    ({"prompt": "x", "spec": {}}, None),
    ({"prompt": "x", "fps": 1000}, "fps"),
    ({"prompt": "x", "strength": 2}, "strength"),
    ({"prompt": "x", "quality": "banana"}, "quality"),
    ({"prompt": "x", "aspect_ratio": "wide"}, "aspect_ratio"),
    ({"prompt": " "}, "prompt"),
    ({}, "prompt"),
]


@pytest.mark.parametrize(("fields", "param"), WRONG)
def test_what_cannot_be_meant_is_refused_by_name(fields: dict[str, Any], param: str | None) -> None:
    """With the field at fault, before anything is sent."""
    with pytest.raises(ApiError) as caught:
        parse_create(fields)
    assert caught.value.status == 400
    assert caught.value.param == param


def test_an_image_does_not_go_with_a_task_from_text() -> None:
    """Whoever sends one means another task."""
    with pytest.raises(ApiError, match="takes no input image"):
        parse_create({"prompt": "x", "task": "text-to-video"}, uploaded=True)


def test_the_document_names_every_field_and_no_other() -> None:
    """And the fields are all that the library may be asked for."""
    names = {*CreateJobsRequest.__struct_fields__, *(row.name for row in PARAMETERS)}
    assert set(JSON_BODY["properties"]) == names
    library_only = {"timeout", "output", "target_size", "extra_body"}
    assert set(VideoGenerationOptions.__annotations__) - library_only <= names
