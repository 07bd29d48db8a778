"""Images and failures as the images API returns them."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

from starlette.requests import Request

from hfmedia.core.errors import StorageError
from hfmedia.server.errors import ApiError, to_api_error
from hfmedia.server.gateway import Gateway
from hfmedia.server.jobs import OutputResult
from hfmedia.server.media.variants import BY_NAME, ORIGINAL, ImageFormat, variant_name
from hfmedia.storage import Media

from .image_requests import ImageRequest


async def image_item(request: Request, gateway: Gateway, image_request: ImageRequest, media: Media) -> dict[str, Any]:
    """Return one image of the response; in the requested format if the file can be converted."""
    path, mime, variant, warnings = media.path, media.mime, ORIGINAL, list(media.warnings)
    quality = image_request.output_compression
    output_format: ImageFormat | None = image_request.format
    if output_format is None and quality is not None:
        output_format = BY_NAME.get(media.mime.removeprefix("image/"))
    if output_format is not None and (media.mime != f"image/{output_format}" or quality is not None):
        try:
            rendition = await gateway.renditions.image(media, format=output_format, quality=quality)
            if rendition.path != media.path:
                path, mime, variant = rendition.path, rendition.mime, variant_name(output_format, quality)
        except (ApiError, StorageError) as error:
            warnings.append(f"conversion to {output_format} failed, so the file is {media.mime}: {error}")
    content: dict[str, Any] = {}
    if image_request.content in ("b64_json", "both"):
        content["b64_json"] = await asyncio.to_thread(lambda: b64encode(path.read_bytes()).decode("ascii"))
    if image_request.content in ("url", "both"):
        content["url"] = gateway.url_signer.url_for(request, media, variant)
    return {
        **content,
        "revised_prompt": None,
        "mime": mime,
        "width": media.width,
        "height": media.height,
        "provider": media.provider,
        "model": media.model,
        "seed": media.seed,
        "cost": {"amount": media.cost.amount, "unit": media.cost.unit} if media.cost else None,
        "job_id": media.job_id,
        "warnings": warnings,
    }


def failure_item(result: OutputResult, *, uses_caller_token: bool) -> dict[str, Any]:
    """Return the entry of an output that failed."""
    assert result.error is not None
    api_error = to_api_error(result.error, uses_caller_token=uses_caller_token)
    return {
        "index": result.index,
        "job_id": result.job_id,
        "code": api_error.code,
        "message": api_error.body()["error"]["message"],
    }
