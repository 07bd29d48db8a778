"""/v1/videos: OpenAI's videos API. A video is a job of ours, so it goes on whoever hangs up, and is found again later.

Everything told of a video comes from its order, its job in the ledger, and what is known while that is carried.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from msgspec import structs
from pydantic import BaseModel

from hfmedia.core.errors import HfmediaError
from hfmedia.core.job import Broken, Job
from hfmedia.core.request import InputImage, parse_choice
from hfmedia.engine.images import input_image
from hfmedia.server.books.orders import Order
from hfmedia.server.entrance.bodies import read_body
from hfmedia.server.entrance.caller import Caller
from hfmedia.server.entrance.gate import admitted, check_model
from hfmedia.server.entrance.idempotency import idempotency_key
from hfmedia.server.errors import MAKING, READING, Refusal, answers, refusal_of
from hfmedia.server.gateway import Gateway
from hfmedia.server.here import gateway_of
from hfmedia.server.media.files import PART, given_out, gone
from hfmedia.server.media.links import files_of
from hfmedia.server.media.variants import ORIGINAL, THUMBNAIL
from hfmedia.server.works.live import live_of

from .fields import with_provider
from .video_shapes import CREATING, PREFIX, REMIXING, Video, VideoDeleted, VideoList, video_of
from .video_wishes import Wish, remixed, wish_of

router = APIRouter(tags=["videos"])
Asking = Annotated[Caller, Depends(admitted)]
VideoId = Annotated[str, Path(description="The id of a video.", max_length=80)]
POLL, POLL_SANDBOX = 2000, 1000  # milliseconds between two looks; the simulated world is quicker
PAGE = 100  # orders read at once
NO_RETRY = {"x-should-retry": "false"}
KINDS = {"content": "moderation_blocked", "refused": "provider_refused", "time": "out_of_time", "gone": "expired"}
UNABLE = "{}: the models on Hugging Face's providers cannot do that; POST /v1/videos makes a new video"


@router.post("/v1/videos", responses={200: {"model": Video}, **answers(*MAKING, 410)}, openapi_extra=CREATING)
async def create_video(request: Request, caller: Asking) -> Response:
    """Begin to make a video, out of a prompt, or of a prompt and an image; the answer comes at once."""
    gateway = gateway_of(request)
    body = await read_body(request, gateway.config)
    uploads = [upload for name in ("input_reference", "image") for upload in body.uploads(name)]
    wish = wish_of(body.fields, gateway.config, uploaded=bool(uploads))
    extra = len(uploads) - 1
    if extra > 0:
        wish = structs.replace(wish, warnings=(*wish.warnings, f"{extra} more images came; only the first is used"))
    given: Any = uploads[0].data if uploads else wish.reference
    picture = await _picture(given) if given is not None else None
    told = {"size": wish.size, "seconds": wish.seconds, "warnings": list(wish.warnings)}
    return await _begin(request, caller, wish, picture, told)


@router.post("/v1/videos/{video_id}/remix", responses={200: {"model": Video}, **answers(*MAKING, 410)},
             openapi_extra=REMIXING)  # fmt: skip
async def remix_video(request: Request, caller: Asking, video_id: VideoId) -> Response:
    """Make a video again with another prompt: same model, size, length and image."""
    gateway = gateway_of(request)
    body = await read_body(request, gateway.config)
    order, _ = await _found(gateway, caller, video_id)
    ask, warnings = remixed(order.ask, body.fields)
    told = {
        "size": order.told.get("size"),
        "seconds": order.told.get("seconds"),
        "warnings": list(warnings),
        "remixed_from": video_id,
    }
    return await _begin(request, caller, Wish(ask=ask), order.ask.image, told)


@router.get("/v1/videos", responses={200: {"model": VideoList}, **answers(*READING)})
async def list_videos(
    request: Request,
    caller: Asking,
    after: Annotated[str | None, Query(max_length=80, description="The last id of the page before.")] = None,
    limit: Annotated[int, Query(ge=0, le=100)] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="By age.")] = "desc",
) -> Response:
    """Your videos, the newest first unless asked otherwise."""
    gateway = gateway_of(request)
    past: str | None = None
    if after is not None:
        past = (await _found(gateway, caller, after, deleted=True))[0].id
    found = await _page(gateway, caller, past, limit + 1, newest_first=order == "desc")
    shown = [await _seen(request, gateway, *one) for one in found[:limit]]
    first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
    return _json(VideoList(data=shown, first_id=first, last_id=last, has_more=len(found) > limit))


@router.get("/v1/videos/{video_id}", responses={200: {"model": Video}, **answers(*READING)})
async def get_video(request: Request, caller: Asking, video_id: VideoId) -> Response:
    """How a video stands; ``openai-poll-after-ms`` tells when to look again."""
    gateway = gateway_of(request)
    order, job = await _found(gateway, caller, video_id)
    return _told(gateway, await _seen(request, gateway, order, job))


@router.head("/v1/videos/{video_id}/content", include_in_schema=False)
@router.get("/v1/videos/{video_id}/content", response_class=Response, responses={
    200: {"description": "The file.", "content": {"video/*": {}, "image/webp": {}}}, 206: PART,
    304: {"description": "It is what you have."}, **answers(*READING, 410, 416, 507)})  # fmt: skip
async def get_content(
    request: Request,
    caller: Asking,
    video_id: VideoId,
    variant: Annotated[Literal["video", "thumbnail", "spritesheet"], Query()] = "video",
) -> Response:
    """The video itself, whole or a range of it; or a picture of it."""
    gateway = gateway_of(request)
    order, job = await _found(gateway, caller, video_id)
    if variant == "spritesheet":
        raise Refusal(400, "there are no sprite sheets here; variant is video or thumbnail", code="not_supported",
                      param="variant", retry=False)  # fmt: skip
    if job.state != "stored":
        raise await _not_ready(request, gateway, order, job)
    files = files_of(job)
    if not files:
        raise gone()
    return await given_out(request, gateway, files[0], ORIGINAL if variant == "video" else THUMBNAIL)


@router.delete("/v1/videos/{video_id}", responses={200: {"model": VideoDeleted}, **answers(*READING, 409, 502)})
async def delete_video(request: Request, caller: Asking, video_id: VideoId) -> Response:
    """Delete a video; one under way is cancelled first. Its file goes within two hours."""
    gateway = gateway_of(request)
    _, job = await _found(gateway, caller, video_id)
    await gateway.works.delete(caller, job.id)
    return _json(VideoDeleted(id=video_id))


@router.post("/v1/videos/{video_id}/cancel", responses={200: {"model": Video}, **answers(*READING, 409, 502)})
async def cancel_video(request: Request, caller: Asking, video_id: VideoId) -> Response:
    """Tell a video to stop, at its provider too where that is possible; what was accepted may still be billed."""
    gateway = gateway_of(request)
    order, job = await _found(gateway, caller, video_id)
    if not job.ended and job.state != "doubt":
        job = await gateway.works.cancel(order, job.id)
    return _told(gateway, await _seen(request, gateway, order, job))


@router.post("/v1/videos/edits", responses=answers(*READING))
async def edit_video(caller: Asking) -> Response:
    """Not supported."""
    raise _unable("editing a video")


@router.post("/v1/videos/extensions", responses=answers(*READING))
async def extend_video(caller: Asking) -> Response:
    """Not supported."""
    raise _unable("extending a video")


@router.post("/v1/videos/characters", responses=answers(*READING))
async def create_character(caller: Asking) -> Response:
    """Not supported."""
    raise _unable("keeping a character")


@router.get("/v1/videos/characters/{character_id}", responses=answers(*READING))
async def get_character(caller: Asking, character_id: str) -> Response:
    """Not supported."""
    raise _unable("keeping a character")


# -- inside -----------------------------------------------------------------------------------------------------------


async def _begin(
    request: Request, caller: Caller, wish: Wish, picture: InputImage | None, told: dict[str, Any]
) -> Response:
    """The answer for a video that was begun, or for the earlier one with the same idempotency key."""
    gateway = gateway_of(request)
    key = idempotency_key(request)
    try:
        model = await _model(gateway, caller, wish)
        check_model(caller, parse_choice(model).model)
        ask = structs.replace(wish.ask, model=model, image=picture)
        order = gateway.works.new_order(caller, ask, kind="video", api="videos", told=told, idempotency_key=key)
        run = await gateway.works.begin(caller, order)
    except HfmediaError as error:
        raise refusal_of(error, own_token=caller.token is not None) from error
    request.state.job_ids = run.job_ids
    jobs = await gateway.works.jobs_of(run.order)
    if not jobs:  # an earlier order with this key, whose job somebody forgot
        raise gone()
    return _told(gateway, await _seen(request, gateway, run.order, jobs[0]), NO_RETRY)


async def _model(gateway: Gateway, caller: Caller, wish: Wish) -> str:
    """The model to ask for, named: what a key may use is told by name."""
    if wish.ask.model is not None:
        return with_provider(wish.ask.model, wish.provider)
    client = gateway.clients.of(caller.key, caller.bill_to, own_token=caller.token is not None)
    task = wish.ask.task or "text-to-video"
    return with_provider(await client.default_model(task), wish.provider)


async def _picture(given: Any) -> InputImage:
    try:
        return await input_image(given)
    except HfmediaError as error:
        raise Refusal(400, error.message, code="invalid_image", param="input_reference") from error


async def _found(gateway: Gateway, caller: Caller, video_id: str, *, deleted: bool = False) -> tuple[Order, Job]:
    """The order and the job of a video; Refusal 404 unless it is the caller's. ``deleted``: it may be deleted."""
    unknown = Refusal(404, f"there is no video {video_id[:80]!r}", code="video_not_found")
    if not video_id.startswith(PREFIX):
        raise unknown
    job_id = video_id.removeprefix(PREFIX)
    look = gateway.works.find if deleted else gateway.works.order_of
    try:
        order, job = await look(caller, job_id)
    except Refusal as refusal:
        raise unknown if refusal.status == 404 else refusal from None
    if job.request.makes != "video":
        raise unknown
    return order, job


async def _page(
    gateway: Gateway, caller: Caller, past: str | None, count: int, *, newest_first: bool
) -> list[tuple[Order, Job]]:
    """So many videos of a caller after an order; those deleted, and those that never became a job, are left out."""
    found: list[tuple[Order, Job]] = []
    while True:
        orders = gateway.book.orders(
            caller.key, kind="video", api="videos", after=past, limit=PAGE, newest_first=newest_first
        )
        for order in orders:
            if 0 not in order.deleted and (jobs := await gateway.works.jobs_of(order)):
                found.append((order, jobs[0]))
                if len(found) >= count:
                    return found
        if len(orders) < PAGE:
            return found
        past = orders[-1].id


async def _seen(request: Request, gateway: Gateway, order: Order, job: Job) -> Video:
    """A video as it stands now."""
    live = await gateway.works.standing(job)
    if live.ended and not job.ended:  # it ended between two looks
        job = await gateway.client.ledger.job(job.id) or job
    if job.ended or job.state == "doubt":
        live = structs.replace(live_of(job), notes=live.notes)
    media = next(iter(files_of(job)), None) if job.state == "stored" else None
    links = None
    if media is not None:
        links = gateway.links.url(request, media), gateway.links.url(request, media, THUMBNAIL)
    kind = await _kind(gateway, job) if job.state == "failed" else ""
    return video_of(order, job, live, days=gateway.config.media_days, media=media, links=links, kind=kind)


async def _kind(gateway: Gateway, job: Job) -> str:
    """The code of a failure, out of the fact that ended the job."""
    facts = await gateway.client.ledger.facts(job.id)
    kind = next((fact.kind for fact in reversed(facts) if isinstance(fact, Broken)), "")
    return KINDS.get(kind, "provider_failed" if kind else "dropped")


async def _not_ready(request: Request, gateway: Gateway, order: Order, job: Job) -> Refusal:
    video = await _seen(request, gateway, order, job)
    if video.error is not None:
        words = f"there is no video: {video.error.message}"
        return Refusal(404, words, code="video_failed", retry=False, extra={"job_id": job.id})
    words = f"the video is not ready: it is {video.status}, at {video.progress} percent; look again in a moment"
    return Refusal(404, words, code="video_not_ready", retry=False, extra={"job_id": job.id})


def _unable(what: str) -> Refusal:
    return Refusal(400, UNABLE.format(what), code="not_supported", retry=False)


def _told(gateway: Gateway, video: Video, headers: dict[str, str] | None = None) -> Response:
    """A video as an answer, with the time to look again unless it has ended."""
    more = dict(headers or {})
    if video.status in ("queued", "in_progress"):
        more["openai-poll-after-ms"] = str(POLL_SANDBOX if gateway.sandbox else POLL)
    return _json(video, more)


def _json(model: BaseModel, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), headers=headers, media_type="application/json")
