"""Doubts: what a provider itself knows of a request whose answer was lost. Asking is free; nothing is sent again."""

from __future__ import annotations

from typing import Any

from hfmedia.core import job as life
from hfmedia.core.answers import Failed, Find, Finished, Pending
from hfmedia.core.complaint import sentence
from hfmedia.core.errors import InvalidRequestError, LostError, UnsentError

from .world import World

LOOK_BACK = 120.0  # seconds before the request was sent: clocks of two machines differ


async def ask_provider(world: World, job: life.Job) -> list[life.Fact]:
    """The facts that follow from the provider's own list of jobs; InvalidRequestError when it settles nothing."""
    route = job.route
    provider = world.provider(route.provider) if route else None
    if route is None or provider is None or not provider.finds:
        name = route.provider if route else "the provider"
        raise InvalidRequestError(
            f"{name} cannot be asked which jobs it has; look at its dashboard, then resolve with resend or drop",
            job_id=job.id,
        )
    ask = Find(job.sent_request or job.request, since=(job.sent or job.created) - LOOK_BACK)
    try:
        reply = await world.sender.send(provider.encode(ask, route), credential=world.credential(route))
    except (UnsentError, LostError) as error:
        raise InvalidRequestError(f"{route.provider} could not be asked: {error}", job_id=job.id) from error
    answer = provider.decode(ask, route, reply)
    about: dict[str, Any] = {"job": job.id, "at": world.clock()}
    if isinstance(answer, Pending):
        return [life.Accepted(**about, handle=answer.handle)]
    if isinstance(answer, Finished):
        made = life.Made(
            **about,
            outputs=life.links(answer.outputs),
            seed=answer.seed,
            cost=answer.cost,
            timings=answer.timings,
            warnings=answer.warnings,
        )
        return [made]
    why = sentence(answer, route.provider, asking=True) if isinstance(answer, Failed) else "its answer made no sense"
    raise InvalidRequestError(f"{why}. The job stays in doubt; resolve it with resend or drop", job_id=job.id)
