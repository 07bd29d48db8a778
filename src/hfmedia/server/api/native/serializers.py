"""How a job looks from outside: what the ledger knows, what is known beyond it, and what may be done next."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from starlette.requests import Request

from hfmedia.core.costs import billable_attempts
from hfmedia.core.credentials import redact
from hfmedia.core.job import DROPPED_BY_USER, Job
from hfmedia.server.api.costs import CostSchema
from hfmedia.server.db.generations import Generation, output_index
from hfmedia.server.gateway import Gateway
from hfmedia.server.jobs import JobStatus, PublicStatus
from hfmedia.server.media.signed_urls import stored_media
from hfmedia.storage import Media

HINTS: dict[str, str] = {
    "in_doubt": "Look at the provider's own dashboard. If it has the job, drop it here; if not, send it again.",
    "failed": "Read what the provider said, change the request, and make it again.",
    "cancelled": "Make it again if you want it after all.",
    "dropped": "Nothing more happens here. The provider may have made it, and may bill it.",
}


class MediaView(BaseModel):
    """One file: where it is, and what its bytes are."""

    url: str
    thumbnail_url: str
    kind: Literal["image", "video"]
    mime: str
    width: int | None
    height: int | None
    bytes: int
    nsfw: bool


class ErrorView(BaseModel):
    """Why there is no media, and what to do next. ``dropped``: its doubt was settled so by its owner."""

    kind: Literal["in_doubt", "failed", "cancelled", "dropped"]
    message: str
    hint: str | None


class JobView(BaseModel):
    """A job. ``state`` is that of the ledger, ``status`` the same in OpenAI's words, ``stage`` where it is right now.

    ``choice`` is the model as it was asked for, behind a colon the provider or policy where one was named.
    Times are unix seconds, and ``updated_at`` never goes back; ``progress`` is 0 to 1; ``received`` and ``total`` are
    bytes of the download. ``asked`` is what was asked for beside prompt, image and model, ``parameters`` what of it
    went to the provider, dropped and rounded as ``warnings`` tell.
    """

    id: str
    object: Literal["job"] = "job"
    generation: str
    index: int
    api: str
    task: str
    state: str
    status: PublicStatus
    stage: Literal["waiting", "submitting", "queued", "running", "downloading", "ended"]
    prompt: str | None
    model: str
    requested_model: str
    provider: str | None
    created_at: float
    updated_at: float
    progress: float | None
    position: int | None
    message: str | None
    received: int | None
    total: int | None
    failovers: list[str]
    warnings: list[str]
    parameters: dict[str, Any]
    requested_parameters: dict[str, Any]
    seed: int | None
    cost: CostSchema | None
    may_be_billed: bool
    error: ErrorView | None
    media: list[MediaView]
    allowed_actions: list[Literal["cancel", "delete", "resolve", "restore"]]
    deleted_at: float | None


def serialize_media(media: Media, gateway: Gateway, request: Request) -> MediaView:
    """A file as it is given out."""
    return MediaView(
        url=gateway.url_signer.url_for(request, media),
        thumbnail_url=gateway.url_signer.url_for(request, media, variant="t"),
        kind=media.kind,
        mime=media.mime,
        width=media.width,
        height=media.height,
        bytes=media.bytes,
        nsfw=media.nsfw,
    )


def serialize_job(
    job: Job, job_status: JobStatus, generation: Generation, gateway: Gateway, request: Request
) -> JobView:
    """A job as it is told."""
    submitted = job.provider_request or job.request
    index = output_index(job)
    in_doubt, is_final = job.state == "in_doubt", job.is_terminal or job.state == "in_doubt"
    allowed_actions: list[Literal["cancel", "delete", "resolve", "restore"]] = (
        ["delete"] if is_final else ["cancel", "delete"]
    )
    if in_doubt:
        allowed_actions = ["resolve", *allowed_actions]
    if index in generation.deleted_outputs:
        allowed_actions = ["restore"]
    kind: Any = "dropped" if job.error == DROPPED_BY_USER else job.state
    error = ErrorView(kind=kind, message=redact(job.error), hint=HINTS[kind]) if job.error and kind in HINTS else None
    return JobView(
        id=job.id,
        generation=generation.id,
        index=index,
        api=generation.api,
        task=job.request.task,
        state=job.state,
        status=job_status.status,
        stage=job_status.stage,
        prompt=job.request.prompt,
        model=job.request.model,
        requested_model=generation.spec.model or job.request.model,
        provider=job_status.provider or (job.route.provider if job.route else None),
        created_at=job.created_at,
        updated_at=max(job.updated_at, job_status.updated_at, gateway.runner.last_update(job.id)),
        progress=job_status.progress,
        position=job_status.position,
        message=redact(job_status.message) if job_status.message else None,
        received=job_status.received,
        total=job_status.total,
        failovers=[redact(failover) for failover in job_status.failovers],
        warnings=[
            redact(warning)
            for warning in dict.fromkeys((*_request_warnings(generation), *job_status.warnings, *job.warnings))
        ],
        parameters=submitted.parameters(),
        requested_parameters=job.request.parameters(),
        seed=job.seed if job.seed is not None else submitted.seed,
        cost=CostSchema.from_cost(job.cost),
        may_be_billed=billable_attempts(job) > 0,
        error=error,
        media=[serialize_media(media, gateway, request) for media in stored_media(job)],
        allowed_actions=allowed_actions,
        deleted_at=generation.deleted_outputs.get(index),
    )


def _request_warnings(generation: Generation) -> list[str]:
    warnings: list[str] = generation.response_context.get("warnings", [])
    return warnings


async def load_job_view(job: Job, generation: Generation, gateway: Gateway, request: Request) -> JobView:
    """A job as it stands now."""
    return serialize_job(job, gateway.runner.status_of(job), generation, gateway, request)
