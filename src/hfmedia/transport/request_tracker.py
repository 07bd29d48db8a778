"""RequestTracker: the stage a request has reached, the timeout of that stage, and the classification of its error.

The promise that a submission in doubt is never resent rests on this: aiohttp reports just before it writes the first
byte, so whether a request may have reached its server is known, never guessed from the exception.
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

RESCHEDULE_TOLERANCE = (
    0.02  # fraction of a timeout by which it may end early, since rescheduling for every chunk is slow
)

Stage = Literal["waiting", "connecting", "connected", "sent", "reading"]


class RequestTracker:
    """The progress of one request. ``timeout_scope`` surrounds it and is rescheduled at every stage."""

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
        """Start timing, inside ``async with timeout_scope``. Waiting for a connection ends only at the deadline."""
        self._enter_stage("waiting", None)

    def connecting(self) -> None:
        """A new connection is being opened: DNS, TCP, the proxy's CONNECT, TLS."""
        self._enter_stage("connecting", self._limits.connect)

    def connected(self) -> None:
        """The connection is open, and nothing has been written to it."""
        self._enter_stage("connected", self._limits.connect)

    def writing(self) -> None:
        """The first byte is about to be written: from now on the server may have the request."""
        self.sent = True
        self._enter_stage("sent", self._response_timeout)

    def reading(self) -> None:
        """The head of the response has arrived, or another chunk of its body."""
        if self.stage != "reading":
            self._body_deadline = asyncio.get_running_loop().time() + self._limits.body
        self._enter_stage("reading", self._limits.body_idle)

    def classify_error(
        self, error: Exception, connection_errors: tuple[type[Exception], ...]
    ) -> RequestNotSentError | ResponseLostError | None:
        """Return the error to raise instead of ``error``; None for a bug in this process before anything was sent."""
        if self.sent:
            return ResponseLostError(self.describe_error(error))
        return RequestNotSentError(self.describe_error(error)) if isinstance(error, connection_errors) else None

    def describe_error(self, error: BaseException) -> str:
        """Describe the error in one sentence: host and cause, nothing of the request."""
        elapsed = asyncio.get_running_loop().time() - self._stage_started_at
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientConnectorError):
            return _TIMEOUT_MESSAGES[self.stage].format(host=self._host, via=self._via_proxy_label, seconds=elapsed)
        if isinstance(error.__cause__, ssl.SSLError):
            error = error.__cause__  # behind SOCKS, aiohttp wraps it like any socket error
        templates = _MESSAGES_AFTER_SENT if self.sent else _MESSAGES_BEFORE_SENT
        template = next(template for error_types, template in templates if isinstance(error, error_types))
        return template.format(host=self._host, via=self._via_proxy_label, cause=_error_cause(error), peer=self._peer)

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
            return  # close enough: rescheduling costs more than reading the chunk
        if not self.timeout_scope.expired():
            self.timeout_scope.reschedule(deadline)


def trace_config() -> aiohttp.TraceConfig:
    """Return the trace configuration by which aiohttp reports to the RequestTracker in ``trace_request_ctx``.

    aiohttp does not report the CONNECT that opens a tunnel through a proxy, and it is not the request.
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
    "waiting": "no connection to {host}{via} became free within {seconds:.1f} s",
    "connecting": "could not connect to {host}{via} within {seconds:.1f} s",
    "connected": "the connection to {host}{via} was not ready within {seconds:.1f} s",
    "sent": "{host} did not respond to the request within {seconds:.1f} s",
    "reading": "{host} stopped sending in the middle of its response, or did not finish it in time",
}

# Errors before and after the first byte was sent. The first matching row counts; the last one always matches.
_MESSAGES_BEFORE_SENT: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ClientHttpProxyError, "the proxy {peer} refused to connect to {host} ({cause})"),
    (aiohttp.ClientProxyConnectionError, "could not connect to the proxy {peer} ({cause})"),
    (aiohttp.ClientConnectorDNSError, "the host name of {peer} could not be resolved"),
    (ssl.SSLCertVerificationError, "the TLS certificate of {host} was rejected ({cause})"),
    (ssl.SSLError, "the TLS handshake with {host}{via} failed ({cause})"),
    (BaseException, "could not connect to {host}{via} ({cause})"),
)
_MESSAGES_AFTER_SENT: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ServerDisconnectedError, "{host} closed the connection without a response"),
    (aiohttp.ClientPayloadError, "the response of {host} was interrupted"),
    (aiohttp.ClientResponseError, "{host} sent a response that is not HTTP, or has too large a header"),
    (BaseException, "the connection to {host} was lost before its response was complete ({cause})"),
)


def _error_cause(error: BaseException) -> str:
    """Describe the cause in a few words, from fields that never contain anything of the request."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"HTTP {error.status}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or "not verified"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "handshake failed").lower().replace("_", " ")
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()  # the system's message; asyncio's own contains the address
    return type(error).__name__
