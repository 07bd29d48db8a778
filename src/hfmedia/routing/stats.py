"""How jobs went before: in this process, and before it by the ledger.

The ledger is read once, when somebody first wants to know, and only its latest jobs: a guess may cost little.
"""

from __future__ import annotations

import asyncio

from hfmedia.core.errors import HfmediaError
from hfmedia.core.protocol import Route
from hfmedia.ledger import Ledger

from .health import ProviderStats

SAMPLE_SIZE = 256  # jobs of whatever model: a few pages of the ledger, read within milliseconds


class LedgerStats:
    """What is known of the jobs before, by provider and model. From now on it is added to ``observed``."""

    def __init__(self, stats: ProviderStats, ledger: Ledger) -> None:
        self.stats = stats
        self._ledger = ledger
        self._lock, self._loaded = asyncio.Lock(), False

    async def load(self) -> ProviderStats:
        """All that is known, the ledger's word included."""
        async with self._lock:
            if not self._loaded:
                await self._load_from_ledger()
                self._loaded = True
        return self.stats

    async def expected_seconds(self, route: Route) -> float | None:
        """How many seconds a job on a route takes from being sent; None when nothing is known of such jobs."""
        return (await self.load()).median_seconds(route.provider, route.model)

    async def _load_from_ledger(self) -> None:
        """Adds what the ledger knows of models of which this process has seen nothing, in the order of those jobs."""
        try:
            recent_jobs = [job async for job in self._ledger.iter_jobs(newest_first=True, limit=SAMPLE_SIZE)]
        except HfmediaError:  # a guess is not worth a job: what cannot be read is not known
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
