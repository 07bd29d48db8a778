"""Together: images at once in the OpenAI dialect, videos as jobs under ``/v2/videos``.

A missing status means pending; ``retry-after`` stands on every reply, so it is read on errors alone.
Source: docs.together.ai, images and videos; the Hub's own client.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, structs

from ..core.answers import Answer, Ask, Check, Cost, Handle, Pending, Route, Submit
from ..core.provider import Abilities, ImageRule, Provider
from ..core.request import TASKS, Request
from ..core.sizes import SizeRule
from ..core.wire import HttpReply, HttpRequest, get, post_json
from ._asking import address_of, id_path, image_of, pixels, prompted, seconds, told
from ._reading import as_type, at, finished, guarded, job_id, number, unknown_status, whole
from ._refusals import Disguise, failure, refusing
from .openai_images import Dialect, read_images

WAITING = frozenset({"queued", "in_progress"})
LOST = frozenset({"failed", "cancelled", "canceled"})
LONGEST_FRAME = 61_440  # characters of input_image; its error says "Range of input length should be [1, 61440]"
LARGEST_FRAME = (LONGEST_FRAME - len("data:image/jpeg;base64,")) // 4 * 3  # bytes before base64

VIDEO_NAMES = {"num_inference_steps": "steps", "guidance_scale": "guidance_scale", "seed": "seed", "fps": "fps",
               "negative_prompt": "negative_prompt"}  # fmt: skip
IMAGE_NAMES = {ours: theirs for ours, theirs in VIDEO_NAMES.items() if ours != "fps"}

DISGUISES = (
    Disguise(r"(?i)input.{0,40}too long|tokens? exceed", "refused", status=403),
    Disguise(r"(?i)\bnsfw\b", "content", status=422),
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


def _reference(model: str, address: str) -> dict[str, Any]:
    """FLUX.1 Kontext takes ``image_url`` alone, the other models ``reference_images``."""
    name = model.lower()
    return {"image_url": address} if "kontext" in name and "flux.1" in name else {"reference_images": [address]}


IMAGES = Dialect(
    paths={"text-to-image": "/v1/images/generations", "image-to-image": "/v1/images/generations"},
    response_format="base64",
    size="sides",
    names=IMAGE_NAMES,
    image=_reference,
)


def encode(ask: Ask, route: Route) -> HttpRequest:
    """An image in one exchange, a video as a job; ValueError for a cancel, which Together does not have."""
    match ask:
        case Submit() if route.task in IMAGES.paths:
            return IMAGES.encode(ask, route)
        case Submit(request):
            return post_json(f"{route.base_url}/v2/videos", _video_body(request, route))
        case Check(handle):
            return get(f"{route.base_url}/v2/videos/{id_path(handle.id)}")
        case _:
            raise ValueError("together cannot cancel a job")


def _video_body(request: Request, route: Route) -> dict[str, Any]:
    length = seconds(request)
    frame = {} if request.image is None else {"input_image": address_of(image_of(request)), "frame": "first"}
    return {
        "model": route.provider_id,
        **prompted(request),
        **({"frame_images": [frame]} if frame else {}),
        **(pixels(request) or {}),
        **told(request, VIDEO_NAMES),
        **({} if length is None else {"seconds": str(length)}),
        **request.extra,
    }


def _read(ask: Ask, route: Route, reply: HttpReply) -> Answer:
    if route.task in IMAGES.paths:
        return read_images(ask, route, reply)
    video = reply.read(_Video)
    known = ask.handle.id if isinstance(ask, Check) else job_id(video.id)
    if video.status in LOST:
        errors = video.error or (as_type(video.info, _Info) or _Info()).errors
        return failure(errors, fallback=f"the video is {video.status}")
    if video.status == "completed" or (video.status is None and video.outputs):
        made = msgspec.convert(video.outputs, _Outputs)
        cost = number(made.cost)
        price = None if cost is None else Cost(cost)
        return finished([at(made.video_url)], route, id=known, seed=whole(video.seed), cost=price)
    if video.status is None or video.status in WAITING:
        return Pending(handle=Handle(known))
    return unknown_status(reply, video.status)


IMAGE = Abilities(size=SizeRule(form="pixels"), takes=frozenset(IMAGE_NAMES))
VIDEO = Abilities(size=SizeRule(form="pixels", area=1280 * 720), takes=frozenset({*VIDEO_NAMES, "seconds"}))

TOGETHER = Provider(
    name="together",
    encode=encode,
    decode=guarded(_read, refusing(DISGUISES)),
    tasks={
        "text-to-image": IMAGE,
        "image-to-image": structs.replace(IMAGE, image=ImageRule(form="url")),
        "text-to-video": VIDEO,
        "image-to-video": structs.replace(VIDEO, image=ImageRule(form="url", most_bytes=LARGEST_FRAME)),
    },
    hosts=dict.fromkeys(TASKS, "https://api.together.xyz"),
    key_names=("TOGETHER_API_KEY",),
)
