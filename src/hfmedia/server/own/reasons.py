"""Why providers rest: the last thing that each of them refused or failed with, as far as this process heard it."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from hfmedia.core.complaint import in_general
from hfmedia.core.errors import JobCancelledError
from hfmedia.core.wire import redact
from hfmedia.engine import Event, JobFailed, Moved
from hfmedia.server.books.orders import Order
from hfmedia.server.entrance.caller import Caller


class Reason(Struct, frozen=True):
    """What a provider said, when (unix seconds), and to whose key."""

    words: str
    at: float
    key: str


class Reasons:
    """The last trouble of each provider."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last: dict[str, Reason] = {}

    def hear(self, order: Order, event: Event) -> None:
        """One more event."""
        if isinstance(event, Moved):
            self._last[event.before] = Reason(redact(event.reason), self._clock(), order.key)
        elif isinstance(event, JobFailed) and event.error.provider and not isinstance(event.error, JobCancelledError):
            self._last[event.error.provider] = Reason(redact(event.error.message), self._clock(), order.key)

    def of(self, provider: str, caller: Caller) -> Reason | None:
        """The last trouble of a provider; None when there was none. What it said to another key stays between them."""
        last = self._last.get(provider)
        if last is None or caller.admin or caller.key == last.key:
            return last
        return Reason(in_general(last.words, provider), last.at, last.key)
