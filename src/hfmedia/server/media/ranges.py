"""Range requests: one range of a file, or all of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fastapi import Request
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from hfmedia.server.errors import ApiError

RANGE_PATTERN = re.compile(r"bytes=\s*(?P<first>\d{0,19})\s*-\s*(?P<last>\d{0,19})\s*", re.IGNORECASE)


class RangeFileResponse(FileResponse):
    """A file response that sends the whole file unless ``use_range``.

    Starlette would reject malformed ranges with 400 and send several ranges as multipart; RFC 9110 (14.2) allows to
    ignore both, which more clients understand. Starlette's 416 is plain text, so that is decided here as well.
    """

    def __init__(
        self,
        path: Path,
        *,
        headers: dict[str, str],
        media_type: str,
        stat_result: os.stat_result,
        use_range: bool,
    ) -> None:
        super().__init__(path, headers=headers, media_type=media_type, stat_result=stat_result)
        self._use_range = use_range

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        dropped = {b"if-range"} if self._use_range else {b"if-range", b"range"}  # both are already decided
        headers = [(name, value) for name, value in scope["headers"] if name not in dropped]
        await super().__call__({**scope, "headers": headers}, receive, send)


def should_use_range(request: Request, etag: str, size: int) -> bool:
    """Return True for a single range that the file has; raise ApiError 416 for one beyond its end."""
    match = RANGE_PATTERN.fullmatch(request.headers.get("range", ""))
    if match is None or not (match["first"] or match["last"]):
        return False
    if request.headers.get("if-range", etag) != etag:
        return False
    if match["first"] and match["last"] and int(match["last"]) < int(match["first"]):
        return False
    is_satisfiable = int(match["first"]) < size if match["first"] else int(match["last"]) > 0 and size > 0
    if not is_satisfiable:
        raise ApiError(416, f"the file has {size:,} bytes", code="invalid_range", param="Range",
                      headers={"content-range": f"bytes */{size}"})  # fmt: skip
    return True
