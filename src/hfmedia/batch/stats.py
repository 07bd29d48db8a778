"""Statistics of a batch: counts, costs by unit, failures by kind, rate and remaining time.

Pure: the caller passes the time. A cost that no provider reported is counted as unknown, never as zero.
"""

from __future__ import annotations

from collections import Counter, deque

from hfmedia.core.costs import format_cost
from hfmedia.core.errors import (
    AuthenticationError,
    HfmediaError,
    InDoubtError,
    InsufficientCreditError,
    MissingAuthError,
)
from hfmedia.core.protocol import Cost

RATE_WINDOW = 512  # latest completions from which the rate is computed
FATAL_ERRORS = (MissingAuthError, AuthenticationError, InsufficientCreditError)
MAX_CONSECUTIVE_FATAL = 20  # failures of these kinds in a row, after which the next line would fail as well


class BatchStats:
    """The counts of one batch of ``total`` outputs; ``previously_done`` of them existed at the start."""

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
        """Number of outputs in the folder, whichever run generated them."""
        return self.previously_done + self.newly_done

    @property
    def remaining(self) -> int:
        """Number of outputs that have not ended yet."""
        return self.total - self.done - self.failed

    @property
    def reported_usd(self) -> float:
        """Cost that providers reported in USD, for all outputs in the folder and for failed jobs that were billed."""
        return self.costs.get("USD", 0.0)

    def start(self, now: float) -> None:
        """Start the clock; ``now`` is in seconds of a monotonic clock."""
        self._started_at = now

    def add_cost(self, cost: Cost | None) -> None:
        """Add the cost of an output that existed before, or of a failed job; None is an unknown cost."""
        if cost is None:
            self.unknown_costs += 1
        else:
            self.costs[cost.unit] = self.costs.get(cost.unit, 0.0) + cost.amount

    def add_success(self, cost: Cost | None, now: float) -> None:
        """Count an output that is done."""
        self.newly_done += 1
        self.fatal_streak = 0
        self.add_cost(cost)
        self._end_times.append(now)

    def add_failure(self, error: HfmediaError, now: float) -> None:
        """Count an output that failed or is in doubt."""
        self.failed += 1
        self.in_doubt += isinstance(error, InDoubtError)
        self.fatal_streak = self.fatal_streak + 1 if isinstance(error, FATAL_ERRORS) else 0
        self._exit_codes[error.exit_code] += 1
        self._end_times.append(now)

    def outputs_per_minute(self, now: float) -> float | None:
        """Return the recent rate of outputs that ended, None before the first one."""
        if self._started_at is None or not self._end_times:
            return None
        since = self._started_at if len(self._end_times) < RATE_WINDOW else self._end_times[0]
        return 60 * len(self._end_times) / max(now - since, 1e-3)

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until the last output at the recent rate, None while the rate is unknown."""
        rate = self.outputs_per_minute(now)
        return None if not rate else 60 * self.remaining / rate

    def exit_code(self) -> int:
        """Return the exit code of the most frequent failure, of the first among equals; 0 without one."""
        return next((code for code, _ in self._exit_codes.most_common(1)), 0)

    def cost_line(self) -> str:
        """Return the costs as ``$1.25 + 30 fal-units (4 unknown)``, or ``unknown`` where none was reported."""
        text = format_cost(self.costs)
        return f"{text} ({self.unknown_costs:,} unknown)" if self.costs and self.unknown_costs else text
