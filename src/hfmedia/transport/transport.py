"""The transport: sends what it is given, fetches what it is told, and says truly what became of it.

Two doors. ``send`` carries the one credential that opens its URL and follows no redirect; ``fetch`` carries none, and
looks at every address before it goes there.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import ssl
import zlib
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from .._version import __version__
from ..core.errors import LostError, UnsafeAddressError, UnsentError
from ..core.wire import SECRET_HEADERS, Credential, HttpReply, HttpRequest
from .bodies import BITE, Download, announced, inflater, plain_headers, readable
from .guard import REDIRECTS, as_url, canonical, guard_for, refusal, shown
from .journey import Journey
from .limits import Limits
from .pools import Kind, Pool, Pools, Resolve, system_resolve
from .proxies import Proxy, proxy_rules

log = logging.getLogger("hfmedia.transport")

CUT_HEADER = "x-hfmedia-cut"  # set by us alone: why a complete reply comes without its body
LARGE_BODY = 1024 * 1024  # bytes; larger ones are written from a file-like object, in slices


class Transport:
    """HTTP for all of hfmedia: pooled, verified, bounded. Needs no running loop until it is first used.

    Args:
        proxy: a proxy URL (http, https, socks4, socks5, with ``user:password@`` where needed); None for what the
            environment says, an empty string for none. Names are resolved by the proxy.
        environ: where proxy variables are read, ``os.environ`` by default. Loopback is not exempt; NO_PROXY exempts.
        trusted_hosts: ``host`` or ``host:port`` from which media may be fetched although private.
        limits: every bound, in seconds, bytes and counts.
        user_agent: instead of ``hfmedia/VERSION``.
        tls: the certificates to trust, the system's by default.
        resolve: how a name becomes addresses, the system's way by default.

    Raises:
        InvalidRequestError: the proxy URL or a trusted host makes no sense; a password is never shown.
    """

    def __init__(
        self,
        *,
        proxy: str | None = None,
        environ: Mapping[str, str] | None = None,
        trusted_hosts: Iterable[str] = (),
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        user_agent: str | None = None,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = system_resolve,
    ) -> None:
        self._limits = limits
        self._rules = proxy_rules(proxy, os.environ if environ is None else environ)
        self._guard = guard_for(trusted_hosts)
        self._pools = Pools(
            limits=limits,
            guard=self._guard,
            resolve=resolve,
            tls=tls,
            user_agent=user_agent or f"hfmedia/{__version__}",
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends every connection. Closing twice is fine; using it afterwards is a RuntimeError."""
        await self._pools.close()

    async def send(
        self, request: HttpRequest, *, credential: Credential | None, timeout: float | None = None
    ) -> HttpReply:
        """The complete reply, whatever its status; redirects are not followed, cookies not kept.

        A reply that arrived but whose body cannot be had comes with an empty body and a header ``x-hfmedia-cut``:
        ``limit`` (larger than ``limits.json_bytes``, counted after decompression) or ``encoding`` (compressed in a way
        that was not asked for, or wrongly). It is no LostError, since the status is known: a 2xx was accepted.

        Raises:
            UnsentError: no connection could be made, so nothing was sent.
            LostError: the request may have gone out, and no complete answer came back.
            ValueError: a mistake of the caller: no http URL, a URL or header that carries a secret, or a credential
                that does not open this URL. Nothing was sent.
        """
        url = _checked(request)
        if credential is not None and not credential.opens(request.url):
            raise ValueError(f"the credential for {shown(as_url(credential.base_url))} does not open {shown(url)}")
        kind: Kind = "ask" if request.method == "GET" else "submit"
        proxy = self._rules.choose(url)
        pool = self._pools.pool(kind, proxy)
        journey = Journey(shown(url), proxy, self._limits, answer=self._patience(request), timeout=timeout)
        trouble: UnsentError | LostError
        try:
            async with journey.clock:
                journey.start()
                reply = await self._exchange(pool, url, request, credential, journey)
                log.debug("%r -> %r", request, reply)
                return reply
        except UnsentError as error:
            trouble = error
        except Exception as error:
            # Raised below, outside of this handler: aiohttp's own exceptions quote URLs and headers, and must not
            # hang on ours as their context.
            told = journey.trouble(error, pool.breaks)
            if told is None:
                raise
            trouble = told
        log.debug("%r -> %s: %s", request, type(trouble).__name__, trouble)
        raise trouble

    @asynccontextmanager
    async def fetch(self, url: str, *, headers: Mapping[str, str] | None = None) -> AsyncGenerator[Download]:
        """Opens media by its URL, without credentials, and reads its body as fast as you do.

        Before each hop, redirects included, the URL is checked (http or https, no user name, a port of the web, a
        public host) and after DNS every address that the connection could be made to; a private one is refused unless
        the host is trusted. Through a proxy, names are resolved by the proxy: there only the spelling of the host can
        be checked, and a public name that points into a private network must be refused by the proxy.

        ``headers`` may hold Range and If-Range. Any status is handed on; only redirects are followed.

        Raises:
            UnsafeAddressError: it leads into a private network, or from https back to http.
            UnsentError: no connection could be made.
            LostError: no answer came, or one redirect after the other.
            ValueError: ``headers`` hold a secret.
        """
        _refuse_secrets(headers or {})
        reply, at, journey = await self._follow(_media_url(url), dict(headers or {}))
        try:
            yield Download(reply, at, self._limits, journey.tell)
        finally:
            reply.release()  # back into the pool when it was read to its end, else closed

    async def _follow(self, url: URL, headers: dict[str, str]) -> tuple[aiohttp.ClientResponse, URL, Journey]:
        """The first answer that is no redirect, where it came from, and its journey."""
        for _ in range(self._limits.redirects + 1):
            reply, journey = await self._open(url, headers)
            location = reply.headers.get("Location")
            log.debug("GET %s%s -> %d", shown(url), url.raw_path, reply.status)
            if reply.status not in REDIRECTS or not location:
                return reply, url, journey
            reply.release()
            onward = _media_url(location, base=url)
            if url.scheme == "https" and onward.scheme == "http" and not self._trusts(onward):
                raise refusal(shown(onward), "the way there is no longer encrypted")
            url = onward
        raise LostError(f"{shown(url)} redirects more than {self._limits.redirects} times")

    async def _open(self, url: URL, headers: dict[str, str]) -> tuple[aiohttp.ClientResponse, Journey]:
        """The head of the answer at exactly this URL."""
        self._guard.check(url)
        proxy = self._rules.choose(url)
        pool = self._pools.pool("download", proxy)
        journey = Journey(shown(url), proxy, self._limits, answer=self._limits.answer, timeout=None)
        trouble: UnsentError | LostError | UnsafeAddressError
        asked = _merged({"Accept-Encoding": "identity"} | _ask_proxy(url, proxy), headers)
        try:
            async with journey.clock:
                journey.start()
                reply = await pool.session.get(
                    url,
                    headers=asked,
                    allow_redirects=False,
                    trace_request_ctx=journey,
                    proxy=_address(proxy),
                    proxy_headers=_tunnel_headers(proxy),
                )
                journey.reading()
                _check_proxy(reply, url, proxy)
                return reply, journey
        except UnsentError as error:
            trouble = error
        except UnsafeAddressError as error:
            trouble = UnsafeAddressError(str(error))  # the original hangs in aiohttp's question to the DNS, shared
        except Exception as error:
            told = journey.trouble(error, pool.breaks)
            if told is None:
                raise
            trouble = told
        log.debug("GET %s%s -> %s: %s", shown(url), url.raw_path, type(trouble).__name__, trouble)
        raise trouble

    async def _exchange(
        self, pool: Pool, url: URL, request: HttpRequest, credential: Credential | None, journey: Journey
    ) -> HttpReply:
        headers = _merged({"Accept-Encoding": "gzip, deflate"} | _ask_proxy(url, pool.proxy), request.headers)
        if credential is not None:
            headers["Authorization"] = credential.header
        body = request.body
        async with pool.session.request(
            request.method,
            url,
            data=io.BytesIO(body) if body and len(body) > LARGE_BODY else body,
            headers=headers,
            allow_redirects=False,
            trace_request_ctx=journey,
            proxy=_address(pool.proxy),
            proxy_headers=_tunnel_headers(pool.proxy),
        ) as reply:
            journey.reading()
            _check_proxy(reply, url, pool.proxy)
            return await self._whole(reply, journey)

    async def _whole(self, reply: aiohttp.ClientResponse, journey: Journey) -> HttpReply:
        """The reply with its body, inflated and bounded."""
        headers = plain_headers(reply.headers)
        headers.pop(CUT_HEADER, None)
        encoding = headers.get("content-encoding", "").strip().lower()
        if announced(headers) > self._limits.json_bytes:
            return _cut(reply.status, headers, "limit")
        if not readable(encoding):
            return _cut(reply.status, headers, "encoding")
        inflate = inflater(encoding)
        body = io.BytesIO()  # hands its bytes on without copying them once more
        while True:
            wire = await reply.content.read(BITE)
            journey.reading()
            try:
                pieces = [wire] if inflate is None else inflate.feed(wire) if wire else inflate.finish()
                for piece in pieces:
                    if body.tell() + len(piece) > self._limits.json_bytes:
                        return _cut(reply.status, headers, "limit")
                    body.write(piece)
                    if inflate is not None and len(piece) == BITE:
                        await asyncio.sleep(0)
            except zlib.error:
                return _cut(reply.status, headers, "encoding")
            if not wire:
                return HttpReply(status=reply.status, headers=headers, body=body.getvalue())

    def _patience(self, request: HttpRequest) -> float:
        """Seconds from the first byte sent to the first byte of the answer."""
        limits = self._limits
        upload = len(request.body or b"") / limits.slowest_upload
        if request.method == "GET":
            return limits.answer + request.hold + upload
        return max(limits.submit, limits.answer + request.hold) + upload

    def _trusts(self, url: URL) -> bool:
        return self._guard.trusts(canonical(url.raw_host or ""), url.port)


def _checked(request: HttpRequest) -> URL:
    """The URL of a request that may be sent as it is; ValueError else."""
    url = as_url(request.url)
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise ValueError("only http and https URLs can be sent to")
    if "@" in url.raw_authority:
        raise ValueError(f"the URL at {shown(url)} carries a user name; a credential goes in as a Credential")
    _refuse_secrets(request.headers)
    return url


def _media_url(text: str, *, base: URL | None = None) -> URL:
    """A URL out of a reply, as it is written; UnsafeAddressError when it is none."""
    try:
        # Some servers forget to encode a space; everything else unfit is no accident.
        return as_url(text.strip(" ").replace(" ", "%20"), base=base)
    except ValueError:
        pass  # its words may quote the URL, so it must not become our error's context
    where = f"{shown(base)} redirects to" if base is not None else "a reply named"
    raise UnsafeAddressError(f"{where} something that is not a URL; nothing was fetched")


def _refuse_secrets(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if name.lower() in SECRET_HEADERS:
            raise ValueError(f"the header {name} carries a secret; a credential goes in as a Credential")
        if any(mark in name + value for mark in "\r\n\0"):
            raise ValueError(f"the header {name!r} holds a control character")


def _merged(defaults: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Headers where ``given`` has the last word, whatever its upper and lower case."""
    names = {name.lower() for name in given}
    return {name: value for name, value in defaults.items() if name.lower() not in names} | dict(given)


def _relayed(url: URL, proxy: Proxy | None) -> bool:
    """Whether an HTTP proxy reads the request itself (http), rather than tunnelling it (https, SOCKS)."""
    return proxy is not None and not proxy.socks and url.scheme == "http"


def _ask_proxy(url: URL, proxy: Proxy | None) -> dict[str, str]:
    """The header that opens the proxy, where the request itself is what the proxy reads."""
    return proxy.headers if proxy is not None and _relayed(url, proxy) else {}


def _address(proxy: Proxy | None) -> str | None:
    return proxy.address if proxy is not None and not proxy.socks else None


def _tunnel_headers(proxy: Proxy | None) -> dict[str, str] | None:
    return proxy.headers if proxy is not None and not proxy.socks else None


def _check_proxy(reply: aiohttp.ClientResponse, url: URL, proxy: Proxy | None) -> None:
    """UnsentError when the answer is the proxy's own refusal to pass anything on."""
    if reply.status == 407 and proxy is not None and _relayed(url, proxy):
        reply.release()
        raise UnsentError(f"the proxy {proxy.address} asks for another user or password (HTTP 407)")


def _cut(status: int, headers: Mapping[str, str], why: str) -> HttpReply:
    return HttpReply(status=status, headers={**headers, CUT_HEADER: why})
