"""The last error of each provider in this process: why it is in cooldown."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct, structs

from hfmedia.core.credentials import redact
from hfmedia.core.errors import JobCancelledError
from hfmedia.engine import Event, FailedOver, JobFailed
from hfmedia.server.auth.caller import Caller
from hfmedia.server.db.generations import Generation


class ProviderErrorRecord(Struct, frozen=True):
    """An error of a provider: its message, its time (unix seconds), and the key whose job it failed."""

    message: str
    summary: str
    timestamp: float
    caller_id: str


class ProviderErrorLog:
    """Remembers the last error of each provider."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last: dict[str, ProviderErrorRecord] = {}

    def on_event(self, generation: Generation, event: Event) -> None:
        """Record the error of a failover or a failed job."""
        if isinstance(event, FailedOver):
            self._last[event.previous_provider] = ProviderErrorRecord(
                redact(event.reason), redact(event.summary), self._clock(), generation.caller_id
            )
        elif isinstance(event, JobFailed) and event.error.provider and not isinstance(event.error, JobCancelledError):
            self._last[event.error.provider] = ProviderErrorRecord(
                redact(event.error.message),
                redact(event.error.summary or ""),
                self._clock(),
                generation.caller_id,
            )

    def latest(self, provider: str, caller: Caller) -> ProviderErrorRecord | None:
        """Return a provider's last error, or None. Callers with another key get it without the provider's own text."""
        last = self._last.get(provider)
        if last is None or caller.admin or caller.id == last.caller_id:
            return last
        return structs.replace(last, message=last.summary or f"{provider} rejected or failed a request")
