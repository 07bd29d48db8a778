"""WaveSpeed: every task as a job; each reply is an envelope whose own code counts as much as the HTTP status.

The address to ask at comes out of the reply; a status that is not documented is an error.
Source: wavespeed.ai/docs, get result and error codes; WaveSpeed's own client; the Hub's own clients.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, structs

from ..core.answers import Answer, Ask, Check, Failed, FailureKind, Handle, Pending, Route, Submit
from ..core.provider import Abilities, ImageRule, Provider
from ..core.request import TASKS, Request
from ..core.sizes import SizeRule
from ..core.verdict import status_kind
from ..core.wire import HttpReply, HttpRequest, get, path_of, post_json
from ._asking import EVERYTHING, HUB_NAMES, address_of, id_path, image_of, joined, model_path, prompted, seconds, told
from ._reading import as_type, at, finished, flag, guarded, job_id, text, timings, unknown_status, unreadable, whole
from ._refusals import Disguise, failure, refusing, unmask

WAITING = frozenset({"created", "processing"})
LOST = frozenset({"failed", "cancelled", "canceled", "timeout"})
NAMES = HUB_NAMES | {"aspect_ratio": "aspect_ratio", "resolution": "resolution"}

# The envelope's codes beyond the HTTP statuses. 5004 is its own wait that ran out: the job was accepted.
CODES: dict[int, FailureKind] = {
    1200: "content", 1400: "refused", 1401: "refused", 1402: "refused", 1403: "refused", 1405: "refused",
    5000: "server", 5003: "server", 5004: "failed",
}  # fmt: skip
DISGUISES = (Disguise(r"^1200\b", "content"),)


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


def encode(ask: Ask, route: Route) -> HttpRequest:
    """The submission, or the question how a job stands; ValueError for a cancel, which is not documented there."""
    match ask:
        case Submit(request):
            return post_json(f"{route.base_url}/api/v3/{model_path(route)}", _body(request, route))
        case Check(handle):
            return get(route.base_url + (handle.path or _place(handle.id)))
        case _:
            raise ValueError("wavespeed cannot cancel a job")


def _place(known: str) -> str:
    return f"/api/v3/predictions/{id_path(known)}/result"


def _body(request: Request, route: Route) -> dict[str, Any]:
    length = seconds(request)
    body = {**prompted(request), **joined(request, "*"), **told(request, NAMES)}
    if request.image is not None:
        body["image"] = address_of(image_of(request))
        if request.task == "image-to-image":
            body["images"] = [body["image"]]  # models that edit several images read this one
    if length is not None:
        body["duration"] = length
    if route.lora:
        body["loras"] = [{"path": route.lora.repo, "scale": 1}]
    return body | request.extra


def _read(ask: Ask, route: Route, reply: HttpReply) -> Answer:
    envelope = reply.read(_Envelope)
    if envelope.code != 200:
        return _rejected(envelope, reply)
    job = msgspec.convert(envelope.data, _Prediction)
    if job.status in LOST:
        return failure(job.error, code=job.code, fallback=f"the job is {job.status}", disguises=DISGUISES)
    if job.status == "deleted":
        return Failed(kind="gone", message="the job was deleted there", status=reply.status)
    handle = ask.handle if isinstance(ask, Check) else _handle(job)
    if job.status == "completed":
        addresses = msgspec.convert(job.outputs, list[str])
        outputs = (at(address, nsfw=flag(job.has_nsfw_contents, i)) for i, address in enumerate(addresses))
        return finished(outputs, route, id=handle.id, timings=timings(job.timings, per_second=1000))
    return Pending(handle=handle) if job.status in WAITING else unknown_status(reply, job.status)


def _handle(job: _Prediction) -> Handle:
    known = job_id(job.id)
    told_path = (as_type(job.urls, _Urls) or _Urls()).get
    return Handle(known, path=path_of(told_path or "", default=_place(known)))


def _rejected(envelope: _Envelope, reply: HttpReply) -> Failed:
    """A refusal inside an HTTP 200: the code says which, as a status or as one of the codes of its own."""
    code = envelope.code
    inner = as_type(envelope.data, _Prediction) or _Prediction()
    words = text(envelope.message) or text(inner.error) or "it gave no reason"
    masked = unmask(f"{whole(inner.code) or code}: {words}", code, DISGUISES)
    kind = masked or CODES.get(code) or (status_kind(code) if 400 <= code < 600 else "unreadable")
    if kind == "unreadable":
        return unreadable(reply, f"its envelope has the code {code}: {words}")
    return Failed(kind=kind, message=words, status=reply.status, code=str(code))


IMAGE = Abilities(size=SizeRule(form="pixels"), takes=EVERYTHING)
VIDEO = Abilities(size=SizeRule(form="given"), takes=EVERYTHING)
PICTURE = ImageRule(form="url")

WAVESPEED = Provider(
    name="wavespeed",
    encode=encode,
    decode=guarded(_read, refusing(DISGUISES)),
    tasks={
        "text-to-image": IMAGE,
        "text-to-video": VIDEO,
        "image-to-image": structs.replace(IMAGE, image=PICTURE),
        "image-to-video": structs.replace(VIDEO, image=PICTURE),
    },
    hosts=dict.fromkeys(TASKS, "https://api.wavespeed.ai"),
    key_names=("WAVESPEED_API_KEY",),
)
