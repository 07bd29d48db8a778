"""Schemas of the videos API, and the serialization of a job as a video; pure.

A video has all of OpenAI's members, null if unknown, and additional ones.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from hfmedia.core.costs import billable_attempts
from hfmedia.core.credentials import redact
from hfmedia.core.job import Job
from hfmedia.server.api.costs import CostSchema
from hfmedia.server.api.fields import (
    FILE_SCHEMA,
    PARAMETER_SCHEMAS,
    TEXT_SCHEMA,
    request_body,
    request_schema,
    struct_properties,
)
from hfmedia.server.db.generations import Generation
from hfmedia.server.errors import in_doubt_message
from hfmedia.server.jobs import JobStatus
from hfmedia.storage import Media

from .video_requests import BODY_FIELDS, VideoRequest

VIDEO_ID_PREFIX = "video_"
VideoStatus = Literal["queued", "in_progress", "completed", "failed"]
SECONDS_PER_DAY = 86_400
UNSPECIFIED = "auto"  # size and seconds that the request did not set; clients expect text
MAX_INCOMPLETE_PROGRESS = 99  # percent, until the file is stored


class VideoError(BaseModel):
    """The error of a failed video."""

    code: str
    message: str


class Video(BaseModel):
    """A video, completed or not. Times are unix seconds; ``progress`` is 0 to 100.

    The members after ``error`` are not of OpenAI's API; ``url`` is set once the video is completed.
    """

    id: str
    object: Literal["video"] = "video"
    model: str
    status: VideoStatus
    progress: int = Field(ge=0, le=100)
    created_at: int
    completed_at: int | None
    expires_at: int | None
    prompt: str | None
    size: str
    seconds: str
    remixed_from_video_id: str | None
    error: VideoError | None
    job_id: str
    provider: str | None
    position: int | None
    message: str | None
    seed: int | None
    cost: CostSchema | None
    may_be_billed: bool
    warnings: list[str]
    url: str | None
    thumbnail_url: str | None


class VideoList(BaseModel):
    """One page of videos."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VideoDeleted(BaseModel):
    """A deleted video."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


def public_video_id(job_id: str) -> str:
    """Return the ID of a job's video."""
    return f"{VIDEO_ID_PREFIX}{job_id}"


def serialize_video(
    generation: Generation,
    job: Job,
    job_status: JobStatus,
    *,
    retention_days: float,
    media: Media | None,
    urls: tuple[str, str] | None,
    error_code: str,
) -> Video:
    """Return a job as a video. ``urls`` are those of file and thumbnail; ``error_code`` is the code of a failure."""
    context = generation.response_context
    status: VideoStatus = "failed" if job_status.status == "cancelled" else job_status.status
    submitted = job.provider_request or job.request
    warnings = (*context.get("warnings", ()), *job_status.warnings, *(media.warnings if media else job.warnings))
    return Video(
        id=public_video_id(job.id),
        model=job.request.model,
        status=status,
        progress=_progress(status, job_status),
        created_at=int(generation.created_at),
        completed_at=int(media.created if media else job.updated_at) if status == "completed" else None,
        expires_at=int(generation.created_at + retention_days * SECONDS_PER_DAY) if retention_days else None,
        prompt=job.request.prompt,
        size=_size(context, media),
        seconds=context.get("seconds") or UNSPECIFIED,
        remixed_from_video_id=context.get("remixed_from"),
        error=_error(job, job_status, error_code) if status == "failed" else None,
        job_id=job.id,
        provider=job_status.provider or (job.route.provider if job.route else None),
        position=job_status.position,
        message=redact(job_status.message) if job_status.message else None,
        seed=job.seed if job.seed is not None else submitted.seed,
        cost=CostSchema.from_cost(job.cost),
        may_be_billed=billable_attempts(job) > 0,
        warnings=list(dict.fromkeys(redact(warning) for warning in warnings)),
        url=urls[0] if urls else None,
        thumbnail_url=urls[1] if urls else None,
    )


def _progress(status: VideoStatus, job_status: JobStatus) -> int:
    if status == "completed":
        return 100
    if job_status.stage == "downloading":
        return MAX_INCOMPLETE_PROGRESS
    return max(0, min(MAX_INCOMPLETE_PROGRESS, int((job_status.progress or 0.0) * 100)))


def _size(context: dict[str, Any], media: Media | None) -> str:
    """Return the actual size once it is known, until then the requested one."""
    if media is not None and media.width and media.height:
        return f"{media.width}x{media.height}"
    return context.get("size") or UNSPECIFIED


def _error(job: Job, job_status: JobStatus, error_code: str) -> VideoError:
    message = redact(job_status.error or job.error or "the job failed without a reported reason")
    if job.state == "in_doubt":
        return VideoError(code="in_doubt", message=in_doubt_message(message, job.id))
    if job_status.status == "cancelled":
        billing_note = "; it may still be billed" if billable_attempts(job) else ""
        return VideoError(code="cancelled", message=f"the job was cancelled{billing_note}: {message}")
    return VideoError(code=error_code or "failed", message=message)


# OpenAI's clients send the length as text.
SECONDS_SCHEMA = {**PARAMETER_SCHEMAS["seconds"], "type": ["number", "string"]}
PROPERTIES: dict[str, Any] = struct_properties(VideoRequest, BODY_FIELDS)
URL_SCHEMA = {"type": "object", "properties": {"image_url": TEXT_SCHEMA}, "required": ["image_url"]}
IMAGE_SCHEMA = {"anyOf": [TEXT_SCHEMA, URL_SCHEMA], "description": "Input image: a URL or a data: URL."}
CREATE_BODY = request_body(
    request_schema({**PROPERTIES, "seconds": SECONDS_SCHEMA, "input_reference": IMAGE_SCHEMA}, ["prompt"]),
    request_schema({**PROPERTIES, "seconds": SECONDS_SCHEMA, "input_reference": FILE_SCHEMA}, ["prompt"]),
)
_REMIX_SCHEMA = {"type": "object", "properties": {"prompt": PROPERTIES["prompt"]}, "required": ["prompt"]}
REMIX_BODY = request_body(_REMIX_SCHEMA, _REMIX_SCHEMA)
