"""Ends the cold starts of the sandbox as soon as a test has observed what it waits for, not after some time."""

from __future__ import annotations

from hfmedia.sandbox.state import SandboxState


def finish_waiting_jobs(state: SandboxState, provider: str | None = None) -> None:
    """Completes every waiting job, or only that provider's. Must run in the sandbox's event loop."""
    for job in state.jobs.values():
        if job.state == "queued" and provider in (None, job.service):
            job.queue_seconds, job.run_seconds = 0.0, job.age
            job.cancel_event.set()  # answers a request that the server holds until the job is done
