"""Detaching from jobs: an accepted one keeps running at its provider; an unsent one is cancelled or left for later."""

from __future__ import annotations

import asyncio

import pytest

from hfmedia import Event, JobFailed, MediaClient
from hfmedia.sandbox import Sandbox

WAN = "Wan-AI/Wan2.2-T2V-A14B"


@pytest.mark.parametrize("keep_unsent", [False, True])
async def test_a_job_that_waits_for_a_slot_is_cancelled_or_left_unsent(
    environ: dict[str, str], keep_unsent: bool
) -> None:
    """With one slot at the provider, the second of two jobs is not sent; left unsent, it runs when it is resumed."""
    async with Sandbox(port=0, speed=50) as world:
        world.fault("wavespeed", "cold", seconds=100_000)  # the first is at work for as long as this takes
        sandbox_environ = {**environ, **world.environment}
        async with MediaClient(environ=sandbox_environ, concurrency=1) as client:
            events: list[Event] = []

            async def listen() -> None:
                events.extend([event async for event in client.generate("waves", model=f"{WAN}:wavespeed", n=2)])

            listening = asyncio.create_task(listen())
            states: dict[str, str] = {}
            async with asyncio.timeout(20):
                while "running" not in states.values() or len(states) < 2:
                    await asyncio.sleep(0.02)
                    states = {job.id: job.state for job in await client.jobs()}
            waiting = next(job_id for job_id in states if states[job_id] != "running")
            detached = [await client.detach(job_id, keep_unsent=keep_unsent) for job_id in (waiting, *states)]
            assert detached[0].state in ({"created", "routed"} if keep_unsent else {"cancelled"})
            await listening
            assert sum(isinstance(event, JobFailed) for event in events) == 2
        assert world.submissions["wavespeed"] == 1
        if keep_unsent:
            async with MediaClient(environ=sandbox_environ) as later:
                assert (await later.resume(waiting)).path.exists()
            assert world.submissions["wavespeed"] == 2
