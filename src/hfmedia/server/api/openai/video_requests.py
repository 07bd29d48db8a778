"""Requests of the videos API: OpenAI's fields, the generation parameters, and the names of other gateways; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from msgspec import structs

from hfmedia.core.parameters import PARAMETERS_BY_NAME
from hfmedia.core.request import Task
from hfmedia.core.text import truncated_repr
from hfmedia.server.api.fields import EMPTY, invalid_field, parse_as
from hfmedia.server.config import Config
from hfmedia.server.db.generations import GenerationSpec

from .parsing import (
    MAX_LISTED_FIELDS,
    NO_EFFECT_FIELDS,
    PARAMETER_ALIASES,
    CommonFields,
    file_id_error,
    format_field_name,
    normalize_names,
    parse_image_url,
    parse_spec,
    unknown_fields_warning,
)

IMAGE_FIELDS = ("input_reference", "frame_images", "input_references", "image", "image_url")
IGNORED_FIELDS = NO_EFFECT_FIELDS | {"n"}  # one request is one video


class VideoRequest(CommonFields, frozen=True, kw_only=True):
    """A request of the videos API: the fields of its body, and what they mean.

    Attributes:
        spec: the generation, without its input image.
        reference: URL or data: URL of the input image.
        seconds: requested length as text, as OpenAI's clients read it.
        warnings: one sentence for each field that was changed or ignored.
    """

    spec: GenerationSpec = GenerationSpec()
    reference: str | None = None
    seconds: str | None = None
    warnings: tuple[str, ...] = ()


BODY_FIELDS = CommonFields.__struct_fields__


def parse_video_request(fields: Mapping[str, Any], config: Config, *, uploaded: bool) -> VideoRequest:
    """Return the request of a body; raise ApiError 400 with the invalid field.

    ``uploaded``: an image came as a file.
    """
    warnings: list[str] = []
    reference = None if uploaded else _parse_reference(fields, warnings)
    normalized = _normalize_seconds(normalize_names(fields, PARAMETER_ALIASES))
    parsed = parse_as(normalized, VideoRequest, BODY_FIELDS, json_field="extra_body")
    task: Task = "image-to-video" if uploaded or reference else "text-to-video"
    spec, provider = parse_spec(parsed, normalized, task, config, warnings)
    known = {*BODY_FIELDS, *PARAMETERS_BY_NAME, *IMAGE_FIELDS, *IGNORED_FIELDS}
    warnings += unknown_fields_warning(normalized, known)
    seconds = spec.options.get("seconds")
    return structs.replace(
        parsed,
        spec=spec,
        provider=provider,
        reference=reference,
        size=parsed.size if parsed.size and parsed.size.strip().lower() != "auto" else None,
        seconds=f"{seconds:g}" if seconds is not None else None,
        warnings=tuple(warnings),
    )


def parse_remix(spec: GenerationSpec, fields: Mapping[str, Any]) -> tuple[GenerationSpec, tuple[str, ...]]:
    """Return the spec with another prompt, and a warning about ignored fields; raise ApiError 400 without a prompt."""
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise invalid_field("prompt", "the prompt is empty; describe what to change")
    ignored = sorted(name for name in fields if name != "prompt" and name not in IGNORED_FIELDS)
    names = ", ".join(map(format_field_name, ignored[:MAX_LISTED_FIELDS]))
    warning = f"a remix takes only a prompt; ignored: {names}"
    return structs.replace(spec, prompt=prompt, n=1, seeds=()), (warning,) if ignored else ()


# -- inside -----------------------------------------------------------------------------------------------------------


def _normalize_seconds(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with the length as a number or its text: OpenAI sends text, others "8s" or ``duration``."""
    normalized = {name: value for name, value in fields.items() if name != "duration"}
    param = "seconds" if fields.get("seconds") not in EMPTY else "duration"
    value = fields.get(param)
    if value in EMPTY:
        return normalized
    text: Any = value.strip().removesuffix("s") if isinstance(value, str) else value
    try:
        if isinstance(text, bool):
            raise TypeError
        normalized["seconds"] = float(text)
    except (TypeError, ValueError, OverflowError):
        raise invalid_field(param, f"{param} is {truncated_repr(value)}, but must be a number") from None
    return normalized


def _parse_reference(fields: Mapping[str, Any], warnings: list[str]) -> str | None:
    """Return the input image that the body names as text, in any of the notations in use."""
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
