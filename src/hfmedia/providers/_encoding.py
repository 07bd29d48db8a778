"""What the provider modules share in writing a request: names, addresses of images, ids in paths.

Nothing here changes what was asked: a request arrives fitted, and is only spelled in a provider's own words.
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

ALL_PARAMETERS = frozenset(OPTIONAL_PARAMETERS)  # for providers whose parameters are each model's own

# The Hub's own parameter names, which most providers share; `seconds` differs everywhere and is spelled by each.
HUB_PARAMETER_NAMES: dict[str, str] = {name: name for name in OPTIONAL_PARAMETERS if name != "seconds"}


def rename_parameters(request: GenerationRequest, names: Mapping[str, str]) -> dict[str, Any]:
    """What was asked for, under the provider's names (``names``: ours to theirs); what was not asked is absent."""
    pairs = ((theirs, getattr(request, name)) for name, theirs in names.items())
    return {
        theirs: str(value) if isinstance(value, AspectRatio) else value for theirs, value in pairs if value is not None
    }


def prompt_field(request: GenerationRequest) -> dict[str, Any]:
    """The prompt, when there is one: providers refuse a null."""
    return {} if request.prompt is None else {"prompt": request.prompt}


def pixels(request: GenerationRequest) -> dict[str, int] | None:
    """``{"width": …, "height": …}`` when both sides are known, else None."""
    if request.width is None or request.height is None:
        return None
    return {"width": request.width, "height": request.height}


def size_field(request: GenerationRequest, separator: str) -> dict[str, str]:
    """``{"size": "1024x768"}`` with ``by`` between the sides, or nothing when no size is known."""
    if request.width is None or request.height is None:
        return {}
    return {"size": f"{request.width}{separator}{request.height}"}


def duration(request: GenerationRequest) -> int | float | None:
    """The length in seconds, a whole number where it is one: ``"5.0"`` is refused where ``"5"`` is taken."""
    requested = request.seconds
    return int(requested) if requested is not None and requested == int(requested) else requested


def require_image(request: GenerationRequest) -> InputImage:
    """The input image; InvalidRequestError when there is none."""
    if request.image is None or (request.image.url is None and request.image.data is None):
        raise InvalidRequestError(f"{request.task} needs an input image")
    return request.image


def image_url(image: InputImage) -> str:
    """An input image as text: its URL, or its bytes as a ``data:`` URI with their own media type."""
    if image.url is not None:
        return image.url
    return f"data:{image.mime or 'image/jpeg'};base64,{b64encode(image.data or b'').decode('ascii')}"


def model_path(route: Route) -> str:
    """The provider's id of the model as a path; InvalidRequestError when it would leave the provider's own paths."""
    parts = route.provider_id.split("/")
    if not route.provider_id or set(parts) & {"", ".", ".."} or not route.provider_id.isprintable():
        raise InvalidRequestError(
            f"the Hub maps this model to {route.provider_id!r}, which is no model's address; try another provider",
            provider=route.provider,
            model=route.model,
        )
    return quote(route.provider_id, safe="/:@")


def quoted_id(job_id: str) -> str:
    """A provider's id of a job as one segment of a path."""
    return quote(job_id, safe="")
