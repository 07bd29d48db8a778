"""Duration and cost statistics of completed jobs, by provider and model: from this process and from the ledger.

The ledger is read once, when statistics are first needed, and only its latest jobs: an estimate must be cheap.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from statistics import median

from msgspec import Struct

from hfmedia.core.errors import HfmediaError
from hfmedia.core.protocol import Cost, Route
from hfmedia.ledger import Ledger

MAX_SAMPLES = 32  # per provider and model: enough for a median, few enough to follow a change within the hour
MAX_TRACKED_MODELS = 1024  # pairs of provider and model
SAMPLE_SIZE = 256  # jobs, whatever their model: a few pages of the ledger, read within milliseconds


class _Samples(Struct):
    seconds: deque[float]
    usd: deque[float]


class ProviderStats:
    """Durations and costs of the latest completed jobs, by provider and model, as medians."""

    def __init__(self) -> None:
        self._samples: OrderedDict[tuple[str, str], _Samples] = OrderedDict()

    def add(self, route: Route, seconds: float, cost: Cost | None) -> None:
        """Record one completed job. Costs in other units than USD cannot be compared and are left out."""
        key = (route.provider, route.model)
        samples = self._samples.setdefault(key, _Samples(deque(maxlen=MAX_SAMPLES), deque(maxlen=MAX_SAMPLES)))
        self._samples.move_to_end(key)
        if math.isfinite(seconds) and seconds >= 0:
            samples.seconds.append(seconds)
        if cost is not None and cost.unit == "USD" and math.isfinite(cost.amount):
            samples.usd.append(cost.amount)
        while len(self._samples) > MAX_TRACKED_MODELS:
            self._samples.popitem(last=False)

    def median_seconds(self, provider: str, model: str) -> float | None:
        """Return the median duration of a job in seconds; None without samples."""
        samples = self._samples.get((provider, model))
        return median(samples.seconds) if samples and samples.seconds else None

    def median_usd(self, provider: str, model: str) -> float | None:
        """Return the median reported cost in USD; None without samples."""
        samples = self._samples.get((provider, model))
        return median(samples.usd) if samples and samples.usd else None


class LedgerStats:
    """Statistics of earlier jobs, loaded from the ledger into ``stats``, to which new jobs are added directly."""

    def __init__(self, stats: ProviderStats, ledger: Ledger) -> None:
        self.stats = stats
        self._ledger = ledger
        self._lock, self._loaded = asyncio.Lock(), False

    async def load(self) -> ProviderStats:
        """Return the statistics, after reading the ledger the first time."""
        async with self._lock:
            if not self._loaded:
                await self._load_from_ledger()
                self._loaded = True
        return self.stats

    async def expected_seconds(self, route: Route) -> float | None:
        """Return the seconds that a job on this route usually takes from its submission; None without samples."""
        return (await self.load()).median_seconds(route.provider, route.model)

    async def _load_from_ledger(self) -> None:
        """Add the ledger's jobs, oldest first, for models without samples of this process."""
        try:
            recent_jobs = [job async for job in self._ledger.iter_jobs(newest_first=True, limit=SAMPLE_SIZE)]
        except HfmediaError:  # an estimate must not fail a job: without the ledger there is none
            return
        stats = self.stats
        samples = [
            (job.route, job.completed_at - job.submitted_at, job.cost)
            for job in recent_jobs
            if job.route and job.completed_at and job.submitted_at
        ]
        for route, seconds, cost in [
            sample for sample in samples if stats.median_seconds(sample[0].provider, sample[0].model) is None
        ][::-1]:
            stats.add(route, seconds, cost)
