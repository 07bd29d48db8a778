"""Z.ai: images as jobs; the error code is more precise than the status (429 includes insufficient credit).

It accepts a size, from 1024 to 2048 pixels per side, and no other parameter.
Source: docs.z.ai, image generation (async) and API codes; the Hub's own client.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, structs

from ..core.http import MAX_RAW_BYTES, HttpRequest, HttpResponse, get, post_json
from ..core.protocol import JobHandle, Operation, OperationResult, Pending, Poll, Route, Submit
from ..core.provider import Capabilities, Provider
from ..core.sizes import SizeConstraints
from ._decoding import completed, invalid_response, output_from_url, require_job_id, safe_decoder, unknown_status
from ._encoding import prompt_field, quoted_id, size_field
from ._errors import ErrorPattern, error_decoder, parse_http_error, parse_job_failure

HEADERS = {"Accept-Language": "en-US,en", "x-source-channel": "hugging_face"}  # as the Hub's own client; English errors
SIZE_CONSTRAINTS = SizeConstraints(
    style="pixels", multiple=32, min_side=1024, max_side=2048, max_pixels=2**22, default_area=1280 * 1280
)

ERROR_PATTERNS = (
    ErrorPattern(r"^1113\b", "insufficient_credit"),
    ErrorPattern(r"^1301\b", "content_policy"),
    ErrorPattern(r"^100[0-4]\b", "authentication"),
    ErrorPattern(r"^130[25]\b", "rate_limited"),
    ErrorPattern(r"^(?:121[0-5]|1231)\b", "rejected"),
)


class _ImageItem(Struct):
    url: str


class _Task(Struct):
    id: str | None = None
    task_status: str | None = None
    image_result: Any = None
    error: Any = None


def encode(operation: Operation, route: Route) -> HttpRequest:
    """Encode a submission or a poll; raises ValueError for a cancel, which Z.ai does not support."""
    match operation:
        case Submit(request):
            body = {"model": route.provider_id, **prompt_field(request), **size_field(request, "x"), **request.extra}
            return post_json(f"{route.base_url}/api/paas/v4/async/images/generations", body, headers=HEADERS)
        case Poll(handle):
            return get(f"{route.base_url}/api/paas/v4/async-result/{quoted_id(handle.id)}", headers=HEADERS)
        case _:
            raise ValueError("zai-org cannot cancel a job")


def _decode_response(operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
    task = response.json(_Task)
    if task.task_status == "FAIL":
        return parse_job_failure(task.error, fallback="the task failed without a reason", patterns=ERROR_PATTERNS)
    if task.error:
        return structs.replace(
            parse_http_error(operation, route, response, ERROR_PATTERNS, default_kind="invalid_response"),
            raw=response.body[:MAX_RAW_BYTES],
        )
    task_id = operation.handle.id if isinstance(operation, Poll) else require_job_id(task.id)
    if task.task_status == "SUCCESS" or (task.task_status is None and task.image_result):
        images = msgspec.convert(task.image_result, list[_ImageItem])
        return completed((output_from_url(image.url) for image in images), route, id=task_id)
    if task.task_status == "PROCESSING":
        return Pending(handle=JobHandle(task_id))
    if task.task_status is None:
        return invalid_response(response, "the response contains neither a status nor an image")
    return unknown_status(response, task.task_status)


ZAI_ORG = Provider(
    name="zai-org",
    encode=encode,
    decode=safe_decoder(_decode_response, error_decoder(ERROR_PATTERNS)),
    tasks={"text-to-image": Capabilities(size=SIZE_CONSTRAINTS, parameters=frozenset())},
    base_urls={"text-to-image": "https://api.z.ai"},
    api_key_env_vars=("ZAI_API_KEY",),
)
