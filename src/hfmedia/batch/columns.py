"""Columns of a batch line: cells become the options of a client call, whatever the file's format.

Pure. Generation parameters come from the table in core/parameters.py; unknown columns are passed to the provider.
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
from hfmedia.core.parameters import PARAMETERS, Parameter
from hfmedia.core.request import InputImage, build_request, parse_model_spec, validate_output_count
from hfmedia.core.sizes import parse_size
from hfmedia.core.text import truncated_repr

INDEX_NAME = "index.jsonl"  # the only file in the folder that the batch itself owns
MAX_NAME_BYTES = 255  # bytes of one part of a path, on every file system in use
_INTEGER_PATTERN = re.compile(r"[+-]?\d{1,40}")


class Line(Struct, frozen=True, kw_only=True):
    """One parsed line.

    Attributes:
        number: its position in the file, from 1, as an editor counts.
        options: keyword options of the client, by the library's names.
        keyed_options: the same options in the form that idempotency keys hash (see ``KEYED_COLUMNS``).
        n: the number of outputs.
        key: the line's own key, where it has one.
    """

    number: int
    options: dict[str, Any]
    keyed_options: dict[str, Any]
    n: int = 1
    key: str | None = None


def parse_text(name: str, value: Any) -> str:
    """Return a text value; InvalidRequestError for any other type."""
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} is {truncated_repr(value)}, but must be text")
    return value


def _parse_stripped(name: str, value: Any) -> str:
    return parse_text(name, value).strip()


def parse_int(name: str, value: Any) -> int:
    """Parse a whole number, also from a text cell or from a table that stores whole numbers as floats."""
    if isinstance(value, str) and _INTEGER_PATTERN.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequestError(f"{name} is {truncated_repr(value)}, but must be a whole number")
    return value


def parse_float(name: str, value: Any) -> float:
    """Parse a number, also from a text cell; always a float, so that 3 and 3.0 are the same request."""
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
            raise InvalidRequestError(f"{name} is not valid JSON: {str(error)[:200]}") from None
    if not isinstance(value, Mapping):
        raise InvalidRequestError(
            f'{name} is {truncated_repr(value)}, but must be a JSON object such as {{"shift": 0.5}}'
        )
    return dict(cast("Mapping[str, Any]", value))


def parse_output_name(name: str, value: Any) -> str:
    """Parse a file name inside the folder, with ``/`` between its parts.

    Raises InvalidRequestError when it points outside the folder, is not a file name, or is the name of the index.
    """
    stripped = _parse_stripped(name, value)
    parts = PurePosixPath(stripped.replace("\\", "/")).parts
    leads_outside = (
        PurePosixPath(stripped).is_absolute() or PureWindowsPath(stripped).anchor or PureWindowsPath(stripped).drive
    )
    if leads_outside or ".." in parts:
        raise InvalidRequestError(
            f"{name} is {truncated_repr(stripped)}, which is outside the folder; give a file name inside it"
        )
    is_invalid = not parts or stripped.endswith(("/", "\\")) or not stripped.isprintable()
    if is_invalid or any(len(part.encode(errors="replace")) > MAX_NAME_BYTES for part in parts):
        raise InvalidRequestError(f"{name} is {truncated_repr(stripped)}, which is not a valid file name")
    if parts == (INDEX_NAME,):
        raise InvalidRequestError(f"{name} is {INDEX_NAME}, which is reserved for the index; choose another name")
    return "/".join(parts)


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


ColumnParser = Callable[[str, Any], Any]


def _parameter_parser(parameter: Parameter) -> ColumnParser:
    match parameter.kind:
        case "integer":
            return parse_int
        case "number":
            return parse_float
        case "text" if parameter.metavar == "TEXT":  # free text, such as a negative prompt, is passed on unchanged
            return parse_text
        case _:
            return _parse_stripped


# Each column by the library's name for it, and the parser of its values.
COLUMN_PARSERS: dict[str, ColumnParser] = {
    "prompt": parse_text,
    "model": _parse_stripped,
    "task": _parse_stripped,
    "image": _parse_stripped,
    **{parameter.name: _parameter_parser(parameter) for parameter in PARAMETERS},
    "size": lambda _, value: parse_size(_parse_stripped("size", value)),
    "output": parse_output_name,
    "n": parse_int,
    "key": lambda name, value: _parse_stripped(name, value if isinstance(value, str) else str(parse_int(name, value))),
    "extra": _parse_json_object,
}
ALIASES = {alias: parameter.name for parameter in PARAMETERS for alias in parameter.aliases} | {"id": "key"}
PIXEL_COLUMNS = ("width", "height")
SHAPE_COLUMNS = ("aspect_ratio", "resolution")

# Idempotency keys are stored in ledgers, so what they hash never changes: columns that became known later are hashed
# as what they were before, unknown columns that a provider receives unchanged. Never add to these two.
KEYED_COLUMNS = frozenset({
    "prompt", "model", "task", "image", "negative_prompt", "seed", "width", "height", "size", "aspect_ratio",
    "resolution", "seconds", "fps", "num_frames", "num_inference_steps", "guidance_scale", "scheduler", "output", "n",
    "key", "extra",
})  # fmt: skip
KEYED_ALIASES = frozenset({"negative", "steps", "guidance", "id"})


def canonical_column(name: str) -> str | None:
    """Return the library's name for a column, however it is spelled (``Aspect ratio``, ``steps``); None if unknown."""
    normalized = _normalize(name)
    normalized = ALIASES.get(normalized, normalized)
    return normalized if normalized in COLUMN_PARSERS else None


def keyed_column(name: str) -> str | None:
    """Return the name under which idempotency keys hash a column; None where they hash it as an unknown one."""
    is_keyed = _normalize(name) in KEYED_COLUMNS | KEYED_ALIASES
    return canonical_column(name) if is_keyed else None


def _normalize(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def suggest_column(name: str) -> str | None:
    """Return the known column whose name is most similar, None where none is."""
    return next(iter(get_close_matches(name.strip().lower(), [*COLUMN_PARSERS, *ALIASES], n=1, cutoff=0.8)), None)


def parse_value(cell: str) -> Any:
    """Parse a text cell for a provider: as JSON where it is valid JSON, else as the text itself."""
    try:
        return json.loads(cell, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return cell


def parse_options(
    cells: Mapping[str, Any], *, name_of: Callable[[str], str | None] = canonical_column
) -> dict[str, Any]:
    """Parse cells into options by the library's names; ``extra_body`` holds the columns that ``name_of`` does not know.

    Raises InvalidRequestError for an invalid cell, and for two cells that set the same option.
    """
    options: dict[str, Any] = {}
    unknown_columns: dict[str, Any] = {}
    for name, value in cells.items():
        canonical = name_of(name)
        if canonical is None:
            unknown_columns[parse_text("a column's name", name).strip()] = value
        elif canonical in options:
            raise InvalidRequestError(f"{canonical} is given twice, under two names")
        else:
            options[canonical] = COLUMN_PARSERS[canonical](name.strip(), value)
    if size := options.pop("size", None):
        if options.keys() & set(PIXEL_COLUMNS):
            raise InvalidRequestError("size is given together with width or height; give only one of them")
        options["width"], options["height"] = size.width, size.height
    extra_body = options.pop("extra", {})
    if duplicates := extra_body.keys() & (unknown_columns.keys() | options.keys() - KEYED_COLUMNS):
        raise InvalidRequestError(f"{min(duplicates)} is given both as a column and in extra; give it once")
    if unknown_columns or extra_body:
        options["extra_body"] = {**unknown_columns, **extra_body}
    return options


def apply_defaults(defaults: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line's options, with the defaults for those that it does not set.

    Size and length can each be given in several ways: a line with pixels takes no default ratio, one with a ratio takes
    no default pixels, one with seconds takes no default number of frames. A parameter that is no keyed column also
    replaces a default of that name in ``extra_body``, and the other way round.
    """
    extra_body: dict[str, Any] = options.get("extra_body", {})
    dropped: set[str] = extra_body.keys() - KEYED_COLUMNS
    if options.keys() & set(PIXEL_COLUMNS):
        dropped.update(PIXEL_COLUMNS, SHAPE_COLUMNS)
    elif options.keys() & set(SHAPE_COLUMNS):
        dropped.update(PIXEL_COLUMNS)
    for present, excluded in (("seconds", "num_frames"), ("num_frames", "seconds")):
        if present in options:
            dropped.add(excluded)
    result = {name: value for name, value in defaults.items() if name not in dropped} | dict(options)
    default_extra = {
        name: value
        for name, value in defaults.get("extra_body", {}).items()
        if name not in options or name in KEYED_COLUMNS
    }
    if merged_extra := {**default_extra, **extra_body}:
        result["extra_body"] = merged_extra
    else:
        result.pop("extra_body", None)
    return result


def parse_line(
    line_number: int,
    cells: Mapping[str, Any],
    defaults: Mapping[str, Any],
    keyed_defaults: Mapping[str, Any] | None = None,
) -> Line:
    """Parse a line with its defaults and validate it as the client would.

    Args:
        line_number: counted from 1.
        cells: values by column.
        defaults: options for lines that do not set them, by the library's names.
        keyed_defaults: the same defaults as idempotency keys hash them; absent: ``defaults``.

    Raises InvalidRequestError that says what is wrong.
    """
    options = apply_defaults(defaults, parse_options(cells))
    if keyed_defaults is None:
        keyed_defaults = defaults
    if keyed_defaults != defaults or any(keyed_column(name) != canonical_column(name) for name in cells):
        keyed_options = apply_defaults(keyed_defaults, parse_options(cells, name_of=keyed_column))
    else:
        keyed_options = dict(options)
    for parsed in (options, keyed_options):
        output_count, key = validate_output_count(parsed.pop("n", 1)), parsed.pop("key", None)
    if key == "":
        raise InvalidRequestError("key is empty; leave it out, or give each line its own")
    validate_options(options)
    return Line(number=line_number, options=options, keyed_options=keyed_options, n=output_count, key=key)


def validate_options(options: Mapping[str, Any]) -> None:
    """Raise InvalidRequestError unless the client could send these options to a provider."""
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
