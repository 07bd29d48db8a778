"""What a caller asked of a batch, checked at the door; and one output while it is under way."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterable, Mapping
from typing import Any, cast

from msgspec import Struct

from hfmedia.core.errors import InvalidRequestError, StorageError
from hfmedia.core.request import parse_task, validate_output_count
from hfmedia.engine import Event, FailedOver, Retrying, Started, Submitting

from .columns import canonical_column, parse_options, validate_options
from .input_files import InputSource, RowsInput, open_input
from .items import BatchItem

UNCONFIRMED_EVENTS = (
    Started,
    Submitting,
    Retrying,
    FailedOver,
)  # after these a provider may be asked, and has not answered
FILENAME_ERRNOS = frozenset({errno.EISDIR, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR})  # one name's trouble


class BatchEvent(Struct, frozen=True):
    """One event of one output of a batch."""

    item: BatchItem
    event: Event


class InFlightItem:
    """One output under way: its task, and the last that was heard of it."""

    def __init__(self, item: BatchItem, task: asyncio.Task[Any] | None) -> None:
        self.item, self.task = item, task
        self.last_event: Event | None = None

    @property
    def can_detach(self) -> bool:
        """Whether a provider has it, so that it can be left to itself and found again."""
        return self.last_event is not None and not isinstance(self.last_event, UNCONFIRMED_EVENTS)

    @property
    def is_unsent(self) -> bool:
        """Whether it is certain that nothing of it was sent."""
        return self.last_event is None or isinstance(self.last_event, Started)


def is_filename_error(error: StorageError) -> bool:
    """Whether another name in the same folder may do, so that the other lines can go on."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in FILENAME_ERRNOS


def require_in_range(name: str, value: int, minimum: int, maximum: int) -> int:
    """The value when it is a whole number in these bounds, else InvalidRequestError."""
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:  # pyright: ignore[reportUnnecessaryIsInstance] - a caller's
        raise InvalidRequestError(f"{name} is {value!r}, but must be {minimum} to {maximum}")
    return value


def validate_defaults(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults by the library's names, each checked as far as it can be without its line."""
    for name in defaults:
        if canonical_column(name) in ("key", "output"):
            raise InvalidRequestError(f"{name} belongs to one line; it cannot be the default of all")
    options = parse_options(defaults)
    validate_output_count(options.get("n", 1))
    if "task" in options:
        parse_task(options["task"])
    trial = {"prompt": "any", **{name: value for name, value in options.items() if name not in ("n", "task", "image")}}
    validate_options(trial)
    return options


def to_input_source(source: Any, input_format: str | None) -> InputSource:
    """The sheet itself, a file by its path, or rows that are in memory."""
    if isinstance(source, str | os.PathLike):
        return open_input(cast("str", source), input_format)
    if hasattr(source, "rows") and hasattr(source, "stamp"):
        return cast("InputSource", source)
    return RowsInput(cast("Iterable[Mapping[str, Any]]", source))
