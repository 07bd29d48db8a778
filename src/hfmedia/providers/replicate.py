"""Replicate: a prediction, with a synchronous wait of up to a minute, then polled.

A prediction with an output is complete, whatever its status; a starting one without output is pending.
Source: replicate.com/docs, predictions; Replicate's own clients; the Hub's own client.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, structs

from ..core.http import HttpRequest, HttpResponse, get, post_json
from ..core.protocol import (
    Cancel,
    CancelResult,
    Cost,
    Failure,
    JobHandle,
    Lookup,
    Operation,
    OperationResult,
    Output,
    Pending,
    Poll,
    Route,
    Submit,
)
from ..core.provider import Capabilities, ImageConstraints, Provider
from ..core.request import GenerationRequest
from ..core.sizes import SizeConstraints
from ._decoding import (
    completed,
    items,
    output_from_url,
    progress,
    require_job_id,
    safe_decoder,
    timings,
    to_float,
    to_int,
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
)
from ._errors import ErrorPattern, parse_http_error, parse_job_failure

SYNC_WAIT = 60  # seconds; the maximum of `Prefer: wait`
PENDING_STATUSES = frozenset({"starting", "processing"})
FAILED_STATUSES = frozenset({"failed", "canceled", "aborted"})
PARAMETER_NAMES = HUB_PARAMETER_NAMES | {name: name for name in ("width", "height", "aspect_ratio", "resolution")}
LOG_TAIL_CHARS = 4096  # characters of the log that are searched for the progress

ERROR_PATTERNS = (ErrorPattern(r"(?i)\bnsfw\b", "content_policy", status=422),)


class _Prediction(Struct):
    id: str | None = None
    status: str | None = None
    output: Any = None
    error: Any = None
    logs: Any = None
    metrics: Any = None
    input: Any = None
    created_at: Any = None


class _Page(Struct):
    results: list[_Prediction]


class _Input(Struct):
    seed: Any = None


class _Metrics(Struct):
    predict_time: Any = None


def encode(operation: Operation, route: Route) -> HttpRequest:
    """Encode a submission, poll, cancel or lookup."""
    match operation:
        case Submit(request):
            return _encode_submit(request, route)
        case Poll(handle):
            return get(f"{route.base_url}/v1/predictions/{quoted_id(handle.id)}")
        case Lookup():
            return get(f"{route.base_url}/v1/predictions")
        case Cancel(handle):
            return HttpRequest(method="POST", url=f"{route.base_url}/v1/predictions/{quoted_id(handle.id)}/cancel")
        case _:
            raise ValueError("replicate does not support this operation")


def _encode_submit(request: GenerationRequest, route: Route) -> HttpRequest:
    """Encode a submission; an ID with a colon names a version, which has an endpoint shared by all models."""
    version = route.provider_id.partition(":")[2]
    path = "/v1/predictions" if version else f"/v1/models/{model_path(route)}/predictions"
    body: dict[str, Any] = {"version": version} if version else {}
    body["input"] = _input(request, route)
    return post_json(route.base_url + path, body, headers={"Prefer": f"wait={SYNC_WAIT}"}, server_wait=SYNC_WAIT)


def _input(request: GenerationRequest, route: Route) -> dict[str, Any]:
    duration_seconds = duration(request)
    body = {**prompt_field(request), **rename_parameters(request, PARAMETER_NAMES)}
    if request.image is not None:
        # each model reads one of these and ignores the others
        source_url = image_url(require_image(request))
        body |= {"image": source_url, "images": [source_url], "input_image": source_url, "input_images": [source_url]}
        if request.strength is not None:  # `prompt_strength` in Stable Diffusion and FLUX models, `strength` in others
            body["prompt_strength"] = request.strength
    if duration_seconds is not None:
        body["duration"] = duration_seconds
    if route.lora:
        body["lora_weights"] = route.lora.repo_url
    return body | request.extra


def _decode_response(operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
    if isinstance(operation, Cancel):
        return _decode_cancel(response)
    if isinstance(operation, Lookup):
        return _decode_lookup(operation, route, response)
    prediction = response.json(_Prediction)
    return _decode_prediction(
        prediction,
        operation.handle.id if isinstance(operation, Poll) else require_job_id(prediction.id),
        route,
        response,
    )


def _decode_lookup(operation: Lookup, route: Route, response: HttpResponse) -> OperationResult:
    """Decode the only prediction of the first page with this very input that was created after the submission."""
    expected_input = msgspec.to_builtins(_input(operation.request, route))
    page = response.json(_Page).results
    matches = [
        prediction
        for prediction in page
        if prediction.id and prediction.input == expected_input and _created_at(prediction) >= operation.submitted_after
    ]
    if len(matches) == 1:
        return _decode_prediction(matches[0], require_job_id(matches[0].id), route, response)
    summary = "no prediction" if not matches else f"{len(matches)} predictions"
    return Failure(kind="expired", message=f"it lists {summary} for this request", status=response.status)


def _created_at(prediction: _Prediction) -> float:
    """Return the creation time of a prediction in unix seconds; 0 when it is absent or invalid."""
    try:
        return datetime.fromisoformat(str(prediction.created_at)).timestamp()
    except ValueError:
        return 0.0


def _decode_prediction(
    prediction: _Prediction, prediction_id: str, route: Route, response: HttpResponse
) -> OperationResult:
    if prediction.status in FAILED_STATUSES:
        return parse_job_failure(
            prediction.error, fallback=f"the prediction status is {prediction.status}", patterns=ERROR_PATTERNS
        )
    logs = prediction.logs[-LOG_TAIL_CHARS:] if isinstance(prediction.logs, str) else ""
    if prediction.output or prediction.status == "succeeded":
        return _completed(prediction, prediction_id, logs, route)
    if prediction.status not in PENDING_STATUSES:
        return unknown_status(response, prediction.status)
    percents = re.findall(r"(\d{1,3})%\|", logs)
    return Pending(handle=JobHandle(prediction_id), progress=progress(percent=percents[-1] if percents else None))


def _completed(prediction: _Prediction, prediction_id: str, logs: str, route: Route) -> OperationResult:
    predict_seconds = to_float((try_convert(prediction.metrics, _Metrics) or _Metrics()).predict_time)
    requested_seed = to_int((try_convert(prediction.input, _Input) or _Input()).seed)
    seed_match = re.search(r"(?i)\busing seed:? (\d{1,20})", logs)  # how Replicate's own models log a random seed
    return completed(
        _outputs(prediction.output),
        route,
        id=prediction_id,
        seed=requested_seed if requested_seed is not None else to_int(seed_match[1]) if seed_match else None,
        cost=None if predict_seconds is None else Cost(predict_seconds, "predict-seconds"),
        timings=timings(prediction.metrics),
    )


def _outputs(output: Any, depth: int = 4) -> Iterator[Output]:
    """Yield the URLs in an output: a string, an array, or an object with URLs among its values."""
    if isinstance(output, str):
        if output.startswith(("https://", "http://", "data:")):
            yield output_from_url(output)
    elif depth:
        for item in items(output) or (try_convert(output, dict[str, Any]) or {}).values():
            yield from _outputs(item, depth - 1)


def _decode_cancel(response: HttpResponse) -> CancelResult:
    status = response.json(_Prediction).status if response.body else None
    message = f"the prediction status is {status}" if status else "cancellation requested"
    return CancelResult(status != "succeeded", message)


def _decode_error(operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
    failure = parse_http_error(operation, route, response, ERROR_PATTERNS)
    return (
        CancelResult(False, failure.message) if isinstance(operation, Cancel) and failure.kind == "expired" else failure
    )


CAPABILITIES = Capabilities(size=SizeConstraints(style="passthrough"), parameters=ALL_PARAMETERS)

REPLICATE = Provider(
    name="replicate",
    encode=encode,
    decode=safe_decoder(_decode_response, _decode_error),
    tasks={
        "text-to-image": CAPABILITIES,
        "text-to-video": CAPABILITIES,
        "image-to-image": structs.replace(CAPABILITIES, image=ImageConstraints(encoding="url")),
    },
    base_urls=dict.fromkeys(("text-to-image", "text-to-video", "image-to-image"), "https://api.replicate.com"),
    api_key_env_vars=("REPLICATE_API_TOKEN",),
    can_cancel=True,
    can_look_up=True,
)
