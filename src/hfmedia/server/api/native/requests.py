"""What our own API understands of a request to make something; pure.

It is stricter than OpenAI's: a name that is not known is an error, since whoever writes for this API means it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import TASKS, Task, parse_model_spec, validate_output_count
from hfmedia.core.sizes import parse_size
from hfmedia.server.db.generations import GenerationSpec
from hfmedia.server.errors import ApiError


class CreateJobsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


HANDLED_SEPARATELY = frozenset({"prompt", "model", "provider", "task", "n", "seed", "image", "size", "extra"})


def parse_create_request(fields: Mapping[str, Any]) -> CreateJobsRequest:
    """The request as it was sent, its types checked; Refusal 400 names what is wrong. Texts of a form are read."""
    present = {name: value for name, value in fields.items() if value is not None and value != ""}
    extra = present.get("extra")
    if isinstance(extra, str):
        try:
            present["extra"] = msgspec.json.decode(extra)
        except msgspec.DecodeError:
            raise ApiError(400, "extra is no JSON object", code="invalid_value", param="extra") from None
    try:
        return msgspec.convert(present, CreateJobsRequest, strict=False)
    except msgspec.ValidationError as error:
        message, _, location = str(error).partition(" - at `$.")
        param = location.rstrip("`") or None
        raise ApiError(400, f"{param}: {message}" if param else message, code="invalid_value", param=param) from None


def to_spec(create_request: CreateJobsRequest, *, with_image: bool) -> GenerationSpec:
    """What is to be made, without its image; Refusal 400 for what can be seen to be wrong."""
    options = {
        name: value for name in create_request.__struct_fields__ if (value := getattr(create_request, name)) is not None
    }
    options = {name: value for name, value in options.items() if name not in HANDLED_SEPARATELY}
    if create_request.size is not None:
        size = _parse_field("size", create_request.size, parse_size)
        options |= {"width": size.width, "height": size.height}
    if create_request.extra:
        options["extra_body"] = create_request.extra
    _parse_field("n", create_request.n, validate_output_count)
    task = create_request.task
    if task is not None and with_image and task.startswith("text"):
        raise ApiError(400, f"{task} takes no image; there are {', '.join(TASKS)}", code="invalid_value", param="task")
    model = (
        f"{create_request.model}:{create_request.provider}"
        if create_request.model and create_request.provider
        else create_request.model
    )
    if model is not None:
        _parse_field("model", model, parse_model_spec)
    return GenerationSpec(
        prompt=create_request.prompt,
        model=model,
        task=task,
        n=create_request.n,
        seed=create_request.seed,
        options=options,
    )


def _parse_field(param: str, value: Any, parse: Any) -> Any:
    try:
        return parse(value)
    except HfmediaError as error:
        raise ApiError(400, error.message, code="invalid_value", param=param) from None
