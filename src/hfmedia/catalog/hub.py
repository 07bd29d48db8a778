"""How the Hub is asked: GETs alone, retried within bounds, at the pace its rate limits allow, on its own origin alone.

What an answer says is read by pure functions; only ``Hub.get`` touches the world.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Struct, field

from hfmedia.core.errors import HubError, LostError, UnsentError
from hfmedia.core.ports import Sender
from hfmedia.core.retry import retry_after, seconds_until
from hfmedia.core.wire import Credential, HttpReply, Secret, get, redact

ANSWER_TIMEOUT = 30.0  # seconds for one answer; a page of a thousand models takes a few
ATTEMPTS = 4
PATIENCE = 90.0  # seconds for all attempts together
LONGEST_PAUSE = 60.0  # seconds to wait for a rate limit; its window is five minutes, and a person waits
MOST_REDIRECTS = 3  # a renamed model needs one
LONGEST_COMPLAINT = 300  # characters of the Hub's own words in an error
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_LINK = re.compile(r"<([^<>]*)>\s*((?:;\s*[^\s;,=]+\s*(?:=\s*(?:\"[^\"]*\"|[^;,\s\"]*))?\s*)*)")
_NEXT = re.compile(r"(?i);\s*rel\s*=\s*(?:\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\"|next(?=[\s;]|$))")
_LIMIT = re.compile(r"(?:^|;)\s*([rt])=(\d{1,9})")


class _TroubleError(Exception):
    """The Hub may answer better in a moment. ``again`` is False when that moment is too far away."""

    def __init__(self, words: str, *, status: int | None = None, again: bool = True) -> None:
        super().__init__(words)
        self.status = status
        self.again = again


class Hub:
    """The Hub at one endpoint, and until when it asked to be left alone."""

    def __init__(
        self,
        sender: Sender,
        *,
        endpoint: str,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._sender = sender
        self._clock = clock
        self._sleep = sleep
        self._closed_until = 0.0

    async def get(
        self, url: str, credential: Credential | None, *, etag: str | None = None, attempts: int = ATTEMPTS
    ) -> HttpReply:
        """The Hub's answer, whatever its status but for 429 and 5xx; redirects on its own origin are followed.

        HubError when it cannot be reached, fails, or stays busy longer than anybody waits.
        """
        for _ in range(MOST_REDIRECTS + 1):
            reply = await self._steadily(url, credential, etag, attempts)
            if reply.status not in (301, 302, 303, 307, 308):
                return reply
            url = on_origin(self.endpoint, urljoin(url, reply.headers.get("location", "")))
        raise HubError(f"the Hub at {self.endpoint} redirects in circles")

    async def _steadily(self, url: str, credential: Credential | None, etag: str | None, attempts: int) -> HttpReply:
        import stamina  # 80 ms, which `import hfmedia` need not pay

        headers = {"Accept": "application/json", **({"If-None-Match": etag} if etag else {})}
        try:
            async for attempt in stamina.retry_context(
                on=_worth_another_try, attempts=attempts, timeout=PATIENCE, wait_initial=0.2, wait_jitter=0.3
            ):
                with attempt:
                    return await self._once(url, credential, headers)
        except _TroubleError as trouble:
            raise HubError(str(trouble), status=trouble.status) from trouble.__cause__
        raise AssertionError("stamina either returns or raises")

    async def _once(self, url: str, credential: Credential | None, headers: Mapping[str, str]) -> HttpReply:
        pause = self._closed_until - self._clock()
        if pause > LONGEST_PAUSE:
            raise _TroubleError(_used_up(self.endpoint, pause, credential), status=429, again=False)
        if pause > 0:
            await self._sleep(pause)
        request = get(url, headers=headers)
        try:
            reply = await self._sender.send(request, credential=credential, timeout=ANSWER_TIMEOUT)
        except (UnsentError, LostError) as error:
            what = "cannot be reached" if isinstance(error, UnsentError) else "did not answer completely"
            raise _TroubleError(f"the Hub at {self.endpoint} {what}: {redact(str(error))}") from error
        self._heed(reply)
        if reply.status == 429:
            if self._closed_until <= self._clock():  # it did not say for how long
                raise _TroubleError(f"the Hub limits the rate: {complaint_of(reply)}", status=429)
            raise _TroubleError(_used_up(self.endpoint, self._closed_until - self._clock(), credential), status=429)
        if reply.status >= 500:
            raise _TroubleError(f"the Hub at {self.endpoint} failed: {complaint_of(reply)}", status=reply.status)
        return reply

    def _heed(self, reply: HttpReply) -> None:
        """Remembers for how long the Hub wants to be left alone."""
        now = self._clock()
        limit = rate_limit(reply.headers.get("ratelimit", ""))
        pause: float | None = limit[1] if limit and limit[0] == 0 else None
        if reply.status == 429:
            asked = seconds_until(*retry_after(reply.headers), now=now)
            pause = asked if asked is not None else (limit[1] if limit else None)
        if pause:
            self._closed_until = max(self._closed_until, now + pause)


def _worth_another_try(error: Exception) -> bool:
    return isinstance(error, _TroubleError) and error.again


def _used_up(endpoint: str, pause: float, credential: Credential | None) -> str:
    more = "" if credential else "; with a token (`hf auth login`) the limit is higher"
    return f"the rate limit of the Hub at {endpoint} is used up for {pause:.0f} s{more}"


def origin(url: str) -> str:
    """Scheme, host and port of a URL, spelled in one way; an empty text when it is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if "@" in parts.netloc or not host or parts.scheme not in DEFAULT_PORTS:
        return ""
    return f"{parts.scheme}://{host}" + (f":{port}" if port else DEFAULT_PORTS[parts.scheme])


def on_origin(endpoint: str, url: str) -> str:
    """The URL spelled as the endpoint is, when it lies below it; HubError otherwise, for a token may go with it."""
    if origin(url) and origin(url) == origin(endpoint):
        home = urlsplit(endpoint)
        same = urlsplit(url)._replace(scheme=home.scheme, netloc=home.netloc, fragment="").geturl()
        if Credential(secret=Secret(""), base_url=endpoint).opens(same):
            return same
    raise HubError(f"the Hub at {endpoint} points elsewhere, to {redact(url)[:LONGEST_COMPLAINT]!r}")


def next_link(header: str) -> str | None:
    """The URL of the next page out of a Link header (RFC 8288); None on the last page."""
    for found in _LINK.finditer(header):
        if _NEXT.search(found[2]):
            return found[1].strip() or None
    return None


def rate_limit(header: str) -> tuple[int, int] | None:
    """Requests left and seconds until the window ends, out of ``RateLimit: "api";r=499;t=120`` (the Hub's own form).

    Of several policies the tightest counts; None when nothing is said.
    """
    told = [{name: int(value) for name, value in _LIMIT.findall(part)} for part in header.split(",")]
    limits = [(one["r"], one["t"]) for one in told if "r" in one and "t" in one]
    return min(limits, key=lambda limit: (limit[0], -limit[1]), default=None)


class _Complaint(Struct):
    error: Any = None
    message: Any = None


def complaint_of(reply: HttpReply) -> str:
    """What the Hub says is wrong, in its own words, with the status."""
    words: Any = reply.headers.get("x-error-message")
    if not words:
        try:
            body = reply.read(_Complaint)
            words = body.error or body.message
        except msgspec.DecodeError:
            words = None
    text = " ".join(words.split())[:LONGEST_COMPLAINT] if isinstance(words, str) else ""
    return f"{redact(text)} (HTTP {reply.status})" if text else f"HTTP {reply.status}"


class Organisation(Struct, frozen=True):
    """An organisation of a user, to whose account calls may be billed."""

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


class Who(Struct, frozen=True):
    """Whose token it is, as ``GET /api/whoami-v2`` tells it."""

    name: str
    type: str = "user"
    pro: bool = field(default=False, name="isPro")
    can_pay: bool | None = field(default=None, name="canPay")
    organisations: tuple[Organisation, ...] = field(default=(), name="orgs")
    auth: _Auth | None = None

    @property
    def token_name(self) -> str | None:
        """What the user called the token."""
        return self.auth.accessToken.displayName if self.auth and self.auth.accessToken else None

    @property
    def may_infer(self) -> bool | None:
        """Whether the token may make calls to Inference Providers; None when the Hub does not tell."""
        token = self.auth.accessToken if self.auth else None
        if token is None or token.role is None:
            return None
        if token.role != "fineGrained" or token.fineGrained is None:
            return True if token.role in ("read", "write", "admin") else None
        granted = [
            *token.fineGrained.global_,
            *(one for scope in token.fineGrained.scoped for one in scope.permissions),
        ]
        return "inference.serverless.write" in granted
