"""What has come of a batch so far: counts, costs by unit, failures by kind, rate and time left.

Pure: the time is told by the caller. A cost that nobody told is counted as unknown, never as nothing.
"""

from __future__ import annotations

from collections import Counter, deque

from hfmedia.core.errors import (
    AuthenticationError,
    HfmediaError,
    InDoubtError,
    InsufficientCreditError,
    MissingAuthError,
)
from hfmedia.core.protocol import Cost

RATE_WINDOW = 512  # endings from which the rate is told
FATAL_ERRORS = (MissingAuthError, AuthenticationError, InsufficientCreditError)
MAX_CONSECUTIVE_FATAL = 20  # endings of these kinds in a row, after which the next line would end so as well


class BatchStats:
    """The counts of one batch. ``total`` outputs are asked for; ``earlier`` of them were there at the start."""

    def __init__(self, total: int) -> None:
        self.total, self.previously_done, self.newly_done, self.failed, self.in_doubt = total, 0, 0, 0, 0
        self.costs: dict[str, float] = {}
        self.unknown_costs = 0
        self.fatal_streak = 0
        self._exit_codes: Counter[int] = Counter()
        self._end_times: deque[float] = deque(maxlen=RATE_WINDOW)
        self._started_at: float | None = None

    @property
    def done(self) -> int:
        """Outputs that lie in the folder, whenever they were made."""
        return self.previously_done + self.newly_done

    @property
    def remaining(self) -> int:
        """Outputs of which nothing is known yet."""
        return self.total - self.done - self.failed

    @property
    def reported_usd(self) -> float:
        """What the providers reported in USD, for all outputs that are there."""
        return self.costs.get("USD", 0.0)

    def start(self, now: float) -> None:
        """The first line is begun now, in seconds of any clock that never jumps."""
        self._started_at = now

    def add_cost(self, cost: Cost | None) -> None:
        """Something else was paid, for what was there before or for a job that failed. None: nobody told how much."""
        self._count_cost(cost)

    def add_success(self, cost: Cost | None, now: float) -> None:
        """An output has come."""
        self.newly_done += 1
        self.fatal_streak = 0
        self._count_cost(cost)
        self._end_times.append(now)

    def add_failure(self, error: HfmediaError, now: float) -> None:
        """An output has not come."""
        self.failed += 1
        self.in_doubt += isinstance(error, InDoubtError)
        self.fatal_streak = self.fatal_streak + 1 if isinstance(error, FATAL_ERRORS) else 0
        self._exit_codes[error.exit_code] += 1
        self._end_times.append(now)

    def outputs_per_minute(self, now: float) -> float | None:
        """Outputs that ended per minute, lately; None until there is something to tell it from."""
        if self._started_at is None or not self._end_times:
            return None
        since = self._started_at if len(self._end_times) < RATE_WINDOW else self._end_times[0]
        return 60 * len(self._end_times) / max(now - since, 1e-3)

    def seconds_left(self, now: float) -> float | None:
        """Seconds until the last output, at this rate; None where nobody can tell."""
        rate = self.outputs_per_minute(now)
        return None if not rate else 60 * self.remaining / rate

    def exit_code(self) -> int:
        """That of the commonest failure, of the first among equals; 0 without one."""
        return next((code for code, _ in self._exit_codes.most_common(1)), 0)

    def cost_line(self) -> str:
        """``$1.25 + 30 fal-units (4 not told)``."""
        parts = [
            f"${amount:.6g}" if unit == "USD" else f"{amount:.6g} {unit}" for unit, amount in sorted(self.costs.items())
        ]
        text = " + ".join(parts) if parts else "not told"
        return f"{text} ({self.unknown_costs:,} not told)" if parts and self.unknown_costs else text

    def _count_cost(self, cost: Cost | None) -> None:
        if cost is None:
            self.unknown_costs += 1
        else:
            self.costs[cost.unit] = self.costs.get(cost.unit, 0.0) + cost.amount
