"""Arguments of the g4f-compatible API, converted to the options of MediaClient.

Parameters that hfmedia knows are adapted to each provider; unknown ones are passed through unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from msgspec import structs

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.provider import OPTIONAL_PARAMETERS
from hfmedia.core.request import GenerationRequest, Task
from hfmedia.core.sizes import AspectRatio
from hfmedia.core.text import truncated_repr
from hfmedia.options import VideoGenerationOptions

DEFAULT_RESOLUTION = "480p"  # the API's default, only for videos: an image has none unless it is requested
DEFAULT_ASPECT_RATIOS = {"image": AspectRatio(1, 1), "video": AspectRatio(16, 9)}

# Keyword arguments that chat front ends send to every provider; they concern chats and mean nothing for media.
IGNORED_CHAT_ARGS = frozenset({
    "api_base", "base_url", "cache", "conversation", "cookies", "frequency_penalty", "headers", "history_disabled",
    "ignore_stream", "ignored", "impersonate", "max_retries", "max_tokens", "media", "presence_penalty", "raw",
    "response_format", "return_conversation", "stop", "stream", "stream_timeout", "temperature", "tool_calls",
    "tool_choice", "tools", "top_k", "top_p", "user", "web_search",
})  # fmt: skip

# Also recognized inside ``extra_data``: n outputs need n seeds, and sizes are adapted to each provider.
COMMON_ARGS = ("seed", "width", "height")


def to_options(
    kwargs: Mapping[str, Any],
    extra_data: Mapping[str, Any] | None,
    *,
    width: int | None,
    height: int | None,
    aspect_ratio: str | None,
    resolution: str | None,
) -> VideoGenerationOptions:
    """Convert the arguments to options of MediaClient.generate; ``kwargs`` are the further keyword arguments.

    ``extra_body`` is the newer name of ``extra_data``; where both contain a parameter, ``extra_data`` wins.
    """
    arguments = {name: value for name, value in kwargs.items() if value is not None and name not in IGNORED_CHAT_ARGS}
    extra = {
        **_require_dict("extra_body", arguments.pop("extra_body", None)),
        **_require_dict("extra_data", extra_data),
    }
    sizes = {"width": width, "height": height, "aspect_ratio": aspect_ratio, "resolution": resolution}
    options = {name: arguments.pop(name) for name in OPTIONAL_PARAMETERS if name in arguments}
    options |= {name: value for name, value in sizes.items() if value is not None}
    options |= {name: extra.pop(name) for name in COMMON_ARGS if name in extra and name not in options}
    options["extra_body"] = {**arguments, **extra}
    return cast("VideoGenerationOptions", options)


def with_defaults(request: GenerationRequest, task: Task) -> GenerationRequest:
    """Add the API's defaults of a task, unless another parameter already determines the same."""
    output_kind = task.rpartition("-")[2]
    has_pixels = request.width is not None or request.height is not None
    aspect_ratio, resolution = request.aspect_ratio, request.resolution
    if aspect_ratio is None and not has_pixels and "aspect_ratio" not in request.extra:
        aspect_ratio = DEFAULT_ASPECT_RATIOS[output_kind]
    if resolution == DEFAULT_RESOLUTION and (output_kind == "image" or has_pixels or "resolution" in request.extra):
        resolution = None
    return structs.replace(request, aspect_ratio=aspect_ratio, resolution=resolution)


def _require_dict(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"{name} is {truncated_repr(value)}, but must be a dict of parameters by name")
    return dict(cast("Mapping[str, Any]", value))
