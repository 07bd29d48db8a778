"""Patience with slow clients: a connection on which no request arrives is closed, so that nobody holds many for free.

Of a request that has begun, the body has a limit of its own (``bodies.PATIENCE``), and an idle connection uvicorn's.
"""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hfmedia.server.errors import ApiError

MALFORMED_REQUEST = ApiError(
    400, "that is no request of HTTP/1.1 that can be read", code="invalid_request", retry=False
)


class HeaderTimeoutProtocol(H11Protocol):
    """uvicorn's connection, with a limit on how long the head of a request may take, from its first byte to its last.

    ``seconds`` is that limit; a connection that never sends a byte has as long.
    """

    header_timeout: ClassVar[float] = 30.0
    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody is here."""
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Something came: a whole head, or a piece of one."""
        super().data_received(data)
        if self._is_responding():
            self._cancel_timer()
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is here any more."""
        self._cancel_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers what cannot be read in the usual shape. An answer under way on the same connection is let go of."""
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
        """Whether a request is being answered; before the first one there is no cycle, whatever its type says."""
        return bool(self.cycle) and not self.cycle.response_complete
