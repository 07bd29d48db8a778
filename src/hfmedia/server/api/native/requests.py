"""Requests of the native API; pure.

It is stricter than OpenAI's APIs: an unknown field is an error, since clients of this API are written for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from hfmedia.core.errors import HfmediaError
from hfmedia.core.parameters import PARAMETERS_BY_NAME
from hfmedia.core.request import Task, parse_model_spec
from hfmedia.core.sizes import parse_size
from hfmedia.server.api.fields import OutputCount, Prompt, build_spec, invalid_field, parse_as, parse_parameters
from hfmedia.server.db.generations import GenerationSpec


class CreateJobsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of POST /v1/jobs, besides the generation parameters."""

    prompt: Prompt | None = None
    model: Annotated[
        str | None, Meta(description="org/name or org/name:provider; absent: the task's default model.")
    ] = None
    provider: Annotated[str | None, Meta(description="Provider or policy, if the model does not name one.")] = None
    task: Annotated[Task | None, Meta(description="Absent: the model's own task.")] = None
    n: OutputCount = 1
    image: Annotated[str | None, Meta(description="Input image: a URL or a data: URL.")] = None
    size: Annotated[str | None, Meta(description="WIDTHxHEIGHT in pixels.")] = None
    extra: Annotated[dict[str, Any], Meta(description="Passed through to the provider's own JSON unchanged.")] = field(
        default_factory=dict[str, Any]
    )


def parse_create(fields: Mapping[str, Any], *, uploaded: bool = False) -> tuple[GenerationSpec, str | None]:
    """Return the spec of a body, its image not yet loaded, and the URL of that image; raise ApiError 400.

    ``uploaded``: an image came as a file.
    """
    names = [name for name in fields if name not in PARAMETERS_BY_NAME]
    parsed = parse_as(fields, CreateJobsRequest, names, json_field="extra")
    if not uploaded and parsed.image and not parsed.image[:8].lower().startswith(("http://", "https://", "data:")):
        raise invalid_field("image", "image must be a URL, a data: URL, or a file in a form")
    parameters = parse_parameters(fields)
    if parsed.size is not None:
        size = _parse_field("size", parsed.size, parse_size)
        parameters |= {"width": size.width, "height": size.height}
    model = f"{parsed.model}:{parsed.provider}" if parsed.model and parsed.provider else parsed.model
    if model is not None:
        _parse_field("model", model, parse_model_spec)
    has_image = uploaded or parsed.image is not None
    spec = build_spec(
        prompt=parsed.prompt,
        model=model,
        task=parsed.task,
        n=parsed.n,
        parameters=parameters,
        extra=parsed.extra,
        has_image=has_image,
    )
    return spec, parsed.image


def _parse_field(param: str, value: Any, parse: Any) -> Any:
    try:
        return parse(value)
    except HfmediaError as error:
        raise invalid_field(param, error.message) from None
