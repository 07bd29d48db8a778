"""GET /media/…: a file of a job, to whoever knows its name. No key: the name is one, and browsers send none with <img>.

Nothing is served but what the ledger names as the file of a job that came through this gateway.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from hfmedia.server.books.orders import order_of_key
from hfmedia.server.errors import Refusal, answers
from hfmedia.server.here import gateway_of
from hfmedia.store import Media

from .links import Link, files_of, mark_of
from .variants import ORIGINAL, suffix_of

if TYPE_CHECKING:
    from hfmedia.server.gateway import Gateway

router = APIRouter(tags=["files"])
MOST_AGE = 24 * 3600  # seconds; the bytes behind a name never change, but their owner may delete them
SAFE = {"x-content-type-options": "nosniff", "content-security-policy": "sandbox; default-src 'none'"}
RANGE = re.compile(r"bytes=\s*(?P<first>\d{0,19})\s*-\s*(?P<last>\d{0,19})\s*", re.IGNORECASE)
ANY_FILE = {"schema": {"type": "string", "format": "binary"}}
PART: dict[str, Any] = {"description": "A range of it.", "content": {"image/*": ANY_FILE, "video/*": ANY_FILE}}
GIVEN: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"image/*": ANY_FILE, "video/*": ANY_FILE}},
    206: PART,
    304: {"description": "It is what you have."},
    **answers(400, 404, 410, 416, 500, 507),
}


@router.head("/media/{name}", include_in_schema=False)
@router.get("/media/{name}", response_class=Response, responses=GIVEN)
async def get_file(
    request: Request,
    name: Annotated[str, InPath(max_length=255, description="As an answer gave it.")],
    download: Annotated[bool, Query(description="Whether a browser shall save it instead of showing it.")] = False,
) -> Response:
    """A file, as it came from its provider, or a variant of it."""
    gateway = gateway_of(request)
    link = gateway.links.read(name)
    if link is None:
        raise Refusal(404, "there is no such file", code="not_found")
    media = await _named(gateway, link)
    return await given_out(request, gateway, media, link.variant, download=download)


async def given_out(
    request: Request, gateway: Gateway, media: Media, variant: str = ORIGINAL, *, download: bool = False
) -> Response:
    """The answer that carries a variant of a file: whole, in part, or only that it has not changed.

    Refusal 410 when the file is gone, 416 for a range beyond its end, and what making the variant raises.
    """
    path, mime = media.path, media.mime
    if variant != ORIGINAL:
        made = await gateway.renditions.of(media, variant)
        path, mime = made.path, made.mime
    facts = await asyncio.to_thread(_stat, path)
    if facts is None:
        raise gone()
    etag = f'"{media.sha256}"' if variant == ORIGINAL else f'"{media.sha256}.{variant}"'
    headers = {
        **SAFE,
        "etag": etag,
        "cache-control": f"private, max-age={MOST_AGE}, immutable",
        "content-disposition": disposition(Path(media.path.stem + suffix_of(media, variant)), attached=download),
    }
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    in_part = _wants_part(request, etag, facts.st_size)
    return _File(path, headers=headers, media_type=mime, stat_result=facts, in_part=in_part)


def disposition(name: Path, *, attached: bool) -> str:
    """The header that names a file, plainly for every browser and in full for those that read UTF-8."""
    plain = "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "_" for char in name.name)
    sort = "attachment" if attached else "inline"
    full = quote(name.name.encode("utf-8", "replace"), safe="")
    return f"{sort}; filename=\"{plain}\"; filename*=UTF-8''{full}"


def gone() -> Refusal:
    """What is said of a file that was there once."""
    return Refusal(410, "the file was removed", code="gone", retry=False, headers={"cache-control": "no-store", **SAFE})


class _File(FileResponse):
    """A file. ``in_part``: the range asked for is one, and is there; otherwise the whole file is sent."""

    def __init__(
        self,
        path: Path,
        *,
        headers: dict[str, str],
        media_type: str,
        stat_result: os.stat_result,
        in_part: bool,
    ) -> None:
        super().__init__(path, headers=headers, media_type=media_type, stat_result=stat_result)
        self._in_part = in_part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left_out = {b"if-range"} if self._in_part else {b"if-range", b"range"}  # both were judged already
        headers = [(name, value) for name, value in scope["headers"] if name not in left_out]
        await super().__call__({**scope, "headers": headers}, receive, send)


def _wants_part(request: Request, etag: str, size: int) -> bool:
    """Whether one range was asked for that the file has; what is no single range may be ignored (RFC 9110, 14.2)."""
    found = RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or not (found["first"] or found["last"]):
        return False
    if request.headers.get("if-range", etag) != etag:
        return False
    if found["first"] and found["last"] and int(found["last"]) < int(found["first"]):
        return False
    there = int(found["first"]) < size if found["first"] else int(found["last"]) > 0 and size > 0
    if not there:
        raise Refusal(416, f"the file has {size:,} bytes", code="invalid_range", param="Range",
                      headers={"content-range": f"bytes */{size}"})  # fmt: skip
    return True


async def _named(gateway: Gateway, link: Link) -> Media:
    """The file that a link names. Refusal 404 when it never was, 410 when it was removed."""
    job = await gateway.client.ledger.job(link.job_id)
    named = order_of_key(job.key) if job else None
    if job is None or named is None:
        raise Refusal(404, "there is no such file", code="not_found")
    order = await asyncio.to_thread(gateway.book.order, named[0])
    if order is None or named[1] in order.deleted:
        raise gone()
    media = next((media for media in files_of(job) if mark_of(media) == link.mark), None)
    if media is None:
        raise gone()
    return media


def _stat(path: Path) -> os.stat_result | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts if stat.S_ISREG(facts.st_mode) else None
