"""The table of generation parameters: one row per parameter, from which every interface derives its own form of it.

Validation, the command's options, batch columns, OpenAPI schemas, the page's form and the JSON schema for tools read
``PARAMETERS``. Adding a parameter means adding one row here, naming it in the tables of the providers that take it, and
running ``make options``, which copies the row's type into the keyword options that type checkers see.
"""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_type_hints

from msgspec import Struct, structs

from .sizes import MAX_SIDE, MIN_SIDE, RESOLUTIONS, AspectRatio

ParameterKind = Literal["text", "integer", "number", "aspect_ratio", "resolution"]
ParameterGroup = Literal["size", "length", "generation"]
MAX_SEED = 2**64 - 1  # fal.ai reports seeds beyond 2^53
JSON_TYPES: dict[ParameterKind, str] = {"integer": "integer", "number": "number"}  # every other kind is a string
_KINDS: dict[Any, ParameterKind] = {int: "integer", float: "number", str: "text", AspectRatio: "aspect_ratio"}


class Parameter(Struct, frozen=True, kw_only=True):
    """One parameter, as every interface describes it.

    Attributes:
        name: the field of GenerationRequest, the keyword of the library, the field of the HTTP APIs, the batch column.
        kind: type of a value; ``aspect_ratio`` and ``resolution`` are text with their own grammar.
        group: section of a form or a help page that shows it.
        help: one line, for help pages, forms and schemas.
        minimum: smallest valid number; None where there is none.
        maximum: largest valid number.
        choices: the valid texts; empty where any text is valid.
        flag: option of the command.
        metavar: placeholder for the value on a help page.
        aliases: other names for it in batch columns and HTTP clients.
        video_only: applies only to videos.
        needs_image: applies only to tasks with an input image.
    """

    group: ParameterGroup
    help: str
    name: str = ""
    kind: ParameterKind = "text"
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    flag: str = ""
    metavar: str = "TEXT"
    aliases: tuple[str, ...] = ()
    video_only: bool = False
    needs_image: bool = False

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON schema of one value."""
        schema: dict[str, Any] = {"type": JSON_TYPES.get(self.kind, "string"), "description": self.help}
        if self.minimum is not None:
            schema["minimum"] = self.minimum
        if self.maximum is not None:
            schema["maximum"] = self.maximum
        if self.choices:
            schema["enum"] = list(self.choices)
        return schema


class GenerationParameters(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The table: a field is a row, described by its annotation. None means the provider's default."""

    negative_prompt: Annotated[
        str | None,
        Parameter(group="generation", help="What to keep out of the result.", flag="--negative", aliases=("negative",)),
    ] = None
    width: Annotated[
        int | None,
        Parameter(group="size", help="Width in pixels.", minimum=MIN_SIDE, maximum=MAX_SIDE, metavar="PIXELS"),
    ] = None
    height: Annotated[
        int | None,
        Parameter(group="size", help="Height in pixels.", minimum=MIN_SIDE, maximum=MAX_SIDE, metavar="PIXELS"),
    ] = None
    aspect_ratio: Annotated[
        AspectRatio | None, Parameter(group="size", help="Aspect ratio, such as 16:9.", metavar="W:H")
    ] = None
    resolution: Annotated[
        str | None,
        Parameter(
            group="size", help="Resolution by name: 480p, 720p, 1080p, 2k …", kind="resolution", metavar="NAME",
            choices=tuple(RESOLUTIONS),
        ),
    ] = None  # fmt: skip
    seed: Annotated[
        int | None,
        Parameter(
            group="generation", help="Seed; the same seed reproduces the result. -n counts up from it.",
            minimum=0, maximum=MAX_SEED, metavar="N",
        ),
    ] = None  # fmt: skip
    num_inference_steps: Annotated[
        int | None,
        Parameter(
            group="generation", help="Inference steps; more is slower.", minimum=1, maximum=1000, flag="--steps",
            metavar="N", aliases=("steps",),
        ),
    ] = None  # fmt: skip
    guidance_scale: Annotated[
        float | None,
        Parameter(
            group="generation", help="Guidance scale: how closely to follow the prompt.", minimum=0, maximum=1000,
            flag="--guidance", metavar="X", aliases=("guidance", "cfg_scale"),
        ),
    ] = None  # fmt: skip
    scheduler: Annotated[
        str | None, Parameter(group="generation", help="Scheduler (sampler) by the provider's name.", metavar="NAME")
    ] = None
    strength: Annotated[
        float | None,
        Parameter(
            group="generation", help="How far to depart from the input image: 0 keeps it, 1 ignores it.",
            minimum=0, maximum=1, metavar="X", needs_image=True,
        ),
    ] = None  # fmt: skip
    quality: Annotated[
        str | None,
        Parameter(
            group="generation", help="Quality level, for models that have levels.", metavar="LEVEL",
            choices=("auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"),  # OpenAI's images API
        ),
    ] = None  # fmt: skip
    num_frames: Annotated[
        int | None,
        Parameter(
            group="length", help="Number of video frames.", minimum=1, maximum=10_000, flag="--frames", metavar="N",
            video_only=True,
        ),
    ] = None  # fmt: skip
    seconds: Annotated[
        float | None,
        Parameter(
            group="length", help="Video length, in seconds.", minimum=0.1, maximum=3600, metavar="S", video_only=True
        ),
    ] = None
    fps: Annotated[
        int | None,
        Parameter(
            group="length", help="Video frames per second.", minimum=1, maximum=240, metavar="N", video_only=True
        ),
    ] = None


def _rows() -> tuple[Parameter, ...]:
    hints = get_type_hints(GenerationParameters, include_extras=True)
    rows: list[Parameter] = []
    for name in GenerationParameters.__struct_fields__:
        value_type, row = get_args(hints[name])
        assert isinstance(value_type, UnionType)
        kind = row.kind if row.kind == "resolution" else _KINDS[get_args(value_type)[0]]
        flag = row.flag or f"--{name.replace('_', '-')}"
        rows.append(structs.replace(row, name=name, kind=kind, flag=flag))
    return tuple(rows)


PARAMETERS: tuple[Parameter, ...] = _rows()
PARAMETERS_BY_NAME: dict[str, Parameter] = {row.name: row for row in PARAMETERS}
# Parameters that a provider may lack; sizes are adapted instead (sizes.py).
OPTIONAL_PARAMETERS: tuple[str, ...] = tuple(row.name for row in PARAMETERS if row.group != "size")


def request_schema() -> dict[str, Any]:
    """Return the JSON schema of a whole request, as a tool's input schema (MCP, function calling) takes it."""
    properties: dict[str, Any] = {
        "prompt": {"type": "string", "description": "What to generate."},
        "model": {"type": "string", "description": "org/name, org/name:provider or org/name:fastest on the Hub."},
        "image": {"type": "string", "description": "Input image: an http(s) URL or a data: URL."},
        **{row.name: row.json_schema() for row in PARAMETERS},
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}
