"""What the images API understands of a body: OpenAI's fields, ours, and Cherry Studio's; pure.

Whatever can be made is made: an odd size becomes a legal one or none, an unknown name is told of in a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Literal, cast

from msgspec import Struct, field

from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import MAX_PROMPT_CHARS, MAX_SEED, Task, validate_output_count
from hfmedia.core.text import truncated_repr
from hfmedia.server.config import Config
from hfmedia.server.db.generations import GenerationSpec

from .parsing import (
    CommonFields,
    invalid_field,
    parse_as,
    parse_image_url,
    parse_size_field,
    resolve_model,
    resolve_provider,
    unknown_fields_warning,
    warn_default_model,
)

ResponseFormat = Literal["b64_json", "url", "both"]
OutputFormat = Literal["png", "jpeg", "webp", "gif"]
EXTENSIONS = ("negative_prompt", "guidance_scale", "num_inference_steps", "resolution", "aspect_ratio", "scheduler",
        "width", "height")  # fmt: skip
FIELD_ALIASES = {"image_size": "size", "batch_size": "n", "steps": "num_inference_steps", "cfg_scale": "guidance_scale"}
IMAGE_FIELDS = ("image", "images", "image_url")
B64_ONLY_MODELS = "gpt-image*"  # what clients expect of models by this name when they name no response_format
OUTPUT_FORMATS: dict[str, OutputFormat] = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "webp": "webp", "gif": "gif"}
MAX_PARTIAL_IMAGES = 3
NO_FILES: Mapping[str, int] = MappingProxyType({})
# Fields of OpenAI's that change what a model of its own would do; the values that ask for nothing need no warning.
IGNORED_FIELDS: dict[str, tuple[Any, ...]] = {
    "quality": ("auto", "standard"),
    "background": ("auto", "opaque"),
    "moderation": ("auto",),
    "style": (),
    "complexity": (),
    "frame_count": (),
    "frame_duration_ms": (),
    "svg": (),
    "input_fidelity": (),
    "mask": (),
    "markup": (),
}
SILENTLY_IGNORED = frozenset(
    {"user", "safety_identifier"}
)  # they change nothing that comes out, so nobody needs a warning


class ImageFields(CommonFields, frozen=True, kw_only=True):
    """The fields that are understood, their types checked."""

    n: int = 1
    response_format: str | None = None
    output_format: str | None = None
    output_compression: int | None = None
    stream: bool = False
    partial_images: int = 0
    quality: str | None = None
    background: str | None = None


class ImageRequest(Struct, frozen=True, kw_only=True):
    """What is to be made, without its image, and how the answer shall look.

    ``references`` are the images that came as text: URLs and data: URLs. ``format`` None: as the provider made it.
    """

    spec: GenerationSpec
    provider: str | None = None
    references: tuple[str, ...] = ()
    response_format: ResponseFormat = "both"
    format: OutputFormat | None = None
    quality: int | None = None
    stream: bool = False
    echo: dict[str, str] = field(default_factory=dict[str, str])
    warnings: tuple[str, ...] = ()


def parse_image_request(
    fields: Mapping[str, Any], config: Config, *, edits: bool, files: Mapping[str, int] = NO_FILES
) -> ImageRequest:
    """The wish in a body; Refusal 400 names the field that cannot be meant.

    ``files``: how many files came, by their fields' names.
    """
    warnings: list[str] = []
    uploaded = files.get("image", 0)
    normalized = _normalize_names(fields)
    parsed = parse_as(normalized, ImageFields)
    prompt = _require_prompt(parsed)
    references = _parse_references(normalized) if edits else ()
    if edits and not references and not uploaded:
        raise invalid_field("image", "the image is missing; send it as a file, a URL or a data: URL")
    image_count = len(references) + uploaded
    if image_count > 1:
        warnings.append(f"{image_count} images came; only the first one is used")
    task: Task = "image-to-image" if edits else "text-to-image"
    model = resolve_model(parsed.model, task, config)
    if parsed.seed is not None and not 0 <= parsed.seed <= MAX_SEED:
        raise invalid_field("seed", f"seed is {truncated_repr(parsed.seed)}, but must be 0 to {MAX_SEED}")
    _validate_counts(parsed)
    options = {name: value for name in EXTENSIONS if (value := getattr(parsed, name)) not in (None, "")}
    if "width" not in options and "height" not in options:
        options = {**parse_size_field(parsed.size, warnings, output="an image"), **options}
    if parsed.extra_body:
        options["extra_body"] = parsed.extra_body
    warn_default_model(parsed.model, model, task, warnings)
    received = {**normalized, **{name: True for name in files if name != "image"}}
    warnings += _ignored_field_warnings(received)
    if not edits:
        misplaced = [name for name in IMAGE_FIELDS if files.get(name) or normalized.get(name)]
        warnings += [f"{name} was ignored: send it to /v1/images/edits" for name in misplaced]
    warnings += unknown_fields_warning(
        received, {*ImageFields.__struct_fields__, *IMAGE_FIELDS, *IGNORED_FIELDS, *SILENTLY_IGNORED}
    )
    if parsed.partial_images and parsed.stream:
        warnings.append("partial_images: no provider sends any; the finished image comes alone")
    return ImageRequest(
        spec=GenerationSpec(prompt=prompt, model=model, task=task, n=parsed.n, seed=parsed.seed, options=options),
        provider=resolve_provider(parsed.model, parsed.provider, model, warnings),
        references=references,
        response_format=_response_format(parsed),
        format=_output_format(parsed),
        quality=_output_compression(parsed),
        stream=parsed.stream,
        echo={name: value for name in ("quality", "background") if (value := getattr(parsed, name))},
        warnings=tuple(warnings),
    )


# -- inside -----------------------------------------------------------------------------------------------------------


def _normalize_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields under OpenAI's names and ours; another client's name counts where ours is absent."""
    normalized = {name: value for name, value in fields.items() if name not in FIELD_ALIASES}
    for name, canonical in FIELD_ALIASES.items():
        if fields.get(name) not in (None, "") and normalized.get(canonical) in (None, ""):
            normalized[canonical] = fields[name]
    return normalized


def _require_prompt(parsed: ImageFields) -> str:
    if parsed.prompt is None or not parsed.prompt.strip():
        raise invalid_field("prompt", "the prompt is missing; say what to make")
    if len(parsed.prompt) > MAX_PROMPT_CHARS:
        raise invalid_field(
            "prompt", f"the prompt has {len(parsed.prompt)} characters; at most {MAX_PROMPT_CHARS} can be sent"
        )
    return parsed.prompt


def _validate_counts(parsed: ImageFields) -> None:
    try:
        validate_output_count(parsed.n)
    except HfmediaError as error:
        raise invalid_field("n", error.message) from None
    if not 0 <= parsed.partial_images <= MAX_PARTIAL_IMAGES:
        raise invalid_field(
            "partial_images", f"partial_images is {truncated_repr(parsed.partial_images)}, but must be 0 to 3"
        )


def _response_format(parsed: ImageFields) -> ResponseFormat:
    """What each item holds: what was asked for, else by the model's name what its clients look for."""
    match parsed.response_format:
        case None:
            return "b64_json" if parsed.model and fnmatchcase(parsed.model.lower(), B64_ONLY_MODELS) else "both"
        case "b64_json" | "url" as known:
            return known
        case other:
            raise invalid_field(
                "response_format", f"response_format is {truncated_repr(other)}, but must be b64_json or url"
            )


def _output_format(parsed: ImageFields) -> OutputFormat | None:
    if parsed.output_format is None:
        return None
    known = OUTPUT_FORMATS.get(parsed.output_format.lower())
    if known is None:
        message = f"output_format is {truncated_repr(parsed.output_format)}, but must be png, jpeg, webp or gif"
        raise invalid_field("output_format", message)
    return known


def _output_compression(parsed: ImageFields) -> int | None:
    if parsed.output_compression is not None and not 0 <= parsed.output_compression <= 100:
        message = f"output_compression is {truncated_repr(parsed.output_compression)}, but must be 0 to 100"
        raise invalid_field("output_compression", message)
    return parsed.output_compression


def _ignored_field_warnings(fields: Mapping[str, Any]) -> list[str]:
    """A warning for each field of OpenAI's that was set to something no provider can do."""
    return [
        f"{name} was ignored: the models on Hugging Face's providers have no such thing"
        for name, neutral in IGNORED_FIELDS.items()
        if fields.get(name) not in (None, "", [], {}, *neutral)
    ]


def _parse_references(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The images that a body names as text, in whichever of the ways that are in use."""
    urls: list[str] = []
    for name in IMAGE_FIELDS:
        value: object = fields.get(name)
        if value in (None, "", [], {}):
            continue
        images = cast("list[object]", value) if isinstance(value, list) else [value]
        urls += [parse_image_url(name, image) for image in images]
    return tuple(urls)
