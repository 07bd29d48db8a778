"""The simulated CDN: media by name, with Range, ETag and If-Range, and every way in which a download can go wrong.

It refuses whoever shows it a credential, and remembers that as a leak.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import TYPE_CHECKING

from . import wire
from .service import Answer, NoEncoderError, plain, told
from .wire import HTML

if TYPE_CHECKING:
    from aiohttp import web

    from .cdn import Entry
    from .faults import Fault
    from .world import World

MADE = formatdate(1_735_689_600, usegmt=True)  # when all media claim to have been made
ELSEWHERE = "http://169.254.169.254/latest/meta-data/"


async def serve(world: World, request: web.Request, name: str, fault: Fault | None) -> web.StreamResponse:
    """One medium, or what a fault makes of it."""
    entry = world.shelf.entries.get(name)
    if entry is None:
        return wire.reply(told({"error": "no such file"}, 404))
    if fault is not None and (early := _instead(world, name, fault)) is not None:
        return wire.reply(early)
    if fault is not None and fault.kind == "cdn-changed":
        entry.changed += 1
    try:
        medium = await world.shelf.fetch(name)
    except NoEncoderError as error:
        return wire.reply(plain(str(error), 501))
    common = {"ETag": medium.etag, "Last-Modified": MADE, "Accept-Ranges": "bytes", "Cache-Control": "max-age=3600"}
    whole = Answer(200, medium.data, medium.type, common)
    if fault is None or fault.kind == "cdn-changed":
        return wire.reply(_part(whole, request, entry))
    return await _harmed(world, request, whole, entry, fault)


def _instead(world: World, name: str, fault: Fault) -> Answer | None:
    """What a fault answers without looking at the medium."""
    to = fault.text("to", ELSEWHERE)
    where = {"loop": world.media_url(name), "same": world.media_url(name)}.get(to, to)
    answers = {
        "status": plain(fault.text("text", "The sandbox was told to answer this."), fault.whole("status", 500)),
        "server": plain("Internal Server Error", fault.whole("status", 503)),
        "gateway": plain("Bad Gateway", fault.whole("status", 502)),
        "expired": told({"error": "this link has expired"}, fault.whole("status", 404)),
        "cdn-html": Answer(200, HTML, "text/html; charset=utf-8"),
        "cdn-json-error": told({"error": "the file could not be made"}),
        "cdn-empty": Answer(200, b"", "image/png"),
        "cdn-redirect": Answer(302, b"", "text/plain", {"Location": where}),
    }
    return answers.get(fault.kind)


async def _harmed(world: World, request: web.Request, whole: Answer, entry: Entry, fault: Fault) -> web.StreamResponse:
    """What a fault makes of the medium's bytes."""
    at = fault.whole("at", len(whole.body) // 2)
    match fault.kind:
        case "cdn-cut" | "cdn-norange":
            entry.ignore_range = entry.ignore_range or fault.kind == "cdn-norange"
            return await wire.cut(request, _part(whole, request, entry), at)
        case "cdn-truncated":
            return wire.reply(Answer(200, whole.body[:at], whole.type, whole.headers))
        case "cdn-slow":
            return await wire.slowly(request, whole, fault.number("rate", 20_000), world)
        case _:
            return await wire.broken(request, _part(whole, request, entry), fault, world)


def _part(whole: Answer, request: web.Request, entry: Entry) -> Answer:
    """The range asked for, when it may be had; else all of it."""
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    condition = request.headers.get("If-Range")
    if not asked or entry.ignore_range or condition not in (None, whole.headers["ETag"], MADE):
        return whole
    size = len(whole.body)
    first, last = asked[1], asked[2]
    if not first and not last:
        return whole
    start = int(first) if first else max(0, size - int(last))
    end = min(size - 1, int(last)) if first and last else size - 1
    if start >= size or start > end:
        return Answer(416, b"", "text/plain", {"Content-Range": f"bytes */{size}"})
    headers = {**whole.headers, "Content-Range": f"bytes {start}-{end}/{size}"}
    return Answer(206, whole.body[start : end + 1], whole.type, headers)
