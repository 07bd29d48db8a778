"""hf-inference: Hugging Face's own servers, through the router only; the response is the image itself.

A model that is still loading is a 503 with the estimated time.
Source: huggingface.co/docs, inference providers, hf-inference; the Hub's own clients.
"""

from __future__ import annotations

from msgspec import Struct, structs

from ..core.errors import InvalidRequestError
from ..core.http import HttpRequest, HttpResponse, post_json
from ..core.protocol import Completed, Failure, Operation, OperationResult, Output, Route, Submit
from ..core.provider import Capabilities, ImageConstraints, Provider
from ..core.request import GenerationRequest
from ..core.sizes import SizeConstraints
from ._decoding import completed, output_from_url, safe_decoder, to_float, to_text
from ._encoding import model_path, pixels, rename_parameters, require_image
from ._errors import parse_error_body, parse_http_error

# Diffusion models halve the image three times, and the library in use rejects other sizes.
SIZE_CONSTRAINTS = SizeConstraints(style="pixels", multiple=8)
PARAMETER_NAMES = {
    name: name for name in ("negative_prompt", "seed", "num_inference_steps", "guidance_scale", "scheduler")
}
SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8")  # PNG, JPEG, WebP, GIF; an mp4 says ftyp at byte 4
ACCEPT_HEADERS = {"Accept": "image/png"}  # lossless; the Hub's own client sends the same


class _ImageItem(Struct):
    b64_json: bytes | None = None
    url: str | None = None


class _ImagesBody(Struct):
    """The JSON that a model's custom handler may return."""

    data: list[_ImageItem] = []
    output: list[str] | str = []


def encode(operation: Operation, route: Route) -> HttpRequest:
    """Encode a submission; raises ValueError for any other operation, since there are no jobs."""
    if not isinstance(operation, Submit):
        raise ValueError("hf-inference responds at once: there is no job to poll or cancel")
    url = f"{route.base_url}/models/{model_path(route)}"
    request = operation.request
    if request.image is None:
        parameters = {**(pixels(request) or {}), **rename_parameters(request, PARAMETER_NAMES), **request.extra}
        return post_json(url, {"inputs": request.prompt or "", "parameters": parameters}, headers=ACCEPT_HEADERS)
    data = _image_bytes(request, route)
    size = pixels(request)
    parameters = {
        **rename_parameters(request, {"prompt": "prompt"} | PARAMETER_NAMES),
        **({"target_size": size} if size else {}),
        **request.extra,
    }
    if parameters:
        # msgspec encodes bytes as base64
        return post_json(url, {"inputs": data, "parameters": parameters}, headers=ACCEPT_HEADERS)
    mime = require_image(request).mime or "application/octet-stream"
    return HttpRequest(method="POST", url=url, headers={"Content-Type": mime, **ACCEPT_HEADERS}, body=data)


def _image_bytes(request: GenerationRequest, route: Route) -> bytes:
    data = require_image(request).data
    if data is None:
        raise InvalidRequestError(
            "hf-inference takes the bytes of an image, not its URL; download it first and pass the file",
            provider=route.provider,
            model=route.model,
        )
    return data


def _decode_response(operation: Operation, route: Route, response: HttpResponse) -> OperationResult:
    if ("json" in response.mime and not response.body.startswith(SIGNATURES)) or (
        not response.mime and response.body[:1] == b"{"
    ):
        return _decode_json(route, response)
    if not _is_media(response):
        raise ValueError(
            f"the response ({len(response.body)} bytes, {response.mime or 'no content type'}) is not an image or video"
        )
    return _with_header_details(completed([Output(data=response.body, mime=to_text(response.mime))], route), response)


def _is_media(response: HttpResponse) -> bool:
    """Return whether the body may be media, by its content type or, since that can be wrong, by its first bytes."""
    declared = response.mime.startswith(("image/", "video/")) or response.mime in ("", "application/octet-stream")
    return bool(response.body) and (declared or response.body.startswith(SIGNATURES) or response.body[4:8] == b"ftyp")


def _decode_json(route: Route, response: HttpResponse) -> OperationResult:
    body = response.json(_ImagesBody)
    urls = [body.output] if isinstance(body.output, str) else body.output
    items = (Output(data=item.b64_json) if item.b64_json else output_from_url(item.url or "") for item in body.data)
    return _with_header_details(completed([*items, *map(output_from_url, urls)], route), response)


def _with_header_details(result: Completed, response: HttpResponse) -> Completed:
    """Add the compute time and the request ID from the headers."""
    compute_seconds = to_float(response.headers.get("x-compute-time"))
    request_id = to_text(response.headers.get("inference-id") or response.headers.get("x-request-id"))
    return structs.replace(
        result, id=request_id, timings={} if compute_seconds is None else {"compute": compute_seconds}
    )


def _decode_error(operation: Operation, route: Route, response: HttpResponse) -> Failure:
    loading = response.status == 503 and parse_error_body(response).retry_after is not None
    return parse_http_error(operation, route, response, default_kind="rate_limited" if loading else None)


HF_INFERENCE = Provider(
    name="hf-inference",
    encode=encode,
    decode=safe_decoder(_decode_response, _decode_error),
    tasks={
        "text-to-image": Capabilities(size=SIZE_CONSTRAINTS, parameters=frozenset(PARAMETER_NAMES)),
        "image-to-image": Capabilities(
            size=SIZE_CONSTRAINTS, parameters=frozenset(PARAMETER_NAMES), image=ImageConstraints(encoding="bytes")
        ),
    },
)
