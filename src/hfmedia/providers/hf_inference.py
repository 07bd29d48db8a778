"""hf-inference: Hugging Face's own machines, behind the router only; an image comes back as raw bytes.

A model that is still loading is a 503 that says how long it will take.
Source: huggingface.co/docs, inference providers, hf-inference; the Hub's own clients.
"""

from __future__ import annotations

from msgspec import Struct, structs

from ..core.answers import Answer, Ask, Failed, Finished, Output, Route, Submit
from ..core.errors import InvalidRequestError
from ..core.provider import Abilities, ImageRule, Provider
from ..core.request import Request
from ..core.sizes import SizeRule
from ..core.wire import HttpReply, HttpRequest, post_json
from ._asking import image_of, model_path, pixels, told
from ._reading import at, finished, guarded, number, text
from ._refusals import complaint, refusal

# A diffusion model halves its picture three times, and the library that runs them here refuses any other size.
SIZE = SizeRule(form="pixels", multiple=8)
NAMES = {name: name for name in ("negative_prompt", "seed", "num_inference_steps", "guidance_scale", "scheduler")}
SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8")  # PNG, JPEG, WebP, GIF; an mp4 says ftyp at byte 4
ACCEPT = {"Accept": "image/png"}  # lossless; the Hub's own client asks for the same


class _Picture(Struct):
    b64_json: bytes | None = None
    url: str | None = None


class _Pictures(Struct):
    """The JSON forms that a model's own handler may answer with."""

    data: list[_Picture] = []
    output: list[str] | str = []


def encode(ask: Ask, route: Route) -> HttpRequest:
    """One exchange; ValueError for anything but a submission, since there is no job to ask about."""
    if not isinstance(ask, Submit):
        raise ValueError("hf-inference answers at once: there is no job to ask about")
    url = f"{route.base_url}/models/{model_path(route)}"
    request = ask.request
    if request.image is None:
        parameters = {**(pixels(request) or {}), **told(request, NAMES), **request.extra}
        return post_json(url, {"inputs": request.prompt or "", "parameters": parameters}, headers=ACCEPT)
    data = _bytes(request, route)
    size = pixels(request)
    parameters = {
        **told(request, {"prompt": "prompt"} | NAMES),
        **({"target_size": size} if size else {}),
        **request.extra,
    }
    if parameters:
        # bytes become base64 as they are written
        return post_json(url, {"inputs": data, "parameters": parameters}, headers=ACCEPT)
    mime = image_of(request).mime or "application/octet-stream"
    return HttpRequest(method="POST", url=url, headers={"Content-Type": mime, **ACCEPT}, body=data)


def _bytes(request: Request, route: Route) -> bytes:
    data = image_of(request).data
    if data is None:
        raise InvalidRequestError(
            "hf-inference takes the bytes of an image, not its URL; download it first and give the file",
            provider=route.provider,
            model=route.model,
        )
    return data


def _read(ask: Ask, route: Route, reply: HttpReply) -> Answer:
    if ("json" in reply.mime and not reply.body.startswith(SIGNATURES)) or (not reply.mime and reply.body[:1] == b"{"):
        return _read_json(route, reply)
    if not _is_media(reply):
        raise ValueError(f"{len(reply.body)} bytes of {reply.mime or 'no type'} are no media")
    return _timed(finished([Output(data=reply.body, mime=text(reply.mime))], route), reply)


def _is_media(reply: HttpReply) -> bool:
    """Whether there are bytes that may be media: by their type or, since types lie, by their own first bytes."""
    told = reply.mime.startswith(("image/", "video/")) or reply.mime in ("", "application/octet-stream")
    return bool(reply.body) and (told or reply.body.startswith(SIGNATURES) or reply.body[4:8] == b"ftyp")


def _read_json(route: Route, reply: HttpReply) -> Answer:
    body = reply.read(_Pictures)
    addresses = [body.output] if isinstance(body.output, str) else body.output
    inline = (Output(data=p.b64_json) if p.b64_json else at(p.url or "") for p in body.data)
    return _timed(finished([*inline, *map(at, addresses)], route), reply)


def _timed(done: Finished, reply: HttpReply) -> Finished:
    """With what the headers tell: the seconds that the machine worked, and the id of the call."""
    took = number(reply.headers.get("x-compute-time"))
    known = text(reply.headers.get("inference-id") or reply.headers.get("x-request-id"))
    return structs.replace(done, id=known, timings={} if took is None else {"compute": took})


def _refuse(ask: Ask, route: Route, reply: HttpReply) -> Failed:
    loading = reply.status == 503 and complaint(reply).wait is not None
    return refusal(ask, route, reply, kind="busy" if loading else None)


HF_INFERENCE = Provider(
    name="hf-inference",
    encode=encode,
    decode=guarded(_read, _refuse),
    tasks={
        "text-to-image": Abilities(size=SIZE, takes=frozenset(NAMES)),
        "image-to-image": Abilities(size=SIZE, takes=frozenset(NAMES), image=ImageRule(form="bytes")),
    },
)
