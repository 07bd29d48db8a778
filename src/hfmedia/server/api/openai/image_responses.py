"""One image, or one failure, as an answer of the images API holds it."""

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
    """One image as the answer holds it; in the format that was asked for, if that can be made of it."""
    path, mime, variant, warnings = media.path, media.mime, ORIGINAL, list(media.warnings)
    output_format: ImageFormat | None = image_request.format
    if output_format is None and image_request.quality is not None:
        output_format = BY_NAME.get(media.mime.removeprefix("image/"))
    if output_format is not None and (media.mime != f"image/{output_format}" or image_request.quality is not None):
        try:
            rendition = await gateway.renditions.image(media, format=output_format, quality=image_request.quality)
            if rendition.path != media.path:
                path, mime, variant = rendition.path, rendition.mime, variant_name(output_format, image_request.quality)
        except (ApiError, StorageError) as error:
            warnings.append(f"it could not be made into {output_format}, so it is {media.mime}: {error}")
    content: dict[str, Any] = {}
    if image_request.response_format in ("b64_json", "both"):
        content["b64_json"] = await asyncio.to_thread(lambda: b64encode(path.read_bytes()).decode("ascii"))
    if image_request.response_format in ("url", "both"):
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
    """What did not come, and why."""
    assert result.error is not None
    api_error = to_api_error(result.error, uses_caller_token=uses_caller_token)
    return {
        "index": result.index,
        "job_id": result.job_id,
        "code": api_error.code,
        "message": api_error.body()["error"]["message"],
    }
