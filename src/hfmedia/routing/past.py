"""How long jobs will take, going by how long they took: in this process, and before it by the ledger.

The ledger is read once, when somebody first wants to know, and only its latest jobs: a guess may cost little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hfmedia.core.answers import Route
from hfmedia.core.errors import HfmediaError
from hfmedia.ledger import Ledger

from .memory import Observed

LATEST = 256  # jobs of whatever model: a few pages of the ledger, read within milliseconds


def expecting(observed: Observed, ledger: Ledger) -> Callable[[Route], Awaitable[float | None]]:
    """What tells how many seconds a job on a route takes from being sent; None when nothing is known of such jobs."""
    turn, read = asyncio.Lock(), False

    async def expect(route: Route) -> float | None:
        nonlocal read
        async with turn:
            if not read:
                await _remember(observed, ledger)
                read = True
        return observed.seconds(route.provider, route.model)

    return expect


async def _remember(observed: Observed, ledger: Ledger) -> None:
    """Adds what the ledger knows of models of which this process has seen nothing, in the order of those jobs."""
    try:
        latest = [job async for job in ledger.jobs(newest_first=True, limit=LATEST)]
    except HfmediaError:  # a guess is not worth a job: what cannot be read is not known
        return
    told = [(job.route, job.made - job.sent, job.cost) for job in latest if job.route and job.made and job.sent]
    for route, seconds, cost in [one for one in told if observed.seconds(one[0].provider, one[0].model) is None][::-1]:
        observed.add(route, seconds, cost)
