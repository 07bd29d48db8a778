"""Fields of request bodies: read by type, checked by the core, described for OpenAPI. Shared by every API; pure.

The generation parameters are the rows of ``core.parameters.PARAMETERS``: every API accepts and documents a new row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.parameters import PARAMETERS, ParameterKind
from hfmedia.core.request import MAX_OUTPUTS, MAX_PROMPT_CHARS, InputImage, Task, build_request, validate_output_count
from hfmedia.server.db.generations import GenerationSpec
from hfmedia.server.errors import ApiError

T = TypeVar("T", bound=Struct)
VALUE_TYPES: dict[ParameterKind, type] = {"integer": int, "number": float}  # every other kind is text
PLACEHOLDER_IMAGE = InputImage(url="https://image.invalid/")  # stands for an image that is loaded after the checks
EMPTY: tuple[object, ...] = (None, "")  # both mean that a field was not set
TEXT_SCHEMA: dict[str, Any] = {"type": "string"}
FILE_SCHEMA: dict[str, Any] = {"type": "string", "format": "binary"}
# The core checks both, with its own messages: in these types the bounds are for the schema alone.
Prompt = Annotated[str, Meta(extra_json_schema={"maxLength": MAX_PROMPT_CHARS}, description="What to generate.")]
OutputCount = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": MAX_OUTPUTS}, description="Outputs.")]
PARAMETER_SCHEMAS: dict[str, Any] = {row.name: row.json_schema() for row in PARAMETERS}


def invalid_field(param: str | None, message: str) -> ApiError:
    """Return the error response for an invalid field."""
    return ApiError(400, message, code="invalid_value", param=param)


def parse_as(fields: Mapping[str, Any], fields_type: type[T], names: Collection[str], *, json_field: str) -> T:
    """Convert the fields of these names to a type; raise ApiError 400 with the invalid field.

    Values of a form are text and are converted; an empty one counts as absent. ``json_field`` is a JSON object, which a
    form sends as text. With ``forbid_unknown_fields`` in the type, pass every name of the body.
    """
    present = {name: fields[name] for name in names if fields.get(name) not in EMPTY}
    extra = present.get(json_field)
    if isinstance(extra, str):
        try:
            present[json_field] = msgspec.json.decode(extra)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            raise invalid_field(json_field, f"{json_field} is not a valid JSON object") from None
    parsed: T = _convert(present, fields_type)
    return parsed


def parse_parameters(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the generation parameters among the fields by name; raise ApiError 400 for one of the wrong type."""
    return {
        row.name: _convert(fields[row.name], VALUE_TYPES.get(row.kind, str), row.name)
        for row in PARAMETERS
        if fields.get(row.name) not in EMPTY
    }


def build_spec(
    *,
    prompt: str | None,
    model: str | None,
    task: Task | None,
    n: int,
    parameters: Mapping[str, Any],
    extra: Mapping[str, Any] | None,
    has_image: bool,
) -> GenerationSpec:
    """Return the spec of a generation, its input image not yet loaded, once the core accepts the request.

    Raises ApiError 400 with the invalid field. Without a task the model decides later; the checks assume an image task.
    """
    checked_task = task or ("image-to-image" if has_image else "text-to-image")
    image = PLACEHOLDER_IMAGE if has_image else None
    try:
        validate_output_count(n)
    except InvalidRequestError as error:
        raise invalid_field("n", error.message) from None
    try:
        build_request(checked_task, "", prompt=prompt, image=image, extra=dict(extra or {}), **parameters)
    except InvalidRequestError as error:
        raise invalid_field(_param_at_fault(checked_task, prompt, image, parameters), error.message) from None
    options: dict[str, Any] = {name: value for name, value in parameters.items() if name != "seed"}
    if extra:
        options["extra_body"] = dict(extra)
    return GenerationSpec(prompt=prompt, model=model, task=task, n=n, seed=parameters.get("seed"), options=options)


def request_schema(properties: Mapping[str, Any], required: Collection[str] = ()) -> dict[str, Any]:
    """Return the JSON schema of a body with these fields and the generation parameters."""
    schema: dict[str, Any] = {"type": "object", "properties": {**PARAMETER_SCHEMAS, **properties}}
    return {**schema, "required": list(required)} if required else schema


def struct_properties(fields_type: type[Struct], names: Collection[str]) -> dict[str, Any]:
    """Return the JSON schemas of the fields of a Struct that clients may send."""
    (_, components) = msgspec.json.schema_components((fields_type,), ref_template="#/components/schemas/{name}")
    properties: dict[str, Any] = components[fields_type.__name__]["properties"]
    return {name: properties[name] for name in names}


def request_body(json: Mapping[str, Any], form: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the OpenAPI entry of a body that is JSON or, with ``form``, a multipart form."""
    content = {"application/json": {"schema": dict(json)}}
    if form is not None:
        content["multipart/form-data"] = {"schema": dict(form)}
    return {"requestBody": {"required": True, "content": content}}


# -- inside -----------------------------------------------------------------------------------------------------------


def _convert(value: Any, value_type: Any, param: str | None = None) -> Any:
    try:
        return msgspec.convert(value, value_type, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError, RecursionError) as error:
        message, _, location = str(error).partition(" - at `$.")
        param = param or location.rstrip("`").partition(".")[0].partition("[")[0] or None
        raise invalid_field(param, f"{param}: {message}" if param else message) from None


def _param_at_fault(
    task: Task, prompt: str | None, image: InputImage | None, parameters: Mapping[str, Any]
) -> str | None:
    """Return the field that the core rejects: the first that it rejects on its own."""
    candidates: dict[str, dict[str, Any]] = {name: {name: value} for name, value in parameters.items()}
    for name, parameter in candidates.items():
        if not _is_valid("text-to-image", prompt="x", **parameter):
            return name
    if not _is_valid(task, prompt="x", image=image):
        return "task"
    return "prompt" if not _is_valid(task, prompt=prompt, image=image) else None


def _is_valid(task: Task, **fields: Any) -> bool:
    try:
        build_request(task, "", **fields)
    except InvalidRequestError:
        return False
    return True
