"""Options that several commands share, and those that come from the table of generation parameters.

Imports only typer, so that help pages load quickly; the table is loaded when a command with its options is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hfmedia.core.parameters import Parameter

SIZE_PANEL, GENERATION_PANEL = "Size and length", "Generation"
CONNECTION_PANEL, OUTPUT_PANEL = "Connection and billing", "Output"
LIMITS_PANEL = "Concurrency and limits"

AS_JSON = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object per line.")]
QUIET = Annotated[bool, typer.Option("-q", "--quiet", metavar="", help="Print only results and errors.")]
PROXY = Annotated[str | None, typer.Option(metavar="URL", help="http://… or socks5://…; default: the proxy variables.")]
SANDBOX = Annotated[bool, typer.Option("--sandbox", metavar="", help="Use the local simulation: no account, no cost.")]

# The same for commands whose help has panels.
TASK = Annotated[
    str | None,
    typer.Option(
        metavar="TASK",
        help="text-to-image, text-to-video, image-to-image or image-to-video. Default: the model's own task.",
    ),
]
IMAGE = Annotated[str | None, typer.Option(metavar="FILE|URL", help="Input image.")]
SIZE = Annotated[str | None, typer.Option(metavar="WxH", help="Size in pixels: 1024x768.", rich_help_panel=SIZE_PANEL)]
PARAM = Annotated[
    list[str] | None,
    typer.Option(
        "-p",
        "--param",
        metavar="KEY=VALUE",
        help="Any other parameter, as JSON or text; passed to the provider unchanged. May be repeated.",
        rich_help_panel=GENERATION_PANEL,
    ),
]
CONNECTION_PROXY = Annotated[
    str | None,
    typer.Option(
        "--proxy",
        metavar="URL",
        help="http://… or socks5://…; default: the proxy variables.",
        rich_help_panel=CONNECTION_PANEL,
    ),
]
BILL_TO = Annotated[
    str | None,
    typer.Option(metavar="ORG", help="Bill this organization instead of you.", rich_help_panel=CONNECTION_PANEL),
]
CONNECTION_SANDBOX = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        metavar="",
        help="Use the local simulation: no account, no cost.",
        rich_help_panel=CONNECTION_PANEL,
    ),
]
OUTPUT_AS_JSON = Annotated[
    bool,
    typer.Option(
        "--json",
        metavar="",
        help="Print one JSON object per line: results on stdout, errors and notes on stderr.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
OUTPUT_QUIET = Annotated[
    bool,
    typer.Option("-q", "--quiet", metavar="", help="Print only results and errors.", rich_help_panel=OUTPUT_PANEL),
]

SIZED_BY_SIZE = ("width", "height")  # rows of the table that the command takes together, as --size


def with_parameter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a Typer command so that its argument ``parameters`` becomes one option per row of the table.

    The command receives a mapping from the names of the table to the values of the options, None where not given.
    """
    from hfmedia.core.parameters import PARAMETERS

    rows = [row for row in PARAMETERS if row.name not in SIZED_BY_SIZE]
    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())
    position = next(index for index, parameter in enumerate(own) if parameter.name == "parameters")
    own[position : position + 1] = [_signature_parameter(row) for row in rows]

    @wraps(command)
    def with_options(**values: Any) -> None:
        parameters: Mapping[str, Any] = {row.name: values.pop(row.name) for row in rows}
        command(**values, parameters=parameters)

    vars(with_options)["__signature__"] = signature.replace(parameters=own)
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in own} | {"return": None}
    return with_options


def _signature_parameter(row: Parameter) -> inspect.Parameter:
    value_type: Any = {"integer": int, "number": float}.get(row.kind, str)
    text = row.help
    if row.choices and not any(f" {choice}" in text for choice in row.choices):
        text = f"{text.removesuffix('.')}: {', '.join(row.choices)}."
    panel = GENERATION_PANEL if row.group == "generation" else SIZE_PANEL
    option = typer.Option(row.flag, metavar=row.metavar, help=text, rich_help_panel=panel)
    annotation = Annotated[value_type | None, option]
    return inspect.Parameter(row.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
