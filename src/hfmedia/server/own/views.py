"""How a job looks from outside: what the ledger knows, what is known beyond it, and what may be done next."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from starlette.requests import Request

from hfmedia.core.costs import bought
from hfmedia.core.job import DROPPED, Job
from hfmedia.core.wire import redact
from hfmedia.server.books.orders import Order, order_of_key
from hfmedia.server.gateway import Gateway
from hfmedia.server.works import Live, Status
from hfmedia.store import Media

NEXT: dict[str, str] = {
    "doubt": "Look at the provider's own dashboard. If it has the job, drop it here; if not, send it again.",
    "failed": "Read what the provider said, change the request, and make it again.",
    "cancelled": "Make it again if you want it after all.",
    "dropped": "Nothing more happens here. The provider may have made it, and may bill it.",
}


class CostView(BaseModel):
    """A cost as the provider reported it."""

    amount: float
    unit: str


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

    kind: Literal["doubt", "failed", "cancelled", "dropped"]
    message: str
    next: str | None


class JobView(BaseModel):
    """A job. ``state`` is that of the ledger, ``status`` the same in OpenAI's words, ``stage`` where it is right now.

    ``choice`` is the model as it was asked for, behind a colon the provider or policy where one was named.
    Times are unix seconds, and ``updated_at`` never goes back; ``progress`` is 0 to 1; ``received`` and ``total`` are
    bytes of the download. ``asked`` is what was asked for beside prompt, image and model, ``parameters`` what of it
    went to the provider, dropped and rounded as ``warnings`` tell.
    """

    id: str
    object: Literal["job"] = "job"
    order: str
    index: int
    api: str
    task: str
    state: str
    status: Status
    stage: Literal["waiting", "asking", "queued", "running", "downloading", "ended"]
    prompt: str | None
    model: str
    choice: str
    provider: str | None
    created_at: float
    updated_at: float
    progress: float | None
    position: int | None
    message: str | None
    received: int | None
    total: int | None
    moves: list[str]
    warnings: list[str]
    parameters: dict[str, Any]
    asked: dict[str, Any]
    seed: int | None
    cost: CostView | None
    may_be_billed: bool
    error: ErrorView | None
    media: list[MediaView]
    can: list[Literal["cancel", "delete", "resolve", "restore"]]
    deleted_at: float | None


def media_of(job: Job) -> list[Media]:
    """The files of a job that is done."""
    return [Media.of(facts) for facts in (job.media or {}).get("files", ())]


def media_view(media: Media, gateway: Gateway, request: Request) -> MediaView:
    """A file as it is given out."""
    return MediaView(
        url=gateway.links.url(request, media),
        thumbnail_url=gateway.links.url(request, media, variant="t"),
        kind=media.kind,
        mime=media.mime,
        width=media.width,
        height=media.height,
        bytes=media.bytes,
        nsfw=media.nsfw,
    )


def job_view(job: Job, live: Live, order: Order, gateway: Gateway, request: Request) -> JobView:
    """A job as it is told."""
    sent = job.sent_request or job.request
    index = (order_of_key(job.key) or ("", 0))[1]
    doubt, over = job.state == "doubt", job.ended or job.state == "doubt"
    can: list[Literal["cancel", "delete", "resolve", "restore"]] = ["delete"] if over else ["cancel", "delete"]
    if doubt:
        can = ["resolve", *can]
    if index in order.deleted:
        can = ["restore"]
    kind: Any = "dropped" if job.error == DROPPED else job.state
    error = ErrorView(kind=kind, message=redact(job.error), next=NEXT[kind]) if job.error and kind in NEXT else None
    return JobView(
        id=job.id,
        order=order.id,
        index=index,
        api=order.api,
        task=job.request.task,
        state=job.state,
        status=live.status,
        stage=live.stage,
        prompt=job.request.prompt,
        model=job.request.model,
        choice=order.ask.model or job.request.model,
        provider=live.provider or (job.route.provider if job.route else None),
        created_at=job.created,
        updated_at=max(job.updated, live.updated, gateway.works.heard(job.id)),
        progress=live.progress,
        position=live.position,
        message=redact(live.message) if live.message else None,
        received=live.received,
        total=live.total,
        moves=[redact(move) for move in live.moves],
        warnings=[redact(words) for words in dict.fromkeys((*_told(order), *live.notes, *job.warnings))],
        parameters=sent.parameters(),
        asked=job.request.parameters(),
        seed=job.seed if job.seed is not None else sent.seed,
        cost=CostView(amount=job.cost.amount, unit=job.cost.unit) if job.cost else None,
        may_be_billed=bought(job) > 0,
        error=error,
        media=[media_view(media, gateway, request) for media in media_of(job)],
        can=can,
        deleted_at=order.deleted.get(index),
    )


def _told(order: Order) -> list[str]:
    told: list[str] = order.told.get("warnings", [])
    return told


async def seen(job: Job, order: Order, gateway: Gateway, request: Request) -> JobView:
    """A job as it stands now."""
    return job_view(job, await gateway.works.standing(job), order, gateway, request)
