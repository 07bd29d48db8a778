"""What has come of a batch so far: counts, costs by unit, failures by kind, rate and time left.

Pure: the time is told by the caller. A cost that nobody told is counted as unknown, never as nothing.
"""

from __future__ import annotations

from collections import Counter, deque

from hfmedia.core.answers import Cost
from hfmedia.core.errors import CredentialError, CreditError, HfmediaError, InDoubtError, MissingAuthError

REMEMBERED = 512  # endings from which the rate is told
HOPELESS = (MissingAuthError, CredentialError, CreditError)
HOPELESS_STREAK = 20  # endings of these kinds in a row, after which the next line would end so as well


class Tally:
    """The counts of one batch. ``total`` outputs are asked for; ``earlier`` of them were there at the start."""

    def __init__(self, total: int) -> None:
        self.total, self.earlier, self.made, self.failed, self.in_doubt = total, 0, 0, 0, 0
        self.costs: dict[str, float] = {}
        self.unknown = 0
        self.streak = 0
        self._codes: Counter[int] = Counter()
        self._ends: deque[float] = deque(maxlen=REMEMBERED)
        self._began: float | None = None

    @property
    def there(self) -> int:
        """Outputs that lie in the folder, whenever they were made."""
        return self.earlier + self.made

    @property
    def left(self) -> int:
        """Outputs of which nothing is known yet."""
        return self.total - self.there - self.failed

    @property
    def dollars(self) -> float:
        """What the providers reported in USD, for all outputs that are there."""
        return self.costs.get("USD", 0.0)

    def begin(self, now: float) -> None:
        """The first line is begun now, in seconds of any clock that never jumps."""
        self._began = now

    def also(self, cost: Cost | None) -> None:
        """Something else was paid, for what was there before or for a job that failed. None: nobody told how much."""
        self._cost(cost)

    def add(self, cost: Cost | None, now: float) -> None:
        """An output has come."""
        self.made += 1
        self.streak = 0
        self._cost(cost)
        self._ends.append(now)

    def fail(self, error: HfmediaError, now: float) -> None:
        """An output has not come."""
        self.failed += 1
        self.in_doubt += isinstance(error, InDoubtError)
        self.streak = self.streak + 1 if isinstance(error, HOPELESS) else 0
        self._codes[error.exit_code] += 1
        self._ends.append(now)

    def rate(self, now: float) -> float | None:
        """Outputs that ended per minute, lately; None until there is something to tell it from."""
        if self._began is None or not self._ends:
            return None
        since = self._began if len(self._ends) < REMEMBERED else self._ends[0]
        return 60 * len(self._ends) / max(now - since, 1e-3)

    def time_left(self, now: float) -> float | None:
        """Seconds until the last output, at this rate; None where nobody can tell."""
        rate = self.rate(now)
        return None if not rate else 60 * self.left / rate

    def exit_code(self) -> int:
        """That of the commonest failure, of the first among equals; 0 without one."""
        return next((code for code, _ in self._codes.most_common(1)), 0)

    def cost_line(self) -> str:
        """``$1.25 + 30 fal-units (4 not told)``."""
        parts = [
            f"${amount:.6g}" if unit == "USD" else f"{amount:.6g} {unit}" for unit, amount in sorted(self.costs.items())
        ]
        told = " + ".join(parts) if parts else "not told"
        return f"{told} ({self.unknown:,} not told)" if parts and self.unknown else told

    def _cost(self, cost: Cost | None) -> None:
        if cost is None:
            self.unknown += 1
        else:
            self.costs[cost.unit] = self.costs.get(cost.unit, 0.0) + cost.amount
