"""StreamSession: HTTP for callers that fetch something themselves, with the interface of g4f's session.

A thin layer over aiohttp. hfmedia itself does not use it, since it has no rules for private addresses and credentials.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from hfmedia.transport.proxies import Proxy, parse_proxy


class StreamResponse(aiohttp.ClientResponse):
    """A response that can be read by line or by chunk."""

    async def iter_lines(self) -> AsyncIterator[bytes]:
        """Yield the lines of the body, without line breaks."""
        async for line in self.content:
            yield line.rstrip(b"\r\n")

    async def iter_content(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        async for chunk in self.content.iter_any():
            yield chunk

    async def json(self, *, content_type: str | None = None, **kwargs: Any) -> Any:
        """Decode the body as JSON, whatever its declared type."""
        return await super().json(content_type=content_type, **kwargs)


class StreamSession:
    """Requests that share headers, a time limit and a proxy.

    Args:
        headers: sent with every request.
        timeout: seconds in total, ``(connect, read)`` in seconds each, or aiohttp's own; 0 and None for no limit.
        connector: aiohttp's own, instead of the proxy.
        proxy: ``http://``, ``https://``, ``socks5://`` … URL.
        proxies: a proxy by scheme; the one for ``https`` or ``all`` is used.
        impersonate: accepted for compatibility, without effect.
        kwargs: passed to aiohttp.ClientSession.
    """

    def __init__(
        self,
        headers: Mapping[str, str] | None = None,
        timeout: float | tuple[float, float] | aiohttp.ClientTimeout | None = None,
        connector: aiohttp.BaseConnector | None = None,
        proxy: str | None = None,
        proxies: Mapping[str, str] | None = None,
        impersonate: str | None = None,
        **kwargs: Any,
    ) -> None:
        chosen_proxy = proxy or (proxies or {}).get("https") or (proxies or {}).get("all")
        self._proxy = parse_proxy(chosen_proxy, source="the proxy") if chosen_proxy and connector is None else None
        self._options = {
            **kwargs,
            "headers": dict(headers or {}),
            "timeout": _client_timeout(timeout),
            "connector": connector,
        }
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """True if no connection is open."""
        return self._session is None or self._session.closed

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def request(self, method: str, url: str, **options: Any) -> Any:
        """Send a request; await it or use it with ``async with`` to get a StreamResponse."""
        if self._session is None:  # created here, since aiohttp requires a running event loop
            self._session = aiohttp.ClientSession(response_class=StreamResponse, **self._session_options())
        return self._session.request(method, url, **options)

    def get(self, url: str, **options: Any) -> Any:
        """Send a GET request; see ``request``."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Any:
        """Send a POST request; see ``request``."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> Any:
        """Send a PUT request; see ``request``."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> Any:
        """Send a PATCH request; see ``request``."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> Any:
        """Send a DELETE request; see ``request``."""
        return self.request("DELETE", url, **options)

    def head(self, url: str, **options: Any) -> Any:
        """Send a HEAD request without following redirects; see ``request``."""
        return self.request("HEAD", url, **{"allow_redirects": False, **options})

    def options(self, url: str, **options: Any) -> Any:
        """Send an OPTIONS request; see ``request``."""
        return self.request("OPTIONS", url, **options)

    def _session_options(self) -> dict[str, Any]:
        if self._proxy is None:
            return self._options
        if self._proxy.is_socks:
            return {**self._options, "connector": _socks_connector(self._proxy)}
        user, password = self._proxy.username or None, self._proxy.password.reveal() or None
        return {**self._options, "proxy": URL(self._proxy.address).with_user(user).with_password(password)}


def _socks_connector(proxy: Proxy) -> aiohttp.BaseConnector:
    from aiohttp_socks import ProxyConnector, ProxyType

    return ProxyConnector(
        host=proxy.host,
        port=proxy.port,
        proxy_type=ProxyType.SOCKS5 if proxy.scheme == "socks5" else ProxyType.SOCKS4,
        username=proxy.username or None,
        password=proxy.password.reveal() or None,
        rdns=True,
    )


def _client_timeout(timeout: float | tuple[float, float] | aiohttp.ClientTimeout | None) -> aiohttp.ClientTimeout:
    if isinstance(timeout, aiohttp.ClientTimeout):
        return timeout
    if isinstance(timeout, tuple):
        connect, read = timeout
        return aiohttp.ClientTimeout(sock_connect=connect or None, sock_read=read or None)
    return aiohttp.ClientTimeout(total=timeout or None)
