"""Validation of a batch's arguments, and one output while it is in progress."""

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

UNCONFIRMED_EVENTS = (Started, Submitting, Retrying, FailedOver)  # after these a submission may be without its answer
FILENAME_ERRNOS = frozenset({errno.EISDIR, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR})  # about one name alone


class BatchEvent(Struct, frozen=True):
    """One event of one output of a batch."""

    item: BatchItem
    event: Event


class InFlightItem:
    """One output in progress: its task and its latest event."""

    def __init__(self, item: BatchItem, task: asyncio.Task[Any] | None) -> None:
        self.item, self.task = item, task
        self.last_event: Event | None = None

    @property
    def can_detach(self) -> bool:
        """Whether a provider has accepted it, so that this process may end and the next run finds it."""
        return self.last_event is not None and not isinstance(self.last_event, UNCONFIRMED_EVENTS)

    @property
    def is_unsent(self) -> bool:
        """Whether it is certain that nothing of it was sent."""
        return self.last_event is None or isinstance(self.last_event, Started)


def is_filename_error(error: StorageError) -> bool:
    """Whether only this file name failed, so that other lines can continue in the same folder."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in FILENAME_ERRNOS


def require_in_range(name: str, value: int, minimum: int, maximum: int) -> int:
    """Return a whole number between two bounds, both included; InvalidRequestError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:  # pyright: ignore[reportUnnecessaryIsInstance] - a caller's
        raise InvalidRequestError(f"{name} is {value!r}, but must be {minimum} to {maximum}")
    return value


def validate_defaults(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults by the library's names, each validated as far as possible without its line.

    Raises InvalidRequestError for an invalid value, and for columns that only a line can set.
    """
    for name in defaults:
        if canonical_column(name) in ("key", "output"):
            raise InvalidRequestError(f"{name} belongs to one line; it cannot be a default for all lines")
    options = parse_options(defaults)
    validate_output_count(options.get("n", 1))
    if "task" in options:
        parse_task(options["task"])
    trial = {"prompt": "any", **{name: value for name, value in options.items() if name not in ("n", "task", "image")}}
    validate_options(trial)
    return options


def to_input_source(source: Any, input_format: str | None) -> InputSource:
    """Return the input source for a path, for rows in memory, or for an input source itself."""
    if isinstance(source, str | os.PathLike):
        return open_input(cast("str", source), input_format)
    if hasattr(source, "rows") and hasattr(source, "fingerprint"):
        return cast("InputSource", source)
    return RowsInput(cast("Iterable[Mapping[str, Any]]", source))
