"""Fields that OpenAI's images and videos APIs share: models, providers, sizes, image URLs and unknown names; pure.

These APIs are lenient, since their clients send what OpenAI's models accept: an unsupported size becomes the nearest
supported one, and an unknown field is ignored; a warning in the response says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, cast

from msgspec import Meta, Struct, field

from hfmedia.core.errors import HfmediaError
from hfmedia.core.parameters import PARAMETERS
from hfmedia.core.request import ROUTING_POLICIES, ModelSpec, Task, parse_model_spec
from hfmedia.core.sizes import MAX_ASPECT_RATIO, MAX_SIDE, MIN_SIDE, RESOLUTIONS, parse_ratio, parse_size
from hfmedia.core.text import truncated_repr
from hfmedia.server.api.fields import EMPTY, Prompt, build_spec, invalid_field, parse_parameters
from hfmedia.server.config import Config
from hfmedia.server.db.generations import GenerationSpec
from hfmedia.server.errors import ApiError

BUILTIN_ALIASES = ("sora-*", "sora", "gpt-image-*", "dall-e-*", "chatgpt-image-*")  # not models of the Hub
PARAMETER_ALIASES = {alias: row.name for row in PARAMETERS for alias in row.aliases}
NO_EFFECT_FIELDS = frozenset({"user", "safety_identifier"})  # they do not affect the output: ignored without a warning
SIZE_PATTERN = re.compile(r"\s*(\d{1,9})\s*[xX*]\s*(\d{1,9})\s*")
MAX_LISTED_FIELDS = 12  # names of unknown fields that a warning lists


class CommonFields(Struct, frozen=True, kw_only=True):
    """Fields of an image request and of a video request, besides the generation parameters."""

    prompt: Prompt | None = None
    model: Annotated[
        str | None, Meta(description="org/name, org/name:provider, or an alias; absent: the task's default model.")
    ] = None
    provider: Annotated[str | None, Meta(description="A provider, or a policy such as fastest.")] = None
    size: Annotated[
        str | None,
        Meta(description="WIDTHxHEIGHT, W:H, a resolution, or auto; unsupported: the nearest supported size."),
    ] = None
    extra_body: Annotated[dict[str, Any], Meta(description="Passed through to the provider's own JSON unchanged.")] = (
        field(default_factory=dict[str, Any])
    )


def normalize_names(fields: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields by their canonical names; an alias counts only if the canonical name is absent."""
    normalized = {name: value for name, value in fields.items() if name not in aliases}
    for alias, name in aliases.items():
        if fields.get(alias) not in EMPTY and normalized.get(name) in EMPTY:
            normalized[name] = fields[alias]
    return normalized


def parse_spec(
    parsed: CommonFields,
    fields: Mapping[str, Any],
    task: Task,
    config: Config,
    warnings: list[str],
    *,
    n: int = 1,
    unset: Mapping[str, Collection[Any]] | None = None,
) -> tuple[GenerationSpec, str | None]:
    """Return the checked spec of a request, and the provider that it names separately from its model.

    ``unset``: values of parameters that request nothing. Adds to ``warnings``. Raises ApiError 400 with the invalid
    field.
    """
    unset = unset or {}
    model = resolve_model(parsed.model, task, config)
    parameters = {name: value for name, value in parse_parameters(fields).items() if value not in unset.get(name, ())}
    if "width" not in parameters and "height" not in parameters:
        output = "a video" if task.endswith("video") else "an image"
        parameters = {**parse_size_field(parsed.size, warnings, output=output), **parameters}
    spec = build_spec(
        prompt=_require_prompt(parsed.prompt),
        model=model,
        task=task,
        n=n,
        parameters=parameters,
        extra=parsed.extra_body,
        has_image=task.startswith("image"),
    )
    provider = resolve_provider(parsed.model, parsed.provider, model, warnings)
    warn_default_model(parsed.model, model, task, warnings)
    return spec, provider


def resolve_model(name: str | None, task: Task, config: Config) -> str | None:
    """Return the model of a name or alias as ``org/name`` or ``org/name:provider``; None for the task's default model.

    Raises ApiError 400 for an invalid name, and for an alias without a model for this task.
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
                message = f"the alias {alias!r} has no model for {task}"
                raise ApiError(400, message, code="model_not_supported", param="model")
            return f"{model}:{provider_suffix}" if provider_suffix and ":" not in model else model
    if config.builtin_aliases and any(fnmatchcase(base_name.lower(), pattern) for pattern in BUILTIN_ALIASES):
        return None
    try:
        return str(parse_model_spec(name))
    except HfmediaError as error:
        raise invalid_field("model", error.message) from None


def with_provider(model: str, provider: str | None) -> str:
    """Return a model with a separately named provider or policy; raise ApiError 400 for an invalid one."""
    if not provider:
        return model
    model_spec = parse_model_spec(model)
    if model_spec.provider or model_spec.policy:
        return model
    try:
        override = parse_model_spec(f"{model_spec.model}:{provider.strip()}")
    except HfmediaError:
        policies = ", ".join(ROUTING_POLICIES)
        message = f"{truncated_repr(provider)} is not a valid provider, nor one of {policies}"
        raise invalid_field("provider", message) from None
    return str(ModelSpec(override.model, override.provider, override.policy))


def resolve_provider(name: str | None, provider: str | None, model: str | None, warnings: list[str]) -> str | None:
    """Return the provider named separately from the model, or after an alias of the task's default model."""
    if provider and model is not None and parse_model_spec(model).provider:
        warnings.append(f"provider {truncated_repr(provider)} was ignored: the model names a provider itself")
        return None
    if not provider and model is None and name:  # gpt-image-1:fal-ai
        return name.partition(":")[2].strip() or None
    return provider


def warn_default_model(name: str | None, model: str | None, task: Task, warnings: list[str]) -> None:
    """Add a warning if the name of the request stands for the task's default model."""
    if model is None and name and name.strip():
        warnings.append(f"{truncated_repr(name)} is not a model on Hugging Face: the default model of {task} was used")


def parse_size_field(size: str | None, warnings: list[str], *, output: str) -> dict[str, Any]:
    """Return a size as parameters. An invalid one is dropped, one out of range is scaled; each adds a warning."""
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
        warnings.append(f"size {truncated_repr(size)} is not a valid size of {output}; the model's default is used")
        return {}
    scale = min(1.0, MAX_SIDE / max(width, height))
    scale = max(scale, MIN_SIDE / min(width, height)) if min(width, height) < MIN_SIDE else scale
    width, height = max(MIN_SIDE, int(width * scale)), max(MIN_SIDE, int(height * scale))
    warnings.append(f"size {truncated_repr(size)} is out of range; {width}x{height} is requested instead")
    return {"width": width, "height": height}


def unknown_fields_warning(fields: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """Return a warning that lists the unknown fields; an empty list if there are none."""
    names = sorted(name for name in fields if name.partition("[")[0] not in known)
    if not names:
        return []
    remainder = f" and {len(names) - MAX_LISTED_FIELDS} more" if len(names) > MAX_LISTED_FIELDS else ""
    return [f"unknown fields ignored: {', '.join(map(format_field_name, names[:MAX_LISTED_FIELDS]))}{remainder}"]


def format_field_name(name: str) -> str:
    """Return a field's name as a message can quote it."""
    return name if name.isidentifier() and len(name) <= 64 else truncated_repr(name)


def parse_image_url(name: str, value: Any) -> str:
    """Return the URL or data: URL of an image in a body; raise ApiError 400 for anything else."""
    for _ in range(3):  # {"type": "image_url", "image_url": {"url": …}}
        if not isinstance(value, dict):
            break
        image_object = cast("dict[str, Any]", value)
        if image_object.get("file_id"):
            raise file_id_error(name)
        value = next((image_object[key] for key in ("image_url", "url") if image_object.get(key)), None)
    if not isinstance(value, str) or not value[:8].lower().startswith(("http://", "https://", "data:")):
        raise invalid_field(name, f"{name} must be an image file in a form, a URL or a data: URL")
    return value


def file_id_error(name: str) -> ApiError:
    """Return the error response for an image named by the id of an uploaded file."""
    return invalid_field(name, "uploaded files are not supported; send the image itself, a URL or a data: URL")


def _require_prompt(prompt: str | None) -> str:
    if prompt is None or not prompt.strip():
        raise invalid_field("prompt", "the prompt is empty; describe what to generate")
    return prompt
