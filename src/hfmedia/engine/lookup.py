"""Lookup: the provider's own record of a submission whose response was lost. Free; nothing is sent again."""

from __future__ import annotations

from hfmedia.core.error_messages import describe_failure
from hfmedia.core.errors import InvalidRequestError, RequestNotSentError, ResponseLostError
from hfmedia.core.job import AcceptedEntry, CompletedEntry, Job, LedgerEntry, strip_inline_outputs
from hfmedia.core.protocol import Completed, Failure, Lookup, Pending

from .job_context import JobContext

LOOKUP_MARGIN = 120.0  # seconds before the submission: the clocks of two machines differ


async def look_up_submission(context: JobContext, job: Job) -> LedgerEntry:
    """Return the entry that follows from the provider's list of jobs.

    Raises InvalidRequestError when the provider has no such list, cannot be reached or does not know the job.
    """
    route = job.route
    provider = context.get_provider(route.provider) if route else None
    if route is None or provider is None or not provider.can_look_up:
        name = route.provider if route else "the provider"
        raise InvalidRequestError(
            f"{name} cannot be asked for its jobs; check its dashboard, then resolve with resend or drop", job_id=job.id
        )
    submitted_after = (job.submitted_at or job.created_at) - LOOKUP_MARGIN
    operation = Lookup(job.provider_request or job.request, submitted_after=submitted_after)
    try:
        response = await context.send(provider.encode(operation, route), credential=context.credential(route))
    except (RequestNotSentError, ResponseLostError) as error:
        raise InvalidRequestError(f"{route.provider} could not be reached: {error}", job_id=job.id) from error
    result = provider.decode(operation, route, response)
    if isinstance(result, Pending):
        return context.new_entry(AcceptedEntry, handle=result.handle)
    if isinstance(result, Completed):
        return context.new_entry(
            CompletedEntry,
            outputs=strip_inline_outputs(result.outputs),
            seed=result.seed,
            cost=result.cost,
            timings=result.timings,
            warnings=result.warnings,
        )
    reason = "its response could not be decoded"
    if isinstance(result, Failure):
        reason = describe_failure(result, route, polling=True)
    raise InvalidRequestError(f"{reason}. The job stays in doubt; resolve it with resend or drop", job_id=job.id)
