"""Transport: HTTP requests to APIs and downloads of media, with exact errors about what was sent.

Two entry points. ``send`` attaches the credential that matches its URL and follows no redirect; ``fetch`` is anonymous
and checks every address before it connects.
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
from .decompression import CHUNK_SIZE, decompressor_for, is_supported_encoding
from .limits import TransportLimits
from .proxies import Proxy, proxy_rules
from .request_tracker import RequestTracker
from .sessions import PooledSession, RequestKind, Resolve, SessionPool, system_resolve
from .ssrf import REDIRECT_STATUSES, blocked_error, canonical_host, guard_for, host_label, parse_url
from .streams import StreamedBody, content_length, normalize_headers

log = logging.getLogger("hfmedia.transport")

BODY_OMITTED_HEADER = "x-hfmedia-body-omitted"  # set here only: why a complete response has no body
SLICED_UPLOAD_BYTES = 1024 * 1024  # bytes; larger ones are written from a file-like object, in slices


class Transport:
    """The HTTP client of hfmedia: pooled connections, verified TLS, limits on everything. Needs a loop on first use.

    Args:
        proxy: a proxy URL (http, https, socks4, socks5, with ``user:password@`` where needed); None reads the
            environment, an empty string disables proxies. Host names are resolved by the proxy.
        environ: source of the proxy variables, ``os.environ`` by default. Loopback is exempt only through NO_PROXY.
        trusted_hosts: ``host`` or ``host:port`` from which media may be fetched although it is private.
        limits: timeouts, sizes and counts.
        user_agent: replaces ``hfmedia/VERSION``.
        tls: TLS context, by default with the system's certificates.
        resolve: resolver of host names, the system's by default.

    Raises:
        InvalidRequestError: the proxy URL or a trusted host is invalid; a password is never shown.
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
        """Close every connection. Closing twice is fine; later requests raise RuntimeError."""
        await self._sessions.close()

    async def send(
        self, request: HttpRequest, *, credential: Credential | None, timeout: float | None = None
    ) -> HttpResponse:
        """Send a request and return the complete response, whatever its status; no redirects, no cookies.

        A response whose body cannot be used has an empty body and the header ``x-hfmedia-body-omitted``: ``limit``
        (larger than ``limits.max_json_bytes`` after decompression) or ``encoding`` (unsupported or corrupt
        compression). That does not raise ResponseLostError, since the status is known: a 2xx was accepted.

        Raises:
            RequestNotSentError: no connection could be opened, so nothing was sent.
            ResponseLostError: the request may have been sent, and no complete response came back.
            ValueError: a bug of the caller: not an http URL, a URL or header that contains a secret, or a credential
                that is not for this URL. Nothing was sent.
        """
        url = _checked_url(request)
        if credential is not None and not credential.allows(request.url):
            raise ValueError(
                f"the credential for {host_label(parse_url(credential.base_url))} must not be sent to {host_label(url)}"
            )
        kind: RequestKind = "read" if request.method == "GET" else "submit"
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
            # become the context of ours.
            classified = tracker.classify_error(error, pooled.connection_errors)
            if classified is None:
                raise
            failure = classified
        log.debug("%r -> %s: %s", request, type(failure).__name__, failure)
        raise failure

    @asynccontextmanager
    async def fetch(self, url: str, *, headers: Mapping[str, str] | None = None) -> AsyncGenerator[StreamedBody]:
        """Open media by URL, without credentials; the body is read at the caller's pace.

        Before each hop, redirects included, the URL is checked (http or https, no user name, web port, public host),
        and after DNS every address that could be connected to; a private one is blocked unless the host is trusted.
        Through a proxy, host names are resolved by the proxy: only the name itself can be checked here, and the
        proxy has to block public names that resolve to private addresses.

        ``headers`` may contain Range and If-Range. Redirects are followed; any other status is returned.

        Raises:
            UnsafeUrlError: the URL leads into a private network, or redirects from https to http.
            RequestNotSentError: no connection could be opened.
            ResponseLostError: no response arrived, or there were too many redirects.
            ValueError: ``headers`` contain a secret.
        """
        _reject_secret_headers(headers or {})
        response, final_url, tracker = await self._follow(_media_url(url), dict(headers or {}))
        try:
            yield StreamedBody(response, final_url, self._limits, tracker.describe_error)
        finally:
            response.release()  # returned to the pool if read completely, else closed

    async def _follow(self, url: URL, headers: dict[str, str]) -> tuple[aiohttp.ClientResponse, URL, RequestTracker]:
        """Follow redirects; return the final response, its URL and its tracker."""
        for _ in range(self._limits.max_redirects + 1):
            response, tracker = await self._open(url, headers)
            location = response.headers.get("Location")
            log.debug("GET %s%s -> %d", host_label(url), url.raw_path, response.status)
            if response.status not in REDIRECT_STATUSES or not location:
                return response, url, tracker
            response.release()
            next_url = _media_url(location, base=url)
            if url.scheme == "https" and next_url.scheme == "http" and not self._is_trusted(next_url):
                raise blocked_error(host_label(next_url), "a redirect from https to http")
            url = next_url
        raise ResponseLostError(f"{host_label(url)} redirects more than {self._limits.max_redirects} times")

    async def _open(self, url: URL, headers: dict[str, str]) -> tuple[aiohttp.ClientResponse, RequestTracker]:
        """Request exactly this URL and return the head of the response."""
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
            failure = UnsafeUrlError(
                str(error)
            )  # the original is shared with other requests waiting for the same DNS lookup
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
        """Read the whole body, decompressed and limited."""
        headers = normalize_headers(response.headers)
        headers.pop(BODY_OMITTED_HEADER, None)
        encoding = headers.get("content-encoding", "").strip().lower()
        if content_length(headers) > self._limits.max_json_bytes:
            return _without_body(response.status, headers, "limit")
        if not is_supported_encoding(encoding):
            return _without_body(response.status, headers, "encoding")
        decompressor = decompressor_for(encoding)
        body = io.BytesIO()  # getvalue does not copy the bytes
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
        """Return the seconds allowed from the first byte sent to the head of the response."""
        limits = self._limits
        upload_time = len(request.body or b"") / limits.min_upload_rate
        if request.method == "GET":
            return limits.response_head + request.server_wait + upload_time
        return max(limits.submit_response_head, limits.response_head + request.server_wait) + upload_time

    def _is_trusted(self, url: URL) -> bool:
        return self._guard.trusts(canonical_host(url.raw_host or ""), url.port)


def _checked_url(request: HttpRequest) -> URL:
    """Parse the URL of a request. Raises ValueError when the request must not be sent."""
    url = parse_url(request.url)
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise ValueError("only http and https URLs are supported")
    if "@" in url.raw_authority:
        raise ValueError(f"the URL at {host_label(url)} contains a user name; pass credentials as a Credential")
    _reject_secret_headers(request.headers)
    return url


def _media_url(text: str, *, base: URL | None = None) -> URL:
    """Parse a media URL from a response. Raises UnsafeUrlError when it is not a URL."""
    try:
        # Some servers do not encode spaces; any other invalid character is deliberate.
        return parse_url(text.strip(" ").replace(" ", "%20"), base=base)
    except ValueError:
        pass  # its message may quote the URL, so it must not become the context of the error below
    source = f"{host_label(base)} redirects to" if base is not None else "a response contains"
    raise UnsafeUrlError(f"{source} an invalid URL; nothing was fetched")


def _reject_secret_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if name.lower() in SECRET_HEADERS:
            raise ValueError(f"the header {name} contains a secret; pass credentials as a Credential")
        if any(char in name + value for char in "\r\n\0"):
            raise ValueError(f"the header {name!r} contains a control character")


def _merge_headers(defaults: Mapping[str, str], overrides: Mapping[str, str]) -> dict[str, str]:
    """Merge headers case-insensitively; ``overrides`` wins."""
    overridden = {name.lower() for name in overrides}
    return {name: value for name, value in defaults.items() if name.lower() not in overridden} | dict(overrides)


def _is_forwarded(url: URL, proxy: Proxy | None) -> bool:
    """Return whether an HTTP proxy reads the request itself (http) rather than tunneling it (https, SOCKS)."""
    return proxy is not None and not proxy.is_socks and url.scheme == "http"


def _forward_proxy_headers(url: URL, proxy: Proxy | None) -> dict[str, str]:
    """Return the proxy's authorization header where the proxy reads the request itself."""
    return proxy.headers if proxy is not None and _is_forwarded(url, proxy) else {}


def _http_proxy_url(proxy: Proxy | None) -> str | None:
    return proxy.address if proxy is not None and not proxy.is_socks else None


def _tunnel_headers(proxy: Proxy | None) -> dict[str, str] | None:
    return proxy.headers if proxy is not None and not proxy.is_socks else None


def _raise_for_proxy_auth(response: aiohttp.ClientResponse, url: URL, proxy: Proxy | None) -> None:
    """Raise RequestNotSentError when the response is the proxy's own 407."""
    if response.status == 407 and proxy is not None and _is_forwarded(url, proxy):
        response.release()
        raise RequestNotSentError(f"the proxy {proxy.address} rejected its user name or password (HTTP 407)")


def _without_body(status: int, headers: Mapping[str, str], reason: str) -> HttpResponse:
    return HttpResponse(status=status, headers={**headers, BODY_OMITTED_HEADER: reason})
