"""A request: what the user wants, in words that belong to no provider; and the checks at the door.

Bad input gets one clear sentence here, before anything is sent.
"""

from __future__ import annotations

import math
from typing import Any, Literal, cast, get_args

import msgspec
from msgspec import Struct, field, structs

from .errors import InvalidRequestError
from .sizes import Ratio, Sizing, check_side, parse_ratio, parse_resolution, shown

Task = Literal["text-to-image", "text-to-video", "image-to-image", "image-to-video"]
TASKS: tuple[Task, ...] = get_args(Task)
LONGEST_PROMPT = 32_000  # characters; OpenAI's images API states the same limit
MOST_OUTPUTS = 100  # of one call: beyond this a mistake is likelier than a wish, and every output is paid
LARGEST_SEED = 2**64 - 1  # fal.ai reports seeds beyond 2^53
LARGEST_PATH_PART = 200  # characters; the Hub's own limit on a name is 96
Policy = Literal["fastest", "cheapest", "preferred"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


class InputImage(Struct, frozen=True, kw_only=True):
    """An input image: by URL, or as bytes with what they are.

    ``data`` is inline media and never goes into a ledger; ``sha256`` and ``name`` tell it apart there.
    """

    url: str | None = None
    data: bytes | None = None
    mime: str | None = None
    width: int | None = None
    height: int | None = None
    name: str | None = None
    sha256: str | None = None

    def __repr__(self) -> str:
        what = f"{len(self.data)} bytes of {self.mime}" if self.data is not None else (self.url or "")[:200]
        return f"InputImage({what})"


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One wish for one output. Absent means: as the provider thinks best.

    ``seconds`` and ``fps`` are for videos; ``extra`` goes into the provider's own JSON as it stands.
    """

    task: Task
    model: str
    prompt: str | None = None
    image: InputImage | None = None
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    aspect_ratio: Ratio | None = None
    resolution: str | None = None
    seed: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    num_frames: int | None = None
    seconds: float | None = None
    fps: int | None = None
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def sizing(self) -> Sizing:
        """The four ways to ask for a size, together."""
        return Sizing(width=self.width, height=self.height, aspect_ratio=self.aspect_ratio, resolution=self.resolution)

    @property
    def makes(self) -> Literal["image", "video"]:
        """What comes out."""
        return "video" if self.task.endswith("video") else "image"

    def parameters(self) -> dict[str, Any]:
        """What was asked for beside prompt, image and model, as plain data for people and programs."""
        told = {
            name: value
            for name in self.__struct_fields__
            if name not in ("task", "model", "prompt", "image", "extra") and (value := getattr(self, name)) is not None
        }
        if self.aspect_ratio:
            told["aspect_ratio"] = str(self.aspect_ratio)
        return {**told, **self.extra}


class Choice(Struct, frozen=True):
    """A model as a user names it: ``org/name``, ``org/name:provider`` or ``org/name:policy``."""

    model: str
    provider: str | None = None
    policy: Policy | None = None

    def __str__(self) -> str:
        suffix = self.provider or self.policy
        return f"{self.model}:{suffix}" if suffix else self.model


def parse_choice(text: str) -> Choice:
    """``"org/name:provider"`` taken apart; InvalidRequestError when it cannot be a model of the Hub."""
    model, _, suffix = _text("model", text).strip().partition(":")
    parts = model.split("/")
    usable = all(part and len(part) <= LARGEST_PATH_PART and not set(part) & set(" ?#%\\\"'<>") for part in parts)
    if len(parts) > 2 or not usable or model.startswith(".") or ".." in model or not model.isprintable():
        raise InvalidRequestError(f"{shown(text)} is not a model of the Hub; write org/name or org/name:provider")
    if ":" in text and not (suffix.isascii() and suffix.replace("-", "").replace("_", "").isalnum()):
        raise InvalidRequestError(f"{shown(text)} names no provider after the colon; write org/name:provider")
    for policy in POLICIES:
        if suffix == policy:
            return Choice(model, policy=policy)
    return Choice(model, provider=suffix or None)


def parse_task(text: str) -> Task:
    """A task by its name on the Hub; InvalidRequestError names the ones there are."""
    for task in TASKS:
        if text == task:
            return task
    raise InvalidRequestError(f"unknown task {shown(text)}; there are {', '.join(TASKS)}")


def request(
    task: str,
    model: str,
    *,
    prompt: str | None = None,
    image: InputImage | None = None,
    negative_prompt: str | list[str] | None = None,
    aspect_ratio: str | Ratio | None = None,
    resolution: str | None = None,
    extra: dict[str, Any] | None = None,
    **numbers: Any,
) -> Request:
    """A checked Request from what a caller wrote; InvalidRequestError says what is wrong and what would be right."""
    unknown = set(numbers) - set(Request.__struct_fields__)
    if unknown:
        raise InvalidRequestError(
            f"unknown parameter {shown(min(unknown))}; what only a provider knows goes into extra"
        )
    if isinstance(aspect_ratio, str):
        aspect_ratio = parse_ratio(aspect_ratio)
    if isinstance(negative_prompt, list):  # the Hub's own client takes a list for videos
        negative_prompt = ", ".join(_text("negative prompt", part) for part in negative_prompt)
    made = Request(
        task=parse_task(task),
        model=model,
        prompt=prompt,
        image=image,
        negative_prompt=negative_prompt,
        aspect_ratio=aspect_ratio,
        resolution=parse_resolution(_text("resolution", resolution)) if resolution else None,
        extra=_json(extra or {}),
        **numbers,
    )
    check(made)
    return made


def check(wish: Request) -> None:
    """InvalidRequestError unless every field of the request can be sent to somebody."""
    for name, text in (("model", wish.model), ("prompt", wish.prompt), ("negative prompt", wish.negative_prompt),
                       ("scheduler", wish.scheduler)):  # fmt: skip
        if text is not None and len(_text(name, text)) > LONGEST_PROMPT:
            raise InvalidRequestError(f"the {name} has {len(text)} characters; at most {LONGEST_PROMPT} can be sent")
    needs_prompt = wish.task.startswith("text")
    if needs_prompt and not (wish.prompt and wish.prompt.strip()):
        raise InvalidRequestError("the prompt is empty; say what to make")
    if not needs_prompt:
        _check_image(wish)
    if needs_prompt and wish.image is not None:
        raise InvalidRequestError(f"{wish.task} takes no input image; use image-to-{wish.makes}")
    if wish.aspect_ratio is not None:
        _check_ratio(wish.aspect_ratio)
    if wish.resolution is not None:
        parse_resolution(_text("resolution", wish.resolution))
    for name, side in (("width", wish.width), ("height", wish.height)):
        if side is not None:
            check_side(name, _whole(name, side))
    for name, low, high in _RANGES:
        value = getattr(wish, name)
        if value is not None:
            _check_number(name, value, low, high, whole=name not in ("guidance_scale", "seconds"))


def check_outputs(n: int) -> int:
    """``n`` when it is a sensible number of outputs, else InvalidRequestError."""
    return int(_check_number("n", n, 1, MOST_OUTPUTS, whole=True))


def retasked(wish: Request, task: Task, model: str) -> Request:
    """The same request for another task and model, checked again."""
    made = structs.replace(wish, task=task, model=model)
    check(made)
    return made


def with_seed(wish: Request, seed: int | None) -> Request:
    """The same request with another seed."""
    return structs.replace(wish, seed=seed)


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("seed", 0, LARGEST_SEED),
    ("num_inference_steps", 1, 1000),
    ("guidance_scale", 0, 1000),
    ("num_frames", 1, 10_000),
    ("seconds", 0.1, 3600),
    ("fps", 1, 240),
)


def _text(name: str, value: Any) -> str:
    """A text that can be sent as UTF-8; a shell hands over half characters as what UTF-8 cannot hold."""
    if not isinstance(value, str):
        raise InvalidRequestError(f"the {name} is {shown(value)}, but must be text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(f"the {name} holds bytes that are no text; write it in UTF-8") from None
    return value


def _json(extra: Any) -> dict[str, Any]:
    """Parameters for a provider alone, copied; they must fit into JSON."""
    if not isinstance(extra, dict):
        raise InvalidRequestError(f"extra is {shown(extra)}, but must be a dict with the names of parameters")
    told = cast("dict[str, Any]", extra)
    try:
        msgspec.json.encode(told)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequestError(f"extra cannot be sent as JSON: {str(error)[:200]}") from None
    return {_text("name of a parameter", name): value for name, value in told.items()}


def _check_image(wish: Request) -> None:
    image: Any = wish.image
    if image is None:
        raise InvalidRequestError(f"{wish.task} needs an input image")
    if not isinstance(image, InputImage):
        raise InvalidRequestError(f"the input image is {shown(image)}, but must be an InputImage")
    if not image.url and not image.data:
        raise InvalidRequestError("the input image is empty")


def _check_ratio(ratio: Any) -> None:
    if not isinstance(ratio, Ratio):
        raise InvalidRequestError(f"aspect ratio is {shown(ratio)}, but must be text such as '16:9'")
    parse_ratio(f"{_whole('aspect ratio', ratio.width)}:{_whole('aspect ratio', ratio.height)}")


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequestError(f"{name} is {shown(value)}, but must be a whole number")
    return value


def _check_number(name: str, value: Any, low: float, high: float, *, whole: bool) -> float:
    if whole:
        _whole(name, value)
    elif isinstance(value, bool) or not isinstance(value, int | float) or (type(value) is float and math.isnan(value)):
        raise InvalidRequestError(f"{name} is {shown(value)}, but must be a number")
    if not low <= value <= high:
        raise InvalidRequestError(f"{name} is {shown(value)}, but must be {low} to {high}")
    return float(value) if not whole else int(value)
