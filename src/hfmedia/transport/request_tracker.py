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

from ..core.errors import RequestNotSentError, ResponseLostError
from .limits import TransportLimits
from .proxies import Proxy

RESCHEDULE_TOLERANCE = 0.02  # of a wait, by which it may end early

Stage = Literal["waiting", "connecting", "connected", "sent", "reading"]


class RequestTracker:
    """One request on its way. ``clock`` is the timeout around it, moved on with every step."""

    def __init__(
        self, host: str, proxy: Proxy | None, limits: TransportLimits, *, response_timeout: float, timeout: float | None
    ) -> None:
        now = asyncio.get_running_loop().time()
        self.timeout_scope = asyncio.timeout(None)
        self.stage: Stage = "waiting"
        self.sent = False
        self._host = host
        self._proxy = proxy
        self._limits = limits
        self._response_timeout = response_timeout
        self._deadline = now + timeout if timeout else None
        self._body_deadline = float("inf")
        self._stage_started_at = now

    def start(self) -> None:
        """The clock runs (inside ``async with clock``). Waiting for a free connection ends at the deadline only."""
        self._enter_stage("waiting", None)

    def connecting(self) -> None:
        """A new connection is being made: DNS, TCP, the proxy's consent, TLS."""
        self._enter_stage("connecting", self._limits.connect)

    def connected(self) -> None:
        """The connection is there, and nothing has been written to it."""
        self._enter_stage("connected", self._limits.connect)

    def writing(self) -> None:
        """The first byte is about to be written: from here on the server may have the request."""
        self.sent = True
        self._enter_stage("sent", self._response_timeout)

    def reading(self) -> None:
        """The head of the answer is there, or another piece of its body."""
        if self.stage != "reading":
            self._body_deadline = asyncio.get_running_loop().time() + self._limits.body
        self._enter_stage("reading", self._limits.body_idle)

    def classify_error(
        self, error: Exception, connection_errors: tuple[type[Exception], ...]
    ) -> RequestNotSentError | ResponseLostError | None:
        """The error to raise for the one that ended the journey; None for a mistake of ours that sent nothing."""
        if self.sent:
            return ResponseLostError(self.describe_error(error))
        return RequestNotSentError(self.describe_error(error)) if isinstance(error, connection_errors) else None

    def describe_error(self, error: BaseException) -> str:
        """One sentence on what happened: host and cause, nothing of the request."""
        elapsed = asyncio.get_running_loop().time() - self._stage_started_at
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientConnectorError):
            return _TIMEOUT_MESSAGES[self.stage].format(host=self._host, way=self._via_proxy_label, seconds=elapsed)
        if isinstance(error.__cause__, ssl.SSLError):
            error = error.__cause__  # behind SOCKS, aiohttp wraps it as if it were any socket's error
        templates = _MESSAGES_AFTER_SENT if self.sent else _MESSAGES_BEFORE_SENT
        template = next(template for error_types, template in templates if isinstance(error, error_types))
        return template.format(host=self._host, way=self._via_proxy_label, why=_error_cause(error), at=self._peer)

    @property
    def _via_proxy_label(self) -> str:
        return f" through the proxy {self._proxy.address}" if self._proxy else ""

    @property
    def _peer(self) -> str:
        return self._proxy.address if self._proxy else self._host

    def _enter_stage(self, stage: Stage, timeout: float | None) -> None:
        self.stage, self._stage_started_at = stage, (now := asyncio.get_running_loop().time())
        deadlines = [now + timeout] if timeout is not None else []
        if self._deadline is not None:
            deadlines.append(self._deadline)
        if stage == "reading":
            deadlines.append(self._body_deadline)
        deadline = min(deadlines, default=None)
        current_deadline = self.timeout_scope.when()
        if (
            deadline is not None
            and current_deadline is not None
            and 0 <= deadline - current_deadline <= RESCHEDULE_TOLERANCE * (deadline - now)
        ):
            return  # near enough: moving a clock costs more than reading the piece that has come
        if not self.timeout_scope.expired():
            self.timeout_scope.reschedule(deadline)


def trace_config() -> aiohttp.TraceConfig:
    """What makes aiohttp report to the Journey given as ``trace_request_ctx``.

    The CONNECT that opens a tunnel through a proxy is not reported by aiohttp, and is not the request.
    """
    config = aiohttp.TraceConfig()
    config.on_connection_create_start.append(_on_connecting)
    config.on_connection_create_end.append(_on_connected)
    config.on_request_headers_sent.append(_on_writing)
    return config


async def _on_connecting(_session: aiohttp.ClientSession, context: SimpleNamespace, _: Any) -> None:
    context.trace_request_ctx.connecting()


async def _on_connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _: Any) -> None:
    context.trace_request_ctx.connected()


async def _on_writing(_session: aiohttp.ClientSession, context: SimpleNamespace, _: Any) -> None:
    context.trace_request_ctx.writing()


_TIMEOUT_MESSAGES: dict[Stage, str] = {
    "waiting": "no connection to {host}{way} became free within {seconds:.1f} s",
    "connecting": "could not connect to {host}{way} within {seconds:.1f} s",
    "connected": "the connection to {host}{way} was not ready within {seconds:.1f} s",
    "sent": "{host} was sent the request, and did not begin to answer within {seconds:.1f} s",
    "reading": "{host} fell silent in the middle of its answer, or did not come to its end",
}

# What ended it before the first byte, and after. The first row that fits tells it; the last one always fits.
_MESSAGES_BEFORE_SENT: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ClientHttpProxyError, "the proxy {at} refused to connect to {host} ({why})"),
    (aiohttp.ClientProxyConnectionError, "could not connect to the proxy {at} ({why})"),
    (aiohttp.ClientConnectorDNSError, "the name of {at} could not be resolved"),
    (ssl.SSLCertVerificationError, "the TLS certificate of {host} was refused ({why})"),
    (ssl.SSLError, "no TLS connection to {host}{way} ({why})"),
    (BaseException, "could not connect to {host}{way} ({why})"),
)
_MESSAGES_AFTER_SENT: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ServerDisconnectedError, "{host} closed the connection before it answered"),
    (aiohttp.ClientPayloadError, "the answer of {host} broke off before its end"),
    (aiohttp.ClientResponseError, "{host} answered with something that is not HTTP, or with too large a header"),
    (BaseException, "the connection to {host} broke before its answer was complete ({why})"),
)


def _error_cause(error: BaseException) -> str:
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
