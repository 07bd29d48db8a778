"""What a caller asked of a batch, checked at the door; and one output while it is under way."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterable, Mapping
from typing import Any, cast

from msgspec import Struct

from hfmedia.core.errors import InvalidRequestError, StoreError
from hfmedia.core.request import check_outputs, parse_task
from hfmedia.engine import Event, Moved, Retrying, Started, Submitting

from .keys import Order
from .lines import check_wish, column, wish_of
from .sheets import Rows, Sheet, open_sheet

UNSETTLED = (Started, Submitting, Retrying, Moved)  # after these a provider may be asked, and has not answered
NAMES_ONLY = frozenset({errno.EISDIR, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR})  # one name's trouble


class Heard(Struct, frozen=True):
    """One event of one output of a batch."""

    order: Order
    event: Event


class Flight:
    """One output under way: its task, and the last that was heard of it."""

    def __init__(self, order: Order, task: asyncio.Task[Any] | None) -> None:
        self.order, self.task = order, task
        self.last: Event | None = None

    @property
    def settled(self) -> bool:
        """Whether a provider has it, so that it can be left to itself and found again."""
        return self.last is not None and not isinstance(self.last, UNSETTLED)

    @property
    def unsent(self) -> bool:
        """Whether it is certain that nothing of it was sent."""
        return self.last is None or isinstance(self.last, Started)


def only_the_name(error: StoreError) -> bool:
    """Whether another name in the same folder may do, so that the other lines can go on."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in NAMES_ONLY


def bounded(name: str, value: int, low: int, high: int) -> int:
    """The value when it is a whole number in these bounds, else InvalidRequestError."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:  # pyright: ignore[reportUnnecessaryIsInstance] - a caller's
        raise InvalidRequestError(f"{name} is {value!r}, but must be {low} to {high}")
    return value


def checked_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults by the library's names, each checked as far as it can be without its line."""
    for name in given:
        if column(name) in ("key", "output"):
            raise InvalidRequestError(f"{name} belongs to one line; it cannot be the default of all")
    wish = wish_of(given)
    check_outputs(wish.get("n", 1))
    if "task" in wish:
        parse_task(wish["task"])
    trial = {"prompt": "any", **{name: value for name, value in wish.items() if name not in ("n", "task", "image")}}
    check_wish(trial)
    return wish


def as_sheet(given: Any, form: str | None) -> Sheet:
    """The sheet itself, a file by its path, or rows that are in memory."""
    if isinstance(given, str | os.PathLike):
        return open_sheet(cast("str", given), form)
    if hasattr(given, "rows") and hasattr(given, "stamp"):
        return cast("Sheet", given)
    return Rows(cast("Iterable[Mapping[str, Any]]", given))
