"""Shared helpers for encoding requests: parameter names, image URLs, IDs in paths.

Values are never changed here: the request has already been adapted to the provider.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ..core.errors import InvalidRequestError
from ..core.protocol import Route
from ..core.provider import OPTIONAL_PARAMETERS
from ..core.request import GenerationRequest, InputImage
from ..core.sizes import AspectRatio

ALL_PARAMETERS = frozenset(OPTIONAL_PARAMETERS)  # for providers whose models each have their own parameters

# The Hub's own parameter names, which most providers share; `seconds` differs everywhere.
HUB_PARAMETER_NAMES: dict[str, str] = {name: name for name in OPTIONAL_PARAMETERS if name != "seconds"}


def rename_parameters(request: GenerationRequest, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the request's parameters under the provider's names (``names``: ours to theirs), without absent ones."""
    pairs = ((provider_name, getattr(request, name)) for name, provider_name in names.items())
    return {
        provider_name: str(value) if isinstance(value, AspectRatio) else value
        for provider_name, value in pairs
        if value is not None
    }


def prompt_field(request: GenerationRequest) -> dict[str, Any]:
    """Return the prompt field; empty without a prompt, since providers reject null."""
    return {} if request.prompt is None else {"prompt": request.prompt}


def pixels(request: GenerationRequest) -> dict[str, int] | None:
    """Return ``{"width": …, "height": …}`` when both sides are known, else None."""
    if request.width is None or request.height is None:
        return None
    return {"width": request.width, "height": request.height}


def size_field(request: GenerationRequest, separator: str) -> dict[str, str]:
    """Return ``{"size": "1024x768"}`` with this separator; empty when no size is known."""
    if request.width is None or request.height is None:
        return {}
    return {"size": f"{request.width}{separator}{request.height}"}


def duration(request: GenerationRequest) -> int | float | None:
    """Return the length in seconds, as an int where possible: some providers accept ``"5"`` and reject ``"5.0"``."""
    requested = request.seconds
    return int(requested) if requested is not None and requested == int(requested) else requested


def require_image(request: GenerationRequest) -> InputImage:
    """Return the input image. Raises InvalidRequestError when there is none."""
    if request.image is None or (request.image.url is None and request.image.data is None):
        raise InvalidRequestError(f"{request.task} needs an input image")
    return request.image


def image_url(image: InputImage) -> str:
    """Return the URL of an input image, or its bytes as a ``data:`` URI with their own media type."""
    if image.url is not None:
        return image.url
    return f"data:{image.mime or 'image/jpeg'};base64,{b64encode(image.data or b'').decode('ascii')}"


def model_path(route: Route) -> str:
    """Return the provider's model ID as a path. Raises InvalidRequestError when it would leave the provider's paths."""
    parts = route.provider_id.split("/")
    if not route.provider_id or set(parts) & {"", ".", ".."} or not route.provider_id.isprintable():
        raise InvalidRequestError(
            f"the Hub maps this model to {route.provider_id!r}, which is not a valid provider model ID; "
            "try another provider",
            provider=route.provider,
            model=route.model,
        )
    return quote(route.provider_id, safe="/:@")


def quoted_id(job_id: str) -> str:
    """Return a provider's job ID as one path segment."""
    return quote(job_id, safe="")
