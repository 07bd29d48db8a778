"""A provider: its capabilities as data, and two pure functions.

``encode(operation, route)`` builds the HTTP request, ``decode(operation, route, response)`` interprets the response.
Neither sleeps, sends, or reads the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct, field, structs

from .errors import InvalidRequestError
from .http import HttpRequest, HttpResponse
from .parameters import OPTIONAL_PARAMETERS as OPTIONAL_PARAMETERS
from .parameters import PARAMETERS_BY_NAME
from .protocol import Operation, OperationResult, Route
from .request import GenerationRequest, Task
from .sizes import AspectRatio, SizeConstraints, adapt_size

IMAGE_MIMES = ("image/png", "image/jpeg", "image/webp")
MAX_INLINE_IMAGE_BYTES = 10 * 1024 * 1024  # bytes before base64, where a provider states no limit: a polite body


class ImageConstraints(Struct, frozen=True, kw_only=True):
    """Constraints of one provider on an input image.

    ``encoding``: ``url`` (a URL or a data: URI) or ``bytes`` (only the bytes themselves). ``max_bytes`` limits the
    image before base64; a URL has no limit here. ``mimes`` are the accepted types.
    """

    encoding: Literal["url", "bytes"]
    max_bytes: int = MAX_INLINE_IMAGE_BYTES
    mimes: tuple[str, ...] = IMAGE_MIMES


class Capabilities(Struct, frozen=True, kw_only=True):
    """What one provider accepts for one task: sizes, input images and optional parameters."""

    size: SizeConstraints
    parameters: frozenset[str]
    image: ImageConstraints | None = None


Encode = Callable[[Operation, Route], HttpRequest]
Decode = Callable[[Operation, Route, HttpResponse], OperationResult]


class Provider(Struct, frozen=True, kw_only=True):
    """One provider: its name on the Hub, its base URLs and credential, its capabilities, and its two functions.

    ``base_urls`` maps each task to the base URL of the provider's own API; empty where only the router reaches it.
    ``can_cancel``: an accepted job can be cancelled. ``can_look_up``: it lists its jobs, so that one in doubt can be
    found.
    """

    name: str
    encode: Encode
    decode: Decode
    tasks: Mapping[Task, Capabilities]
    base_urls: Mapping[Task, str] = field(default_factory=dict[Task, str])
    api_key_env_vars: tuple[str, ...] = ()
    auth_scheme: Literal["Bearer", "Key"] = "Bearer"
    can_cancel: bool = False
    can_look_up: bool = False


class AdaptedRequest(Struct, frozen=True):
    """A request in the form that one provider accepts, and a warning for each value rounded or dropped."""

    request: GenerationRequest
    warnings: tuple[str, ...] = ()


def adapt_request(request: GenerationRequest, provider: Provider) -> AdaptedRequest:
    """Return the request in the form that this provider accepts.

    Raises InvalidRequestError when the provider cannot accept it at all; nothing is sent then.
    """
    capabilities = provider.tasks.get(request.task)
    if capabilities is None:
        raise InvalidRequestError(
            f"{provider.name} does not support {request.task}", provider=provider.name, model=request.model
        )
    default_ratio = AspectRatio(16, 9) if request.output_kind == "video" else AspectRatio(1, 1)
    size_spec, warnings = adapt_size(
        request.size_spec, capabilities.size, provider=provider.name, default_ratio=default_ratio
    )
    dropped = [
        name
        for name in OPTIONAL_PARAMETERS
        if getattr(request, name) is not None
        and (name not in capabilities.parameters or (request.image is None and PARAMETERS_BY_NAME[name].needs_image))
    ]
    changes = {name: getattr(size_spec, name) for name in size_spec.__struct_fields__} | dict.fromkeys(dropped)
    if request.image is not None:
        _validate_image(request, capabilities.image, provider.name)
    drop_warnings = tuple(_drop_warning(name, request, provider.name) for name in dropped)
    return AdaptedRequest(structs.replace(request, **changes), warnings + drop_warnings)


def _drop_warning(name: str, request: GenerationRequest, provider: str) -> str:
    if request.image is None and PARAMETERS_BY_NAME[name].needs_image:
        return f"{name} applies only with an input image; it was dropped"
    return f"{provider} takes no {name} for {request.task}; it was dropped"


def _validate_image(request: GenerationRequest, constraints: ImageConstraints | None, provider: str) -> None:
    if constraints is None:
        raise InvalidRequestError(f"{provider} takes no input image for {request.task}", provider=provider)
    image = request.image
    if image is None or image.data is None:
        return
    if len(image.data) > constraints.max_bytes:
        raise InvalidRequestError(
            f"the input image has {len(image.data):,} bytes, and {provider} takes at most {constraints.max_bytes:,}; "
            "make it smaller, or give its URL instead",
            provider=provider,
        )
    if image.mime not in constraints.mimes:
        raise InvalidRequestError(
            f"{provider} takes {', '.join(constraints.mimes)}, but the input image is {image.mime}",
            provider=provider,
        )
