"""Z.ai: images as jobs; its error code says what its status does not (429 covers an empty balance).

It takes a size and nothing else, from 1024 to 2048 pixels a side.
Source: docs.z.ai, image generation (async) and API codes; the Hub's own client.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, structs

from ..core.answers import Answer, Ask, Check, Handle, Pending, Route, Submit
from ..core.provider import Abilities, Provider
from ..core.sizes import SizeRule
from ..core.wire import RAW_LIMIT, HttpReply, HttpRequest, get, post_json
from ._asking import id_path, joined, prompted
from ._reading import at, finished, guarded, job_id, unknown_status, unreadable
from ._refusals import Disguise, failure, refusal, refusing

HEADERS = {"Accept-Language": "en-US,en", "x-source-channel": "hugging_face"}  # as the Hub's own client; English errors
SIZE = SizeRule(form="pixels", multiple=32, smallest=1024, largest=2048, most_pixels=2**22, area=1280 * 1280)

DISGUISES = (
    Disguise(r"^1113\b", "credit"),
    Disguise(r"^1301\b", "content"),
    Disguise(r"^100[0-4]\b", "credential"),
    Disguise(r"^130[25]\b", "busy"),
    Disguise(r"^(?:121[0-5]|1231)\b", "refused"),
)


class _Picture(Struct):
    url: str


class _Task(Struct):
    id: str | None = None
    task_status: str | None = None
    image_result: Any = None
    error: Any = None


def encode(ask: Ask, route: Route) -> HttpRequest:
    """The submission, or the question how a task stands; ValueError for a cancel, which Z.ai does not have."""
    match ask:
        case Submit(request):
            body = {"model": route.provider_id, **prompted(request), **joined(request, "x"), **request.extra}
            return post_json(f"{route.base_url}/api/paas/v4/async/images/generations", body, headers=HEADERS)
        case Check(handle):
            return get(f"{route.base_url}/api/paas/v4/async-result/{id_path(handle.id)}", headers=HEADERS)
        case _:
            raise ValueError("zai-org cannot cancel a job")


def _read(ask: Ask, route: Route, reply: HttpReply) -> Answer:
    task = reply.read(_Task)
    if task.task_status == "FAIL":
        return failure(task.error, fallback="the task failed, and it gave no reason", disguises=DISGUISES)
    if task.error:
        return structs.replace(refusal(ask, route, reply, DISGUISES, kind="unreadable"), raw=reply.body[:RAW_LIMIT])
    known = ask.handle.id if isinstance(ask, Check) else job_id(task.id)
    if task.task_status == "SUCCESS" or (task.task_status is None and task.image_result):
        pictures = msgspec.convert(task.image_result, list[_Picture])
        return finished((at(picture.url) for picture in pictures), route, id=known)
    if task.task_status == "PROCESSING":
        return Pending(handle=Handle(known))
    if task.task_status is None:
        return unreadable(reply, "it holds neither a status nor an image")
    return unknown_status(reply, task.task_status)


ZAI_ORG = Provider(
    name="zai-org",
    encode=encode,
    decode=guarded(_read, refusing(DISGUISES)),
    tasks={"text-to-image": Abilities(size=SIZE, takes=frozenset())},
    hosts={"text-to-image": "https://api.z.ai"},
    key_names=("ZAI_API_KEY",),
)
