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
from hfmedia.core.request import InputImage, build_request, parse_model_spec, validate_output_count
from hfmedia.core.sizes import parse_size
from hfmedia.core.text import truncated_repr

INDEX_NAME = "index.jsonl"  # the one name in the folder that is ours
MAX_NAME_BYTES = 255  # bytes of one part of a path, on every file system in use
_INTEGER_PATTERN = re.compile(r"[+-]?\d{1,40}")


class Line(Struct, frozen=True, kw_only=True):
    """One line as it is meant: ``wish`` is for the client, by its names; ``name`` is the line's own key, if it has one.

    ``number`` counts from 1, as an editor does; ``n`` is how many outputs it asks for.
    """

    number: int
    options: dict[str, Any]
    n: int = 1
    key: str | None = None


def parse_text(name: str, value: Any) -> str:
    """The value, when it is text."""
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} is {truncated_repr(value)}, but must be text")
    return value


def _parse_stripped(name: str, value: Any) -> str:
    return parse_text(name, value).strip()


def parse_int(name: str, value: Any) -> int:
    """A whole number, also out of a text cell, or out of a table that keeps whole numbers as floats."""
    if isinstance(value, str) and _INTEGER_PATTERN.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequestError(f"{name} is {truncated_repr(value)}, but must be a whole number")
    return value


def parse_float(name: str, value: Any) -> float:
    """A number, also out of a text cell; always a float, so that 3 and 3.0 are the same wish."""
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise InvalidRequestError(f"{name} is {truncated_repr(value)}, but must be a number")


def _parse_json_object(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=_reject_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(f"{name} is not JSON: {str(error)[:200]}") from None
    if not isinstance(value, Mapping):
        raise InvalidRequestError(
            f'{name} is {truncated_repr(value)}, but must be a JSON object such as {{"strength": 0.5}}'
        )
    return dict(cast("Mapping[str, Any]", value))


def parse_output_name(name: str, value: Any) -> str:
    """A file's name inside the folder, with ``/`` between its parts; InvalidRequestError when it leads elsewhere."""
    stripped = _parse_stripped(name, value)
    parts = PurePosixPath(stripped.replace("\\", "/")).parts
    leads_outside = (
        PurePosixPath(stripped).is_absolute() or PureWindowsPath(stripped).anchor or PureWindowsPath(stripped).drive
    )
    if leads_outside or ".." in parts:
        raise InvalidRequestError(
            f"{name} is {truncated_repr(stripped)}, which leads out of the folder; give a file name inside it"
        )
    is_invalid = not parts or stripped.endswith(("/", "\\")) or not stripped.isprintable()
    if is_invalid or any(len(part.encode(errors="replace")) > MAX_NAME_BYTES for part in parts):
        raise InvalidRequestError(f"{name} is {truncated_repr(stripped)}, which is no file name")
    if parts == (INDEX_NAME,):
        raise InvalidRequestError(f"{name} is {INDEX_NAME}, which is the batch's own; choose another name")
    return "/".join(parts)


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


ColumnParser = Callable[[str, Any], Any]

# Each column, by the name that the library has for it, and how its value is read.
COLUMN_PARSERS: dict[str, ColumnParser] = {
    "prompt": parse_text,
    "model": _parse_stripped,
    "task": _parse_stripped,
    "image": _parse_stripped,
    "negative_prompt": parse_text,
    "seed": parse_int,
    "width": parse_int,
    "height": parse_int,
    "size": lambda _, value: parse_size(_parse_stripped("size", value)),
    "aspect_ratio": _parse_stripped,
    "resolution": _parse_stripped,
    "seconds": parse_float,
    "fps": parse_int,
    "num_frames": parse_int,
    "num_inference_steps": parse_int,
    "guidance_scale": parse_float,
    "scheduler": _parse_stripped,
    "output": parse_output_name,
    "n": parse_int,
    "key": lambda name, value: _parse_stripped(name, value if isinstance(value, str) else str(parse_int(name, value))),
    "extra": _parse_json_object,
}  # fmt: skip
ALIASES = {"negative": "negative_prompt", "steps": "num_inference_steps", "guidance": "guidance_scale", "id": "key"}
PIXEL_COLUMNS = ("width", "height")
SHAPE_COLUMNS = ("aspect_ratio", "resolution")


def canonical_column(name: str) -> str | None:
    """The library's name for a column, however it is spelled (``Aspect ratio``, ``steps``); None for another one."""
    normalized = name.strip().lower().replace(" ", "_").replace("-", "_")
    normalized = ALIASES.get(normalized, normalized)
    return normalized if normalized in COLUMN_PARSERS else None


def suggest_column(name: str) -> str | None:
    """The column that was perhaps meant by a name that is none."""
    return next(iter(get_close_matches(name.strip().lower(), [*COLUMN_PARSERS, *ALIASES], n=1, cutoff=0.8)), None)


def parse_value(cell: str) -> Any:
    """What a text cell holds for a provider: JSON where it is JSON, else the text itself."""
    try:
        return json.loads(cell, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return cell


def parse_options(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The cells read, by the library's names; ``extra_body`` holds what only a provider knows.

    InvalidRequestError for a cell that cannot be read, and for two cells that say the same thing.
    """
    options: dict[str, Any] = {}
    unknown_columns: dict[str, Any] = {}
    for name, value in cells.items():
        canonical = canonical_column(name)
        if canonical is None:
            unknown_columns[parse_text("a column's name", name).strip()] = value
        elif canonical in options:
            raise InvalidRequestError(f"{canonical} is given twice, under two names")
        else:
            options[canonical] = COLUMN_PARSERS[canonical](name.strip(), value)
    if size := options.pop("size", None):
        if options.keys() & set(PIXEL_COLUMNS):
            raise InvalidRequestError("size is given, and width or height as well; give one of them")
        options["width"], options["height"] = size.width, size.height
    extra_body = options.pop("extra", {})
    if duplicates := extra_body.keys() & unknown_columns.keys():
        raise InvalidRequestError(f"{min(duplicates)} is a column, and in extra as well; give it once")
    if unknown_columns or extra_body:
        options["extra_body"] = {**unknown_columns, **extra_body}
    return options


def apply_defaults(defaults: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A line's wish with the defaults for whatever it does not say itself.

    Size and length are each one thing said in several ways: a line that gives pixels takes no default ratio, one that
    gives a ratio takes no default pixels, one that gives seconds takes no default number of frames.
    """
    dropped: set[str] = set()
    if options.keys() & set(PIXEL_COLUMNS):
        dropped.update(PIXEL_COLUMNS, SHAPE_COLUMNS)
    elif options.keys() & set(SHAPE_COLUMNS):
        dropped.update(PIXEL_COLUMNS)
    for present, excluded in (("seconds", "num_frames"), ("num_frames", "seconds")):
        if present in options:
            dropped.add(excluded)
    result = {name: value for name, value in defaults.items() if name not in dropped} | dict(options)
    if "extra_body" in defaults and "extra_body" in options:
        result["extra_body"] = {**defaults["extra_body"], **options["extra_body"]}
    return result


def parse_line(line_number: int, cells: Mapping[str, Any], defaults: Mapping[str, Any]) -> Line:
    """The line with its defaults, checked as the client would check it; InvalidRequestError says what is wrong."""
    options = apply_defaults(defaults, parse_options(cells))
    output_count = validate_output_count(options.pop("n", 1))
    key = options.pop("key", None)
    if key == "":
        raise InvalidRequestError("key is empty; leave it out, or give each line its own")
    validate_options(options)
    return Line(number=line_number, options=options, n=output_count, key=key)


def validate_options(options: Mapping[str, Any]) -> None:
    """InvalidRequestError unless the client could send such a wish to somebody."""
    parameters = {name: value for name, value in options.items() if name not in ("model", "task", "image", "output")}
    extra_body = parameters.pop("extra_body", None)
    model, image = options.get("model"), options.get("image")
    build_request(
        options.get("task") or ("image-to-image" if image else "text-to-image"),
        parse_model_spec(model).model if model is not None else "",
        image=InputImage(url=image) if image is not None else None,
        extra=extra_body,
        **parameters,
    )
