"""Time limits of a job, in seconds."""

from __future__ import annotations

from msgspec import Struct

from .errors import InvalidRequestError

MAX_TIMEOUT_SECONDS = 7 * 24 * 3600  # a week is longer than any provider keeps a result


class Timeouts(Struct, frozen=True, kw_only=True):
    """Time limits, in seconds; 0 means no limit. A running job that exceeds one is detached, not lost.

    Attributes:
        total: for the whole call.
        submit: for the response to one submission.
        run: from acceptance until the provider reports completion.
        download: for one file.
    """

    total: float = 0.0
    submit: float = 0.0
    run: float = 0.0
    download: float = 0.0

    @classmethod
    def parse(cls, timeout: float | Timeouts | None) -> Timeouts:
        """Convert seconds in total, or None for no limit, to Timeouts.

        Raises InvalidRequestError when a value is not a number from 0 to a week.
        """
        timeouts = timeout if isinstance(timeout, Timeouts) else cls(total=0.0 if timeout is None else timeout)
        for name in timeouts.__struct_fields__:
            value = getattr(timeouts, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TIMEOUT_SECONDS:
                raise InvalidRequestError(f"timeout {value!r} is not a number of seconds from 0 (no limit) to a week")
        return timeouts
