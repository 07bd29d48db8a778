"""The OpenAI images dialect as one frozen struct; together and nscale are values of it, and so is any unknown provider.

Every such provider differs in names alone; a result is ``{"data": [{"b64_json" or "url": …}]}`` everywhere.
Source: platform.openai.com/docs/api-reference/images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from ..core.answers import Answer, Ask, Output, Route, Submit
from ..core.provider import Abilities, ImageRule, Provider
from ..core.request import Request, Task
from ..core.sizes import SizeRule
from ..core.wire import HttpReply, HttpRequest, post_json
from ._asking import address_of, image_of, joined, pixels, told
from ._reading import at, finished, guarded, text, timings, whole
from ._refusals import refusing


class _Picture(Struct):
    b64_json: bytes | None = None  # msgspec reads base64 straight into bytes
    url: str | None = None
    timings: Any = None


class _Pictures(Struct):
    data: list[_Picture]
    id: Any = None
    seed: Any = None


def _images_array(model: str, address: str) -> dict[str, Any]:
    """The JSON form of an edit in OpenAI's own specification: a URL or a ``data:`` URI in ``images``."""
    return {"images": [{"image_url": address}]}


class Dialect(Struct, frozen=True, kw_only=True):
    """One provider's way of speaking it.

    ``paths`` has an entry for each task it does; ``names`` are the parameters it takes beside the size, ours to theirs;
    ``size`` is the form of the size; ``image`` makes the fields of an input image from the provider's model id and the
    image's address.
    """

    paths: Mapping[Task, str]
    response_format: Literal["b64_json", "base64"] = "b64_json"
    size: Literal["WxH", "sides"] = "WxH"
    names: Mapping[str, str] = {}
    image: Callable[[str, str], dict[str, Any]] = _images_array

    def encode(self, ask: Ask, route: Route) -> HttpRequest:
        """A POST of JSON; ValueError for anything but a submission, since there is no job to ask about."""
        if not isinstance(ask, Submit):
            raise ValueError(f"{route.provider} answers an image at once: there is no job to ask about")
        return post_json(route.base_url + self.paths[route.task], self._body(ask.request, route))

    def _body(self, request: Request, route: Route) -> dict[str, Any]:
        sized = joined(request, "x") if self.size == "WxH" else pixels(request) or {}
        shown = {} if request.image is None else self.image(route.provider_id, address_of(image_of(request)))
        return {
            "model": route.provider_id,
            "prompt": request.prompt or "",  # a null is refused, an empty one is not
            "response_format": self.response_format,
            **shown,
            **sized,
            **told(request, self.names),
            **request.extra,
        }


def read_images(ask: Ask, route: Route, reply: HttpReply) -> Answer:
    """The outputs of a 2xx; raises what ``guarded`` catches when there are none."""
    body = reply.read(_Pictures)
    took = timings(body.data[0].timings if body.data else None, per_second=1000)  # Together tells milliseconds
    return finished(map(_output, body.data), route, seed=whole(body.seed), timings=took, id=text(body.id))


def _output(picture: _Picture) -> Output:
    return Output(data=picture.b64_json) if picture.b64_json else at(picture.url or "")


OPENAI = Dialect(paths={"text-to-image": "/v1/images/generations", "image-to-image": "/v1/images/edits"})


def openai_images(name: str) -> Provider:
    """A provider not known by name: the plain dialect, through the router only, sizes in words as OpenAI takes them."""
    sized = SizeRule(form="pixels")
    return Provider(
        name=name,
        encode=OPENAI.encode,
        decode=guarded(read_images, refusing()),
        tasks={
            "text-to-image": Abilities(size=sized, takes=frozenset()),
            "image-to-image": Abilities(size=sized, takes=frozenset(), image=ImageRule(form="url")),
        },
    )
