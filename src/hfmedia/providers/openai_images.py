"""The OpenAI images dialect as one frozen struct; together and nscale are values of it, and so is any unknown provider.

Every such provider differs in names alone; a result is ``{"data": [{"b64_json" or "url": …}]}`` everywhere.
Source: platform.openai.com/docs/api-reference/images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from ..core.http import HttpRequest, HttpResponse, post_json
from ..core.protocol import Operation, OperationResult, Output, Route, Submit
from ..core.provider import Capabilities, ImageConstraints, Provider
from ..core.request import GenerationRequest, Task
from ..core.sizes import SizeConstraints
from ._decoding import completed, output_from_url, safe_decoder, timings, to_int, to_text
from ._encoding import image_url, pixels, rename_parameters, require_image, size_field
from ._errors import error_decoder


class _ImageItem(Struct):
    b64_json: bytes | None = None  # msgspec reads base64 straight into bytes
    url: str | None = None
    timings: Any = None


class _ImagesBody(Struct):
    data: list[_ImageItem]
    id: Any = None
    seed: Any = None


def _images_array(model: str, url: str) -> dict[str, Any]:
    """The JSON form of an edit in OpenAI's own specification: a URL or a ``data:`` URI in ``images``."""
    return {"images": [{"image_url": url}]}


class Dialect(Struct, frozen=True, kw_only=True):
    """One provider's way of speaking it.

    ``paths`` has an entry for each task it does; ``names`` are the parameters it takes beside the size, ours to theirs;
    ``size`` is the form of the size; ``image`` makes the fields of an input image from the provider's model id and the
    image's address.
    """

    paths: Mapping[Task, str]
    response_format: Literal["b64_json", "base64"] = "b64_json"
    size_style: Literal["WxH", "sides"] = "WxH"
    parameter_names: Mapping[str, str] = {}
    image_fields: Callable[[str, str], dict[str, Any]] = _images_array

    def encode(self, operation: Operation, route: Route) -> HttpRequest:
        """A POST of JSON; ValueError for anything but a submission, since there is no job to ask about."""
        if not isinstance(operation, Submit):
            raise ValueError(f"{route.provider} answers an image at once: there is no job to ask about")
        return post_json(route.base_url + self.paths[route.task], self._body(operation.request, route))

    def _body(self, request: GenerationRequest, route: Route) -> dict[str, Any]:
        size_fields = size_field(request, "x") if self.size_style == "WxH" else pixels(request) or {}
        image_fields = (
            {} if request.image is None else self.image_fields(route.provider_id, image_url(require_image(request)))
        )
        return {
            "model": route.provider_id,
            "prompt": request.prompt or "",  # a null is refused, an empty one is not
            "response_format": self.response_format,
            **image_fields,
            **size_fields,
            **rename_parameters(request, self.parameter_names),
            **request.extra,
        }


def decode_images(operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
    """The outputs of a 2xx; raises what ``guarded`` catches when there are none."""
    body = response.json(_ImagesBody)
    provider_timings = timings(
        body.data[0].timings if body.data else None, units_per_second=1000
    )  # Together tells milliseconds
    return completed(
        map(_output, body.data), route, seed=to_int(body.seed), timings=provider_timings, id=to_text(body.id)
    )


def _output(item: _ImageItem) -> Output:
    return Output(data=item.b64_json) if item.b64_json else output_from_url(item.url or "")


OPENAI_DIALECT = Dialect(paths={"text-to-image": "/v1/images/generations", "image-to-image": "/v1/images/edits"})


def openai_images(name: str) -> Provider:
    """A provider not known by name: the plain dialect, through the router only, sizes in words as OpenAI takes them."""
    size_constraints = SizeConstraints(style="pixels")
    return Provider(
        name=name,
        encode=OPENAI_DIALECT.encode,
        decode=safe_decoder(decode_images, error_decoder()),
        tasks={
            "text-to-image": Capabilities(size=size_constraints, parameters=frozenset()),
            "image-to-image": Capabilities(
                size=size_constraints, parameters=frozenset(), image=ImageConstraints(encoding="url")
            ),
        },
    )
