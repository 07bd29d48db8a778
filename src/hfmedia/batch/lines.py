"""What one line of a batch means: columns become a wish in the words of the library, whatever the file's format.

Pure. Every column has one row in one table; what no table knows is a parameter for the provider.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, cast

from msgspec import Struct

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.request import InputImage, check_outputs, parse_choice, request
from hfmedia.core.sizes import parse_size, shown

INDEX = "index.jsonl"  # the one name in the folder that is ours
LONGEST_NAME = 255  # bytes of one part of a path, on every file system in use
_WHOLE = re.compile(r"[+-]?\d{1,40}")


class Line(Struct, frozen=True, kw_only=True):
    """One line as it is meant: ``wish`` is for the client, by its names; ``name`` is the line's own key, if it has one.

    ``number`` counts from 1, as an editor does; ``n`` is how many outputs it asks for.
    """

    number: int
    wish: dict[str, Any]
    n: int = 1
    name: str | None = None


def text(name: str, value: Any) -> str:
    """The value, when it is text."""
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} is {shown(value)}, but must be text")
    return value


def _bare(name: str, value: Any) -> str:
    return text(name, value).strip()


def whole(name: str, value: Any) -> int:
    """A whole number, also out of a text cell, or out of a table that keeps whole numbers as floats."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequestError(f"{name} is {shown(value)}, but must be a whole number")
    return value


def number(name: str, value: Any) -> float:
    """A number, also out of a text cell; always a float, so that 3 and 3.0 are the same wish."""
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise InvalidRequestError(f"{name} is {shown(value)}, but must be a number")


def _extra(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(f"{name} is not JSON: {str(error)[:200]}") from None
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f'{name} is {shown(value)}, but must be a JSON object such as {{"strength": 0.5}}')
    return dict(cast("Mapping[str, Any]", value))


def output_name(name: str, value: Any) -> str:
    """A file's name inside the folder, with ``/`` between its parts; InvalidRequestError when it leads elsewhere."""
    given = _bare(name, value)
    parts = PurePosixPath(given.replace("\\", "/")).parts
    away = PurePosixPath(given).is_absolute() or PureWindowsPath(given).anchor or PureWindowsPath(given).drive
    if away or ".." in parts:
        raise InvalidRequestError(
            f"{name} is {shown(given)}, which leads out of the folder; give a file name inside it"
        )
    unfit = not parts or given.endswith(("/", "\\")) or not given.isprintable()
    if unfit or any(len(part.encode(errors="replace")) > LONGEST_NAME for part in parts):
        raise InvalidRequestError(f"{name} is {shown(given)}, which is no file name")
    if parts == (INDEX,):
        raise InvalidRequestError(f"{name} is {INDEX}, which is the batch's own; choose another name")
    return "/".join(parts)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


Reader = Callable[[str, Any], Any]

# Each column, by the name that the library has for it, and how its value is read.
READERS: dict[str, Reader] = {
    "prompt": text,
    "model": _bare,
    "task": _bare,
    "image": _bare,
    "negative_prompt": text,
    "seed": whole,
    "width": whole,
    "height": whole,
    "size": lambda _, value: parse_size(_bare("size", value)),
    "aspect_ratio": _bare,
    "resolution": _bare,
    "seconds": number,
    "fps": whole,
    "num_frames": whole,
    "num_inference_steps": whole,
    "guidance_scale": number,
    "scheduler": _bare,
    "output": output_name,
    "n": whole,
    "key": lambda name, value: _bare(name, value if isinstance(value, str) else str(whole(name, value))),
    "extra": _extra,
}  # fmt: skip
ALIASES = {"negative": "negative_prompt", "steps": "num_inference_steps", "guidance": "guidance_scale", "id": "key"}
PIXELS = ("width", "height")
SHAPES = ("aspect_ratio", "resolution")


def column(name: str) -> str | None:
    """The library's name for a column, however it is spelled (``Aspect ratio``, ``steps``); None for another one."""
    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    plain = ALIASES.get(plain, plain)
    return plain if plain in READERS else None


def nearest(name: str) -> str | None:
    """The column that was perhaps meant by a name that is none."""
    return next(iter(get_close_matches(name.strip().lower(), [*READERS, *ALIASES], n=1, cutoff=0.8)), None)


def value_of(cell: str) -> Any:
    """What a text cell holds for a provider: JSON where it is JSON, else the text itself."""
    try:
        return json.loads(cell, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return cell


def wish_of(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The cells read, by the library's names; ``extra_body`` holds what only a provider knows.

    InvalidRequestError for a cell that cannot be read, and for two cells that say the same thing.
    """
    made: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in cells.items():
        known = column(name)
        if known is None:
            others[text("a column's name", name).strip()] = value
        elif known in made:
            raise InvalidRequestError(f"{known} is given twice, under two names")
        else:
            made[known] = READERS[known](name.strip(), value)
    if size := made.pop("size", None):
        if made.keys() & set(PIXELS):
            raise InvalidRequestError("size is given, and width or height as well; give one of them")
        made["width"], made["height"] = size.width, size.height
    extra = made.pop("extra", {})
    if both := extra.keys() & others.keys():
        raise InvalidRequestError(f"{min(both)} is a column, and in extra as well; give it once")
    if others or extra:
        made["extra_body"] = {**others, **extra}
    return made


def merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A line's wish with the defaults for whatever it does not say itself.

    Size and length are each one thing said in several ways: a line that gives pixels takes no default ratio, one that
    gives a ratio takes no default pixels, one that gives seconds takes no default number of frames.
    """
    dropped: set[str] = set()
    if own.keys() & set(PIXELS):
        dropped.update(PIXELS, SHAPES)
    elif own.keys() & set(SHAPES):
        dropped.update(PIXELS)
    for one, other in (("seconds", "num_frames"), ("num_frames", "seconds")):
        if one in own:
            dropped.add(other)
    made = {name: value for name, value in defaults.items() if name not in dropped} | dict(own)
    if "extra_body" in defaults and "extra_body" in own:
        made["extra_body"] = {**defaults["extra_body"], **own["extra_body"]}
    return made


def line_of(number_: int, cells: Mapping[str, Any], defaults: Mapping[str, Any]) -> Line:
    """The line with its defaults, checked as the client would check it; InvalidRequestError says what is wrong."""
    wish = merged(defaults, wish_of(cells))
    n = check_outputs(wish.pop("n", 1))
    name = wish.pop("key", None)
    if name == "":
        raise InvalidRequestError("key is empty; leave it out, or give each line its own")
    check_wish(wish)
    return Line(number=number_, wish=wish, n=n, name=name)


def check_wish(wish: Mapping[str, Any]) -> None:
    """InvalidRequestError unless the client could send such a wish to somebody."""
    given = {name: value for name, value in wish.items() if name not in ("model", "task", "image", "output")}
    extra = given.pop("extra_body", None)
    model, image = wish.get("model"), wish.get("image")
    request(
        wish.get("task") or ("image-to-image" if image else "text-to-image"),
        parse_choice(model).model if model is not None else "",
        image=InputImage(url=image) if image is not None else None,
        extra=extra,
        **given,
    )
