"""What the videos API understands of a body: OpenAI's fields, ours, and those of other gateways; pure.

Whatever can be made is made: an odd size becomes a legal one or none, an unknown name is told of in a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct, structs

from hfmedia.core.request import MAX_SEED, Task
from hfmedia.core.text import truncated_repr
from hfmedia.server.config import Config
from hfmedia.server.db.generations import GenerationSpec

from .parsing import (
    MAX_LISTED_FIELDS,
    CommonFields,
    file_id_error,
    format_field_name,
    invalid_field,
    parse_as,
    parse_image_url,
    parse_size_field,
    resolve_model,
    resolve_provider,
    unknown_fields_warning,
    warn_default_model,
)

IMAGE_FIELDS = ("input_reference", "frame_images", "input_references", "image", "image_url")
EXTENSIONS = ("seed", "fps", "num_frames", "negative_prompt", "guidance_scale", "num_inference_steps", "resolution",
        "aspect_ratio", "scheduler", "width", "height")  # fmt: skip


class VideoFields(CommonFields, frozen=True, kw_only=True):
    """The fields that are understood, their types checked; what is none of them is left out here."""

    seconds: str | float | None = None
    duration: str | float | None = None
    fps: int | None = None
    num_frames: int | None = None


SILENTLY_IGNORED = frozenset(
    {"user", "safety_identifier", "n"}
)  # they change nothing that comes out, so nobody needs a warning


class VideoRequest(Struct, frozen=True, kw_only=True):
    """What is to be made, without its image, and what the answer will tell of the request.

    ``model`` is None for the default of the task; ``provider`` is whom the user named apart from it. ``reference``
    is an image as text: a URL or a data: URL.
    """

    spec: GenerationSpec
    provider: str | None = None
    reference: str | None = None
    size: str | None = None
    seconds: str | None = None
    warnings: tuple[str, ...] = ()


def parse_video_request(fields: Mapping[str, Any], config: Config, *, uploaded: bool) -> VideoRequest:
    """The wish in a body; Refusal 400 names the field that cannot be meant. ``uploaded``: an image came as a file."""
    warnings: list[str] = []
    reference = None if uploaded else _parse_reference(fields, warnings)
    parsed = _parse_fields(fields)
    if parsed.prompt is None or not parsed.prompt.strip():
        raise invalid_field("prompt", "the prompt is missing; say what to make")
    task: Task = "image-to-video" if uploaded or reference else "text-to-video"
    model = resolve_model(parsed.model, task, config)
    provider = resolve_provider(parsed.model, parsed.provider, model, warnings)
    warn_default_model(parsed.model, model, task, warnings)
    if parsed.seed is not None and not 0 <= parsed.seed <= MAX_SEED:
        raise invalid_field("seed", f"seed is {truncated_repr(parsed.seed)}, but must be 0 to {MAX_SEED}")
    options = {
        name: value for name in EXTENSIONS if name != "seed" and (value := getattr(parsed, name)) not in (None, "")
    }
    options = {**parse_size_field(parsed.size, warnings, output="a video"), **options}
    seconds = _parse_seconds(parsed)
    if seconds is not None:
        options["seconds"] = seconds
    if parsed.extra_body:
        options["extra_body"] = parsed.extra_body
    warnings += unknown_fields_warning(fields, {*VideoFields.__struct_fields__, *IMAGE_FIELDS, *SILENTLY_IGNORED})
    return VideoRequest(
        spec=GenerationSpec(prompt=parsed.prompt, model=model, task=task, seed=parsed.seed, options=options),
        provider=provider,
        reference=reference,
        size=parsed.size if parsed.size and parsed.size.strip().lower() != "auto" else None,
        seconds=f"{seconds:g}" if seconds is not None else None,
        warnings=tuple(warnings),
    )


def parse_remix(spec: GenerationSpec, fields: Mapping[str, Any]) -> tuple[GenerationSpec, tuple[str, ...]]:
    """The same wish with another prompt, and a warning for what else was said; Refusal 400 without a prompt."""
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise invalid_field("prompt", "the prompt is missing; say what shall be different")
    ignored = sorted(name for name in fields if name != "prompt" and name not in SILENTLY_IGNORED)
    warning = f"a remix takes a prompt alone; ignored: {', '.join(map(format_field_name, ignored[:MAX_LISTED_FIELDS]))}"
    return structs.replace(spec, prompt=prompt, n=1, seeds=()), (warning,) if ignored else ()


# -- inside -----------------------------------------------------------------------------------------------------------


def _parse_fields(fields: Mapping[str, Any]) -> VideoFields:
    """The fields that are understood; true and false are no length, though they would pass for numbers."""
    for name in ("seconds", "duration"):
        if isinstance(fields.get(name), bool):
            raise invalid_field(name, f"{name} is {truncated_repr(fields[name])}, but must be a number")
    return parse_as(fields, VideoFields)


def _parse_seconds(parsed: VideoFields) -> float | None:
    """The length asked for; OpenAI has it as text, others as a number or with an ``s``."""
    value = parsed.seconds if parsed.seconds is not None else parsed.duration
    if value is None:
        return None
    param = "seconds" if parsed.seconds is not None else "duration"
    try:
        seconds = float(value.strip().removesuffix("s") if isinstance(value, str) else value)
    except ValueError:
        seconds = float("nan")
    if not 0.1 <= seconds <= 3600:
        raise invalid_field(param, f"{param} is {truncated_repr(value)}, but must be a number from 0.1 to 3600")
    return seconds


def _parse_reference(fields: Mapping[str, Any], warnings: list[str]) -> str | None:
    """The image that a body names, as a URL or a data: URL, in whichever of the ways that are in use."""
    for name in IMAGE_FIELDS:
        value: object = fields.get(name)
        if value in (None, "", [], {}):
            value = fields.get(f"{name}[image_url]")
        if value in (None, "", [], {}):
            continue
        if isinstance(value, list):
            images = cast("list[object]", value)
            if len(images) > 1:
                warnings.append(f"{name} has {len(images)} images; only the first one is used")
            value = images[0]
        return parse_image_url(name, value)
    if fields.get("input_reference[file_id]"):
        raise file_id_error("input_reference")
    return None
