"""Simulated CDN: media files by name, with Range, ETag and If-Range, and every fault of a download.

Its requests must carry no credential; the server rejects those that do and records them as leaks.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import TYPE_CHECKING

from . import http_faults
from .http_faults import HTML_PAGE
from .messages import NoEncoderError, SandboxResponse, json_response, text_response

if TYPE_CHECKING:
    from aiohttp import web

    from .cdn import MediaEntry
    from .faults import Fault
    from .state import SandboxState

LAST_MODIFIED = formatdate(1_735_689_600, usegmt=True)  # Last-Modified of every media file
METADATA_URL = "http://169.254.169.254/latest/meta-data/"


async def serve(state: SandboxState, request: web.Request, name: str, fault: Fault | None) -> web.StreamResponse:
    """Serve one media file, subject to a fault."""
    entry = state.media_cache.entries.get(name)
    if entry is None:
        return http_faults.to_web_response(json_response({"error": "no such file"}, 404))
    if fault is not None and (substitute := _substituted(state, name, fault)) is not None:
        return http_faults.to_web_response(substitute)
    if fault is not None and fault.kind == "cdn-changed":
        entry.version += 1
    try:
        rendered = await state.media_cache.fetch(name)
    except NoEncoderError as error:
        return http_faults.to_web_response(text_response(str(error), 501))
    headers = {
        "ETag": rendered.etag,
        "Last-Modified": LAST_MODIFIED,
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=3600",
    }
    full = SandboxResponse(200, rendered.data, rendered.media_type, headers)
    if fault is None or fault.kind == "cdn-changed":
        return http_faults.to_web_response(_ranged(full, request, entry))
    return await _corrupted(state, request, full, entry, fault)


def _substituted(state: SandboxState, name: str, fault: Fault) -> SandboxResponse | None:
    """Return the response with which a fault replaces the media file, if any."""
    target = fault.text("to", METADATA_URL)
    location = {"loop": state.media_url(name), "same": state.media_url(name)}.get(target, target)
    responses = {
        "status": text_response(fault.text("text", "Fault injected into the sandbox."), fault.integer("status", 500)),
        "server": text_response("Internal Server Error", fault.integer("status", 503)),
        "gateway": text_response("Bad Gateway", fault.integer("status", 502)),
        "expired": json_response({"error": "this link has expired"}, fault.integer("status", 404)),
        "cdn-html": SandboxResponse(200, HTML_PAGE, "text/html; charset=utf-8"),
        "cdn-json-error": json_response({"error": "the file could not be generated"}),
        "cdn-empty": SandboxResponse(200, b"", "image/png"),
        "cdn-redirect": SandboxResponse(302, b"", "text/plain", {"Location": location}),
    }
    return responses.get(fault.kind)


async def _corrupted(
    state: SandboxState, request: web.Request, full: SandboxResponse, entry: MediaEntry, fault: Fault
) -> web.StreamResponse:
    """Send the media file as a fault corrupts it."""
    offset = fault.integer("at", len(full.body) // 2)
    match fault.kind:
        case "cdn-disconnect" | "cdn-no-range":
            entry.ignore_range = entry.ignore_range or fault.kind == "cdn-no-range"
            return await http_faults.truncated_response(request, _ranged(full, request, entry), offset)
        case "cdn-truncated":
            return http_faults.to_web_response(SandboxResponse(200, full.body[:offset], full.media_type, full.headers))
        case "cdn-slow":
            return await http_faults.throttled_response(request, full, fault.number("rate", 20_000), state)
        case _:
            return await http_faults.faulty_response(request, _ranged(full, request, entry), fault, state)


def _ranged(full: SandboxResponse, request: web.Request, entry: MediaEntry) -> SandboxResponse:
    """Return the requested range when it can be served, otherwise the full file."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    if_range = request.headers.get("If-Range")
    if not match or entry.ignore_range or if_range not in (None, full.headers["ETag"], LAST_MODIFIED):
        return full
    size = len(full.body)
    first, last = match[1], match[2]
    if not first and not last:
        return full
    start = int(first) if first else max(0, size - int(last))
    end = min(size - 1, int(last)) if first and last else size - 1
    if start >= size or start > end:
        return SandboxResponse(416, b"", "text/plain", {"Content-Range": f"bytes */{size}"})
    headers = {**full.headers, "Content-Range": f"bytes {start}-{end}/{size}"}
    return SandboxResponse(206, full.body[start : end + 1], full.media_type, headers)
