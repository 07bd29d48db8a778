"""Novita: videos as jobs at ``/v3/async``, with a real percentage; no credit is a 400 there.

Its two addresses for the same models answer differently (a video at once, or a task): either is read by its shape.
Source: novita.ai/docs, task result and error codes; the Hub's own clients.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from ..core.answers import Answer, Ask, Check, Handle, Pending, Route, Submit
from ..core.provider import Abilities, Provider
from ..core.request import Request
from ..core.sizes import SizeRule
from ..core.wire import HttpReply, HttpRequest, get, post_json
from ._asking import id_path, model_path, pixels, prompted, told
from ._reading import as_type, at, finished, guarded, job_id, progress, unknown_status, unreadable, whole
from ._refusals import Disguise, failure, refusing

WAITING = frozenset({"QUEUED", "PROCESSING"})
NAMES = {"negative_prompt": "negative_prompt", "seed": "seed", "num_inference_steps": "steps",
         "guidance_scale": "guidance_scale", "num_frames": "num_frames"}  # fmt: skip

DISGUISES = (
    Disguise(r"BILLING_BALANCE_NOT_ENOUGH", "credit"),
    Disguise(r"ILLEGAL_PROMPT|ILLEGAL_IMAGE_CONTENT", "content"),
    Disguise(r"MISSING_API_KEY|INVALID_API_KEY", "credential"),
    Disguise(r"TASK_NOT_FOUND", "gone", status=404),
    Disguise(r"\bTASK_FAILED", "failed", status=500),
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


class _Reply(Struct):
    task_id: str | None = None
    task: _Task | None = None
    video: Any = None
    videos: Any = None
    images: Any = None
    extra: Any = None


def encode(ask: Ask, route: Route) -> HttpRequest:
    """The submission to the queue, or the question how a task stands; ValueError for a cancel."""
    match ask:
        case Submit(request):
            return post_json(f"{route.base_url}/v3/async/{model_path(route)}", _body(request))
        case Check(handle):
            return get(f"{route.base_url}/v3/async/task-result?task_id={id_path(handle.id)}")
        case _:
            raise ValueError("novita cannot cancel a job")


def _body(request: Request) -> dict[str, Any]:
    return {**prompted(request), **(pixels(request) or {}), **told(request, NAMES), **request.extra}


def _read(ask: Ask, route: Route, reply: HttpReply) -> Answer:
    body = reply.read(_Reply)
    known = ask.handle.id if isinstance(ask, Check) else None
    status = body.task.status.removeprefix("TASK_STATUS_") if body.task else None
    if body.task is None and body.video:
        return finished([at(msgspec.convert(body.video, _Video).video_url)], route, id=known or body.task_id)
    if body.task is None and isinstance(ask, Submit):
        return Pending(handle=Handle(job_id(body.task_id)))
    if body.task is None:
        return unreadable(reply, "it holds neither a task nor a video")
    if status == "FAILED":
        return failure(body.task.reason, fallback="the task failed, and it gave no reason", disguises=DISGUISES)
    if status == "SUCCEED":
        videos = msgspec.convert(body.videos or [], list[_Video])
        images = msgspec.convert(body.images or [], list[_Image])
        addresses = [*(video.video_url for video in videos), *(image.image_url for image in images)]
        seed = whole((as_type(body.extra, _Extra) or _Extra()).seed)
        return finished(map(at, addresses), route, id=known, seed=seed)
    if status not in WAITING:
        return unknown_status(reply, body.task.status)
    handle = Handle(known or job_id(body.task_id or body.task.task_id))
    return Pending(handle=handle, progress=progress(percent=body.task.progress_percent, eta=body.task.eta))


NOVITA = Provider(
    name="novita",
    encode=encode,
    decode=guarded(_read, refusing(DISGUISES)),
    tasks={"text-to-video": Abilities(size=SizeRule(form="pixels", area=1280 * 720), takes=frozenset(NAMES))},
    hosts={"text-to-video": "https://api.novita.ai"},
    key_names=("NOVITA_API_KEY",),
)
