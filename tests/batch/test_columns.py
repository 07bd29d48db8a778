"""What a line means: every column, every way to get it wrong, and what the defaults add."""

from __future__ import annotations

from typing import Any

import pytest

from hfmedia.batch.columns import (
    Line,
    apply_defaults,
    canonical_column,
    parse_line,
    parse_options,
    parse_output_name,
    parse_value,
    suggest_column,
)
from hfmedia.core.errors import InvalidRequestError

FOX = {"prompt": "a red fox"}

READ: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"model": " org/name:fal-ai "}, {"model": "org/name:fal-ai"}),
    ({"task": "text-to-video"}, {"task": "text-to-video"}),
    ({"negative": "blur"}, {"negative_prompt": "blur"}),
    ({"Negative Prompt": "blur"}, {"negative_prompt": "blur"}),
    ({"seed": "7"}, {"seed": 7}),
    ({"seed": 7.0}, {"seed": 7}),
    ({"seed": 0}, {"seed": 0}),
    ({"size": "640x480"}, {"width": 640, "height": 480}),
    ({"width": "640", "height": 480}, {"width": 640, "height": 480}),
    ({"aspect-ratio": "16:9"}, {"aspect_ratio": "16:9"}),
    ({"resolution": "480p"}, {"resolution": "480p"}),
    ({"seconds": "2.5"}, {"seconds": 2.5}),
    ({"seconds": 2}, {"seconds": 2.0}),
    ({"fps": "24", "num_frames": 48}, {"fps": 24, "num_frames": 48}),
    ({"steps": "4"}, {"num_inference_steps": 4}),
    ({"num_inference_steps": 4}, {"num_inference_steps": 4}),
    ({"guidance": "3.5"}, {"guidance_scale": 3.5}),
    ({"guidance_scale": 3}, {"guidance_scale": 3.0}),
    ({"scheduler": "euler"}, {"scheduler": "euler"}),
    ({"output": "a/fox.png"}, {"output": "a/fox.png"}),
    ({"extra": {"a": 1}}, {"extra_body": {"a": 1}}),
    ({"extra": '{"a": 1}'}, {"extra_body": {"a": 1}}),
    ({"strength": 0.5, "extra": {"a": 1}}, {"extra_body": {"strength": 0.5, "a": 1}}),
    ({"Lora Weights": [1]}, {"extra_body": {"Lora Weights": [1]}}),
]


@pytest.mark.parametrize(("cells", "wish"), READ)
def test_a_column_becomes_what_the_client_is_told(cells: dict[str, Any], wish: dict[str, Any]) -> None:
    """By the library's names, however the column is spelled and whatever type its format has."""
    assert parse_line(3, {**FOX, **cells}, {}) == Line(number=3, options={**FOX, **wish})


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({}, "the prompt is empty"),
    ({"prompt": "  "}, "the prompt is empty"),
    ({"prompt": 7}, "prompt is 7, but must be text"),
    ({"prompt": "x" * 32_001}, "32001 characters"),
    ({**FOX, "seed": "seven"}, "seed is 'seven', but must be a whole number"),
    ({**FOX, "seed": 7.5}, "seed is 7.5, but must be a whole number"),
    ({**FOX, "seed": True}, "seed is True"),
    ({**FOX, "seed": -1}, "seed is -1"),
    ({**FOX, "seed": "9" * 41}, "must be a whole number"),
    ({**FOX, "guidance": "much"}, "guidance is 'much', but must be a number"),
    ({**FOX, "guidance": "nan"}, "guidance_scale is nan"),
    ({**FOX, "seconds": [1]}, "seconds is [1]"),
    ({**FOX, "size": "big"}, "size 'big' is not WIDTHxHEIGHT"),
    ({**FOX, "size": "64x64", "width": 64}, "size is given, and width or height as well"),
    ({**FOX, "width": 4}, "width is 4"),
    ({**FOX, "aspect_ratio": "16/9"}, "not WIDTH:HEIGHT"),
    ({**FOX, "resolution": "999p"}, "resolution '999p'"),
    ({**FOX, "model": "not a model"}, "not a model of the Hub"),
    ({**FOX, "task": "text-to-speech"}, "unknown task"),
    ({**FOX, "task": "image-to-image"}, "needs an input image"),
    ({**FOX, "task": "text-to-image", "image": "a.png"}, "takes no input image"),
    ({**FOX, "n": 0}, "n is 0"),
    ({**FOX, "n": 101}, "n is 101"),
    ({**FOX, "key": " "}, "key is empty"),
    ({**FOX, "negative": "a", "negative_prompt": "b"}, "negative_prompt is given twice"),
    ({**FOX, "key": "a", "id": "b"}, "key is given twice"),
    ({**FOX, "extra": "[1]"}, "extra is [1], but must be a JSON object"),
    ({**FOX, "extra": "{"}, "extra is not JSON"),
    ({**FOX, "extra": '{"a": NaN}'}, "extra is not JSON"),
    ({**FOX, "a": 1, "extra": {"a": 2}}, "a is a column, and in extra as well"),
    ({**FOX, "odd": {1, 2}, "worse": object()}, "cannot be sent as JSON"),
    ({**FOX, "output": "../fox.png"}, "leads out of the folder"),
    ({**FOX, "output": "a/../../fox.png"}, "leads out of the folder"),
    ({**FOX, "output": "/tmp/fox.png"}, "leads out of the folder"),
    ({**FOX, "output": "C:fox.png"}, "leads out of the folder"),
    ({**FOX, "output": "..\\fox.png"}, "leads out of the folder"),
    ({**FOX, "output": "a/"}, "is no file name"),
    ({**FOX, "output": "."}, "is no file name"),
    ({**FOX, "output": "a\0b"}, "is no file name"),
    ({**FOX, "output": "x" * 256}, "is no file name"),
    ({**FOX, "output": "index.jsonl"}, "the batch's own"),
]


@pytest.mark.parametrize(("cells", "words"), BROKEN)
def test_a_broken_cell_is_told_in_one_sentence(cells: dict[str, Any], words: str) -> None:
    """It names the column and quotes what was there."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_line(1, cells, {})
    assert words in caught.value.message
    assert len(caught.value.message) < 400


MERGED: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"model": "a"}, {}, {"model": "a"}),
    ({"model": "a"}, {"model": "b"}, {"model": "b"}),
    ({"width": 64, "height": 64}, {"aspect_ratio": "1:1"}, {"aspect_ratio": "1:1"}),
    ({"aspect_ratio": "1:1", "resolution": "480p"}, {"width": 64}, {"width": 64}),
    ({"resolution": "480p"}, {"aspect_ratio": "1:1"}, {"resolution": "480p", "aspect_ratio": "1:1"}),
    ({"width": 64, "height": 64}, {"width": 128}, {"width": 128}),
    ({"seconds": 2.0}, {"num_frames": 9}, {"num_frames": 9}),
    ({"num_frames": 9}, {"seconds": 2.0}, {"seconds": 2.0}),
    ({"extra_body": {"a": 1, "b": 1}}, {"extra_body": {"b": 2}}, {"extra_body": {"a": 1, "b": 2}}),
]


@pytest.mark.parametrize(("defaults", "own", "wish"), MERGED)
def test_a_line_takes_the_defaults_that_do_not_contradict_it(
    defaults: dict[str, Any], own: dict[str, Any], wish: dict[str, Any]
) -> None:
    """Size and length are each one thing, said in several ways."""
    assert apply_defaults(defaults, own) == wish


def test_the_number_of_outputs_and_the_key_of_a_line_are_not_part_of_the_wish() -> None:
    """They say how often, and which; a whole number is a key as well."""
    assert parse_line(1, {**FOX, "n": "3", "id": 12}, {}) == Line(number=1, options=FOX, n=3, key="12")


def test_a_default_number_of_outputs_is_for_lines_that_say_none() -> None:
    """The line's own goes first."""
    assert parse_line(1, FOX, {"n": 4}).n == 4
    assert parse_line(1, {**FOX, "n": 2}, {"n": 4}).n == 2


@pytest.mark.parametrize(
    ("cell", "value"), [("0.5", 0.5), ("true", True), ("[1]", [1]), ("euler", "euler"), ("NaN", "NaN"), ("{", "{")]
)
def test_a_text_cell_for_a_provider_is_json_where_it_is_json(cell: str, value: Any) -> None:
    """Else it is the text itself."""
    assert parse_value(cell) == value


def test_a_column_that_is_nearly_known_is_asked_about() -> None:
    """It is passed on all the same; nobody can know."""
    assert canonical_column("Guidance Scale") == "guidance_scale"
    assert canonical_column("heigth") is None
    assert suggest_column("heigth") == "height"
    assert suggest_column("lora") is None


def test_an_output_is_written_with_slashes() -> None:
    """On every system, whatever the file was made on."""
    assert parse_output_name("output", "a\\b.png") == "a/b.png"


def test_a_wish_is_made_of_what_is_there() -> None:
    """Nothing is added to it."""
    assert parse_options({}) == {}
