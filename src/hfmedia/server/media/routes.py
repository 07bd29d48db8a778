"""GET /media/…: files of jobs by signed name. No API key: browsers send none with <img>, and the signature suffices.

Only files that the ledger records for a job of this gateway are served.
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParam

from hfmedia.server.db.generations import parse_job_key
from hfmedia.server.dependencies import GatewayDep
from hfmedia.server.errors import ApiError, error_responses
from hfmedia.storage import Media

from .ranges import RangeFileResponse, should_use_range
from .signed_urls import SignedName, digest_prefix_of, stored_media
from .variants import ORIGINAL, suffix_for

if TYPE_CHECKING:
    from hfmedia.server.gateway import Gateway

router = APIRouter(tags=["files"])
MAX_AGE_SECONDS = 24 * 3600  # seconds; the content of a name never changes, but its owner can delete it
SAFETY_HEADERS = {"x-content-type-options": "nosniff", "content-security-policy": "sandbox; default-src 'none'"}
BINARY_SCHEMA = {"schema": {"type": "string", "format": "binary"}}
PARTIAL_RESPONSE: dict[str, Any] = {
    "description": "A range of the file.",
    "content": {"image/*": BINARY_SCHEMA, "video/*": BINARY_SCHEMA},
}
FILE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"image/*": BINARY_SCHEMA, "video/*": BINARY_SCHEMA}},
    206: PARTIAL_RESPONSE,
    304: {"description": "Not modified."},
    **error_responses(400, 404, 410, 416, 500, 507),
}


@router.head("/media/{name}", include_in_schema=False)
@router.get("/media/{name}", response_class=Response, responses=FILE_RESPONSES)
async def get_file(
    request: Request,
    gateway: GatewayDep,
    name: Annotated[str, PathParam(max_length=255, description="The signed name from a response.")],
    download: Annotated[bool, Query(description="Whether browsers save the file instead of showing it.")] = False,
) -> Response:
    """Get a file as the provider sent it, or a variant of it."""
    signed_name = gateway.url_signer.verify(name)
    if signed_name is None:
        raise ApiError(404, "file not found", code="not_found")
    media = await _find_media(gateway, signed_name)
    return await file_response(request, gateway, media, signed_name.variant, download=download)


async def file_response(
    request: Request, gateway: Gateway, media: Media, variant: str = ORIGINAL, *, download: bool = False
) -> Response:
    """Return a response with a variant of a file: whole, a range of it, or not modified.

    Raises ApiError 410 if the file was removed, 416 for a range beyond its end, and what rendering the variant raises.
    """
    path, mime = media.path, media.mime
    if variant != ORIGINAL:
        rendition = await gateway.renditions.get(media, variant)
        path, mime = rendition.path, rendition.mime
    stat_result = await asyncio.to_thread(_stat, path)
    if stat_result is None:
        raise gone_error()
    etag = f'"{media.sha256}"' if variant == ORIGINAL else f'"{media.sha256}.{variant}"'
    headers = {
        **SAFETY_HEADERS,
        "etag": etag,
        "cache-control": f"private, max-age={MAX_AGE_SECONDS}, immutable",
        "content-disposition": content_disposition(
            Path(media.path.stem + suffix_for(media, variant)), as_attachment=download
        ),
    }
    known_etags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known_etags or "*" in known_etags:
        return Response(status_code=304, headers=headers)
    use_range = should_use_range(request, etag, stat_result.st_size)
    return RangeFileResponse(path, headers=headers, media_type=mime, stat_result=stat_result, use_range=use_range)


def content_disposition(name: Path, *, as_attachment: bool) -> str:
    """Return the header that names a file, in ASCII for every browser and in full for those that read UTF-8."""
    ascii_name = "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "_" for char in name.name)
    disposition_type = "attachment" if as_attachment else "inline"
    utf8_name = quote(name.name.encode("utf-8", "replace"), safe="")
    return f"{disposition_type}; filename=\"{ascii_name}\"; filename*=UTF-8''{utf8_name}"


def gone_error() -> ApiError:
    """Return the error response for a file that was removed."""
    return ApiError(
        410, "the file was removed", code="gone", retry=False, headers={"cache-control": "no-store", **SAFETY_HEADERS}
    )


async def _find_media(gateway: Gateway, signed_name: SignedName) -> Media:
    """Return the file of a signed name; raise ApiError 404 if it never existed, 410 if it was removed."""
    job = await gateway.client.ledger.get(signed_name.job_id)
    job_ref = parse_job_key(job.idempotency_key) if job else None
    if job is None or job_ref is None:
        raise ApiError(404, "file not found", code="not_found")
    generation = await asyncio.to_thread(gateway.database.generation, job_ref[0])
    if generation is None or job_ref[1] in generation.deleted_outputs:
        raise gone_error()
    media = next((media for media in stored_media(job) if digest_prefix_of(media) == signed_name.digest_prefix), None)
    if media is None:
        raise gone_error()
    return media


def _stat(path: Path) -> os.stat_result | None:
    try:
        stat_result = path.stat()
    except OSError:
        return None
    return stat_result if stat.S_ISREG(stat_result.st_mode) else None
