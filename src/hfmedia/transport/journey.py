"""How far one request has come, when its present step must end, and what its end is called.

The rule: whether a request may have reached its server is a fact that aiohttp reports just before it writes the first
byte, never a guess from the exception that ended it.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from types import SimpleNamespace
from typing import Any, Literal

import aiohttp

from ..core.errors import LostError, UnsentError
from .limits import Limits
from .proxies import Proxy

SLACK = 0.02  # of a wait, by which it may end early

Stage = Literal["waiting", "connecting", "connected", "sent", "reading"]


class Journey:
    """One request on its way. ``clock`` is the timeout around it, moved on with every step."""

    def __init__(self, host: str, proxy: Proxy | None, limits: Limits, *, answer: float, timeout: float | None) -> None:
        now = asyncio.get_running_loop().time()
        self.clock = asyncio.timeout(None)
        self.stage: Stage = "waiting"
        self.sent = False
        self._host = host
        self._proxy = proxy
        self._limits = limits
        self._answer = answer
        self._deadline = now + timeout if timeout else None
        self._body_deadline = float("inf")
        self._begun = now

    def start(self) -> None:
        """The clock runs (inside ``async with clock``). Waiting for a free connection ends at the deadline only."""
        self._step("waiting", None)

    def connecting(self) -> None:
        """A new connection is being made: DNS, TCP, the proxy's consent, TLS."""
        self._step("connecting", self._limits.connect)

    def connected(self) -> None:
        """The connection is there, and nothing has been written to it."""
        self._step("connected", self._limits.connect)

    def writing(self) -> None:
        """The first byte is about to be written: from here on the server may have the request."""
        self.sent = True
        self._step("sent", self._answer)

    def reading(self) -> None:
        """The head of the answer is there, or another piece of its body."""
        if self.stage != "reading":
            self._body_deadline = asyncio.get_running_loop().time() + self._limits.body
        self._step("reading", self._limits.body_idle)

    def trouble(self, error: Exception, breaks: tuple[type[Exception], ...]) -> UnsentError | LostError | None:
        """The error to raise for the one that ended the journey; None for a mistake of ours that sent nothing."""
        if self.sent:
            return LostError(self.tell(error))
        return UnsentError(self.tell(error)) if isinstance(error, breaks) else None

    def tell(self, error: BaseException) -> str:
        """One sentence on what happened: host and cause, nothing of the request."""
        seconds = asyncio.get_running_loop().time() - self._begun
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientConnectorError):
            return _TIMES[self.stage].format(host=self._host, way=self._way, seconds=seconds)
        if isinstance(error.__cause__, ssl.SSLError):
            error = error.__cause__  # behind SOCKS, aiohttp wraps it as if it were any socket's error
        sentences = _AFTER if self.sent else _BEFORE
        sentence = next(sentence for kinds, sentence in sentences if isinstance(error, kinds))
        return sentence.format(host=self._host, way=self._way, why=_why(error), at=self._at)

    @property
    def _way(self) -> str:
        return f" through the proxy {self._proxy.address}" if self._proxy else ""

    @property
    def _at(self) -> str:
        return self._proxy.address if self._proxy else self._host

    def _step(self, stage: Stage, seconds: float | None) -> None:
        self.stage, self._begun = stage, (now := asyncio.get_running_loop().time())
        ends = [now + seconds] if seconds is not None else []
        if self._deadline is not None:
            ends.append(self._deadline)
        if stage == "reading":
            ends.append(self._body_deadline)
        end = min(ends, default=None)
        set_for = self.clock.when()
        if end is not None and set_for is not None and 0 <= end - set_for <= SLACK * (end - now):
            return  # near enough: moving a clock costs more than reading the piece that has come
        if not self.clock.expired():
            self.clock.reschedule(end)


def tracing() -> aiohttp.TraceConfig:
    """What makes aiohttp report to the Journey given as ``trace_request_ctx``.

    The CONNECT that opens a tunnel through a proxy is not reported by aiohttp, and is not the request.
    """
    config = aiohttp.TraceConfig()
    config.on_connection_create_start.append(_connecting)
    config.on_connection_create_end.append(_connected)
    config.on_request_headers_sent.append(_writing)
    return config


async def _connecting(_session: aiohttp.ClientSession, context: SimpleNamespace, _: Any) -> None:
    context.trace_request_ctx.connecting()


async def _connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _: Any) -> None:
    context.trace_request_ctx.connected()


async def _writing(_session: aiohttp.ClientSession, context: SimpleNamespace, _: Any) -> None:
    context.trace_request_ctx.writing()


_TIMES: dict[Stage, str] = {
    "waiting": "no connection to {host}{way} became free within {seconds:.1f} s",
    "connecting": "could not connect to {host}{way} within {seconds:.1f} s",
    "connected": "the connection to {host}{way} was not ready within {seconds:.1f} s",
    "sent": "{host} was sent the request, and did not begin to answer within {seconds:.1f} s",
    "reading": "{host} fell silent in the middle of its answer, or did not come to its end",
}

# What ended it before the first byte, and after. The first row that fits tells it; the last one always fits.
_BEFORE: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ClientHttpProxyError, "the proxy {at} refused to connect to {host} ({why})"),
    (aiohttp.ClientProxyConnectionError, "could not connect to the proxy {at} ({why})"),
    (aiohttp.ClientConnectorDNSError, "the name of {at} could not be resolved"),
    (ssl.SSLCertVerificationError, "the TLS certificate of {host} was refused ({why})"),
    (ssl.SSLError, "no TLS connection to {host}{way} ({why})"),
    (BaseException, "could not connect to {host}{way} ({why})"),
)
_AFTER: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ServerDisconnectedError, "{host} closed the connection before it answered"),
    (aiohttp.ClientPayloadError, "the answer of {host} broke off before its end"),
    (aiohttp.ClientResponseError, "{host} answered with something that is not HTTP, or with too large a header"),
    (BaseException, "the connection to {host} broke before its answer was complete ({why})"),
)


def _why(error: BaseException) -> str:
    """A few words on the cause, from fields that never hold anything of the request."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"HTTP {error.status}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or "it could not be verified"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "handshake failed").lower().replace("_", " ")
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()  # the system's words; asyncio's own are made up of the address
    return type(error).__name__
