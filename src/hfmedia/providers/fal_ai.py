"""fal.ai: an image in one exchange at fal.run, everything else as a job at queue.fal.run.

Failure is told as COMPLETED with an error, or as an HTTP error of the result; addresses come out of the replies.
Source: fal.ai/docs, queue, errors and cancelling; fal's own clients; the Hub's own client.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, structs

from ..core.answers import Answer, Ask, Cancel, Cancelled, Check, Cost, Handle, Pending, Route, Submit
from ..core.provider import Abilities, ImageRule, Provider
from ..core.request import TASKS, Request
from ..core.sizes import SizeRule
from ..core.wire import HttpReply, HttpRequest, get, path_of, post_json
from ._asking import EVERYTHING, HUB_NAMES, address_of, id_path, image_of, model_path, pixels, prompted, seconds, told
from ._reading import (
    as_type,
    at,
    finished,
    flag,
    guarded,
    items,
    job_id,
    number,
    progress,
    text,
    timings,
    unknown_status,
    unreadable,
    whole,
)
from ._refusals import Disguise, complaint, failure, refusal

WAITING = frozenset({"IN_QUEUE", "IN_PROGRESS"})
LOST = frozenset({"FAILED", "CANCELED", "CANCELLED", "ERROR"})  # not in fal's own clients, but seen in the field
NAMESPACES = ("workflows", "comfy")  # ids of these carry one more segment before owner and alias
NAMES = HUB_NAMES | {"aspect_ratio": "aspect_ratio", "resolution": "resolution"}
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"

DISGUISES = (
    Disguise(r"(?i)exhausted balance|top up your balance", "credit", status=403),
    Disguise(r"content_policy_violation", "content"),
)


class _Media(Struct):
    url: str
    content_type: Any = None
    width: Any = None
    height: Any = None


class _Line(Struct):
    message: str


class _Reply(Struct):
    """Every 2xx of fal: the answer to a submission, a status, or a result."""

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
        return [*(self.images or ()), *(self.videos or ()), *filter(None, (self.image, self.video))]


def encode(ask: Ask, route: Route) -> HttpRequest:
    """The submission, or what is asked of a job. Through the router the queue is named in the query, every time."""
    queue = "_subdomain=queue" if route.via == "router" else ""
    match ask:
        case Submit(request):
            # the router finds the model by this very path
            synchronous = route.task == "text-to-image"
            return post_json(_url(route, "/" + model_path(route), "" if synchronous else queue), _body(request, route))
        case Check(handle) if handle.stage == "result":
            return get(_url(route, _place(handle, route), queue))
        case Check(handle):
            return get(_url(route, _place(handle, route) + "/status", "&".join(filter(None, (queue, "logs=1")))))
        case Cancel(handle):
            return HttpRequest(method="PUT", url=_url(route, _place(handle, route) + "/cancel", queue))
        case _:
            raise ValueError("fal-ai does not list its jobs")


def _url(route: Route, path: str, query: str) -> str:
    return f"{route.base_url}{path}" + (f"?{query}" if query else "")


def _place(handle: Handle, route: Route) -> str:
    """The job's own path; where none was told, the one fal's clients build: deeper parts of the model's id are gone."""
    parts = model_path(route).split("/")
    app = "/".join(parts[: 3 if parts[0] in NAMESPACES else 2])
    return handle.path or f"/{app}/requests/{id_path(handle.id)}"


def _body(request: Request, route: Route) -> dict[str, Any]:
    size, length = pixels(request), seconds(request)
    body = {**prompted(request), **told(request, NAMES)}
    if request.image is not None:
        address = address_of(image_of(request))
        body["image_url"] = address
        if request.task == "image-to-image":
            body["image_urls"] = [address]
    if size:
        body["image_size"] = size
    if length is not None:
        body["duration"] = str(length)  # some models take the text alone, those that want a number read it too
    if route.lora:
        body["loras"] = [{"path": route.lora.url, "scale": 1}]
        if route.task == "text-to-image" and route.provider_id == "fal-ai/lora":
            body["model_name"] = SDXL  # this one app asks for the base model by name
    return body | request.extra


def _read(ask: Ask, route: Route, reply: HttpReply) -> Answer:
    if isinstance(ask, Cancel):
        return Cancelled(True, "fal.ai was asked to stop it")
    body = reply.read(_Reply)
    if body.media:
        return _done(body, ask, route, reply)
    if body.error or body.error_type or body.status in LOST:
        return failure(body.error, code=body.error_type, fallback=f"the job is {body.status}", disguises=DISGUISES)
    if isinstance(ask, Check) and ask.handle.stage == "result":
        return unreadable(reply, "the result holds no image and no video")
    if body.status is None and not (isinstance(ask, Submit) and body.request_id):
        return unreadable(reply, "it holds neither a status nor an output")
    if body.status not in (None, "COMPLETED") and body.status not in WAITING:
        return unknown_status(reply, body.status)
    handle = ask.handle if isinstance(ask, Check) else _handle(body, route)
    if body.status == "COMPLETED":
        return Pending(handle=structs.replace(handle, stage="result"), after=0)
    said = [line.message for item in items(body.logs) if (line := as_type(item, _Line))]
    return Pending(handle=handle, progress=progress(position=body.queue_position, message=said[-1] if said else None))


def _handle(body: _Reply, route: Route) -> Handle:
    handle = Handle(job_id(body.request_id))
    return structs.replace(handle, path=path_of(body.response_url or "", default=_place(handle, route)))


def _done(body: _Reply, ask: Ask, route: Route, reply: HttpReply) -> Answer:
    outputs = (
        at(one.url, mime=one.content_type, width=one.width, height=one.height, nsfw=flag(body.has_nsfw_concepts, i))
        for i, one in enumerate(body.media)
    )
    units = number(reply.headers.get("x-fal-billable-units"))
    return finished(
        outputs,
        route,
        seed=whole(body.seed),
        cost=None if units is None else Cost(units, "fal-units"),
        timings=timings(body.timings),
        id=ask.handle.id if isinstance(ask, Check) else text(body.request_id or reply.headers.get("x-fal-request-id")),
    )


def _refuse(ask: Ask, route: Route, reply: HttpReply) -> Answer:
    """An HTTP error; on the result it is the job's own failure, unless it is plainly about asking."""
    seen = refusal(ask, route, reply, DISGUISES)
    if isinstance(ask, Cancel) and (reply.status == 404 or "ALREADY_COMPLETED" in complaint(reply).evidence):
        return Cancelled(False, seen.message)
    if not (isinstance(ask, Check) and ask.handle.stage == "result"):
        return seen
    # "refused" is any 4xx that is not about credential, place or pace; a 5xx with fal's own word for it is the runner's
    own = seen.kind == "refused" or (reply.status >= 500 and complaint(reply).error_type is not None)
    return structs.replace(seen, kind="failed", retry_after=None, retry_at=None) if own else seen


IMAGE = Abilities(size=SizeRule(form="pixels"), takes=EVERYTHING)
VIDEO = Abilities(size=SizeRule(form="ratio"), takes=EVERYTHING)

FAL_AI = Provider(
    name="fal-ai",
    encode=encode,
    decode=guarded(_read, _refuse),
    tasks={
        "text-to-image": IMAGE,
        "text-to-video": VIDEO,
        "image-to-image": structs.replace(IMAGE, image=ImageRule(form="url")),
        "image-to-video": structs.replace(VIDEO, image=ImageRule(form="url")),
    },
    hosts={**dict.fromkeys(TASKS, "https://queue.fal.run"), "text-to-image": "https://fal.run"},
    key_names=("FAL_KEY",),
    scheme="Key",
    cancels=True,
)
