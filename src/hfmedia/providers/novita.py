"""Novita: videos as jobs at ``/v3/async``, with a real progress percentage; insufficient credit is a 400.

Two endpoints of the same models respond differently (a video at once, or a task): both shapes are decoded.
Source: novita.ai/docs, task result and error codes; the Hub's own clients.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from ..core.http import HttpRequest, HttpResponse, get, post_json
from ..core.protocol import JobHandle, Operation, OperationResult, Pending, Poll, Route, Submit
from ..core.provider import Capabilities, Provider
from ..core.request import GenerationRequest
from ..core.sizes import SizeConstraints
from ._decoding import (
    completed,
    invalid_response,
    output_from_url,
    progress,
    require_job_id,
    safe_decoder,
    to_int,
    try_convert,
    unknown_status,
)
from ._encoding import model_path, pixels, prompt_field, quoted_id, rename_parameters
from ._errors import ErrorPattern, error_decoder, parse_job_failure

PENDING_STATUSES = frozenset({"QUEUED", "PROCESSING"})
PARAMETER_NAMES = {
    "negative_prompt": "negative_prompt", "seed": "seed", "num_inference_steps": "steps",
    "guidance_scale": "guidance_scale", "num_frames": "num_frames",
}  # fmt: skip

ERROR_PATTERNS = (
    ErrorPattern(r"BILLING_BALANCE_NOT_ENOUGH", "insufficient_credit"),
    ErrorPattern(r"ILLEGAL_PROMPT|ILLEGAL_IMAGE_CONTENT", "content_policy"),
    ErrorPattern(r"MISSING_API_KEY|INVALID_API_KEY", "authentication"),
    ErrorPattern(r"TASK_NOT_FOUND", "expired", status=404),
    ErrorPattern(r"\bTASK_FAILED", "generation_failed", status=500),
)


class _Task(Struct):
    status: str
    task_id: Any = None
    reason: Any = None
    progress_percent: Any = None
    eta: Any = None


class _Video(Struct):
    video_url: str


class _Image(Struct):
    image_url: str


class _Extra(Struct):
    seed: Any = None


class _Response(Struct):
    task_id: str | None = None
    task: _Task | None = None
    video: Any = None
    videos: Any = None
    images: Any = None
    extra: Any = None


def encode(operation: Operation, route: Route) -> HttpRequest:
    """Encode a submission or a poll; raises ValueError for a cancel."""
    match operation:
        case Submit(request):
            return post_json(f"{route.base_url}/v3/async/{model_path(route)}", _body(request))
        case Poll(handle):
            return get(f"{route.base_url}/v3/async/task-result?task_id={quoted_id(handle.id)}")
        case _:
            raise ValueError("novita cannot cancel a job")


def _body(request: GenerationRequest) -> dict[str, Any]:
    return {
        **prompt_field(request),
        **(pixels(request) or {}),
        **rename_parameters(request, PARAMETER_NAMES),
        **request.extra,
    }


def _decode_response(operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
    body = response.json(_Response)
    task_id = operation.handle.id if isinstance(operation, Poll) else None
    status = body.task.status.removeprefix("TASK_STATUS_") if body.task else None
    if body.task is None and body.video:
        return completed(
            [output_from_url(msgspec.convert(body.video, _Video).video_url)], route, id=task_id or body.task_id
        )
    if body.task is None and isinstance(operation, Submit):
        return Pending(handle=JobHandle(require_job_id(body.task_id)))
    if body.task is None:
        return invalid_response(response, "the response contains neither a task nor a video")
    if status == "FAILED":
        return parse_job_failure(body.task.reason, fallback="the task failed without a reason", patterns=ERROR_PATTERNS)
    if status == "SUCCEED":
        videos = msgspec.convert(body.videos or [], list[_Video])
        images = msgspec.convert(body.images or [], list[_Image])
        urls = [*(video.video_url for video in videos), *(image.image_url for image in images)]
        seed = to_int((try_convert(body.extra, _Extra) or _Extra()).seed)
        return completed(map(output_from_url, urls), route, id=task_id, seed=seed)
    if status not in PENDING_STATUSES:
        return unknown_status(response, body.task.status)
    handle = JobHandle(task_id or require_job_id(body.task_id or body.task.task_id))
    return Pending(handle=handle, progress=progress(percent=body.task.progress_percent, eta=body.task.eta))


NOVITA = Provider(
    name="novita",
    encode=encode,
    decode=safe_decoder(_decode_response, error_decoder(ERROR_PATTERNS)),
    tasks={
        "text-to-video": Capabilities(
            size=SizeConstraints(style="pixels", default_area=1280 * 720), parameters=frozenset(PARAMETER_NAMES)
        )
    },
    base_urls={"text-to-video": "https://api.novita.ai"},
    api_key_env_vars=("NOVITA_API_KEY",),
)
