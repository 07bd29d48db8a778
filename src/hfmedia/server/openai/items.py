"""One image, or one failure, as an answer of the images API holds it."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

from starlette.requests import Request

from hfmedia.core.errors import StoreError
from hfmedia.server.errors import Refusal, refusal_of
from hfmedia.server.gateway import Gateway
from hfmedia.server.media.variants import BY_NAME, ORIGINAL, Format, variant_of
from hfmedia.server.works import Outcome
from hfmedia.store import Media

from .wishes import Wish


async def item(request: Request, gateway: Gateway, wish: Wish, media: Media) -> dict[str, Any]:
    """One image as the answer holds it; in the format that was asked for, if that can be made of it."""
    path, mime, variant, warnings = media.path, media.mime, ORIGINAL, list(media.warnings)
    form: Format | None = wish.format
    if form is None and wish.quality is not None:
        form = BY_NAME.get(media.mime.removeprefix("image/"))
    if form is not None and (media.mime != f"image/{form}" or wish.quality is not None):
        try:
            made = await gateway.renditions.image(media, format=form, quality=wish.quality)
            if made.path != media.path:
                path, mime, variant = made.path, made.mime, variant_of(form, wish.quality)
        except (Refusal, StoreError) as error:
            warnings.append(f"it could not be made into {form}, so it is {media.mime}: {error}")
    told: dict[str, Any] = {}
    if wish.shape in ("b64_json", "both"):
        told["b64_json"] = await asyncio.to_thread(lambda: b64encode(path.read_bytes()).decode("ascii"))
    if wish.shape in ("url", "both"):
        told["url"] = gateway.links.url(request, media, variant)
    return {
        **told,
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


def failure(outcome: Outcome, *, own_token: bool) -> dict[str, Any]:
    """What did not come, and why."""
    assert outcome.error is not None
    told = refusal_of(outcome.error, own_token=own_token)
    return {
        "index": outcome.index,
        "job_id": outcome.job_id,
        "code": told.code,
        "message": told.body()["error"]["message"],
    }
