"""HubClient: GET requests to the Hub, with bounded retries and its rate limits, on its own origin only.

Headers and bodies are parsed by pure functions; only ``HubClient.get`` does I/O.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Struct, field

from hfmedia.core.credentials import Credential, Secret, redact
from hfmedia.core.errors import HubError, RequestNotSentError, ResponseLostError
from hfmedia.core.http import HttpResponse, get
from hfmedia.core.origin import parse_origin
from hfmedia.core.ports import HttpSender
from hfmedia.core.retry import backoff, parse_retry_after, retry_delay

RESPONSE_TIMEOUT = 30.0  # seconds for one response; a page of a thousand models takes a few
MAX_ATTEMPTS = 4
TOTAL_TIMEOUT = 90.0  # seconds for all attempts together
MAX_RATE_LIMIT_WAIT = 60.0  # seconds to wait for a rate limit; its window is five minutes, too long for a person
MAX_REDIRECTS = 3  # a renamed model needs one
MAX_ERROR_CHARS = 300  # characters of the Hub's own message in an error
_LINK = re.compile(r"<([^<>]*)>\s*((?:;\s*[^\s;,=]+\s*(?:=\s*(?:\"[^\"]*\"|[^;,\s\"]*))?\s*)*)")
_NEXT = re.compile(r"(?i);\s*rel\s*=\s*(?:\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\"|next(?=[\s;]|$))")
_LIMIT = re.compile(r"(?:^|;)\s*([rt])=(\d{1,9})")


class _TransientError(Exception):
    """A failure that a later attempt may not have; ``retryable`` is False when that would be too late."""

    def __init__(self, message: str, *, status: int | None = None, retryable: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable


class HubClient:
    """Client of the Hub at one endpoint; remembers until when its rate limit is used up."""

    def __init__(
        self,
        sender: HttpSender,
        *,
        endpoint: str,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._sender = sender
        self._clock = clock
        self._sleep = sleep
        self._rate_limited_until = 0.0

    async def get(
        self, url: str, credential: Credential | None, *, etag: str | None = None, attempts: int = MAX_ATTEMPTS
    ) -> HttpResponse:
        """Return the Hub's response; 429 and 5xx are retried, redirects on its own origin followed.

        Raises HubError when the Hub cannot be reached, fails repeatedly, or its rate limit lasts too long.
        """
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._get_with_retry(url, credential, etag, attempts)
            if response.status not in (301, 302, 303, 307, 308):
                return response
            url = require_origin(self.endpoint, urljoin(url, response.headers.get("location", "")))
        raise HubError(f"the Hub at {self.endpoint} redirects too often")

    async def _get_with_retry(
        self, url: str, credential: Credential | None, etag: str | None, attempts: int
    ) -> HttpResponse:
        headers = {"Accept": "application/json", **({"If-None-Match": etag} if etag else {})}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + TOTAL_TIMEOUT
        for attempt in itertools.count(1):
            try:
                return await self._get_once(url, credential, headers)
            except _TransientError as error:
                if not error.retryable or attempt >= attempts or loop.time() >= deadline:
                    raise HubError(str(error), status=error.status) from error.__cause__
            delay = backoff(attempt, random.random())
            if self._rate_limited_until <= self._clock() and delay > 0:  # else the next attempt waits for the limit
                await self._sleep(delay)
        raise AssertionError("unreachable: itertools.count does not end")

    async def _get_once(self, url: str, credential: Credential | None, headers: Mapping[str, str]) -> HttpResponse:
        delay = self._rate_limited_until - self._clock()
        if delay > MAX_RATE_LIMIT_WAIT:
            raise _TransientError(_rate_limit_message(self.endpoint, delay, credential), status=429, retryable=False)
        if delay > 0:
            await self._sleep(delay)
        request = get(url, headers=headers)
        try:
            response = await self._sender.send(request, credential=credential, timeout=RESPONSE_TIMEOUT)
        except (RequestNotSentError, ResponseLostError) as error:
            problem = "cannot be reached" if isinstance(error, RequestNotSentError) else "sent no complete response"
            raise _TransientError(f"the Hub at {self.endpoint} {problem}: {redact(str(error))}") from error
        self._track_rate_limit(response)
        if response.status == 429:
            if self._rate_limited_until <= self._clock():  # the response did not say for how long
                raise _TransientError(f"rate limited by the Hub: {error_message(response)}", status=429)
            raise _TransientError(
                _rate_limit_message(self.endpoint, self._rate_limited_until - self._clock(), credential), status=429
            )
        if response.status >= 500:
            raise _TransientError(
                f"the Hub at {self.endpoint} failed: {error_message(response)}", status=response.status
            )
        return response

    def _track_rate_limit(self, response: HttpResponse) -> None:
        """Update the time until which the rate limit is used up."""
        now = self._clock()
        limit = parse_rate_limit(response.headers.get("ratelimit", ""))
        delay: float | None = limit[1] if limit and limit[0] == 0 else None
        if response.status == 429:
            requested = retry_delay(*parse_retry_after(response.headers), now=now)
            delay = requested if requested is not None else (limit[1] if limit else None)
        if delay:
            self._rate_limited_until = max(self._rate_limited_until, now + delay)


def _rate_limit_message(endpoint: str, delay: float, credential: Credential | None) -> str:
    hint = "" if credential else "; with a token (`hf auth login`) the limit is higher"
    return f"the rate limit of the Hub at {endpoint} is used up for another {delay:.0f} s{hint}"


def require_origin(endpoint: str, url: str) -> str:
    """Return a URL below the endpoint, spelled like the endpoint.

    Raises HubError for any other URL, since a token may be sent with the request.
    """
    endpoint_origin = parse_origin(endpoint)
    if endpoint_origin is not None and endpoint_origin.is_http and parse_origin(url) == endpoint_origin:
        endpoint_parts = urlsplit(endpoint)
        normalized = (
            urlsplit(url)._replace(scheme=endpoint_parts.scheme, netloc=endpoint_parts.netloc, fragment="").geturl()
        )
        if Credential(secret=Secret(""), base_url=endpoint).allows(normalized):
            return normalized
    raise HubError(f"the Hub at {endpoint} points to another origin: {redact(url)[:MAX_ERROR_CHARS]!r}")


def next_link(header: str) -> str | None:
    """Return the URL of the next page from a Link header (RFC 8288); None on the last page."""
    for match in _LINK.finditer(header):
        if _NEXT.search(match[2]):
            return match[1].strip() or None
    return None


def parse_rate_limit(header: str) -> tuple[int, int] | None:
    """Parse requests left and seconds until the window ends from ``RateLimit: "api";r=499;t=120`` (the Hub's form).

    The tightest of several policies counts; None without any.
    """
    policies = [{name: int(value) for name, value in _LIMIT.findall(part)} for part in header.split(",")]
    limits = [(policy["r"], policy["t"]) for policy in policies if "r" in policy and "t" in policy]
    return min(limits, key=lambda limit: (limit[0], -limit[1]), default=None)


class _ErrorBody(Struct):
    error: Any = None
    message: Any = None


def error_message(response: HttpResponse) -> str:
    """Return the Hub's own error message with the status."""
    raw: Any = response.headers.get("x-error-message")
    if not raw:
        try:
            body = response.json(_ErrorBody)
            raw = body.error or body.message
        except msgspec.DecodeError:
            raw = None
    text = " ".join(raw.split())[:MAX_ERROR_CHARS] if isinstance(raw, str) else ""
    return f"{redact(text)} (HTTP {response.status})" if text else f"HTTP {response.status}"


class Organization(Struct, frozen=True):
    """An organization of a user, to whose account calls may be billed."""

    name: str


class _Scope(Struct, frozen=True):
    permissions: list[str] = field(default_factory=list[str])


class _FineGrained(Struct, frozen=True):
    scoped: list[_Scope] = field(default_factory=list[_Scope])
    global_: list[str] = field(default_factory=list[str], name="global")


class _AccessToken(Struct, frozen=True):
    displayName: str | None = None  # noqa: N815 - the Hub's own spelling
    role: str | None = None
    fineGrained: _FineGrained | None = None  # noqa: N815


class _Auth(Struct, frozen=True):
    accessToken: _AccessToken | None = None  # noqa: N815


class Account(Struct, frozen=True):
    """The account of a token, from ``GET /api/whoami-v2``."""

    name: str
    type: str = "user"
    is_pro: bool = field(default=False, name="isPro")
    can_pay: bool | None = field(default=None, name="canPay")
    organizations: tuple[Organization, ...] = field(default=(), name="orgs")
    auth: _Auth | None = None

    @property
    def token_name(self) -> str | None:
        """Name that the user gave the token."""
        return self.auth.accessToken.displayName if self.auth and self.auth.accessToken else None

    @property
    def can_call_inference(self) -> bool | None:
        """True if the token may call Inference Providers; None if the Hub does not report it."""
        token = self.auth.accessToken if self.auth else None
        if token is None or token.role is None:
            return None
        if token.role != "fineGrained" or token.fineGrained is None:
            return True if token.role in ("read", "write", "admin") else None
        granted = [
            *token.fineGrained.global_,
            *(permission for scope in token.fineGrained.scoped for permission in scope.permissions),
        ]
        return "inference.serverless.write" in granted
