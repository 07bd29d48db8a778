"""Connection pools: one aiohttp session per kind of request and proxy, created on first use in the running loop.

A session resolves host names only where it connects directly, and sessions for direct downloads connect only to
addresses that the guard has checked.

There are three kinds because a submission must not be written to a connection that the server is just closing: its
outcome would be in doubt. Idle connections for POSTs are therefore closed sooner than any server would (Node's default
of 5 s is the shortest in use). GETs keep theirs from poll to poll, and aiohttp repeats a GET on a dead connection.
Downloads have their own because their URLs come from responses.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct

from .limits import TransportLimits
from .proxies import Proxy
from .request_tracker import trace_config
from .ssrf import AddressGuard

RequestKind = Literal["submit", "read", "download"]
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
READ_BUFFER_BYTES = 64 * 1024  # bytes; a stream holds at most twice this and one socket read before it stops reading


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Resolve a host name with the system's resolver (hosts file included). Raises OSError when it has no address."""
    results = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in results))


class GuardedResolver(AbstractResolver):
    """Resolver for aiohttp that checks every address with the guard, so that no unchecked one is connected to."""

    def __init__(self, resolve: Resolve, guard: AddressGuard | None) -> None:
        self._resolve = resolve
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve a host. Raises UnsafeUrlError when the guard blocks any of its addresses."""
        addresses = await self._resolve(host, port)
        if not addresses:
            raise OSError(None, "the host name has no address")
        if self._guard is not None:
            self._guard.check_addresses(host, port, addresses)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Close nothing: the resolver holds no resources."""


class PooledSession(Struct, frozen=True):
    """A session, its proxy, and the exceptions that connecting can raise."""

    session: aiohttp.ClientSession
    proxy: Proxy | None
    connection_errors: tuple[type[Exception], ...]


class SessionPool:
    """All sessions of one transport."""

    def __init__(
        self,
        *,
        limits: TransportLimits,
        guard: AddressGuard,
        resolve: Resolve,
        tls: ssl.SSLContext | None,
        user_agent: str,
    ) -> None:
        self._limits = limits
        self._guard = guard
        self._resolve = resolve
        self._tls = tls
        self._user_agent = user_agent
        self._sessions: dict[tuple[RequestKind, str, str], PooledSession] = {}
        self._closed = False

    def get(self, kind: RequestKind, proxy: Proxy | None) -> PooledSession:
        """Return the session for a kind of request and a proxy. Raises RuntimeError after ``close``."""
        if self._closed:
            raise RuntimeError("this transport is closed")
        # Two proxies that differ in the user alone need two sessions; the key never leaves this process.
        key = (kind, proxy.address if proxy else "", proxy.headers.get("Proxy-Authorization", "") if proxy else "")
        if key not in self._sessions:
            self._sessions[key] = self._create(kind, proxy)
        return self._sessions[key]

    async def close(self) -> None:
        """Close every connection; responses still being read are interrupted."""
        self._closed = True
        sessions, self._sessions = list(self._sessions.values()), {}
        for pooled in sessions:
            await pooled.session.close()
        await asyncio.sleep(0)  # sockets close in the loop's next turn

    def _create(self, kind: RequestKind, proxy: Proxy | None) -> PooledSession:
        connector, connection_errors = self._create_connector(kind, proxy)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # decompression.py does it in steps, so that limits hold
            trust_env=False,  # it would attach credentials from ~/.netrc
            headers={"User-Agent": self._user_agent},
            skip_auto_headers=("Content-Type",),  # not for requests without a body
            timeout=aiohttp.ClientTimeout(),  # no limits: request_tracker.py has the timeouts
            trace_configs=[trace_config()],
            read_bufsize=READ_BUFFER_BYTES,
            max_line_size=self._limits.max_header_bytes,
            max_field_size=self._limits.max_header_bytes,
        )
        return PooledSession(session, proxy, (aiohttp.ClientError, OSError, *connection_errors))

    def _create_connector(
        self, kind: RequestKind, proxy: Proxy | None
    ) -> tuple[aiohttp.TCPConnector, tuple[type[Exception], ...]]:
        limits = self._limits
        limit = limits.max_downloads if kind == "download" else limits.max_connections
        keepalive = limits.submit_keepalive if kind == "submit" else limits.read_keepalive
        tls: ssl.SSLContext | bool = self._tls or True
        if proxy is not None and proxy.is_socks:
            import aiohttp_socks as socks  # 40 ms, for the few users who need it

            connector = socks.ProxyConnector(
                host=proxy.host,
                port=proxy.port,
                proxy_type=socks.ProxyType.SOCKS5 if proxy.scheme == "socks5" else socks.ProxyType.SOCKS4,
                username=proxy.username or None,
                password=proxy.password.reveal() or None,
                rdns=True,
                ssl=tls,
                limit=limit,
                keepalive_timeout=keepalive,
            )
            return connector, (socks.ProxyError, socks.ProxyConnectionError, socks.ProxyTimeoutError, EOFError)
        # With a proxy, the only name resolved here is the proxy's own, which is often private and chosen by the user.
        guard = self._guard if kind == "download" and proxy is None else None
        resolver = GuardedResolver(self._resolve, guard)
        return aiohttp.TCPConnector(resolver=resolver, ssl=tls, limit=limit, keepalive_timeout=keepalive), ()
