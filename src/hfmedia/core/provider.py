"""What a provider is to the rest of hfmedia: a table of what it can do, and two pure functions.

``encode(ask, route)`` says what to send, ``decode(ask, route, reply)`` what the answer means. Neither sleeps, sends,
nor knows the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct, field, structs

from .answers import Answer, Ask, Route
from .errors import InvalidRequestError
from .request import Request, Task
from .sizes import Ratio, SizeRule, fit_size
from .wire import HttpReply, HttpRequest

IMAGE_MIMES = ("image/png", "image/jpeg", "image/webp")
INLINE_IMAGE_LIMIT = 10 * 1024 * 1024  # bytes before base64, where a provider states no limit: a polite body


class ImageRule(Struct, frozen=True, kw_only=True):
    """How one provider takes an input image.

    ``form``: ``url`` (a URL or a data: URI) or ``bytes`` (only the bytes themselves). ``most_bytes`` limits the image
    before base64; a URL has no limit here. ``mimes`` are the types it reads.
    """

    form: Literal["url", "bytes"]
    most_bytes: int = INLINE_IMAGE_LIMIT
    mimes: tuple[str, ...] = IMAGE_MIMES


class Abilities(Struct, frozen=True, kw_only=True):
    """What one provider takes for one task: how sizes and images are told, and which parameters exist there."""

    size: SizeRule
    takes: frozenset[str]
    image: ImageRule | None = None


Encode = Callable[[Ask, Route], HttpRequest]
Decode = Callable[[Ask, Route, HttpReply], Answer]


class Provider(Struct, frozen=True, kw_only=True):
    """One provider: its name on the Hub, its own addresses and credential, its abilities, and its two functions.

    ``hosts`` maps each task to the base URL of its own API (empty where it has none and lives behind the router only).
    ``cancels`` tells whether an accepted job can be cancelled there, ``finds`` whether it lists the jobs it has.
    """

    name: str
    encode: Encode
    decode: Decode
    tasks: Mapping[Task, Abilities]
    hosts: Mapping[Task, str] = field(default_factory=dict[Task, str])
    key_names: tuple[str, ...] = ()
    scheme: Literal["Bearer", "Key"] = "Bearer"
    cancels: bool = False
    finds: bool = False


class Fitted(Struct, frozen=True):
    """A request as one provider takes it, and a sentence for each thing rounded or dropped on the way."""

    request: Request
    warnings: tuple[str, ...] = ()


# Parameters that a provider may lack; sizes and images have rules of their own.
OPTIONAL = (
    "negative_prompt",
    "seed",
    "num_inference_steps",
    "guidance_scale",
    "scheduler",
    "num_frames",
    "seconds",
    "fps",
)


def fit(wish: Request, provider: Provider) -> Fitted:
    """The request as this provider takes it; InvalidRequestError when it cannot take it at all (nothing is sent)."""
    abilities = provider.tasks.get(wish.task)
    if abilities is None:
        raise InvalidRequestError(f"{provider.name} does no {wish.task}", provider=provider.name, model=wish.model)
    default = Ratio(16, 9) if wish.makes == "video" else Ratio(1, 1)
    sizing, warnings = fit_size(wish.sizing, abilities.size, provider=provider.name, default=default)
    dropped = [name for name in OPTIONAL if getattr(wish, name) is not None and name not in abilities.takes]
    changes = {name: getattr(sizing, name) for name in sizing.__struct_fields__} | dict.fromkeys(dropped)
    if wish.image is not None:
        _check_image(wish, abilities.image, provider.name)
    told = tuple(f"{provider.name} takes no {name} for {wish.task}; it was dropped" for name in dropped)
    return Fitted(structs.replace(wish, **changes), warnings + told)


def _check_image(wish: Request, rule: ImageRule | None, provider: str) -> None:
    if rule is None:
        raise InvalidRequestError(f"{provider} takes no input image for {wish.task}", provider=provider)
    image = wish.image
    if image is None or image.data is None:
        return
    if len(image.data) > rule.most_bytes:
        raise InvalidRequestError(
            f"the input image has {len(image.data):,} bytes, and {provider} takes at most {rule.most_bytes:,}; "
            "make it smaller, or give its URL instead",
            provider=provider,
        )
    if image.mime not in rule.mimes:
        raise InvalidRequestError(
            f"{provider} takes {', '.join(rule.mimes)}, but the input image is {image.mime}",
            provider=provider,
        )
