"""Parsing of lines: every column, invalid values, and defaults."""

from __future__ import annotations

from typing import Any

import pytest

from hfmedia.batch.columns import (
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
    ({"shift": 0.5, "extra": {"a": 1}}, {"extra_body": {"shift": 0.5, "a": 1}}),
    ({"strength": "0.5"}, {"strength": 0.5}),
    ({"quality": " high "}, {"quality": "high"}),
    ({"CFG scale": 7}, {"guidance_scale": 7.0}),
    ({"Lora Weights": [1]}, {"extra_body": {"Lora Weights": [1]}}),
]


@pytest.mark.parametrize(("cells", "options"), READ)
def test_a_column_becomes_an_option_of_the_client(cells: dict[str, Any], options: dict[str, Any]) -> None:
    """By the library's names, however the column is spelled and whatever type its format has."""
    line = parse_line(3, {**FOX, **cells}, {})
    assert (line.number, line.options, line.n, line.key) == (3, {**FOX, **options}, 1, None)


INVALID: list[tuple[dict[str, Any], str]] = [
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
    ({**FOX, "size": "64x64", "width": 64}, "size is given together with width or height"),
    ({**FOX, "width": 4}, "width is 4"),
    ({**FOX, "aspect_ratio": "16/9"}, "not WIDTH:HEIGHT"),
    ({**FOX, "resolution": "999p"}, "resolution '999p'"),
    ({**FOX, "model": "not a model"}, "not a model on the Hub"),
    ({**FOX, "task": "text-to-speech"}, "unknown task"),
    ({**FOX, "task": "image-to-image"}, "needs an input image"),
    ({**FOX, "task": "text-to-image", "image": "a.png"}, "takes no input image"),
    ({**FOX, "n": 0}, "n is 0"),
    ({**FOX, "n": 101}, "n is 101"),
    ({**FOX, "key": " "}, "key is empty"),
    ({**FOX, "negative": "a", "negative_prompt": "b"}, "negative_prompt is given twice"),
    ({**FOX, "key": "a", "id": "b"}, "key is given twice"),
    ({**FOX, "extra": "[1]"}, "extra is [1], but must be a JSON object"),
    ({**FOX, "extra": "{"}, "extra is not valid JSON"),
    ({**FOX, "extra": '{"a": NaN}'}, "extra is not valid JSON"),
    ({**FOX, "a": 1, "extra": {"a": 2}}, "a is given both as a column and in extra"),
    ({**FOX, "strength": 0.5, "extra": {"strength": 1}}, "strength is given both as a column and in extra"),
    ({**FOX, "strength": 2}, "strength is 2.0, but must be 0 to 1"),
    ({**FOX, "quality": "best"}, "quality is 'best', but must be one of"),
    ({**FOX, "odd": {1, 2}, "worse": object()}, "cannot be sent as JSON"),
    ({**FOX, "output": "../fox.png"}, "is outside the folder"),
    ({**FOX, "output": "a/../../fox.png"}, "is outside the folder"),
    ({**FOX, "output": "/tmp/fox.png"}, "is outside the folder"),
    ({**FOX, "output": "C:fox.png"}, "is outside the folder"),
    ({**FOX, "output": "..\\fox.png"}, "is outside the folder"),
    ({**FOX, "output": "a/"}, "is not a valid file name"),
    ({**FOX, "output": "."}, "is not a valid file name"),
    ({**FOX, "output": "a\0b"}, "is not a valid file name"),
    ({**FOX, "output": "x" * 256}, "is not a valid file name"),
    ({**FOX, "output": "index.jsonl"}, "reserved for the index"),
]


@pytest.mark.parametrize(("cells", "text"), INVALID)
def test_an_invalid_cell_is_one_message(cells: dict[str, Any], text: str) -> None:
    """It names the column and quotes the value."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_line(1, cells, {})
    assert text in caught.value.message
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
    ({"extra_body": {"strength": 1}}, {"strength": 0.5}, {"strength": 0.5}),
    ({"strength": 0.5}, {"extra_body": {"strength": 1}}, {"extra_body": {"strength": 1}}),
]


@pytest.mark.parametrize(("defaults", "own", "options"), MERGED)
def test_a_line_takes_the_defaults_that_do_not_contradict_it(
    defaults: dict[str, Any], own: dict[str, Any], options: dict[str, Any]
) -> None:
    """Size and length can each be given in several ways."""
    assert apply_defaults(defaults, own) == options


def test_the_number_of_outputs_and_the_key_of_a_line_are_not_options() -> None:
    """They are fields of the line; a whole number is a valid key."""
    line = parse_line(1, {**FOX, "n": "3", "id": 12}, {})
    assert (line.options, line.keyed_options, line.n, line.key) == (FOX, FOX, 3, "12")


def test_a_default_number_of_outputs_is_for_lines_without_one() -> None:
    """The line's own has precedence."""
    assert parse_line(1, FOX, {"n": 4}).n == 4
    assert parse_line(1, {**FOX, "n": 2}, {"n": 4}).n == 2


@pytest.mark.parametrize(
    ("cell", "value"), [("0.5", 0.5), ("true", True), ("[1]", [1]), ("euler", "euler"), ("NaN", "NaN"), ("{", "{")]
)
def test_a_text_cell_for_a_provider_is_parsed_as_json_where_it_is_valid(cell: str, value: Any) -> None:
    """Else it is the text itself."""
    assert parse_value(cell) == value


def test_a_misspelled_column_has_a_suggestion() -> None:
    """Only a similar name is suggested."""
    assert canonical_column("Guidance Scale") == "guidance_scale"
    assert canonical_column("heigth") is None
    assert suggest_column("heigth") == "height"
    assert suggest_column("lora") is None


def test_an_output_is_written_with_slashes() -> None:
    """On every system, whatever system the file comes from."""
    assert parse_output_name("output", "a\\b.png") == "a/b.png"


def test_no_cells_are_no_options() -> None:
    """Nothing is added."""
    assert parse_options({}) == {}
