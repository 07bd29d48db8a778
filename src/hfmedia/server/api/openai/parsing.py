"""Reading the fields of OpenAI's requests: types checked, sizes made legal, names told that nobody knows; pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct, field

from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import ROUTING_POLICIES, ModelSpec, Task, parse_model_spec
from hfmedia.core.sizes import (
    MAX_ASPECT_RATIO,
    MAX_SIDE,
    MIN_SIDE,
    RESOLUTIONS,
    parse_ratio,
    parse_size,
    truncated_repr,
)
from hfmedia.server.config import Config
from hfmedia.server.errors import ApiError

T = TypeVar("T", bound=Struct)
BUILTIN_ALIASES = ("sora-*", "sora", "gpt-image-*", "dall-e-*", "chatgpt-image-*")  # no models of the Hub
SIZE_PATTERN = re.compile(r"\s*(\d{1,9})\s*[xX*]\s*(\d{1,9})\s*")
MAX_LISTED_FIELDS = 12  # names of unknown fields that a warning lists


class CommonFields(Struct, frozen=True, kw_only=True):
    """What a wish for an image and one for a video have in common; null and the empty text stand for nothing."""

    prompt: str | None = None
    model: str | None = None
    provider: str | None = None
    size: str | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    num_inference_steps: int | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    extra_body: dict[str, Any] = field(default_factory=dict[str, Any])


def invalid_field(param: str | None, message: str) -> ApiError:
    """The answer to a field that cannot be meant."""
    return ApiError(400, message, code="invalid_value", param=param)


def parse_as(fields: Mapping[str, Any], fields_type: type[T]) -> T:
    """The fields that are understood, their types checked; Refusal 400 names the one at fault.

    A form has everything as text, which is read as what it stands for; an empty one says nothing.
    """
    present = {name: fields[name] for name in fields_type.__struct_fields__ if fields.get(name) not in (None, "")}
    extra = present.get("extra_body")
    if isinstance(extra, str):
        try:
            present["extra_body"] = msgspec.json.decode(extra)
        except (msgspec.DecodeError, UnicodeEncodeError):
            raise invalid_field("extra_body", "extra_body is no JSON object") from None
    try:
        return msgspec.convert(present, fields_type, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError, RecursionError) as error:
        message, _, location = str(error).partition(" - at `$.")
        param = location.rstrip("`").partition(".")[0].partition("[")[0] or None
        raise invalid_field(param, f"{param}: {message}" if param else message) from None


def resolve_model(name: str | None, task: Task, config: Config) -> str | None:
    """The model that a name stands for, as ``org/name`` or ``org/name:provider``; None for the default of the task.

    Refusal 400 for a name that can be no model, or an alias that knows none for this task.
    """
    if name is None or not name.strip():
        return None
    name = name.strip()
    base_name, _, suffix = name.partition(":")
    for alias, provider_suffix in ((name, ""), (base_name, suffix)):
        if alias in config.aliases:
            target = config.aliases[alias]
            model: str | None = target if isinstance(target, str) else target.get(task)
            if model is None:
                message = f"the alias {alias!r} stands for no model of {task}"
                raise ApiError(400, message, code="model_not_supported", param="model")
            return f"{model}:{provider_suffix}" if provider_suffix and ":" not in model else model
    if config.builtin_aliases and any(fnmatchcase(base_name.lower(), pattern) for pattern in BUILTIN_ALIASES):
        return None
    try:
        return str(parse_model_spec(name))
    except HfmediaError as error:
        raise invalid_field("model", error.message) from None


def with_provider(model: str, provider: str | None) -> str:
    """A model with the provider or the policy that a user named apart from it; Refusal 400 for one that is none."""
    if not provider:
        return model
    model_spec = parse_model_spec(model)
    if model_spec.provider or model_spec.policy:
        return model
    try:
        override = parse_model_spec(f"{model_spec.model}:{provider.strip()}")
    except HfmediaError:
        raise invalid_field(
            "provider", f"{truncated_repr(provider)} is no provider, nor one of {', '.join(ROUTING_POLICIES)}"
        ) from None
    return str(ModelSpec(override.model, override.provider, override.policy))


def resolve_provider(name: str | None, provider: str | None, model: str | None, warnings: list[str]) -> str | None:
    """The provider that was named apart from the model, or behind a name that stands for the default of the task."""
    if provider and model is not None and parse_model_spec(model).provider:
        warnings.append(f"provider {truncated_repr(provider)} was ignored: the model names one itself")
        return None
    if not provider and model is None and name:  # gpt-image-1:fal-ai
        return name.partition(":")[2].strip() or None
    return provider


def warn_default_model(name: str | None, model: str | None, task: Task, warnings: list[str]) -> None:
    """Adds a warning where a name stood for the default of the task."""
    if model is None and name and name.strip():
        warnings.append(f"{truncated_repr(name)} is no model on Hugging Face: the default of {task} was taken")


def parse_size_field(size: str | None, warnings: list[str], *, output: str) -> dict[str, Any]:
    """A size as options; one that is none is dropped with a warning, one too large or small becomes the nearest."""
    text = (size or "").strip().lower()
    if text in ("", "auto"):
        return {}
    if text in RESOLUTIONS:
        return {"resolution": text}
    try:
        if ":" in text:
            return {"aspect_ratio": str(parse_ratio(text))}
        parsed = parse_size(text)
        if max(parsed.width, parsed.height) <= MAX_ASPECT_RATIO * min(parsed.width, parsed.height):
            return {"width": parsed.width, "height": parsed.height}
    except HfmediaError:
        pass
    match = SIZE_PATTERN.fullmatch(text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(width, height) < 1 or max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        warnings.append(f"size {truncated_repr(size)} is no size of {output}; the model's own is used")
        return {}
    scale = min(1.0, MAX_SIDE / max(width, height))
    scale = max(scale, MIN_SIDE / min(width, height)) if min(width, height) < MIN_SIDE else scale
    width, height = max(MIN_SIDE, int(width * scale)), max(MIN_SIDE, int(height * scale))
    warnings.append(f"size {truncated_repr(size)} cannot be made; {width}x{height} is asked for instead")
    return {"width": width, "height": height}


def unknown_fields_warning(fields: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """A warning that names the fields that nobody here knows; none when there are none."""
    names = sorted(name for name in fields if name.partition("[")[0] not in known)
    if not names:
        return []
    remainder = f" and {len(names) - MAX_LISTED_FIELDS} more" if len(names) > MAX_LISTED_FIELDS else ""
    return [
        f"ignored, for it is not known here: {', '.join(map(format_field_name, names[:MAX_LISTED_FIELDS]))}{remainder}"
    ]


def format_field_name(name: str) -> str:
    """A field's name as a sentence may hold it."""
    return name if name.isidentifier() and len(name) <= 64 else truncated_repr(name)


def parse_image_url(name: str, value: Any) -> str:
    """An image that a body names as text: its URL or data: URL; Refusal 400 for what is neither."""
    for _ in range(3):  # {"type": "image_url", "image_url": {"url": …}}
        if not isinstance(value, dict):
            break
        image_object = cast("dict[str, Any]", value)
        if image_object.get("file_id"):
            raise file_id_error(name)
        value = next((image_object[key] for key in ("image_url", "url") if image_object.get(key)), None)
    if not isinstance(value, str) or not value[:8].lower().startswith(("http://", "https://", "data:")):
        raise invalid_field(name, f"{name} is an image file of a form, a URL or a data: URL")
    return value


def file_id_error(name: str) -> ApiError:
    """The answer to an image that is named by the id of an uploaded file."""
    return invalid_field(name, "files are not kept here by id; send the image itself, a URL or a data: URL")
