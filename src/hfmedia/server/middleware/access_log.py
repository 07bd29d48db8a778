"""Access log: gives each request an ID, counts it, and logs one line with its caller's name and its jobs.

Secrets, queries and bodies are never logged.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hfmedia.core.credentials import redact
from hfmedia.server.errors import INTERNAL_ERROR
from hfmedia.server.observability.logs import REQUEST_ID
from hfmedia.server.observability.metrics import Metrics

log = logging.getLogger("hfmedia.server.access")
UNMATCHED = "(none)"  # route of a path that matches none
_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,128}")
# The whole name of a media file grants access to it, so its signature is not logged.
_SIGNED_PATH_PATTERN = re.compile(r"(/media/[^/.]+\.[^/.]+\.[^/.]+\.)[^/]+")


class AccessLogMiddleware:
    """Middleware that identifies, counts and logs requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it once it is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client_request_id = Headers(scope=scope).get("x-request-id", "")
        is_valid_id = _REQUEST_ID_PATTERN.fullmatch(client_request_id)
        request_id = client_request_id if is_valid_id else f"req_{uuid.uuid4().hex}"
        REQUEST_ID.set(request_id)  # the task, and with it the context, is this request's alone
        started_at = time.monotonic()
        status, sent_bytes = 0, 0

        async def send_and_record(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_and_record)
        except Exception:
            if status:  # the response has started and can only be aborted; uvicorn logs the reason
                raise
            log.exception("unexpected error: a bug in the gateway")
            response = JSONResponse(INTERNAL_ERROR.body(), INTERNAL_ERROR.status, INTERNAL_ERROR.response_headers())
            await response(scope, receive, send_and_record)
        finally:
            self._record(scope, request_id, status, time.monotonic() - started_at, sent_bytes)

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float, sent_bytes: int) -> None:
        route = scope.get("route")
        template = getattr(route, "path", None) or UNMATCHED
        self._metrics.request(scope["method"][:16], template, status, seconds, sent_bytes)
        if not log.isEnabledFor(logging.INFO):
            return
        state: dict[str, Any] = scope.get("state", {})
        caller = state.get("caller")
        fields: dict[str, Any] = {
            "request_id": request_id,
            "method": scope["method"][:16],
            "path": redact(_SIGNED_PATH_PATTERN.sub(r"\1…", scope["path"][:500])),
            "status": status,
            "seconds": round(seconds, 4),
            "bytes": sent_bytes,
            "key": caller.name if caller else None,
            "jobs": state.get("job_ids", []),
        }
        log.info("request", extra={"fields": fields})
