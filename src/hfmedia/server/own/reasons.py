"""Why providers rest: the last thing that each of them refused or failed with, as far as this process heard it."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from hfmedia.core.wire import redact
from hfmedia.engine import Event, JobFailed, Moved
from hfmedia.server.books.orders import Order


class Reason(Struct, frozen=True):
    """What a provider said, and when (unix seconds)."""

    words: str
    at: float


class Reasons:
    """The last trouble of each provider."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last: dict[str, Reason] = {}

    def hear(self, order: Order, event: Event) -> None:
        """One more event."""
        if isinstance(event, Moved):
            self._last[event.before] = Reason(redact(event.reason), self._clock())
        elif isinstance(event, JobFailed) and event.error.provider:
            self._last[event.error.provider] = Reason(redact(event.error.message), self._clock())

    def of(self, provider: str) -> Reason | None:
        """The last trouble of a provider; None when there was none."""
        return self._last.get(provider)
