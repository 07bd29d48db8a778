"""Ends the cold starts of the sandbox when a test has seen what it wanted to see, not after some time."""

from __future__ import annotations

from hfmedia.sandbox.state import SandboxState


def finish_waiting_jobs(state: SandboxState, provider: str | None = None) -> None:
    """Whatever waits in a queue, of that provider alone where one is named, is done now. In the world's own loop."""
    for job in state.jobs.values():
        if job.state == "queued" and provider in (None, job.service):
            job.queue_seconds, job.run_seconds = 0.0, job.age
            job.cancel_event.set()  # a request that is held until its job is done is answered
