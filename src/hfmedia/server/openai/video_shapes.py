"""A video as OpenAI's videos API tells it, put together out of order and job; and what its requests hold. Pure.

All of OpenAI's members are there, null where nothing is known; ours stand beside them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from hfmedia.core.costs import bought
from hfmedia.core.job import Job
from hfmedia.core.wire import redact
from hfmedia.server.books.orders import Order
from hfmedia.server.errors import DOUBT
from hfmedia.server.works import Live
from hfmedia.store import Media

PREFIX = "video_"
Status = Literal["queued", "in_progress", "completed", "failed"]
DAY = 86_400
UNSAID = "auto"  # size and seconds that nobody asked for; a client may count on a text
ALMOST = 99  # percent, until the file lies here whole


class VideoError(BaseModel):
    """Why there is no video."""

    code: str
    message: str


class VideoCost(BaseModel):
    """A cost as the provider reported it."""

    amount: float
    unit: str


class Video(BaseModel):
    """A video, or one on its way. Times are unix seconds; ``progress`` is 0 to 100.

    After ``error`` stand our own members; ``url`` is there once it is completed.
    """

    id: str
    object: Literal["video"] = "video"
    model: str
    status: Status
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
    cost: VideoCost | None
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
    """A video that was deleted."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


def video_id(job_id: str) -> str:
    """A video's id."""
    return f"{PREFIX}{job_id}"


def video_of(
    order: Order, job: Job, live: Live, *, days: float, media: Media | None, links: tuple[str, str] | None, kind: str
) -> Video:
    """A job as a video. ``links`` are the addresses of file and thumbnail; ``kind`` is the code of a failure."""
    told = order.told
    status: Status = "failed" if live.status == "cancelled" else live.status
    sent = job.sent_request or job.request
    notes = (*told.get("warnings", ()), *live.notes, *(media.warnings if media else job.warnings))
    return Video(
        id=video_id(job.id),
        model=job.request.model,
        status=status,
        progress=_progress(status, live),
        created_at=int(order.at),
        completed_at=int(media.created if media else job.updated) if status == "completed" else None,
        expires_at=int(order.at + days * DAY) if days else None,
        prompt=job.request.prompt,
        size=_size(told, media),
        seconds=told.get("seconds") or UNSAID,
        remixed_from_video_id=told.get("remixed_from"),
        error=_error(job, live, kind) if status == "failed" else None,
        job_id=job.id,
        provider=live.provider or (job.route.provider if job.route else None),
        position=live.position,
        message=redact(live.message) if live.message else None,
        seed=job.seed if job.seed is not None else sent.seed,
        cost=VideoCost(amount=job.cost.amount, unit=job.cost.unit) if job.cost else None,
        may_be_billed=bought(job) > 0,
        warnings=list(dict.fromkeys(redact(words) for words in notes)),
        url=links[0] if links else None,
        thumbnail_url=links[1] if links else None,
    )


def _progress(status: Status, live: Live) -> int:
    if status == "completed":
        return 100
    if live.stage == "downloading":
        return ALMOST
    return max(0, min(ALMOST, int((live.progress or 0.0) * 100)))


def _size(told: dict[str, Any], media: Media | None) -> str:
    """As asked for; the real one once that is known."""
    if media is not None and media.width and media.height:
        return f"{media.width}x{media.height}"
    return told.get("size") or UNSAID


def _error(job: Job, live: Live, kind: str) -> VideoError:
    message = redact(live.error or job.error or "it failed, and nobody said why")
    if job.state == "doubt":
        return VideoError(code="in_doubt", message=f"{message.split('. Look at')[0]}. {DOUBT.format(job=job.id)}")
    if live.status == "cancelled":
        billed = "; what was accepted may still be billed" if bought(job) else ""
        return VideoError(code="cancelled", message=f"it was cancelled{billed}: {message}")
    return VideoError(code=kind or "failed", message=message)


_TEXT: dict[str, Any] = {"type": "string"}
_COMMON: dict[str, Any] = {
    "prompt": {"type": "string", "minLength": 1, "maxLength": 32_000},
    "model": {**_TEXT, "description": "org/name, org/name:provider, or an alias such as sora-2."},
    "provider": _TEXT,
    "seconds": {"anyOf": [_TEXT, {"type": "number"}], "description": "Its length, a number."},
    "size": {**_TEXT, "description": "WIDTHxHEIGHT; what the model cannot make becomes the nearest that it can."},
    "seed": {"type": "integer", "minimum": 0},
    "fps": {"type": "integer", "minimum": 1, "maximum": 240},
    "num_frames": {"type": "integer", "minimum": 1, "maximum": 10_000},
    "negative_prompt": _TEXT,
    "guidance_scale": {"type": "number", "minimum": 0, "maximum": 1000},
    "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 1000},
    "resolution": _TEXT,
    "aspect_ratio": _TEXT,
}
_URL = {"type": "object", "properties": {"image_url": _TEXT}, "required": ["image_url"]}
_IN_JSON = {"anyOf": [_TEXT, _URL], "description": "An image: a URL or a data: URL."}
_FILE = {"type": "string", "format": "binary"}


def _body(json: dict[str, Any], form: dict[str, Any]) -> dict[str, Any]:
    kinds = {"application/json": json, "multipart/form-data": form}
    shapes = {
        mime: {"schema": {"type": "object", "properties": shape, "required": ["prompt"]}}
        for mime, shape in kinds.items()
    }
    return {"requestBody": {"required": True, "content": shapes}}


CREATING = _body(
    {**_COMMON, "input_reference": _IN_JSON, "extra_body": {"type": "object"}}, {**_COMMON, "input_reference": _FILE}
)
REMIXING = _body({"prompt": _COMMON["prompt"]}, {"prompt": _COMMON["prompt"]})
