"""Reading the fields of OpenAI's requests: types checked, sizes made legal, names told that nobody knows; pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct, field

from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import POLICIES, Choice, Task, parse_choice
from hfmedia.core.sizes import LARGEST_SIDE, RATIO_LIMIT, RESOLUTIONS, SMALLEST_SIDE, parse_ratio, parse_size, shown
from hfmedia.server.config import Config
from hfmedia.server.errors import Refusal

T = TypeVar("T", bound=Struct)
BUILTIN = ("sora-*", "sora", "gpt-image-*", "dall-e-*", "chatgpt-image-*")  # no models of the Hub
SIZE = re.compile(r"\s*(\d{1,9})\s*[xX*]\s*(\d{1,9})\s*")
LONGEST_SHOWN = 12  # names of unknown fields that a warning lists


class Common(Struct, frozen=True, kw_only=True):
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


def wrong(param: str | None, words: str) -> Refusal:
    """The answer to a field that cannot be meant."""
    return Refusal(400, words, code="invalid_value", param=param)


def typed(fields: Mapping[str, Any], kind: type[T]) -> T:
    """The fields that are understood, their types checked; Refusal 400 names the one at fault.

    A form has everything as text, which is read as what it stands for; an empty one says nothing.
    """
    given = {name: fields[name] for name in kind.__struct_fields__ if fields.get(name) not in (None, "")}
    extra = given.get("extra_body")
    if isinstance(extra, str):
        try:
            given["extra_body"] = msgspec.json.decode(extra)
        except (msgspec.DecodeError, UnicodeEncodeError):
            raise wrong("extra_body", "extra_body is no JSON object") from None
    try:
        return msgspec.convert(given, kind, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError, RecursionError) as error:
        words, _, where = str(error).partition(" - at `$.")
        param = where.rstrip("`").partition(".")[0].partition("[")[0] or None
        raise wrong(param, f"{param}: {words}" if param else words) from None


def model_of(name: str | None, task: Task, config: Config) -> str | None:
    """The model that a name stands for, as ``org/name`` or ``org/name:provider``; None for the default of the task.

    Refusal 400 for a name that can be no model, or an alias that knows none for this task.
    """
    if name is None or not name.strip():
        return None
    name = name.strip()
    plain, _, suffix = name.partition(":")
    for known, rest in ((name, ""), (plain, suffix)):
        if known in config.aliases:
            target = config.aliases[known]
            model: str | None = target if isinstance(target, str) else target.get(task)
            if model is None:
                words = f"the alias {known!r} stands for no model of {task}"
                raise Refusal(400, words, code="model_not_supported", param="model")
            return f"{model}:{rest}" if rest and ":" not in model else model
    if config.builtin_aliases and any(fnmatchcase(plain.lower(), pattern) for pattern in BUILTIN):
        return None
    try:
        return str(parse_choice(name))
    except HfmediaError as error:
        raise wrong("model", error.message) from None


def with_provider(model: str, provider: str | None) -> str:
    """A model with the provider or the policy that a user named apart from it; Refusal 400 for one that is none."""
    if not provider:
        return model
    choice = parse_choice(model)
    if choice.provider or choice.policy:
        return model
    try:
        named = parse_choice(f"{choice.model}:{provider.strip()}")
    except HfmediaError:
        raise wrong("provider", f"{shown(provider)} is no provider, nor one of {', '.join(POLICIES)}") from None
    return str(Choice(named.model, named.provider, named.policy))


def provider_of(name: str | None, provider: str | None, model: str | None, warnings: list[str]) -> str | None:
    """The provider that was named apart from the model, or behind a name that stands for the default of the task."""
    if provider and model is not None and parse_choice(model).provider:
        warnings.append(f"provider {shown(provider)} was ignored: the model names one itself")
        return None
    if not provider and model is None and name:  # gpt-image-1:fal-ai
        return name.partition(":")[2].strip() or None
    return provider


def tell_default(name: str | None, model: str | None, task: Task, warnings: list[str]) -> None:
    """Adds a warning where a name stood for the default of the task."""
    if model is None and name and name.strip():
        warnings.append(f"{shown(name)} is no model on Hugging Face: the default of {task} was taken")


def sized(size: str | None, warnings: list[str], *, of: str) -> dict[str, Any]:
    """A size as options; one that is none is dropped with a warning, one too large or small becomes the nearest."""
    text = (size or "").strip().lower()
    if text in ("", "auto"):
        return {}
    if text in RESOLUTIONS:
        return {"resolution": text}
    try:
        if ":" in text:
            return {"aspect_ratio": str(parse_ratio(text))}
        legal = parse_size(text)
        if max(legal.width, legal.height) <= RATIO_LIMIT * min(legal.width, legal.height):
            return {"width": legal.width, "height": legal.height}
    except HfmediaError:
        pass
    found = SIZE.fullmatch(text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if min(width, height) < 1 or max(width, height) > RATIO_LIMIT * min(width, height):
        warnings.append(f"size {shown(size)} is no size of {of}; the model's own is used")
        return {}
    scale = min(1.0, LARGEST_SIDE / max(width, height))
    scale = max(scale, SMALLEST_SIDE / min(width, height)) if min(width, height) < SMALLEST_SIDE else scale
    width, height = max(SMALLEST_SIDE, int(width * scale)), max(SMALLEST_SIDE, int(height * scale))
    warnings.append(f"size {shown(size)} cannot be made; {width}x{height} is asked for instead")
    return {"width": width, "height": height}


def unknown(fields: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """A warning that names the fields that nobody here knows; none when there are none."""
    names = sorted(name for name in fields if name.partition("[")[0] not in known)
    if not names:
        return []
    more = f" and {len(names) - LONGEST_SHOWN} more" if len(names) > LONGEST_SHOWN else ""
    return [f"ignored, for it is not known here: {', '.join(map(named, names[:LONGEST_SHOWN]))}{more}"]


def named(text: str) -> str:
    """A field's name as a sentence may hold it."""
    return text if text.isidentifier() and len(text) <= 64 else shown(text)


def address(name: str, given: Any) -> str:
    """An image that a body names as text: its URL or data: URL; Refusal 400 for what is neither."""
    for _ in range(3):  # {"type": "image_url", "image_url": {"url": …}}
        if not isinstance(given, dict):
            break
        told = cast("dict[str, Any]", given)
        if told.get("file_id"):
            raise by_id(name)
        given = next((told[key] for key in ("image_url", "url") if told.get(key)), None)
    if not isinstance(given, str) or not given[:8].lower().startswith(("http://", "https://", "data:")):
        raise wrong(name, f"{name} is an image file of a form, a URL or a data: URL")
    return given


def by_id(name: str) -> Refusal:
    """The answer to an image that is named by the id of an uploaded file."""
    return wrong(name, "files are not kept here by id; send the image itself, a URL or a data: URL")
