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
from ..core.credentials import SECRET_HEADERS, Credential
from ..core.errors import RequestNotSentError, ResponseLostError, UnsafeUrlError
from ..core.http import HttpRequest, HttpResponse
from .bodies import CHUNK_SIZE, StreamedBody, content_length, decompressor_for, is_supported_encoding, normalize_headers
from .limits import TransportLimits
from .proxies import Proxy, proxy_rules
from .request_tracker import RequestTracker
from .sessions import PooledSession, RequestKind, Resolve, SessionPool, system_resolve
from .ssrf import REDIRECT_STATUSES, blocked_error, canonical_host, guard_for, host_label, parse_url

log = logging.getLogger("hfmedia.transport")

BODY_OMITTED_HEADER = "x-hfmedia-cut"  # set by us alone: why a complete reply comes without its body
SLICED_UPLOAD_BYTES = 1024 * 1024  # bytes; larger ones are written from a file-like object, in slices


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
        limits: TransportLimits = TransportLimits(),  # noqa: B008 (frozen)
        user_agent: str | None = None,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = system_resolve,
    ) -> None:
        self._limits = limits
        self._rules = proxy_rules(proxy, os.environ if environ is None else environ)
        self._guard = guard_for(trusted_hosts)
        self._sessions = SessionPool(
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
        await self._sessions.close()

    async def send(
        self, request: HttpRequest, *, credential: Credential | None, timeout: float | None = None
    ) -> HttpResponse:
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
        url = _checked_url(request)
        if credential is not None and not credential.allows(request.url):
            raise ValueError(
                f"the credential for {host_label(parse_url(credential.base_url))} does not open {host_label(url)}"
            )
        kind: RequestKind = "ask" if request.method == "GET" else "submit"
        proxy = self._rules.choose(url)
        pooled = self._sessions.get(kind, proxy)
        tracker = RequestTracker(
            host_label(url), proxy, self._limits, response_timeout=self._response_timeout(request), timeout=timeout
        )
        failure: RequestNotSentError | ResponseLostError
        try:
            async with tracker.timeout_scope:
                tracker.start()
                response = await self._exchange(pooled, url, request, credential, tracker)
                log.debug("%r -> %r", request, response)
                return response
        except RequestNotSentError as error:
            failure = error
        except Exception as error:
            # Raised below, outside of this handler: aiohttp's own exceptions quote URLs and headers, and must not
            # hang on ours as their context.
            classified = tracker.classify_error(error, pooled.connection_errors)
            if classified is None:
                raise
            failure = classified
        log.debug("%r -> %s: %s", request, type(failure).__name__, failure)
        raise failure

    @asynccontextmanager
    async def fetch(self, url: str, *, headers: Mapping[str, str] | None = None) -> AsyncGenerator[StreamedBody]:
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
        _reject_secret_headers(headers or {})
        response, final_url, tracker = await self._follow(_media_url(url), dict(headers or {}))
        try:
            yield StreamedBody(response, final_url, self._limits, tracker.describe_error)
        finally:
            response.release()  # back into the pool when it was read to its end, else closed

    async def _follow(self, url: URL, headers: dict[str, str]) -> tuple[aiohttp.ClientResponse, URL, RequestTracker]:
        """The first answer that is no redirect, where it came from, and its journey."""
        for _ in range(self._limits.max_redirects + 1):
            response, tracker = await self._open(url, headers)
            location = response.headers.get("Location")
            log.debug("GET %s%s -> %d", host_label(url), url.raw_path, response.status)
            if response.status not in REDIRECT_STATUSES or not location:
                return response, url, tracker
            response.release()
            next_url = _media_url(location, base=url)
            if url.scheme == "https" and next_url.scheme == "http" and not self._is_trusted(next_url):
                raise blocked_error(host_label(next_url), "the way there is no longer encrypted")
            url = next_url
        raise ResponseLostError(f"{host_label(url)} redirects more than {self._limits.max_redirects} times")

    async def _open(self, url: URL, headers: dict[str, str]) -> tuple[aiohttp.ClientResponse, RequestTracker]:
        """The head of the answer at exactly this URL."""
        self._guard.check(url)
        proxy = self._rules.choose(url)
        pooled = self._sessions.get("download", proxy)
        tracker = RequestTracker(
            host_label(url), proxy, self._limits, response_timeout=self._limits.response_head, timeout=None
        )
        failure: RequestNotSentError | ResponseLostError | UnsafeUrlError
        request_headers = _merge_headers({"Accept-Encoding": "identity"} | _forward_proxy_headers(url, proxy), headers)
        try:
            async with tracker.timeout_scope:
                tracker.start()
                response = await pooled.session.get(
                    url,
                    headers=request_headers,
                    allow_redirects=False,
                    trace_request_ctx=tracker,
                    proxy=_http_proxy_url(proxy),
                    proxy_headers=_tunnel_headers(proxy),
                )
                tracker.reading()
                _raise_for_proxy_auth(response, url, proxy)
                return response, tracker
        except RequestNotSentError as error:
            failure = error
        except UnsafeUrlError as error:
            failure = UnsafeUrlError(str(error))  # the original hangs in aiohttp's question to the DNS, shared
        except Exception as error:
            classified = tracker.classify_error(error, pooled.connection_errors)
            if classified is None:
                raise
            failure = classified
        log.debug("GET %s%s -> %s: %s", host_label(url), url.raw_path, type(failure).__name__, failure)
        raise failure

    async def _exchange(
        self,
        pooled: PooledSession,
        url: URL,
        request: HttpRequest,
        credential: Credential | None,
        tracker: RequestTracker,
    ) -> HttpResponse:
        headers = _merge_headers(
            {"Accept-Encoding": "gzip, deflate"} | _forward_proxy_headers(url, pooled.proxy), request.headers
        )
        if credential is not None:
            headers["Authorization"] = credential.header
        body = request.body
        async with pooled.session.request(
            request.method,
            url,
            data=io.BytesIO(body) if body and len(body) > SLICED_UPLOAD_BYTES else body,
            headers=headers,
            allow_redirects=False,
            trace_request_ctx=tracker,
            proxy=_http_proxy_url(pooled.proxy),
            proxy_headers=_tunnel_headers(pooled.proxy),
        ) as response:
            tracker.reading()
            _raise_for_proxy_auth(response, url, pooled.proxy)
            return await self._read_all(response, tracker)

    async def _read_all(self, response: aiohttp.ClientResponse, tracker: RequestTracker) -> HttpResponse:
        """The reply with its body, inflated and bounded."""
        headers = normalize_headers(response.headers)
        headers.pop(BODY_OMITTED_HEADER, None)
        encoding = headers.get("content-encoding", "").strip().lower()
        if content_length(headers) > self._limits.max_json_bytes:
            return _without_body(response.status, headers, "limit")
        if not is_supported_encoding(encoding):
            return _without_body(response.status, headers, "encoding")
        decompressor = decompressor_for(encoding)
        body = io.BytesIO()  # hands its bytes on without copying them once more
        while True:
            raw = await response.content.read(CHUNK_SIZE)
            tracker.reading()
            try:
                chunks = [raw] if decompressor is None else decompressor.feed(raw) if raw else decompressor.finish()
                for chunk in chunks:
                    if body.tell() + len(chunk) > self._limits.max_json_bytes:
                        return _without_body(response.status, headers, "limit")
                    body.write(chunk)
                    if decompressor is not None and len(chunk) == CHUNK_SIZE:
                        await asyncio.sleep(0)
            except zlib.error:
                return _without_body(response.status, headers, "encoding")
            if not raw:
                return HttpResponse(status=response.status, headers=headers, body=body.getvalue())

    def _response_timeout(self, request: HttpRequest) -> float:
        """Seconds from the first byte sent to the first byte of the answer."""
        limits = self._limits
        upload_time = len(request.body or b"") / limits.min_upload_rate
        if request.method == "GET":
            return limits.response_head + request.server_wait + upload_time
        return max(limits.submit_response_head, limits.response_head + request.server_wait) + upload_time

    def _is_trusted(self, url: URL) -> bool:
        return self._guard.trusts(canonical_host(url.raw_host or ""), url.port)


def _checked_url(request: HttpRequest) -> URL:
    """The URL of a request that may be sent as it is; ValueError else."""
    url = parse_url(request.url)
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise ValueError("only http and https URLs can be sent to")
    if "@" in url.raw_authority:
        raise ValueError(f"the URL at {host_label(url)} carries a user name; a credential goes in as a Credential")
    _reject_secret_headers(request.headers)
    return url


def _media_url(text: str, *, base: URL | None = None) -> URL:
    """A URL out of a reply, as it is written; UnsafeAddressError when it is none."""
    try:
        # Some servers forget to encode a space; everything else unfit is no accident.
        return parse_url(text.strip(" ").replace(" ", "%20"), base=base)
    except ValueError:
        pass  # its words may quote the URL, so it must not become our error's context
    source = f"{host_label(base)} redirects to" if base is not None else "a reply named"
    raise UnsafeUrlError(f"{source} something that is not a URL; nothing was fetched")


def _reject_secret_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if name.lower() in SECRET_HEADERS:
            raise ValueError(f"the header {name} carries a secret; a credential goes in as a Credential")
        if any(char in name + value for char in "\r\n\0"):
            raise ValueError(f"the header {name!r} holds a control character")


def _merge_headers(defaults: Mapping[str, str], overrides: Mapping[str, str]) -> dict[str, str]:
    """Headers where ``given`` has the last word, whatever its upper and lower case."""
    overridden = {name.lower() for name in overrides}
    return {name: value for name, value in defaults.items() if name.lower() not in overridden} | dict(overrides)


def _is_forwarded(url: URL, proxy: Proxy | None) -> bool:
    """Whether an HTTP proxy reads the request itself (http), rather than tunnelling it (https, SOCKS)."""
    return proxy is not None and not proxy.is_socks and url.scheme == "http"


def _forward_proxy_headers(url: URL, proxy: Proxy | None) -> dict[str, str]:
    """The header that opens the proxy, where the request itself is what the proxy reads."""
    return proxy.headers if proxy is not None and _is_forwarded(url, proxy) else {}


def _http_proxy_url(proxy: Proxy | None) -> str | None:
    return proxy.address if proxy is not None and not proxy.is_socks else None


def _tunnel_headers(proxy: Proxy | None) -> dict[str, str] | None:
    return proxy.headers if proxy is not None and not proxy.is_socks else None


def _raise_for_proxy_auth(response: aiohttp.ClientResponse, url: URL, proxy: Proxy | None) -> None:
    """UnsentError when the answer is the proxy's own refusal to pass anything on."""
    if response.status == 407 and proxy is not None and _is_forwarded(url, proxy):
        response.release()
        raise RequestNotSentError(f"the proxy {proxy.address} asks for another user or password (HTTP 407)")


def _without_body(status: int, headers: Mapping[str, str], reason: str) -> HttpResponse:
    return HttpResponse(status=status, headers={**headers, BODY_OMITTED_HEADER: reason})
