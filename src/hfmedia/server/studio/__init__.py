"""The studio: the web page at /, and its files under /studio/. Static files of this package, read once.

The page uses only the public API. Prompts and provider messages are shown as text; the content security policy allows
no scripts, styles or URLs but the page's own.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache, lru_cache
from pathlib import Path
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Struct

from hfmedia.core.parameters import PARAMETERS
from hfmedia.server.errors import ApiError

router = APIRouter(include_in_schema=False)
PAGE_FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
EMPTY_PARAMETERS_META = b'<meta name="parameters" content="">'  # in the file of the page
MIMES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "cache-control": "no-cache",  # cached but revalidated each time, so that a new version shows at once
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "vary": "accept-encoding",
}


class PageFile(Struct, frozen=True):
    """A file of the page: content, compressed content, MIME type and ETag."""

    data: bytes
    gzipped: bytes
    mime: str
    etag: str


@cache
def page_files() -> dict[str, PageFile]:
    """Return every file of the page by name; nothing else is served."""
    paths = [path for path in sorted(PAGE_FOLDER.iterdir()) if path.suffix in MIMES]
    contents = {path.name: path.read_bytes().replace(EMPTY_PARAMETERS_META, parameters_meta()) for path in paths}
    return {name: _page_file(data, MIMES[Path(name).suffix]) for name, data in contents.items()}


def parameters_meta() -> bytes:
    """Return the element that tells the form of the page which generation parameters exist.

    It is part of the page, so that the form is complete at once and without another request.
    """
    data = msgspec.json.encode(PARAMETERS).decode()
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), ("'", "&#39;")):
        data = data.replace(character, entity)
    return f"<meta name=\"parameters\" content='{data}'>".encode()


@lru_cache(maxsize=8)
def with_base_path(prefix: str) -> PageFile:
    """Return the page for a path prefix: its URLs work even if the page's own URL has no trailing slash."""
    page = page_files()[INDEX]
    return _page_file(page.data.replace(b'="studio/', f'="{prefix}/studio/'.encode()), page.mime) if prefix else page


def _page_file(data: bytes, mime: str) -> PageFile:
    return PageFile(data, gzip.compress(data, mtime=0), mime, f'"{hashlib.sha256(data).hexdigest()[:24]}"')


@router.head("/")
@router.get("/")
async def studio_page(request: Request) -> Response:
    """Return the page."""
    return _file_response(request, with_base_path(quote(request.scope.get("root_path", "").rstrip("/"), safe="/~")))


@router.head("/studio/{file:path}")
@router.get("/studio/{file:path}")
async def studio_file(request: Request, file: str) -> Response:
    """Return a file of the page."""
    page_file = page_files().get(file)
    if page_file is None or file == INDEX:  # its URLs are relative to /
        raise ApiError(404, f"{request.url.path[:200]} not found", code="not_found")
    return _file_response(request, page_file)


def _file_response(request: Request, file: PageFile) -> Response:
    """Return a file: whole, compressed if the browser accepts gzip, or not modified."""
    known_etags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    headers = {**HEADERS, "etag": f"W/{file.etag}"}
    if file.etag in known_etags or "*" in known_etags:
        return Response(status_code=304, headers=headers)
    encodings = [part.partition(";")[0].strip() for part in request.headers.get("accept-encoding", "").split(",")]
    if "gzip" in encodings:
        return Response(file.gzipped, headers={**headers, "content-encoding": "gzip"}, media_type=file.mime)
    return Response(file.data, headers=headers, media_type=file.mime)
