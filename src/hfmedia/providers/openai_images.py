"""The OpenAI images dialect: a frozen struct for the differences between together, nscale and any unknown provider.

They differ in names only; a result is ``{"data": [{"b64_json" or "url": …}]}`` everywhere.
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
    b64_json: bytes | None = None  # msgspec decodes base64 into bytes
    url: str | None = None
    timings: Any = None


class _ImagesBody(Struct):
    data: list[_ImageItem]
    id: Any = None
    seed: Any = None


def _images_array(model: str, url: str) -> dict[str, Any]:
    """Return the image fields of OpenAI's own JSON for edits: a URL or a ``data:`` URI in ``images``."""
    return {"images": [{"image_url": url}]}


class Dialect(Struct, frozen=True, kw_only=True):
    """One provider's variant of the dialect.

    ``paths`` has an entry for each supported task; ``parameter_names`` maps parameters other than the size, ours to
    theirs; ``image_fields`` builds the fields of an input image from the provider's model ID and the image's URL.
    """

    paths: Mapping[Task, str]
    response_format: Literal["b64_json", "base64"] = "b64_json"
    size_style: Literal["WxH", "sides"] = "WxH"
    parameter_names: Mapping[str, str] = {}
    image_fields: Callable[[str, str], dict[str, Any]] = _images_array

    def encode(self, operation: Operation, route: Route) -> HttpRequest:
        """Encode a submission; raises ValueError for any other operation, since there are no jobs."""
        if not isinstance(operation, Submit):
            raise ValueError(f"{route.provider} responds at once: there is no job to poll or cancel")
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
    """Decode the outputs of a 2xx; raises ValueError (caught by ``safe_decoder``) when there are none."""
    body = response.json(_ImagesBody)
    raw_timings = body.data[0].timings if body.data else None
    provider_timings = timings(raw_timings, units_per_second=1000)  # Together reports milliseconds
    return completed(
        map(_output, body.data), route, seed=to_int(body.seed), timings=provider_timings, id=to_text(body.id)
    )


def _output(item: _ImageItem) -> Output:
    return Output(data=item.b64_json) if item.b64_json else output_from_url(item.url or "")


OPENAI_DIALECT = Dialect(
    paths={"text-to-image": "/v1/images/generations", "image-to-image": "/v1/images/edits"},
    parameter_names={"quality": "quality"},
)


def openai_images(name: str) -> Provider:
    """Return the provider for an unknown name: the plain dialect, through the router only, with OpenAI's sizes."""
    size_constraints, parameters = SizeConstraints(style="pixels"), frozenset(OPENAI_DIALECT.parameter_names)
    return Provider(
        name=name,
        encode=OPENAI_DIALECT.encode,
        decode=safe_decoder(decode_images, error_decoder()),
        tasks={
            "text-to-image": Capabilities(size=size_constraints, parameters=parameters),
            "image-to-image": Capabilities(
                size=size_constraints, parameters=parameters, image=ImageConstraints(encoding="url")
            ),
        },
    )
