"""What a caller of the published class asks for, in the words of MediaClient.

The rule: what hfmedia understands is told to each provider in its own words; what it does not goes there as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.provider import OPTIONAL
from hfmedia.core.request import Task
from hfmedia.core.sizes import shown
from hfmedia.options import VideoOptions

RESOLUTION = "480p"  # the published default, for videos alone: an image has no resolution unless somebody asks for one
RATIOS = {"image": "1:1", "video": "16:9"}

# Keyword arguments by which chat front-ends speak to any provider; they are about chats and mean nothing to a picture.
CHATTER = frozenset({
    "api_base", "base_url", "cache", "conversation", "cookies", "frequency_penalty", "headers", "history_disabled",
    "ignore_stream", "ignored", "impersonate", "max_retries", "max_tokens", "media", "presence_penalty", "raw",
    "response_format", "return_conversation", "stop", "stream", "stream_timeout", "temperature", "tool_calls",
    "tool_choice", "tools", "top_k", "top_p", "user", "web_search",
})  # fmt: skip

# Understood inside ``extra_data`` too: n outputs need n seeds, and each provider is told a size in its own words.
EVERYWHERE = ("seed", "width", "height")


def options_of(
    given: Mapping[str, Any],
    extra_data: Mapping[str, Any] | None,
    *,
    width: int | None,
    height: int | None,
    aspect_ratio: str | None,
    resolution: str | None,
) -> VideoOptions:
    """Options for MediaClient.generate from the published arguments; ``given`` are the unknown keyword arguments.

    ``extra_body`` is the newer name of ``extra_data``; where both name something, ``extra_data`` wins.
    """
    asked = {name: value for name, value in given.items() if value is not None and name not in CHATTER}
    extra = {**_dict("extra_body", asked.pop("extra_body", None)), **_dict("extra_data", extra_data)}
    sizes = {"width": width, "height": height, "aspect_ratio": aspect_ratio, "resolution": resolution}
    options = {name: asked.pop(name) for name in OPTIONAL if name in asked}
    options |= {name: value for name, value in sizes.items() if value is not None}
    options |= {name: extra.pop(name) for name in EVERYWHERE if name in extra and name not in options}
    options["extra_body"] = {**asked, **extra}
    return cast("VideoOptions", options)


def with_defaults(options: VideoOptions, task: Task) -> VideoOptions:
    """The options with the published defaults of a task, where nothing else was asked for that says the same."""
    made, extra = task.rpartition("-")[2], options.get("extra_body") or {}
    sized = options.get("width") is not None or options.get("height") is not None
    usual = options.get("resolution") in (None, RESOLUTION)
    told = {name: value for name, value in options.items() if name != "resolution" or not usual}
    if not sized and "aspect_ratio" not in extra:
        told.setdefault("aspect_ratio", RATIOS[made])
    if made == "video" and usual and not sized and "resolution" not in extra and options.get("resolution"):
        told["resolution"] = RESOLUTION
    return cast("VideoOptions", told)


def _dict(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"{name} is {shown(value)}, but must be a dict with the names of parameters")
    return dict(cast("Mapping[str, Any]", value))
