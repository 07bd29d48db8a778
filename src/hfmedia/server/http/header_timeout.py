"""Header timeout: closes connections on which no complete request head arrives, so that slow clients cannot hold many.

uvicorn has no such limit, and a gateway is often run without a proxy in front. The body of a request has its own limit
(``request_body.BODY_TIMEOUT``), and an idle connection has uvicorn's keep-alive timeout.
"""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hfmedia.server.errors import ApiError

MALFORMED_REQUEST = ApiError(400, "not a valid HTTP/1.1 request", code="invalid_request", retry=False)


class HeaderTimeoutProtocol(H11Protocol):
    """uvicorn's connection with a time limit for the head of a request, from its first byte to its last.

    ``header_timeout`` is in seconds; a connection that never sends a byte has as long.
    """

    header_timeout: ClassVar[float] = 30.0
    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the header timer."""
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Stop the timer once a head is complete, or start it for the next one."""
        super().data_received(data)
        if self._is_responding():
            self._cancel_timer()
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._cancel_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Respond to a malformed request in the usual error format, aborting any response in progress."""
        if self._is_responding():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not (self._is_responding() and self.cycle.response_started):
            body = json.dumps(MALFORMED_REQUEST.body()).encode()
            base_headers = {
                **MALFORMED_REQUEST.response_headers(),
                "content-type": "application/json",
                "connection": "close",
            }
            headers = [(name, value) for name, value in {**base_headers, "content-length": str(len(body))}.items()]
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _start_timer(self) -> None:
        if self._header_timer is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(self.header_timeout, self._on_timeout)

    def _cancel_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _on_timeout(self) -> None:
        self._header_timer = None
        if not self._is_responding():
            self.transport.close()

    def _is_responding(self) -> bool:
        """Return True while a request is being answered; before the first one ``cycle`` is None despite its type."""
        return bool(self.cycle) and not self.cycle.response_complete
