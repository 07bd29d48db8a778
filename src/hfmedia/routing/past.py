"""How jobs went before: in this process, and before it by the ledger.

The ledger is read once, when somebody first wants to know, and only its latest jobs: a guess may cost little.
"""

from __future__ import annotations

import asyncio

from hfmedia.core.answers import Route
from hfmedia.core.errors import HfmediaError
from hfmedia.ledger import Ledger

from .memory import Observed

LATEST = 256  # jobs of whatever model: a few pages of the ledger, read within milliseconds


class Past:
    """What is known of the jobs before, by provider and model. From now on it is added to ``observed``."""

    def __init__(self, observed: Observed, ledger: Ledger) -> None:
        self.observed = observed
        self._ledger = ledger
        self._turn, self._read = asyncio.Lock(), False

    async def known(self) -> Observed:
        """All that is known, the ledger's word included."""
        async with self._turn:
            if not self._read:
                await self._remember()
                self._read = True
        return self.observed

    async def seconds(self, route: Route) -> float | None:
        """How many seconds a job on a route takes from being sent; None when nothing is known of such jobs."""
        return (await self.known()).seconds(route.provider, route.model)

    async def _remember(self) -> None:
        """Adds what the ledger knows of models of which this process has seen nothing, in the order of those jobs."""
        try:
            latest = [job async for job in self._ledger.jobs(newest_first=True, limit=LATEST)]
        except HfmediaError:  # a guess is not worth a job: what cannot be read is not known
            return
        seen = self.observed
        told = [(job.route, job.made - job.sent, job.cost) for job in latest if job.route and job.made and job.sent]
        for route, seconds, cost in [one for one in told if seen.seconds(one[0].provider, one[0].model) is None][::-1]:
            seen.add(route, seconds, cost)
