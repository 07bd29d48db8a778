"""Doubts: what a provider itself knows of a request whose answer was lost. Asking is free; nothing is sent again."""

from __future__ import annotations

from typing import Any

from hfmedia.core import job as life
from hfmedia.core.error_messages import describe_failure
from hfmedia.core.errors import InvalidRequestError, RequestNotSentError, ResponseLostError
from hfmedia.core.protocol import Completed, Failure, Lookup, Pending

from .dependencies import EngineDependencies

LOOKUP_MARGIN = 120.0  # seconds before the request was sent: clocks of two machines differ


async def look_up_submission(deps: EngineDependencies, job: life.Job) -> list[life.LedgerEntry]:
    """The facts that follow from the provider's own list of jobs; InvalidRequestError when it settles nothing."""
    route = job.route
    provider = deps.get_provider(route.provider) if route else None
    if route is None or provider is None or not provider.can_look_up:
        name = route.provider if route else "the provider"
        raise InvalidRequestError(
            f"{name} cannot be asked which jobs it has; look at its dashboard, then resolve with resend or drop",
            job_id=job.id,
        )
    operation = Lookup(
        job.provider_request or job.request, submitted_after=(job.submitted_at or job.created_at) - LOOKUP_MARGIN
    )
    try:
        response = await deps.sender.send(provider.encode(operation, route), credential=deps.credential_for(route))
    except (RequestNotSentError, ResponseLostError) as error:
        raise InvalidRequestError(f"{route.provider} could not be asked: {error}", job_id=job.id) from error
    result = provider.decode(operation, route, response)
    entry_fields: dict[str, Any] = {"job_id": job.id, "timestamp": deps.clock()}
    if isinstance(result, Pending):
        return [life.AcceptedEntry(**entry_fields, handle=result.handle)]
    if isinstance(result, Completed):
        completed_entry = life.CompletedEntry(
            **entry_fields,
            outputs=life.strip_inline_outputs(result.outputs),
            seed=result.seed,
            cost=result.cost,
            timings=result.timings,
            warnings=result.warnings,
        )
        return [completed_entry]
    reason = (
        describe_failure(result, route, polling=True)
        if isinstance(result, Failure)
        else "its answer made no sense"
    )
    raise InvalidRequestError(f"{reason}. The job stays in doubt; resolve it with resend or drop", job_id=job.id)
