"""What our own API understands of a request to make something; pure.

It is stricter than OpenAI's: a name that is not known is an error, since whoever writes for this API means it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import TASKS, Task, check_outputs, parse_choice
from hfmedia.core.sizes import parse_size
from hfmedia.server.books.orders import Ask
from hfmedia.server.errors import Refusal


class Making(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of POST /v1/jobs; ``size`` is WIDTHxHEIGHT, ``extra`` goes into the provider's own JSON."""

    prompt: str | None = None
    model: str | None = None
    provider: str | None = None
    task: Task | None = None
    n: int = 1
    seed: int | None = None
    image: str | None = None
    size: str | None = None
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    num_frames: int | None = None
    seconds: float | None = None
    fps: int | None = None
    extra: dict[str, Any] = field(default_factory=dict[str, Any])


APART = frozenset({"prompt", "model", "provider", "task", "n", "seed", "image", "size", "extra"})


def making(fields: Mapping[str, Any]) -> Making:
    """The request as it was sent, its types checked; Refusal 400 names what is wrong. Texts of a form are read."""
    given = {name: value for name, value in fields.items() if value is not None and value != ""}
    extra = given.get("extra")
    if isinstance(extra, str):
        try:
            given["extra"] = msgspec.json.decode(extra)
        except msgspec.DecodeError:
            raise Refusal(400, "extra is no JSON object", code="invalid_value", param="extra") from None
    try:
        return msgspec.convert(given, Making, strict=False)
    except msgspec.ValidationError as error:
        words, _, where = str(error).partition(" - at `$.")
        param = where.rstrip("`") or None
        raise Refusal(400, f"{param}: {words}" if param else words, code="invalid_value", param=param) from None


def ask_of(made: Making, *, with_image: bool) -> Ask:
    """What is to be made, without its image; Refusal 400 for what can be seen to be wrong."""
    options = {name: value for name in made.__struct_fields__ if (value := getattr(made, name)) is not None}
    options = {name: value for name, value in options.items() if name not in APART}
    if made.size is not None:
        size = _read("size", made.size, parse_size)
        options |= {"width": size.width, "height": size.height}
    if made.extra:
        options["extra_body"] = made.extra
    _read("n", made.n, check_outputs)
    task = made.task
    if task is not None and with_image and task.startswith("text"):
        raise Refusal(400, f"{task} takes no image; there are {', '.join(TASKS)}", code="invalid_value", param="task")
    model = f"{made.model}:{made.provider}" if made.model and made.provider else made.model
    if model is not None:
        _read("model", model, parse_choice)
    return Ask(prompt=made.prompt, model=model, task=task, n=made.n, seed=made.seed, options=options)


def _read(param: str, value: Any, parse: Any) -> Any:
    try:
        return parse(value)
    except HfmediaError as error:
        raise Refusal(400, error.message, code="invalid_value", param=param) from None
