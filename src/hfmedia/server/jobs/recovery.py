"""Recovery loop: resumes generations orphaned by a dead process, at start-up and periodically."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from hfmedia.core.errors import HfmediaError
from hfmedia.server.db.generations import Generation

from .runner import NOT_SUBMITTED_STATES, RECENT_SECONDS, RETRY_LIMIT_SECONDS, UNFINISHED_STATES, GenerationRunner

RECOVERY_INTERVAL = 30.0  # seconds between two searches for orphaned generations
log = logging.getLogger("hfmedia.server")


class RecoveryLoop:
    """Resumes generations that no process runs."""

    def __init__(self, runner: GenerationRunner) -> None:
        self._runner = runner
        self._task: asyncio.Task[None] | None = None
        self._wake_event = asyncio.Event()

    def start(self) -> None:
        """Search now, and periodically until closed."""
        self._task = asyncio.create_task(self._run(), name="recovery loop")

    def wake(self) -> None:
        """Search soon: a caller arrived whose token a generation was waiting for."""
        self._wake_event.set()

    async def aclose(self) -> None:
        """Stop searching."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._wake_event.clear()
            try:
                await self.run_once()
            except HfmediaError as error:  # a full disk, for example; the next round tries again
                log.warning("cannot resume generations: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(RECOVERY_INTERVAL):
                    await self._wake_event.wait()

    async def run_once(self) -> None:
        """Resume every unsettled generation that does not run here."""
        runner = self._runner
        await runner.account_clients.base.engine.mark_orphans_in_doubt()
        for generation in await asyncio.to_thread(runner.database.unsettled):
            is_active_here = generation.id in runner.active or generation.id in runner.starting
            if not is_active_here and runner.account_clients.is_available(generation) and not runner.is_shutting_down:
                await self._resume_generation(generation)

    async def _resume_generation(self, generation: Generation) -> None:
        """Resume what was submitted; submit what was not only if its caller can still ask for it."""
        runner = self._runner
        age = runner.clock() - generation.created_at
        if age > RETRY_LIMIT_SECONDS:
            return
        jobs = await runner.jobs_of(generation)
        if not generation.is_durable:
            if len(jobs) < generation.n and age < RECENT_SECONDS:
                return  # another process may be starting it now
            for job in jobs:
                if job.state in NOT_SUBMITTED_STATES:
                    with suppress(HfmediaError):  # another process runs it
                        await runner.account_clients.base.cancel(job.id)
            jobs = await runner.jobs_of(generation)
        has_missing_outputs = generation.is_durable and len(jobs) < generation.n
        if has_missing_outputs or any(job.state in UNFINISHED_STATES for job in jobs):
            runner.launch(generation)
        else:
            await runner.settle_charges(generation)
