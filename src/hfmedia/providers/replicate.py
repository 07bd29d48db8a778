"""Replicate: a prediction, held open for up to a minute and polled beyond it.

An output that is there is done, whatever the status says; a starting prediction without one goes on.
Source: replicate.com/docs, predictions; Replicate's own clients; the Hub's own client.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, structs

from ..core.answers import (
    Answer,
    Ask,
    Cancel,
    Cancelled,
    Check,
    Cost,
    Failed,
    Find,
    Handle,
    Output,
    Pending,
    Route,
    Submit,
)
from ..core.provider import Abilities, ImageRule, Provider
from ..core.request import Request
from ..core.sizes import SizeRule
from ..core.wire import HttpReply, HttpRequest, get, post_json
from ._asking import EVERYTHING, HUB_NAMES, address_of, id_path, image_of, model_path, prompted, seconds, told
from ._reading import as_type, at, finished, guarded, items, job_id, number, progress, timings, unknown_status, whole
from ._refusals import Disguise, failure, refusal

HOLD = 60  # seconds; the longest that `Prefer: wait` takes
WAITING = frozenset({"starting", "processing"})
LOST = frozenset({"failed", "canceled", "aborted"})
NAMES = HUB_NAMES | {name: name for name in ("width", "height", "aspect_ratio", "resolution")}
LOG_TAIL = 4096  # characters of the log in which the progress is looked for

DISGUISES = (Disguise(r"(?i)\bnsfw\b", "content", status=422),)


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


def encode(ask: Ask, route: Route) -> HttpRequest:
    """The submission, or what is asked of a prediction by its id."""
    match ask:
        case Submit(request):
            return _submit(request, route)
        case Check(handle):
            return get(f"{route.base_url}/v1/predictions/{id_path(handle.id)}")
        case Find():
            return get(f"{route.base_url}/v1/predictions")
        case Cancel(handle):
            return HttpRequest(method="POST", url=f"{route.base_url}/v1/predictions/{id_path(handle.id)}/cancel")
        case _:
            raise ValueError("replicate cannot be asked that")


def _submit(request: Request, route: Route) -> HttpRequest:
    """An id with a colon names a version, and goes to the address that all models share."""
    version = route.provider_id.partition(":")[2]
    path = "/v1/predictions" if version else f"/v1/models/{model_path(route)}/predictions"
    body: dict[str, Any] = {"version": version} if version else {}
    body["input"] = _input(request, route)
    return post_json(route.base_url + path, body, headers={"Prefer": f"wait={HOLD}"}, hold=HOLD)


def _input(request: Request, route: Route) -> dict[str, Any]:
    length = seconds(request)
    body = {**prompted(request), **told(request, NAMES)}
    if request.image is not None:
        # each model reads one of these four and ignores the others
        address = address_of(image_of(request))
        body |= {"image": address, "images": [address], "input_image": address, "input_images": [address]}
    if length is not None:
        body["duration"] = length
    if route.lora:
        body["lora_weights"] = route.lora.repo_url
    return body | request.extra


def _read(ask: Ask, route: Route, reply: HttpReply) -> Answer:
    if isinstance(ask, Cancel):
        return _canceled(reply)
    if isinstance(ask, Find):
        return _found(ask, route, reply)
    prediction = reply.read(_Prediction)
    return _told(prediction, ask.handle.id if isinstance(ask, Check) else job_id(prediction.id), route, reply)


def _found(ask: Find, route: Route, reply: HttpReply) -> Answer:
    """The one prediction of the first page that was made of this very input, after the request was sent."""
    wanted = msgspec.to_builtins(_input(ask.request, route))
    page = reply.read(_Page).results
    fits = [one for one in page if one.id and one.input == wanted and _made_at(one) >= ask.since]
    if len(fits) == 1:
        return _told(fits[0], job_id(fits[0].id), route, reply)
    which = "no prediction" if not fits else f"{len(fits)} predictions"
    return Failed(kind="gone", message=f"it lists {which} for this request", status=reply.status)


def _made_at(prediction: _Prediction) -> float:
    """When a prediction was made, in unix seconds; 0 when it does not tell."""
    try:
        return datetime.fromisoformat(str(prediction.created_at)).timestamp()
    except ValueError:
        return 0.0


def _told(prediction: _Prediction, known: str, route: Route, reply: HttpReply) -> Answer:
    if prediction.status in LOST:
        return failure(prediction.error, fallback=f"the prediction is {prediction.status}", disguises=DISGUISES)
    logs = prediction.logs[-LOG_TAIL:] if isinstance(prediction.logs, str) else ""
    if prediction.output or prediction.status == "succeeded":
        return _done(prediction, known, logs, route)
    if prediction.status not in WAITING:
        return unknown_status(reply, prediction.status)
    percents = re.findall(r"(\d{1,3})%\|", logs)
    return Pending(handle=Handle(known), progress=progress(percent=percents[-1] if percents else None))


def _done(prediction: _Prediction, known: str, logs: str, route: Route) -> Answer:
    took = number((as_type(prediction.metrics, _Metrics) or _Metrics()).predict_time)
    asked = whole((as_type(prediction.input, _Input) or _Input()).seed)
    drawn = re.search(r"(?i)\busing seed:? (\d{1,20})", logs)  # how Replicate's own models tell the seed they drew
    return finished(
        _outputs(prediction.output),
        route,
        id=known,
        seed=asked if asked is not None else whole(drawn[1]) if drawn else None,
        cost=None if took is None else Cost(took, "predict-seconds"),
        timings=timings(prediction.metrics),
    )


def _outputs(output: Any, depth: int = 4) -> Iterator[Output]:
    """The addresses in an output: a string, an array, or an object that has them among its values."""
    if isinstance(output, str):
        if output.startswith(("https://", "http://", "data:")):
            yield at(output)
    elif depth:
        for item in items(output) or (as_type(output, dict[str, Any]) or {}).values():
            yield from _outputs(item, depth - 1)


def _canceled(reply: HttpReply) -> Cancelled:
    status = reply.read(_Prediction).status if reply.body else None
    return Cancelled(status != "succeeded", f"the prediction is {status or 'being canceled'}")


def _refuse(ask: Ask, route: Route, reply: HttpReply) -> Answer:
    seen = refusal(ask, route, reply, DISGUISES)
    return Cancelled(False, seen.message) if isinstance(ask, Cancel) and seen.kind == "gone" else seen


GIVEN = Abilities(size=SizeRule(form="given"), takes=EVERYTHING)

REPLICATE = Provider(
    name="replicate",
    encode=encode,
    decode=guarded(_read, _refuse),
    tasks={
        "text-to-image": GIVEN,
        "text-to-video": GIVEN,
        "image-to-image": structs.replace(GIVEN, image=ImageRule(form="url")),
    },
    hosts=dict.fromkeys(("text-to-image", "text-to-video", "image-to-image"), "https://api.replicate.com"),
    key_names=("REPLICATE_API_TOKEN",),
    cancels=True,
    finds=True,
)
