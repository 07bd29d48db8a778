"""/v1/videos: OpenAI's videos API. A video is a job: it continues when the client disconnects.

A video combines a generation, its job in the ledger, and the job's live status.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from msgspec import structs
from pydantic import BaseModel

from hfmedia.core.errors import HfmediaError
from hfmedia.core.job import FailedEntry, Job
from hfmedia.core.request import InputImage, parse_model_spec
from hfmedia.engine.input_images import load_input_image
from hfmedia.server.auth.caller import Caller
from hfmedia.server.auth.policy import require_model_access
from hfmedia.server.db.generations import Generation
from hfmedia.server.dependencies import CallerDep, GatewayDep
from hfmedia.server.errors import CREATE_ERRORS, READ_ERRORS, ApiError, error_responses, to_api_error
from hfmedia.server.gateway import Gateway
from hfmedia.server.http.headers import NO_RETRY_HEADERS, idempotency_key
from hfmedia.server.http.request_body import read_body
from hfmedia.server.jobs.errors import JobNotFoundError
from hfmedia.server.jobs.status import job_status_of
from hfmedia.server.media.routes import PARTIAL_RESPONSE, file_response, gone_error
from hfmedia.server.media.signed_urls import stored_media
from hfmedia.server.media.variants import ORIGINAL, THUMBNAIL

from .parsing import with_provider
from .video_requests import VideoRequest, parse_remix, parse_video_request
from .video_schemas import CREATE_BODY, REMIX_BODY, VIDEO_ID_PREFIX, Video, VideoDeleted, VideoList, serialize_video

router = APIRouter(tags=["videos"])
VideoId = Annotated[str, Path(description="Video ID.", max_length=80)]
POLL_INTERVAL_MS, SANDBOX_POLL_INTERVAL_MS = 2000, 1000  # milliseconds between two polls; the sandbox is faster
ERROR_CODES = {
    "content_policy": "moderation_blocked",
    "rejected": "provider_refused",
    "deadline_exceeded": "out_of_time",
    "expired": "expired",
}
UNSUPPORTED = "{} is not supported by the providers on Hugging Face; POST /v1/videos creates a new video"


@router.post(
    "/v1/videos", responses={200: {"model": Video}, **error_responses(*CREATE_ERRORS, 410)}, openapi_extra=CREATE_BODY
)
async def create_video(request: Request, caller: CallerDep, gateway: GatewayDep) -> Response:
    """Create a video from a prompt, optionally with an image; returns immediately."""
    body = await read_body(request, gateway.config)
    uploads = [upload for name in ("input_reference", "image") for upload in body.uploads(name)]
    video_request = parse_video_request(body.fields, gateway.config, uploaded=bool(uploads))
    extra_images = len(uploads) - 1
    if extra_images > 0:
        video_request = structs.replace(
            video_request,
            warnings=(*video_request.warnings, f"{extra_images + 1} images were sent; only the first one is used"),
        )
    source: Any = uploads[0].data if uploads else video_request.reference
    image = await _load_image(source) if source is not None else None
    response_context = {
        "size": video_request.size,
        "seconds": video_request.seconds,
        "warnings": list(video_request.warnings),
    }
    return await _start_video(request, gateway, caller, video_request, image, response_context)


@router.post("/v1/videos/{video_id}/remix", responses={200: {"model": Video}, **error_responses(*CREATE_ERRORS, 410)},
             openapi_extra=REMIX_BODY)  # fmt: skip
async def remix_video(request: Request, caller: CallerDep, gateway: GatewayDep, video_id: VideoId) -> Response:
    """Create a video from an earlier one with another prompt: same model, size, length and image."""
    body = await read_body(request, gateway.config)
    original, _ = await _get_owned(gateway, caller, video_id)
    spec, warnings = parse_remix(original.spec, body.fields)
    response_context = {
        "size": original.response_context.get("size"),
        "seconds": original.response_context.get("seconds"),
        "warnings": list(warnings),
        "remixed_from": video_id,
    }
    return await _start_video(request, gateway, caller, VideoRequest(spec=spec), original.spec.image, response_context)


@router.get("/v1/videos", responses={200: {"model": VideoList}, **error_responses(*READ_ERRORS)})
async def list_videos(
    request: Request,
    caller: CallerDep,
    gateway: GatewayDep,
    after: Annotated[str | None, Query(max_length=80, description="The last_id of the previous page.")] = None,
    limit: Annotated[int, Query(ge=0, le=100)] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="By age.")] = "desc",
) -> Response:
    """List your videos, by default newest first."""
    cursor: str | None = None
    if after is not None:
        cursor = (await _get_owned(gateway, caller, after, include_deleted=True))[0].id
    page = await _list_page(gateway, caller, cursor, limit + 1, newest_first=order == "desc")
    videos = [await _load_video(request, gateway, *entry) for entry in page[:limit]]
    first, last = (videos[0].id, videos[-1].id) if videos else (None, None)
    return _json_response(VideoList(data=videos, first_id=first, last_id=last, has_more=len(page) > limit))


@router.get("/v1/videos/{video_id}", responses={200: {"model": Video}, **error_responses(*READ_ERRORS)})
async def get_video(request: Request, caller: CallerDep, gateway: GatewayDep, video_id: VideoId) -> Response:
    """Get a video; ``openai-poll-after-ms`` says when to poll again."""
    generation, job = await _get_owned(gateway, caller, video_id)
    return _video_response(gateway, await _load_video(request, gateway, generation, job))


@router.head("/v1/videos/{video_id}/content", include_in_schema=False)
@router.get("/v1/videos/{video_id}/content", response_class=Response, responses={
    200: {"description": "The file.", "content": {"video/*": {}, "image/webp": {}}}, 206: PARTIAL_RESPONSE,
    304: {"description": "Not modified."}, **error_responses(*READ_ERRORS, 410, 416, 507)})  # fmt: skip
async def get_content(
    request: Request,
    caller: CallerDep,
    gateway: GatewayDep,
    video_id: VideoId,
    variant: Annotated[Literal["video", "thumbnail", "spritesheet"], Query()] = "video",
) -> Response:
    """Download the video, or a range of it, or its thumbnail."""
    generation, job = await _get_owned(gateway, caller, video_id)
    if variant == "spritesheet":
        raise ApiError(400, "sprite sheets are not supported; variant must be video or thumbnail", code="not_supported",
                      param="variant", retry=False)  # fmt: skip
    if job.state != "stored":
        raise await _not_ready_error(request, gateway, generation, job)
    files = stored_media(job)
    if not files:
        raise gone_error()
    return await file_response(request, gateway, files[0], ORIGINAL if variant == "video" else THUMBNAIL)


@router.delete(
    "/v1/videos/{video_id}", responses={200: {"model": VideoDeleted}, **error_responses(*READ_ERRORS, 409, 502)}
)
async def delete_video(caller: CallerDep, gateway: GatewayDep, video_id: VideoId) -> Response:
    """Delete a video, canceling it first if it is active. Its file is removed within two hours."""
    _, job = await _get_owned(gateway, caller, video_id)
    await gateway.service.delete(caller, job.id)
    return _json_response(VideoDeleted(id=video_id))


@router.post(
    "/v1/videos/{video_id}/cancel", responses={200: {"model": Video}, **error_responses(*READ_ERRORS, 409, 502)}
)
async def cancel_video(request: Request, caller: CallerDep, gateway: GatewayDep, video_id: VideoId) -> Response:
    """Cancel a video, at its provider too if that is possible; an accepted job may still be billed."""
    generation, job = await _get_owned(gateway, caller, video_id)
    if not job.is_terminal and job.state != "in_doubt":
        job = await gateway.service.cancel(generation, job.id)
    return _video_response(gateway, await _load_video(request, gateway, generation, job))


@router.post("/v1/videos/edits", responses=error_responses(*READ_ERRORS))
async def edit_video(caller: CallerDep) -> Response:
    """Not supported."""
    raise _unsupported("Editing a video")


@router.post("/v1/videos/extensions", responses=error_responses(*READ_ERRORS))
async def extend_video(caller: CallerDep) -> Response:
    """Not supported."""
    raise _unsupported("Extending a video")


@router.post("/v1/videos/characters", responses=error_responses(*READ_ERRORS))
async def create_character(caller: CallerDep) -> Response:
    """Not supported."""
    raise _unsupported("Storing a character")


@router.get("/v1/videos/characters/{character_id}", responses=error_responses(*READ_ERRORS))
async def get_character(caller: CallerDep, character_id: str) -> Response:
    """Not supported."""
    raise _unsupported("Storing a character")


# -- inside -----------------------------------------------------------------------------------------------------------


async def _start_video(
    request: Request,
    gateway: Gateway,
    caller: Caller,
    video_request: VideoRequest,
    image: InputImage | None,
    response_context: dict[str, Any],
) -> Response:
    """Create a video, or find the earlier one with the same idempotency key, and return it."""
    key = idempotency_key(request)
    try:
        model = await _resolve_named_model(gateway, caller, video_request)
        require_model_access(caller, parse_model_spec(model).model)
        spec = structs.replace(video_request.spec, model=model, image=image)
        generation = gateway.service.new_generation(
            caller, spec, kind="video", api="videos", response_context=response_context, idempotency_key=key
        )
        active = await gateway.service.start(caller, generation)
    except HfmediaError as error:
        raise to_api_error(error, uses_caller_token=caller.hf_token is not None) from error
    request.state.job_ids = active.job_ids
    jobs = await gateway.runner.jobs_of(active.generation)
    if not jobs:  # an earlier generation with this idempotency key, whose job was deleted from the ledger
        raise gone_error()
    return _video_response(gateway, await _load_video(request, gateway, active.generation, jobs[0]), NO_RETRY_HEADERS)


async def _resolve_named_model(gateway: Gateway, caller: Caller, video_request: VideoRequest) -> str:
    """Return the model by name: what a key can use depends on it."""
    if video_request.spec.model is not None:
        return with_provider(video_request.spec.model, video_request.provider)
    client = gateway.account_clients.for_caller(caller)
    return with_provider(await client.default_model(video_request.spec.default_task), video_request.provider)


async def _load_image(source: Any) -> InputImage:
    try:
        return await load_input_image(source)
    except HfmediaError as error:
        raise ApiError(400, error.message, code="invalid_image", param="input_reference") from error


async def _get_owned(
    gateway: Gateway, caller: Caller, video_id: str, *, include_deleted: bool = False
) -> tuple[Generation, Job]:
    """Return generation and job of a video; raise ApiError 404 unless it is the caller's.

    ``include_deleted``: also if it was deleted.
    """
    not_found = ApiError(404, f"video {video_id[:80]!r} not found", code="video_not_found")
    if not video_id.startswith(VIDEO_ID_PREFIX):
        raise not_found
    job_id = video_id.removeprefix(VIDEO_ID_PREFIX)
    lookup = gateway.service.get_owned_including_deleted if include_deleted else gateway.service.get_owned
    try:
        generation, job = await lookup(caller, job_id)
    except JobNotFoundError:
        raise not_found from None
    if job.request.output_kind != "video":
        raise not_found
    return generation, job


async def _list_page(
    gateway: Gateway, caller: Caller, cursor: str | None, count: int, *, newest_first: bool
) -> list[tuple[Generation, Job]]:
    """Return up to ``count`` videos of a caller after a generation; without deleted ones and those without a job."""
    videos: list[tuple[Generation, Job]] = []
    pages = gateway.database.iter_generations(
        caller.id, kind="video", api="videos", after=cursor, newest_first=newest_first
    )
    for page in pages:
        for generation in page:
            if 0 not in generation.deleted_outputs and (jobs := await gateway.runner.jobs_of(generation)):
                videos.append((generation, jobs[0]))
                if len(videos) >= count:
                    return videos
    return videos


async def _load_video(request: Request, gateway: Gateway, generation: Generation, job: Job) -> Video:
    """Return the current state of a video."""
    job_status = gateway.runner.status_of(job)
    if job_status.is_final and not job.is_terminal:  # it ended between the two reads
        job = await gateway.client.ledger.get(job.id) or job
    if job.is_terminal or job.state == "in_doubt":
        job_status = structs.replace(job_status_of(job), warnings=job_status.warnings)
    media = next(iter(stored_media(job)), None) if job.state == "stored" else None
    urls = None
    if media is not None:
        urls = gateway.url_signer.url_for(request, media), gateway.url_signer.url_for(request, media, THUMBNAIL)
    error_code = await _failure_code(gateway, job) if job.state == "failed" else ""
    return serialize_video(
        generation,
        job,
        job_status,
        retention_days=gateway.config.media_retention_days,
        media=media,
        urls=urls,
        error_code=error_code,
    )


async def _failure_code(gateway: Gateway, job: Job) -> str:
    """Return the code of a failure, from the entry that ended the job."""
    entries = await gateway.client.ledger.entries(job.id)
    kind = next((entry.kind for entry in reversed(entries) if isinstance(entry, FailedEntry)), "")
    return ERROR_CODES.get(kind, "provider_failed" if kind else "dropped")


async def _not_ready_error(request: Request, gateway: Gateway, generation: Generation, job: Job) -> ApiError:
    video = await _load_video(request, gateway, generation, job)
    if video.error is not None:
        message = f"the video failed: {video.error.message}"
        return ApiError(404, message, code="video_failed", retry=False, extra={"job_id": job.id})
    message = f"the video is not ready ({video.status}, {video.progress} percent); retry in a moment"
    return ApiError(404, message, code="video_not_ready", retry=False, extra={"job_id": job.id})


def _unsupported(feature: str) -> ApiError:
    return ApiError(400, UNSUPPORTED.format(feature), code="not_supported", retry=False)


def _video_response(gateway: Gateway, video: Video, headers: dict[str, str] | None = None) -> Response:
    """Return a video as a response, with the time to poll again unless it has ended."""
    all_headers = dict(headers or {})
    if video.status in ("queued", "in_progress"):
        all_headers["openai-poll-after-ms"] = str(SANDBOX_POLL_INTERVAL_MS if gateway.sandbox else POLL_INTERVAL_MS)
    return _json_response(video, all_headers)


def _json_response(model: BaseModel, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), headers=headers, media_type="application/json")
