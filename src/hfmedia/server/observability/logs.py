"""What is written down of each request: one line of JSON, with its id, its caller's name and its jobs; no secrets, no
queries, no bodies.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hfmedia.core.credentials import redact
from hfmedia.server.errors import SERVER_ERROR, ApiError

if TYPE_CHECKING:
    from hfmedia.server.gateway import Gateway

log = logging.getLogger("hfmedia.server.access")
REQUEST_ID: ContextVar[str] = ContextVar("hfmedia request id", default="")
_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SIGNED_PATH_PATTERN = re.compile(
    r"(/media/[^/.]+\.[^/.]+\.[^/.]+\.)[^/]+"
)  # who knows the whole name of a file may have it
INTERNAL_ERROR = ApiError(
    500, "unexpected; the log has the rest", type=SERVER_ERROR, code="internal_error", retry=False
)
UNMATCHED = "(none)"  # the route of a path that leads nowhere


class AccessLogMiddleware:
    """Middleware: gives each request an id, counts it, and writes one line of it."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app, self._gateway = app, gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, and tells of it when it is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client_request_id = Headers(scope=scope).get("x-request-id", "")
        request_id = (
            client_request_id if _REQUEST_ID_PATTERN.fullmatch(client_request_id) else f"req_{uuid.uuid4().hex}"
        )
        REQUEST_ID.set(request_id)  # for as long as its task lives, which is this request's alone
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
            if status:  # the answer has begun, and can only break off; uvicorn writes down why
                raise
            log.exception("unexpected: a defect of the gateway")
            await JSONResponse(INTERNAL_ERROR.body(), INTERNAL_ERROR.status, INTERNAL_ERROR.response_headers())(
                scope, receive, send_and_record
            )
        finally:
            self._record(scope, request_id, status, time.monotonic() - started_at, sent_bytes)

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float, sent_bytes: int) -> None:
        route = scope.get("route")
        template = getattr(route, "path", None) or UNMATCHED
        self._gateway.metrics.request(scope["method"][:16], template, status, seconds, sent_bytes)
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
        log.info("request", extra={"facts": fields})


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        timestamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        fields: dict[str, Any] = {"at": timestamp, "level": record.levelname.lower(), "logger": record.name}
        fields["message"] = redact(record.getMessage())
        if REQUEST_ID.get():
            fields["request_id"] = REQUEST_ID.get()
        fields |= getattr(record, "facts", {})
        if record.exc_info:
            fields["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(fields, default=str)
