"""The studio: the web page at /, and its files under /studio/. Static, read once, from this package alone.

The page uses the public API and nothing else. Whatever it shows from people and providers is text: the policy below
lets no script, style or address run but its own.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache, lru_cache
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from hfmedia.server.errors import Refusal

router = APIRouter(include_in_schema=False)
PAGE = Path(__file__).parent / "page"
INDEX = "index.html"
MIMES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "cache-control": "no-cache",  # kept by the browser, and asked about each time: a new version shows at once
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "vary": "accept-encoding",
}


class PageFile(Struct, frozen=True):
    """A file of the page: its bytes, the same packed, what they are, and their digest."""

    data: bytes
    packed: bytes
    mime: str
    etag: str


@cache
def page_files() -> dict[str, PageFile]:
    """Every file of the page by its name; nothing else is ever served from here."""
    paths = [path for path in sorted(PAGE.iterdir()) if path.suffix in MIMES]
    return {path.name: _page_file(path.read_bytes(), MIMES[path.suffix]) for path in paths}


@lru_cache(maxsize=8)
def page_under(prefix: str) -> PageFile:
    """The page as it is under a path prefix: its addresses hold also where its own lacks the slash at its end."""
    page = page_files()[INDEX]
    return _page_file(page.data.replace(b'="studio/', f'="{prefix}/studio/'.encode()), page.mime) if prefix else page


def _page_file(data: bytes, mime: str) -> PageFile:
    return PageFile(data, gzip.compress(data, mtime=0), mime, f'"{hashlib.sha256(data).hexdigest()[:24]}"')


@router.head("/")
@router.get("/")
async def studio_page(request: Request) -> Response:
    """The page."""
    return _given(request, page_under(quote(request.scope.get("root_path", "").rstrip("/"), safe="/~")))


@router.head("/studio/{file:path}")
@router.get("/studio/{file:path}")
async def studio_file(request: Request, file: str) -> Response:
    """One of the page's files."""
    found = page_files().get(file)
    if found is None or file == INDEX:  # its addresses are relative to /
        raise Refusal(404, f"there is nothing at {request.url.path[:200]}", code="not_found")
    return _given(request, found)


def _given(request: Request, file: PageFile) -> Response:
    """A file as an answer: in full, packed where the browser unpacks, or only that it has not changed."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    headers = {**HEADERS, "etag": f"W/{file.etag}"}
    if file.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    encodings = [part.partition(";")[0].strip() for part in request.headers.get("accept-encoding", "").split(",")]
    if "gzip" in encodings:
        return Response(file.packed, headers={**headers, "content-encoding": "gzip"}, media_type=file.mime)
    return Response(file.data, headers=headers, media_type=file.mime)
