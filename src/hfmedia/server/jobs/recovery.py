"""Tending: takes up what an earlier process left under way, at the start and whenever somebody else has died since."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from hfmedia.core.errors import HfmediaError
from hfmedia.server.db.generations import Generation

from .runner import RECENT_SECONDS, RETRY_LIMIT_SECONDS, UNFINISHED_STATES, GenerationRunner

RECOVERY_INTERVAL = 30.0  # seconds between two looks for orders that nobody carries
log = logging.getLogger("hfmedia.server")


class RecoveryLoop:
    """Looks after the orders that nobody carries."""

    def __init__(self, runner: GenerationRunner) -> None:
        self._runner = runner
        self._task: asyncio.Task[None] | None = None
        self._wake_event = asyncio.Event()

    def start(self) -> None:
        """Looks now, and from time to time until it is closed."""
        self._task = asyncio.create_task(self._run(), name="tending orders")

    def wake(self) -> None:
        """Looks again soon: somebody came without whom an order could not go on."""
        self._wake_event.set()

    async def aclose(self) -> None:
        """Looks no more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._wake_event.clear()
            try:
                await self.run_once()
            except HfmediaError as error:  # a full disk, say; it is looked again later
                log.warning("orders could not be tended: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(RECOVERY_INTERVAL):
                    await self._wake_event.wait()

    async def run_once(self) -> None:
        """Takes up every order that is not over and that nobody here carries."""
        runner = self._runner
        await runner.account_clients.base.engine.mark_orphans_in_doubt()
        for generation in await asyncio.to_thread(runner.database.unsettled):
            is_active_here = generation.id in runner.active or generation.id in runner.starting
            if not is_active_here and runner.account_clients.is_available(generation) and not runner.is_shutting_down:
                await self._resume_generation(generation)

    async def _resume_generation(self, generation: Generation) -> None:
        """Carries on what is left of an order; what was never sent only if somebody will still ask for it."""
        runner = self._runner
        if runner.clock() - generation.created_at > RETRY_LIMIT_SECONDS:
            return
        jobs = await runner.jobs_of(generation)
        if not generation.is_durable:
            if len(jobs) < generation.n and runner.clock() - generation.created_at < RECENT_SECONDS:
                return  # another process may begin it at this moment
            for job in jobs:
                if job.state in ("created", "routed"):
                    with suppress(HfmediaError):  # another process carries it
                        await runner.account_clients.base.cancel(job.id)
            jobs = await runner.jobs_of(generation)
        has_missing_outputs = generation.is_durable and len(jobs) < generation.n
        if has_missing_outputs or any(job.state in UNFINISHED_STATES for job in jobs):
            runner.launch(generation)
        else:
            await runner.settle_charges(generation)
