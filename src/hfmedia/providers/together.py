"""Together: images synchronously in the OpenAI dialect, videos as jobs under ``/v2/videos``.

A missing status means pending; every response has ``retry-after``, so only errors are read for it.
Source: docs.together.ai, images and videos; the Hub's own client.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, structs

from ..core.http import HttpRequest, HttpResponse, get, post_json
from ..core.protocol import Cost, JobHandle, Operation, OperationResult, Pending, Poll, Route, Submit
from ..core.provider import Capabilities, ImageConstraints, Provider
from ..core.request import TASKS, GenerationRequest
from ..core.sizes import SizeConstraints
from ._decoding import (
    completed,
    output_from_url,
    require_job_id,
    safe_decoder,
    to_float,
    to_int,
    try_convert,
    unknown_status,
)
from ._encoding import duration, image_url, pixels, prompt_field, quoted_id, rename_parameters, require_image
from ._errors import ErrorPattern, error_decoder, parse_job_failure
from .openai_images import Dialect, decode_images

PENDING_STATUSES = frozenset({"queued", "in_progress"})
FAILED_STATUSES = frozenset({"failed", "cancelled", "canceled"})
MAX_FRAME_CHARS = 61_440  # characters of input_image; its error says "Range of input length should be [1, 61440]"
MAX_FRAME_BYTES = (MAX_FRAME_CHARS - len("data:image/jpeg;base64,")) // 4 * 3  # bytes before base64

VIDEO_PARAMETER_NAMES = {
    "num_inference_steps": "steps", "guidance_scale": "guidance_scale", "seed": "seed", "fps": "fps",
    "negative_prompt": "negative_prompt",
}  # fmt: skip
IMAGE_PARAMETER_NAMES = {ours: theirs for ours, theirs in VIDEO_PARAMETER_NAMES.items() if ours != "fps"}

ERROR_PATTERNS = (
    ErrorPattern(r"(?i)input.{0,40}too long|tokens? exceed", "rejected", status=403),
    ErrorPattern(r"(?i)\bnsfw\b", "content_policy", status=422),
)


class _Video(Struct):
    id: str | None = None
    status: str | None = None
    outputs: Any = None
    error: Any = None
    info: Any = None
    seed: Any = None


class _Outputs(Struct):
    video_url: str
    cost: Any = None


class _Info(Struct):
    errors: Any = None


def _reference_fields(model: str, url: str) -> dict[str, Any]:
    """Return the image fields: FLUX.1 Kontext takes ``image_url`` only, the other models ``reference_images``."""
    name = model.lower()
    return {"image_url": url} if "kontext" in name and "flux.1" in name else {"reference_images": [url]}


IMAGES_DIALECT = Dialect(
    paths={"text-to-image": "/v1/images/generations", "image-to-image": "/v1/images/generations"},
    response_format="base64",
    size_style="sides",
    parameter_names=IMAGE_PARAMETER_NAMES,
    image_fields=_reference_fields,
)


def encode(operation: Operation, route: Route) -> HttpRequest:
    """Encode a submission or a poll; raises ValueError for a cancel, which Together does not support."""
    match operation:
        case Submit() if route.task in IMAGES_DIALECT.paths:
            return IMAGES_DIALECT.encode(operation, route)
        case Submit(request):
            return post_json(f"{route.base_url}/v2/videos", _video_body(request, route))
        case Poll(handle):
            return get(f"{route.base_url}/v2/videos/{quoted_id(handle.id)}")
        case _:
            raise ValueError("together cannot cancel a job")


def _video_body(request: GenerationRequest, route: Route) -> dict[str, Any]:
    duration_seconds = duration(request)
    frame = {} if request.image is None else {"input_image": image_url(require_image(request)), "frame": "first"}
    return {
        "model": route.provider_id,
        **prompt_field(request),
        **({"frame_images": [frame]} if frame else {}),
        **(pixels(request) or {}),
        **rename_parameters(request, VIDEO_PARAMETER_NAMES),
        **({} if duration_seconds is None else {"seconds": str(duration_seconds)}),
        **request.extra,
    }


def _decode_response(operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
    if route.task in IMAGES_DIALECT.paths:
        return decode_images(operation, route, response)
    video = response.json(_Video)
    video_id = operation.handle.id if isinstance(operation, Poll) else require_job_id(video.id)
    if video.status in FAILED_STATUSES:
        errors = video.error or (try_convert(video.info, _Info) or _Info()).errors
        return parse_job_failure(errors, fallback=f"the video is {video.status}")
    if video.status == "completed" or (video.status is None and video.outputs):
        outputs = msgspec.convert(video.outputs, _Outputs)
        cost = to_float(outputs.cost)
        reported_cost = None if cost is None else Cost(cost)
        return completed(
            [output_from_url(outputs.video_url)], route, id=video_id, seed=to_int(video.seed), cost=reported_cost
        )
    if video.status is None or video.status in PENDING_STATUSES:
        return Pending(handle=JobHandle(video_id))
    return unknown_status(response, video.status)


IMAGE_CAPABILITIES = Capabilities(size=SizeConstraints(style="pixels"), parameters=frozenset(IMAGE_PARAMETER_NAMES))
VIDEO_CAPABILITIES = Capabilities(
    size=SizeConstraints(style="pixels", default_area=1280 * 720),
    parameters=frozenset({*VIDEO_PARAMETER_NAMES, "seconds"}),
)

TOGETHER = Provider(
    name="together",
    encode=encode,
    decode=safe_decoder(_decode_response, error_decoder(ERROR_PATTERNS)),
    tasks={
        "text-to-image": IMAGE_CAPABILITIES,
        "image-to-image": structs.replace(IMAGE_CAPABILITIES, image=ImageConstraints(encoding="url")),
        "text-to-video": VIDEO_CAPABILITIES,
        "image-to-video": structs.replace(
            VIDEO_CAPABILITIES, image=ImageConstraints(encoding="url", max_bytes=MAX_FRAME_BYTES)
        ),
    },
    base_urls=dict.fromkeys(TASKS, "https://api.together.xyz"),
    api_key_env_vars=("TOGETHER_API_KEY",),
)
