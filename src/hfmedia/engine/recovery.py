"""Recovery after a crash: jobs whose request was in flight when their process ended, and jobs in doubt.

Whether the provider accepted them is unknown, so they are never sent again without a decision. All other jobs are
resumed from their entries (``Engine.resume``, ``JobRunner.resume``).
"""

from __future__ import annotations

from collections.abc import Container

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import InDoubtEntry, InvalidTransitionError, Job, ResolvedEntry, State
from hfmedia.core.timeouts import Timeouts

from .dependencies import EngineDependencies
from .events import Event
from .job_context import JobContext
from .lookup import look_up_submission
from .runner import INTERRUPTED_MESSAGE

SUBMITTING_STATES: tuple[State, ...] = ("submitting",)


async def mark_orphans_in_doubt(deps: EngineDependencies, running: Container[str]) -> None:
    """Mark each job as in doubt whose process ended while its request was in flight; ``running`` are ours."""
    async for job in deps.ledger.iter_jobs(states=SUBMITTING_STATES):
        if job.id in running or not await deps.ledger.claim(job.id):
            continue
        try:
            current = await deps.ledger.get(job.id)
            if current is not None and current.state == "submitting":
                await context_of(deps, job).record(InDoubtEntry, message=INTERRUPTED_MESSAGE)
        finally:
            await deps.ledger.release(job.id)


async def resolve_in_doubt(deps: EngineDependencies, job: Job, decision: str) -> None:
    """Record a decision about a job in doubt; raises InvalidRequestError when it is not, or the provider cannot tell.

    ``decision`` is ``resend``, ``drop``, or ``ask`` for looking up the submission at the provider.
    """
    if job.state != "in_doubt":
        raise InvalidRequestError(
            f"job {job.id} is not in doubt (its state is {job.state}); there is nothing to resolve", job_id=job.id
        )
    if decision not in ("ask", "resend", "drop"):
        raise InvalidRequestError(f"a job in doubt is resolved by resend, drop or ask, not {decision!r}", job_id=job.id)
    context = context_of(deps, job)
    try:
        if decision == "ask":
            await context.record_all(await look_up_submission(context, job))
        else:
            await context.record(ResolvedEntry, decision=decision)
    except InvalidTransitionError as error:
        message = f"job {job.id} was resolved by another process meanwhile"
        raise InvalidRequestError(message, job_id=job.id) from error


def context_of(deps: EngineDependencies, job: Job) -> JobContext:
    """Return a context for recording an entry of a job that does not run here."""
    return JobContext(deps, job.id, job.index, emit=discard_event, timeouts=Timeouts())


def discard_event(event: Event) -> None:
    """Ignore an event that has no listener."""
