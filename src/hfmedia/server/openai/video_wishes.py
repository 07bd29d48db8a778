"""What the videos API understands of a body: OpenAI's fields, ours, and those of other gateways; pure.

Whatever can be made is made: an odd size becomes a legal one or none, an unknown name is told of in a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct, structs

from hfmedia.core.request import LARGEST_SEED, Task
from hfmedia.core.sizes import shown
from hfmedia.server.books.orders import Ask
from hfmedia.server.config import Config

from .fields import (
    LONGEST_SHOWN,
    Common,
    address,
    by_id,
    model_of,
    named,
    provider_of,
    sized,
    tell_default,
    typed,
    unknown,
    wrong,
)

IMAGE_FIELDS = ("input_reference", "frame_images", "input_references", "image", "image_url")
OURS = ("seed", "fps", "num_frames", "negative_prompt", "guidance_scale", "num_inference_steps", "resolution",
        "aspect_ratio", "scheduler", "width", "height")  # fmt: skip


class Fields(Common, frozen=True, kw_only=True):
    """The fields that are understood, their types checked; what is none of them is left out here."""

    seconds: str | float | None = None
    duration: str | float | None = None
    fps: int | None = None
    num_frames: int | None = None


QUIET = frozenset({"user", "safety_identifier", "n"})  # they change nothing that comes out, so nobody needs a warning


class Wish(Struct, frozen=True, kw_only=True):
    """What is to be made, without its image, and what the answer will tell of the request.

    ``model`` is None for the default of the task; ``provider`` is whom the user named apart from it. ``reference``
    is an image as text: a URL or a data: URL.
    """

    ask: Ask
    provider: str | None = None
    reference: str | None = None
    size: str | None = None
    seconds: str | None = None
    warnings: tuple[str, ...] = ()


def wish_of(fields: Mapping[str, Any], config: Config, *, uploaded: bool) -> Wish:
    """The wish in a body; Refusal 400 names the field that cannot be meant. ``uploaded``: an image came as a file."""
    warnings: list[str] = []
    reference = None if uploaded else _reference(fields, warnings)
    told = _typed(fields)
    if told.prompt is None or not told.prompt.strip():
        raise wrong("prompt", "the prompt is missing; say what to make")
    task: Task = "image-to-video" if uploaded or reference else "text-to-video"
    model = model_of(told.model, task, config)
    provider = provider_of(told.model, told.provider, model, warnings)
    tell_default(told.model, model, task, warnings)
    if told.seed is not None and not 0 <= told.seed <= LARGEST_SEED:
        raise wrong("seed", f"seed is {shown(told.seed)}, but must be 0 to {LARGEST_SEED}")
    options = {name: value for name in OURS if name != "seed" and (value := getattr(told, name)) not in (None, "")}
    options = {**sized(told.size, warnings, of="a video"), **options}
    seconds = _seconds(told)
    if seconds is not None:
        options["seconds"] = seconds
    if told.extra_body:
        options["extra_body"] = told.extra_body
    warnings += unknown(fields, {*Fields.__struct_fields__, *IMAGE_FIELDS, *QUIET})
    return Wish(
        ask=Ask(prompt=told.prompt, model=model, task=task, seed=told.seed, options=options),
        provider=provider,
        reference=reference,
        size=told.size if told.size and told.size.strip().lower() != "auto" else None,
        seconds=f"{seconds:g}" if seconds is not None else None,
        warnings=tuple(warnings),
    )


def remixed(ask: Ask, fields: Mapping[str, Any]) -> tuple[Ask, tuple[str, ...]]:
    """The same wish with another prompt, and a warning for what else was said; Refusal 400 without a prompt."""
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise wrong("prompt", "the prompt is missing; say what shall be different")
    others = sorted(name for name in fields if name != "prompt" and name not in QUIET)
    words = f"a remix takes a prompt alone; ignored: {', '.join(map(named, others[:LONGEST_SHOWN]))}"
    return structs.replace(ask, prompt=prompt, n=1, seeds=()), (words,) if others else ()


# -- inside -----------------------------------------------------------------------------------------------------------


def _typed(fields: Mapping[str, Any]) -> Fields:
    """The fields that are understood; true and false are no length, though they would pass for numbers."""
    for name in ("seconds", "duration"):
        if isinstance(fields.get(name), bool):
            raise wrong(name, f"{name} is {shown(fields[name])}, but must be a number")
    return typed(fields, Fields)


def _seconds(told: Fields) -> float | None:
    """The length asked for; OpenAI has it as text, others as a number or with an ``s``."""
    given = told.seconds if told.seconds is not None else told.duration
    if given is None:
        return None
    param = "seconds" if told.seconds is not None else "duration"
    try:
        seconds = float(given.strip().removesuffix("s") if isinstance(given, str) else given)
    except ValueError:
        seconds = float("nan")
    if not 0.1 <= seconds <= 3600:
        raise wrong(param, f"{param} is {shown(given)}, but must be a number from 0.1 to 3600")
    return seconds


def _reference(fields: Mapping[str, Any], warnings: list[str]) -> str | None:
    """The image that a body names, as a URL or a data: URL, in whichever of the ways that are in use."""
    for name in IMAGE_FIELDS:
        given: object = fields.get(name)
        if given in (None, "", [], {}):
            given = fields.get(f"{name}[image_url]")
        if given in (None, "", [], {}):
            continue
        if isinstance(given, list):
            several = cast("list[object]", given)
            if len(several) > 1:
                warnings.append(f"{name} has {len(several)} images; only the first one is used")
            given = several[0]
        return address(name, given)
    if fields.get("input_reference[file_id]"):
        raise by_id("input_reference")
    return None
