"""fal.ai: text-to-image synchronously at fal.run, every other task as a job at queue.fal.run.

A failed job has the status COMPLETED with an error, or its result is an HTTP error; job paths come from the responses.
Source: fal.ai/docs, queue, errors and cancelling; fal's own clients; the Hub's own client.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, structs

from ..core.http import HttpRequest, HttpResponse, get, post_json, safe_path
from ..core.protocol import (
    Cancel,
    CancelResult,
    Cost,
    JobHandle,
    Operation,
    OperationResult,
    Pending,
    Poll,
    Route,
    Submit,
)
from ..core.provider import Capabilities, ImageConstraints, Provider
from ..core.request import TASKS, GenerationRequest
from ..core.sizes import SizeConstraints
from ._decoding import (
    completed,
    flag_at,
    invalid_response,
    items,
    output_from_url,
    progress,
    require_job_id,
    safe_decoder,
    timings,
    to_float,
    to_int,
    to_text,
    try_convert,
    unknown_status,
)
from ._encoding import (
    ALL_PARAMETERS,
    HUB_PARAMETER_NAMES,
    duration,
    image_url,
    model_path,
    pixels,
    prompt_field,
    quoted_id,
    rename_parameters,
    require_image,
)
from ._errors import ErrorPattern, parse_error_body, parse_http_error, parse_job_failure

PENDING_STATUSES = frozenset({"IN_QUEUE", "IN_PROGRESS"})
FAILED_STATUSES = frozenset({"FAILED", "CANCELED", "CANCELLED", "ERROR"})  # undocumented, but observed
NAMESPACES = ("workflows", "comfy")  # IDs of these have one more segment before owner and alias
PARAMETER_NAMES = HUB_PARAMETER_NAMES | {"aspect_ratio": "aspect_ratio", "resolution": "resolution"}
SDXL_BASE_MODEL = "stabilityai/stable-diffusion-xl-base-1.0"

ERROR_PATTERNS = (
    ErrorPattern(r"(?i)exhausted balance|top up your balance", "insufficient_credit", status=403),
    ErrorPattern(r"content_policy_violation", "content_policy"),
)


class _Media(Struct):
    url: str
    content_type: Any = None
    width: Any = None
    height: Any = None


class _LogLine(Struct):
    message: str


class _Response(Struct):
    """Any 2xx of fal: the response to a submission, a status, or a result."""

    status: str | None = None
    request_id: str | None = None
    response_url: str | None = None
    queue_position: Any = None
    logs: Any = None
    error: Any = None
    error_type: Any = None
    images: list[_Media] | None = None
    image: _Media | None = None
    videos: list[_Media] | None = None
    video: _Media | None = None
    seed: Any = None
    timings: Any = None
    has_nsfw_concepts: Any = None

    @property
    def media(self) -> list[_Media]:
        """All media of the result, whatever their field."""
        return [*(self.images or ()), *(self.videos or ()), *filter(None, (self.image, self.video))]


def encode(operation: Operation, route: Route) -> HttpRequest:
    """Encode a submission, poll or cancel. Through the router, every queue request names the queue in its query."""
    queue = "_subdomain=queue" if route.via == "router" else ""
    match operation:
        case Submit(request):
            # the router identifies the model by exactly this path
            synchronous = route.task == "text-to-image"
            return post_json(_url(route, "/" + model_path(route), "" if synchronous else queue), _body(request, route))
        case Poll(handle) if handle.stage == "result":
            return get(_url(route, _job_path(handle, route), queue))
        case Poll(handle):
            return get(_url(route, _job_path(handle, route) + "/status", "&".join(filter(None, (queue, "logs=1")))))
        case Cancel(handle):
            return HttpRequest(method="PUT", url=_url(route, _job_path(handle, route) + "/cancel", queue))
        case _:
            raise ValueError("fal-ai does not list its jobs")


def _url(route: Route, path: str, query: str) -> str:
    return f"{route.base_url}{path}" + (f"?{query}" if query else "")


def _job_path(handle: JobHandle, route: Route) -> str:
    """Return the job's path; by default as fal's clients build it, without the model ID's deeper parts."""
    parts = model_path(route).split("/")
    app = "/".join(parts[: 3 if parts[0] in NAMESPACES else 2])
    return handle.job_path or f"/{app}/requests/{quoted_id(handle.id)}"


def _body(request: GenerationRequest, route: Route) -> dict[str, Any]:
    size, duration_seconds = pixels(request), duration(request)
    body = {**prompt_field(request), **rename_parameters(request, PARAMETER_NAMES)}
    if request.image is not None:
        source_url = image_url(require_image(request))
        body["image_url"] = source_url
        if request.task == "image-to-image":
            body["image_urls"] = [source_url]
    if size:
        body["image_size"] = size
    if duration_seconds is not None:
        body["duration"] = str(duration_seconds)  # some models accept only a string, the others parse it
    if route.lora:
        body["loras"] = [{"path": route.lora.url, "scale": 1}]
        if route.task == "text-to-image" and route.provider_id == "fal-ai/lora":
            body["model_name"] = SDXL_BASE_MODEL  # this app requires the name of the base model
    return body | request.extra


def _decode_response(operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
    if isinstance(operation, Cancel):
        return CancelResult(True, "cancellation requested")
    body = response.json(_Response)
    if body.media:
        return _completed(body, operation, route, response)
    if body.error or body.error_type or body.status in FAILED_STATUSES:
        return parse_job_failure(
            body.error, code=body.error_type, fallback=f"the job status is {body.status}", patterns=ERROR_PATTERNS
        )
    if isinstance(operation, Poll) and operation.handle.stage == "result":
        return invalid_response(response, "the result contains no image or video")
    if body.status is None and not (isinstance(operation, Submit) and body.request_id):
        return invalid_response(response, "the response contains neither a status nor an output")
    if body.status not in (None, "COMPLETED") and body.status not in PENDING_STATUSES:
        return unknown_status(response, body.status)
    handle = operation.handle if isinstance(operation, Poll) else _handle(body, route)
    if body.status == "COMPLETED":
        return Pending(handle=structs.replace(handle, stage="result"), poll_after=0)
    log_messages = [line.message for item in items(body.logs) if (line := try_convert(item, _LogLine))]
    return Pending(
        handle=handle,
        progress=progress(position=body.queue_position, message=log_messages[-1] if log_messages else None),
    )


def _handle(body: _Response, route: Route) -> JobHandle:
    handle = JobHandle(require_job_id(body.request_id))
    return structs.replace(handle, job_path=safe_path(body.response_url or "", default=_job_path(handle, route)))


def _completed(body: _Response, operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
    outputs = (
        output_from_url(
            media.url,
            mime=media.content_type,
            width=media.width,
            height=media.height,
            nsfw=flag_at(body.has_nsfw_concepts, i),
        )
        for i, media in enumerate(body.media)
    )
    units = to_float(response.headers.get("x-fal-billable-units"))
    return completed(
        outputs,
        route,
        seed=to_int(body.seed),
        cost=None if units is None else Cost(units, "fal-units"),
        timings=timings(body.timings),
        id=operation.handle.id
        if isinstance(operation, Poll)
        else to_text(body.request_id or response.headers.get("x-fal-request-id")),
    )


def _decode_error(operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
    """Decode an HTTP error; for a result it is the job's own failure, unless it is about the request for it."""
    failure = parse_http_error(operation, route, response, ERROR_PATTERNS)
    if isinstance(operation, Cancel) and (
        response.status == 404 or "ALREADY_COMPLETED" in parse_error_body(response).match_text
    ):
        return CancelResult(False, failure.message)
    if not (isinstance(operation, Poll) and operation.handle.stage == "result"):
        return failure
    # "rejected" is any 4xx that is not about credentials, paths or rates; a 5xx with an error type is the runner's
    is_job_failure = failure.kind == "rejected" or (
        response.status >= 500 and parse_error_body(response).error_type is not None
    )
    return (
        structs.replace(failure, kind="generation_failed", retry_after=None, retry_at=None)
        if is_job_failure
        else failure
    )


IMAGE_CAPABILITIES = Capabilities(size=SizeConstraints(style="pixels"), parameters=ALL_PARAMETERS)
VIDEO_CAPABILITIES = Capabilities(size=SizeConstraints(style="ratio"), parameters=ALL_PARAMETERS)

FAL_AI = Provider(
    name="fal-ai",
    encode=encode,
    decode=safe_decoder(_decode_response, _decode_error),
    tasks={
        "text-to-image": IMAGE_CAPABILITIES,
        "text-to-video": VIDEO_CAPABILITIES,
        "image-to-image": structs.replace(IMAGE_CAPABILITIES, image=ImageConstraints(encoding="url")),
        "image-to-video": structs.replace(VIDEO_CAPABILITIES, image=ImageConstraints(encoding="url")),
    },
    base_urls={**dict.fromkeys(TASKS, "https://queue.fal.run"), "text-to-image": "https://fal.run"},
    api_key_env_vars=("FAL_KEY",),
    auth_scheme="Key",
    can_cancel=True,
)
