"""Patience with slow clients: a connection on which no request arrives is closed, so that nobody holds many for free.

Of a request that has begun, the body has a limit of its own (``bodies.PATIENCE``), and an idle connection uvicorn's.
"""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hfmedia.server.errors import Refusal

NO_REQUEST = Refusal(400, "that is no request of HTTP/1.1 that can be read", code="invalid_request", retry=False)


class Patient(H11Protocol):
    """uvicorn's connection, with a limit on how long the head of a request may take, from its first byte to its last.

    ``seconds`` is that limit; a connection that never sends a byte has as long.
    """

    seconds: ClassVar[float] = 30.0
    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody is here."""
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        """Something came: a whole head, or a piece of one."""
        super().data_received(data)
        if self._busy():
            self._end()
        else:
            self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is here any more."""
        self._end()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers what cannot be read in the usual shape. An answer under way on the same connection is let go of."""
        if self._busy():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not (self._busy() and self.cycle.response_started):
            body = json.dumps(NO_REQUEST.body()).encode()
            told = {**NO_REQUEST.all_headers(), "content-type": "application/json", "connection": "close"}
            headers = [(name, value) for name, value in {**told, "content-length": str(len(body))}.items()]
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _begin(self) -> None:
        if self._limit is None and not self.transport.is_closing():
            self._limit = self.loop.call_later(self.seconds, self._over)

    def _end(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _over(self) -> None:
        self._limit = None
        if not self._busy():
            self.transport.close()

    def _busy(self) -> bool:
        """Whether a request is being answered; before the first one there is no cycle, whatever its type says."""
        return bool(self.cycle) and not self.cycle.response_complete
