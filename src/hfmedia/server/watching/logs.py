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

from hfmedia.core.wire import redact
from hfmedia.server.errors import SERVER, Refusal

if TYPE_CHECKING:
    from hfmedia.server.gateway import Gateway

log = logging.getLogger("hfmedia.server.access")
REQUEST_ID: ContextVar[str] = ContextVar("hfmedia request id", default="")
_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SIGNED = re.compile(r"(/media/[^/.]+\.[^/.]+\.[^/.]+\.)[^/]+")  # who knows the whole name of a file may have it
CRASHED = Refusal(500, "unexpected; the log has the rest", type=SERVER, code="internal_error", retry=False)
NOWHERE = "(none)"  # the route of a path that leads nowhere


class Access:
    """Middleware: gives each request an id, counts it, and writes one line of it."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app, self._gateway = app, gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, and tells of it when it is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if _SANE.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        REQUEST_ID.set(name)  # for as long as its task lives, which is this request's alone
        began = time.monotonic()
        status, sent = 0, 0

        async def tell(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = name
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, tell)
        except Exception:
            if status:  # the answer has begun, and can only break off; uvicorn writes down why
                raise
            log.exception("unexpected: a defect of the gateway")
            await JSONResponse(CRASHED.body(), CRASHED.status, CRASHED.all_headers())(scope, receive, tell)
        finally:
            self._tell(scope, name, status, time.monotonic() - began, sent)

    def _tell(self, scope: Scope, name: str, status: int, seconds: float, sent: int) -> None:
        route = scope.get("route")
        template = getattr(route, "path", None) or NOWHERE
        self._gateway.metrics.request(scope["method"][:16], template, status, seconds, sent)
        if not log.isEnabledFor(logging.INFO):
            return
        state: dict[str, Any] = scope.get("state", {})
        caller = state.get("caller")
        facts: dict[str, Any] = {
            "request_id": name,
            "method": scope["method"][:16],
            "path": redact(_SIGNED.sub(r"\1…", scope["path"][:500])),
            "status": status,
            "seconds": round(seconds, 4),
            "bytes": sent,
            "key": caller.name if caller else None,
            "jobs": state.get("job_ids", []),
        }
        log.info("request", extra={"facts": facts})


class Lines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        told: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "logger": record.name}
        told["message"] = redact(record.getMessage())
        if REQUEST_ID.get():
            told["request_id"] = REQUEST_ID.get()
        told |= getattr(record, "facts", {})
        if record.exc_info:
            told["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(told, default=str)
