"""Jobs as the native API returns them: ledger state, live status, and the actions that are allowed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from starlette.requests import Request

from hfmedia.core.costs import billable_attempts
from hfmedia.core.credentials import redact
from hfmedia.core.error_messages import OUTCOME_UNKNOWN
from hfmedia.core.job import DROPPED_BY_USER, Job
from hfmedia.server.api.costs import CostSchema
from hfmedia.server.db.generations import Generation, output_index
from hfmedia.server.gateway import Gateway
from hfmedia.server.jobs import JobStatus, PublicStatus
from hfmedia.server.media.signed_urls import stored_media
from hfmedia.storage import Media

HINTS: dict[str, str] = {
    "in_doubt": "Check the provider's own dashboard. If it has the job, drop it here; if not, resend it.",
    "failed": "Read the provider's message, change the request, and submit it again.",
    "cancelled": "Submit it again to retry.",
    "dropped": "It is not resent. The provider may have run it, and may bill it.",
}


class MediaView(BaseModel):
    """One file: its URL and properties."""

    url: str
    thumbnail_url: str
    kind: Literal["image", "video"]
    mime: str
    width: int | None
    height: int | None
    bytes: int
    nsfw: bool


class ErrorView(BaseModel):
    """Why a job has no media, and what to do next. ``dropped``: it was in doubt, and its owner gave it up.

    ``reason``: the part of the message that says why a job is in doubt; null for other kinds.
    """

    kind: Literal["in_doubt", "failed", "cancelled", "dropped"]
    message: str
    reason: str | None
    hint: str | None


class FailoverView(BaseModel):
    """A failover and its reason; the providers are null for a job that ran in another process."""

    reason: str
    previous_provider: str | None
    provider: str | None


class JobView(BaseModel):
    """A job. ``state`` is the ledger's, ``status`` the same in OpenAI's words, ``stage`` the current step.

    ``generation`` is the ID that all outputs of one request share; ``requested_model`` the model as requested, with the
    provider or policy after a colon. Times are unix seconds; ``updated_at`` never decreases. ``progress`` is 0 to 1;
    ``received`` and ``total`` are bytes of the download. ``requested_parameters`` are those of the request,
    ``parameters`` those sent to the provider; ``warnings`` say what was dropped or rounded.
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
    failovers: list[FailoverView]
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
    """Return a file with its URLs."""
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
    """Return a job as the native API returns it."""
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
        failovers=[
            FailoverView(
                reason=redact(failover.reason),
                previous_provider=failover.previous_provider,
                provider=failover.provider,
            )
            for failover in job_status.failovers
        ],
        warnings=[
            redact(warning)
            for warning in dict.fromkeys((*_request_warnings(generation), *job_status.warnings, *job.warnings))
        ],
        parameters=submitted.parameters(),
        requested_parameters=job.request.parameters(),
        seed=job.seed if job.seed is not None else submitted.seed,
        cost=CostSchema.from_cost(job.cost),
        may_be_billed=billable_attempts(job) > 0,
        error=_error_view(job),
        media=[serialize_media(media, gateway, request) for media in stored_media(job)],
        allowed_actions=allowed_actions,
        deleted_at=generation.deleted_outputs.get(index),
    )


def _error_view(job: Job) -> ErrorView | None:
    kind: Any = "dropped" if job.error == DROPPED_BY_USER else job.state
    if not job.error or kind not in HINTS:
        return None
    message = redact(job.error)
    reason = message.partition(f"; {OUTCOME_UNKNOWN}")[0] if kind == "in_doubt" else None
    return ErrorView(kind=kind, message=message, reason=reason, hint=HINTS[kind])


def _request_warnings(generation: Generation) -> list[str]:
    warnings: list[str] = generation.response_context.get("warnings", [])
    return warnings


async def load_job_view(job: Job, generation: Generation, gateway: Gateway, request: Request) -> JobView:
    """Return the current state of a job."""
    return serialize_job(job, gateway.runner.status_of(job), generation, gateway, request)
