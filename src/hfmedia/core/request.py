"""Generation requests, independent of any provider, and their validation.

Invalid input raises InvalidRequestError with one clear sentence, before anything is sent.
"""

from __future__ import annotations

import math
from typing import Any, Literal, cast, get_args

import msgspec
from msgspec import Struct, field, structs

from .errors import InvalidRequestError
from .parameters import MAX_SEED as MAX_SEED
from .parameters import PARAMETERS, GenerationParameters, Parameter
from .sizes import AspectRatio, SizeSpec, parse_ratio, parse_resolution, validate_side
from .text import truncated_repr

Task = Literal["text-to-image", "text-to-video", "image-to-image", "image-to-video"]
TASKS: tuple[Task, ...] = get_args(Task)
MAX_PROMPT_CHARS = 32_000  # characters; OpenAI's images API states the same limit
MAX_OUTPUTS = 100  # of one call: more is likelier a mistake than intent, and every output is billed
MAX_NAME_CHARS = 200  # characters; the Hub's own limit on a name is 96
RoutingPolicy = Literal["fastest", "cheapest", "preferred"]
ROUTING_POLICIES: tuple[RoutingPolicy, ...] = get_args(RoutingPolicy)


class InputImage(Struct, frozen=True, kw_only=True):
    """An input image: by URL, or as bytes with their type.

    ``data`` is inline media and is never stored in a ledger; ``sha256`` and ``name`` identify it there.
    """

    url: str | None = None
    data: bytes | None = None
    mime: str | None = None
    width: int | None = None
    height: int | None = None
    name: str | None = None
    sha256: str | None = None

    def __repr__(self) -> str:
        summary = f"{len(self.data)} bytes of {self.mime}" if self.data is not None else (self.url or "")[:200]
        return f"InputImage({summary})"


class GenerationRequest(GenerationParameters, frozen=True, kw_only=True, omit_defaults=True):
    """A request for one output, independent of any provider. The parameters are those of the table (parameters.py).

    ``extra`` is passed through to the provider's own JSON unchanged.
    """

    task: Task
    model: str
    prompt: str | None = None
    image: InputImage | None = None
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def size_spec(self) -> SizeSpec:
        """The four parameters of the size, together."""
        return SizeSpec(
            width=self.width, height=self.height, aspect_ratio=self.aspect_ratio, resolution=self.resolution
        )

    @property
    def output_kind(self) -> Literal["image", "video"]:
        """The kind of media that the task generates."""
        return "video" if self.task.endswith("video") else "image"

    def parameters(self) -> dict[str, Any]:
        """Return the requested parameters without prompt, image and model, as plain data for people and programs."""
        values = {
            name: value
            for name in self.__struct_fields__
            if name not in ("task", "model", "prompt", "image", "extra") and (value := getattr(self, name)) is not None
        }
        if self.aspect_ratio:
            values["aspect_ratio"] = str(self.aspect_ratio)
        return {**values, **self.extra}


class ModelSpec(Struct, frozen=True):
    """A model as a user specifies it: ``org/name``, ``org/name:provider`` or ``org/name:policy``."""

    model: str
    provider: str | None = None
    policy: RoutingPolicy | None = None

    def __str__(self) -> str:
        suffix = self.provider or self.policy
        return f"{self.model}:{suffix}" if suffix else self.model


def parse_model_spec(text: str) -> ModelSpec:
    """Parse ``"org/name:provider"``. Raises InvalidRequestError when it cannot be a model on the Hub."""
    model, _, suffix = _require_text("model", text).strip().partition(":")
    parts = model.split("/")
    is_valid = all(part and len(part) <= MAX_NAME_CHARS and not set(part) & set(" ?#%\\\"'<>") for part in parts)
    if len(parts) > 2 or not is_valid or model.startswith(".") or ".." in model or not model.isprintable():
        raise InvalidRequestError(
            f"{truncated_repr(text)} is not a model on the Hub; write org/name or org/name:provider"
        )
    if ":" in text and not (suffix.isascii() and suffix.replace("-", "").replace("_", "").isalnum()):
        raise InvalidRequestError(f"{truncated_repr(text)} has no provider after the colon; write org/name:provider")
    for policy in ROUTING_POLICIES:
        if suffix == policy:
            return ModelSpec(model, policy=policy)
    return ModelSpec(model, provider=suffix or None)


def parse_task(text: str) -> Task:
    """Parse the name of a task on the Hub. Raises InvalidRequestError, which lists the valid ones."""
    for task in TASKS:
        if text == task:
            return task
    raise InvalidRequestError(f"unknown task {truncated_repr(text)}; choose one of {', '.join(TASKS)}")


def build_request(
    task: str,
    model: str,
    *,
    prompt: str | None = None,
    image: InputImage | None = None,
    negative_prompt: str | list[str] | None = None,
    aspect_ratio: str | AspectRatio | None = None,
    resolution: str | None = None,
    extra: dict[str, Any] | None = None,
    **parameters: Any,
) -> GenerationRequest:
    """Build and validate a request from what a caller wrote.

    Raises InvalidRequestError, which says what is wrong and what would be right.
    """
    unknown = set(parameters) - set(GenerationRequest.__struct_fields__)
    if unknown:
        raise InvalidRequestError(
            f"unknown parameter {truncated_repr(min(unknown))}; use extra_body for parameters of the provider"
        )
    if isinstance(aspect_ratio, str):
        aspect_ratio = parse_ratio(aspect_ratio)
    if isinstance(negative_prompt, list):  # huggingface_hub takes a list for videos
        negative_prompt = ", ".join(_require_text("negative prompt", part) for part in negative_prompt)
    request = GenerationRequest(
        task=parse_task(task),
        model=model,
        prompt=prompt,
        image=image,
        negative_prompt=negative_prompt,
        aspect_ratio=aspect_ratio,
        resolution=parse_resolution(_require_text("resolution", resolution)) if resolution else None,
        extra=_require_json_object(extra or {}),
        **parameters,
    )
    validate_request(request)
    return request


def validate_request(request: GenerationRequest) -> None:
    """Raise InvalidRequestError unless every field of the request is valid for some provider."""
    for name, text in (("model", request.model), ("prompt", request.prompt)):
        if text is not None and len(_require_text(name, text)) > MAX_PROMPT_CHARS:
            raise InvalidRequestError(f"the {name} has {len(text)} characters; at most {MAX_PROMPT_CHARS} can be sent")
    needs_prompt = request.task.startswith("text")
    if needs_prompt and not (request.prompt and request.prompt.strip()):
        raise InvalidRequestError("the prompt is empty; describe what to generate")
    if not needs_prompt:
        _validate_image(request)
    if needs_prompt and request.image is not None:
        raise InvalidRequestError(f"{request.task} takes no input image; use image-to-{request.output_kind}")
    for parameter in PARAMETERS:
        value = getattr(request, parameter.name)
        if value is not None:
            _validate_parameter(parameter, value)


def validate_output_count(n: int) -> int:
    """Return ``n``. Raises InvalidRequestError unless it is a whole number from 1 to MAX_OUTPUTS."""
    return int(_validate_number("n", n, 1, MAX_OUTPUTS, integer=True))


def with_task(request: GenerationRequest, task: Task, model: str) -> GenerationRequest:
    """Return the same request for another task and model.

    The task must have the same input, text or image: everything else about a valid request is then still valid.
    """
    assert task.partition("-")[0] == request.task.partition("-")[0]
    return structs.replace(request, task=task, model=model)


def comparable(request: GenerationRequest) -> GenerationRequest:
    """Return a request in a form that is equal for equal requests of every version.

    Parameters that earlier versions passed through ``extra`` go there; ``cfg_scale`` is the guidance scale.
    """
    extra = dict(request.extra)
    for name in ("strength", "quality"):  # rows of the table since version 0.1.0; never add to these
        if (value := getattr(request, name)) is not None:
            extra.setdefault(name, value)
    guidance_scale = request.guidance_scale
    if guidance_scale is None and "cfg_scale" in extra:
        guidance_scale = extra.pop("cfg_scale")
    return structs.replace(request, strength=None, quality=None, guidance_scale=guidance_scale, extra=extra)


def with_seed(request: GenerationRequest, seed: int | None) -> GenerationRequest:
    """Return the same request with another seed."""
    return structs.replace(request, seed=seed)


def _require_text(name: str, value: Any) -> str:
    """Return the value if it is text that UTF-8 can encode; a shell passes invalid bytes as lone surrogates."""
    if not isinstance(value, str):
        raise InvalidRequestError(f"the {name} is {truncated_repr(value)}, but must be text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(f"the {name} is not valid UTF-8") from None
    return value


def _require_json_object(extra: Any) -> dict[str, Any]:
    """Return a copy of the provider-specific parameters; they must be representable in JSON."""
    if not isinstance(extra, dict):
        raise InvalidRequestError(f"extra_body is {truncated_repr(extra)}, but must be a dict of parameters by name")
    parameters = cast("dict[str, Any]", extra)
    try:
        msgspec.json.encode(parameters)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequestError(f"extra_body cannot be sent as JSON: {str(error)[:200]}") from None
    return {_require_text("name of a parameter", name): value for name, value in parameters.items()}


def _validate_image(request: GenerationRequest) -> None:
    image: Any = request.image
    if image is None:
        raise InvalidRequestError(f"{request.task} needs an input image")
    if not isinstance(image, InputImage):
        raise InvalidRequestError(f"the input image is {truncated_repr(image)}, but must be an InputImage")
    if not image.url and not image.data:
        raise InvalidRequestError("the input image is empty")


def _validate_ratio(ratio: Any) -> None:
    if not isinstance(ratio, AspectRatio):
        raise InvalidRequestError(f"aspect ratio is {truncated_repr(ratio)}, but must be text such as '16:9'")
    parse_ratio(f"{_require_int('aspect ratio', ratio.width)}:{_require_int('aspect ratio', ratio.height)}")


def _require_int(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequestError(f"{name} is {truncated_repr(value)}, but must be a whole number")
    return value


def _validate_parameter(parameter: Parameter, value: Any) -> None:
    """Raise InvalidRequestError unless the value is valid for this row of the table."""
    name = parameter.name
    match parameter.kind:
        case "aspect_ratio":
            _validate_ratio(value)
        case "resolution":
            parse_resolution(_require_text(name, value))
        case "text":
            _validate_text(parameter, value)
        case "integer" if parameter.group == "size":
            validate_side(name, _require_int(name, value))
        case kind:
            assert parameter.minimum is not None
            assert parameter.maximum is not None
            _validate_number(name, value, parameter.minimum, parameter.maximum, integer=kind == "integer")


def _validate_text(parameter: Parameter, value: Any) -> None:
    name = parameter.name.replace("_", " ")
    if len(_require_text(name, value)) > MAX_PROMPT_CHARS:
        raise InvalidRequestError(f"the {name} has {len(value)} characters; at most {MAX_PROMPT_CHARS} can be sent")
    if parameter.choices and value not in parameter.choices:
        choices = ", ".join(parameter.choices)
        raise InvalidRequestError(f"{name} is {truncated_repr(value)}, but must be one of {choices}")


def _validate_number(name: str, value: Any, low: float, high: float, *, integer: bool) -> float:
    if integer:
        _require_int(name, value)
    elif isinstance(value, bool) or not isinstance(value, int | float) or (type(value) is float and math.isnan(value)):
        raise InvalidRequestError(f"{name} is {truncated_repr(value)}, but must be a number")
    if not low <= value <= high:
        raise InvalidRequestError(f"{name} is {truncated_repr(value)}, but must be {low} to {high}")
    return float(value) if not integer else int(value)
