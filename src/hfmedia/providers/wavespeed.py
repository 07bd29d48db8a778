"""WaveSpeed: every task as a job; each response is an envelope with its own code besides the HTTP status.

The polling path comes from the response; an undocumented status is an error.
Source: wavespeed.ai/docs, get result and error codes; WaveSpeed's own client; the Hub's own clients.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, structs

from ..core.failure_policy import classify_status
from ..core.http import HttpRequest, HttpResponse, get, post_json, safe_path
from ..core.protocol import Failure, FailureKind, JobHandle, Operation, OperationResult, Pending, Poll, Route, Submit
from ..core.provider import Capabilities, ImageConstraints, Provider
from ..core.request import TASKS, GenerationRequest
from ..core.sizes import SizeConstraints
from ._decoding import (
    completed,
    flag_at,
    invalid_response,
    output_from_url,
    require_job_id,
    safe_decoder,
    timings,
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
    prompt_field,
    quoted_id,
    rename_parameters,
    require_image,
    size_field,
)
from ._errors import ErrorPattern, error_decoder, match_error_pattern, parse_job_failure

PENDING_STATUSES = frozenset({"created", "processing"})
FAILED_STATUSES = frozenset({"failed", "cancelled", "canceled", "timeout"})
PARAMETER_NAMES = HUB_PARAMETER_NAMES | {"aspect_ratio": "aspect_ratio", "resolution": "resolution"}

# Codes of the envelope beyond HTTP statuses. 5004 is a timeout of its synchronous wait: the job was accepted.
KIND_BY_CODE: dict[int, FailureKind] = {
    1200: "content_policy", 1400: "rejected", 1401: "rejected", 1402: "rejected", 1403: "rejected", 1405: "rejected",
    5000: "server_error", 5003: "server_error", 5004: "generation_failed",
}  # fmt: skip
ERROR_PATTERNS = (ErrorPattern(r"^1200\b", "content_policy"),)


class _Urls(Struct):
    get: str | None = None


class _Envelope(Struct):
    code: int = 200
    message: Any = None
    data: Any = None


class _Prediction(Struct):
    id: str | None = None
    status: str | None = None
    outputs: Any = None
    urls: Any = None
    error: Any = None
    code: Any = None
    has_nsfw_contents: Any = None
    timings: Any = None


def encode(operation: Operation, route: Route) -> HttpRequest:
    """Encode a submission or a poll; raises ValueError for a cancel, which WaveSpeed does not document."""
    match operation:
        case Submit(request):
            return post_json(f"{route.base_url}/api/v3/{model_path(route)}", _body(request, route))
        case Poll(handle):
            return get(route.base_url + (handle.job_path or _result_path(handle.id)))
        case _:
            raise ValueError("wavespeed cannot cancel a job")


def _result_path(prediction_id: str) -> str:
    return f"/api/v3/predictions/{quoted_id(prediction_id)}/result"


def _body(request: GenerationRequest, route: Route) -> dict[str, Any]:
    duration_seconds = duration(request)
    body = {**prompt_field(request), **size_field(request, "*"), **rename_parameters(request, PARAMETER_NAMES)}
    if request.image is not None:
        body["image"] = image_url(require_image(request))
        if request.task == "image-to-image":
            body["images"] = [body["image"]]  # models that edit several images read this field
    if duration_seconds is not None:
        body["duration"] = duration_seconds
    if route.lora:
        body["loras"] = [{"path": route.lora.repo, "scale": 1}]
    return body | request.extra


def _decode_response(operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
    envelope = response.json(_Envelope)
    if envelope.code != 200:
        return _decode_envelope_error(envelope, response)
    prediction = msgspec.convert(envelope.data, _Prediction)
    if prediction.status in FAILED_STATUSES:
        return parse_job_failure(
            prediction.error,
            code=prediction.code,
            fallback=f"the job status is {prediction.status}",
            patterns=ERROR_PATTERNS,
        )
    if prediction.status == "deleted":
        return Failure(kind="expired", message="the job was deleted at the provider", status=response.status)
    handle = operation.handle if isinstance(operation, Poll) else _handle(prediction)
    if prediction.status == "completed":
        urls = msgspec.convert(prediction.outputs, list[str])
        outputs = (output_from_url(url, nsfw=flag_at(prediction.has_nsfw_contents, i)) for i, url in enumerate(urls))
        return completed(outputs, route, id=handle.id, timings=timings(prediction.timings, units_per_second=1000))
    return (
        Pending(handle=handle) if prediction.status in PENDING_STATUSES else unknown_status(response, prediction.status)
    )


def _handle(prediction: _Prediction) -> JobHandle:
    prediction_id = require_job_id(prediction.id)
    polling_url = (try_convert(prediction.urls, _Urls) or _Urls()).get
    return JobHandle(prediction_id, job_path=safe_path(polling_url or "", default=_result_path(prediction_id)))


def _decode_envelope_error(envelope: _Envelope, response: HttpResponse) -> Failure:
    """Decode an error inside an HTTP 200; its code is an HTTP status or one of WaveSpeed's own."""
    code = envelope.code
    prediction = try_convert(envelope.data, _Prediction) or _Prediction()
    message = to_text(envelope.message) or to_text(prediction.error) or "no reason given"
    matched_kind = match_error_pattern(f"{to_int(prediction.code) or code}: {message}", code, ERROR_PATTERNS)
    kind = (
        matched_kind or KIND_BY_CODE.get(code) or (classify_status(code) if 400 <= code < 600 else "invalid_response")
    )
    if kind == "invalid_response":
        return invalid_response(response, f"error code {code}: {message}")
    return Failure(kind=kind, message=message, status=response.status, code=str(code))


IMAGE_CAPABILITIES = Capabilities(size=SizeConstraints(style="pixels"), parameters=ALL_PARAMETERS)
VIDEO_CAPABILITIES = Capabilities(size=SizeConstraints(style="passthrough"), parameters=ALL_PARAMETERS)
INPUT_IMAGE_CONSTRAINTS = ImageConstraints(encoding="url")

WAVESPEED = Provider(
    name="wavespeed",
    encode=encode,
    decode=safe_decoder(_decode_response, error_decoder(ERROR_PATTERNS)),
    tasks={
        "text-to-image": IMAGE_CAPABILITIES,
        "text-to-video": VIDEO_CAPABILITIES,
        "image-to-image": structs.replace(IMAGE_CAPABILITIES, image=INPUT_IMAGE_CONSTRAINTS),
        "image-to-video": structs.replace(VIDEO_CAPABILITIES, image=INPUT_IMAGE_CONSTRAINTS),
    },
    base_urls=dict.fromkeys(TASKS, "https://api.wavespeed.ai"),
    api_key_env_vars=("WAVESPEED_API_KEY",),
)
