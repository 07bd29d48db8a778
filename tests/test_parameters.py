"""The table of generation parameters, and that every interface has every row of it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from hfmedia.batch.columns import COLUMN_PARSERS
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.parameters import OPTIONAL_PARAMETERS, PARAMETERS, Parameter, request_schema
from hfmedia.core.protocol import Route, Submit
from hfmedia.core.provider import adapt_request
from hfmedia.core.request import GenerationRequest, build_request
from hfmedia.options import VideoGenerationOptions
from hfmedia.providers import PROVIDERS

ROOT = Path(__file__).resolve().parent.parent
NAMES = [row.name for row in PARAMETERS]


def legal_value(row: Parameter) -> object:
    """A legal value of a parameter, as the library takes it."""
    if row.kind == "aspect_ratio":
        return "16:9"
    if row.choices:
        return row.choices[0]
    if row.minimum is None:
        return "some text"
    return int(max(row.minimum, 1)) if row.kind == "integer" else float(max(row.minimum, 0.5))


@pytest.mark.parametrize("row", PARAMETERS, ids=NAMES)
def test_a_row_says_what_every_interface_needs(row: Parameter) -> None:
    """Help as one sentence, a flag, a metavar, a range for numbers."""
    assert row.help.endswith((".", "…"))
    assert "\n" not in row.help
    assert row.flag.startswith("--")
    assert row.metavar
    assert (row.minimum is not None and row.maximum is not None) == (row.kind in ("integer", "number"))


@pytest.mark.parametrize("row", PARAMETERS, ids=NAMES)
def test_a_legal_value_is_accepted_and_reported(row: Parameter) -> None:
    """By name, as the library spells it."""
    value: Any = legal_value(row)
    request = build_request("text-to-image", "acme/model", prompt="a fox", **{row.name: value})
    assert request.parameters()[row.name] == value


@pytest.mark.parametrize("row", [row for row in PARAMETERS if row.minimum is not None], ids=lambda row: row.name)
def test_a_number_beyond_its_range_is_rejected(row: Parameter) -> None:
    """Below, above, of the wrong type; the message names the parameter."""
    assert row.minimum is not None
    assert row.maximum is not None
    values: tuple[Any, ...] = (row.minimum - 1, row.maximum + 1, "many", True, float("nan"))
    for value in values:
        with pytest.raises(InvalidRequestError, match=row.name):
            build_request("text-to-image", "acme/model", prompt="a fox", **{row.name: value})


@pytest.mark.parametrize("row", [row for row in PARAMETERS if row.choices], ids=lambda row: row.name)
def test_a_word_that_is_not_a_choice_is_rejected(row: Parameter) -> None:
    """The message lists the choices."""
    options: dict[str, Any] = {row.name: "banana"}
    with pytest.raises(InvalidRequestError, match=row.choices[0]):
        build_request("text-to-image", "acme/model", prompt="a fox", **options)


def test_the_keyword_options_are_those_of_the_table() -> None:
    """Their copy for type checkers is fresh."""
    assert set(NAMES) <= set(get_type_hints(VideoGenerationOptions))
    script = ROOT / "scripts" / "update_options.py"
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_a_batch_has_a_column_for_every_row() -> None:
    """Under the library's name."""
    assert set(NAMES) <= set(COLUMN_PARSERS)


def test_the_command_has_an_option_for_every_row() -> None:
    """In ``generate`` and, as defaults, in ``batch``; width and height are one option there, ``--size``."""
    from typer.main import get_command

    from hfmedia.cli.commands import batch, generate

    for module in (generate, batch):
        import typer

        app = typer.Typer()
        app.command()(getattr(module, module.__name__.rpartition(".")[2]))
        flags = {flag for option in get_command(app).params for flag in option.opts}
        expected = {row.flag for row in PARAMETERS if row.name not in ("width", "height")} | {"--size"}
        assert expected <= flags, f"{module.__name__}: {sorted(expected - flags)}"


def test_the_schema_for_tools_has_every_row() -> None:
    """With its range and choices."""
    properties = request_schema()["properties"]
    for row in PARAMETERS:
        assert properties[row.name] == row.json_schema()
        assert properties[row.name]["description"] == row.help


@pytest.mark.parametrize("provider", PROVIDERS, ids=str)
def test_a_provider_s_tables_name_parameters_that_exist(provider: str) -> None:
    """A parameter that a provider's table names is a row of ours."""
    for task, capabilities in PROVIDERS[provider].tasks.items():
        assert capabilities.parameters <= {*OPTIONAL_PARAMETERS, "image"}, task


def test_strength_without_an_input_image_is_dropped_with_a_warning() -> None:
    """It would mean nothing there; with an image it goes to the provider."""
    provider = PROVIDERS["fal-ai"]
    adapted = adapt_request(build_request("text-to-image", "a/b", prompt="a fox", strength=0.5), provider)
    assert adapted.request.strength is None
    assert "strength applies only with an input image" in adapted.warnings[0]


def test_strength_and_quality_reach_the_provider() -> None:
    """Through the provider's own table, in its own JSON."""
    from hfmedia.core.request import InputImage

    provider = PROVIDERS["fal-ai"]
    image = InputImage(url="https://example.com/fox.png")
    wanted = build_request("image-to-image", "a/b", prompt="a fox", image=image, strength=0.5, quality="high")
    adapted = adapt_request(wanted, provider)
    assert adapted.warnings == ()
    route = Route(
        provider="fal-ai", model="a/b", provider_id="fal-ai/flux/dev/image-to-image", task="image-to-image",
        base_url="https://queue.example.com", credential="FAL_KEY", via="direct",
    )  # fmt: skip
    body = provider.encode(Submit(adapted.request), route).body or b""
    assert b'"strength":0.5' in body
    assert b'"quality":"high"' in body


def test_the_request_has_no_parameter_beside_the_table() -> None:
    """Its other fields are what every request has."""
    assert set(GenerationRequest.__struct_fields__) - set(NAMES) == {"task", "model", "prompt", "image", "extra"}
    assert inspect.signature(build_request).parameters["parameters"].kind is inspect.Parameter.VAR_KEYWORD
