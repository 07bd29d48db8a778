"""Forwarded headers: what a proxy says of the request that it passes on, believed only of proxies that we were told of.

``base_url`` is the one place that knows the gateway's own address as its callers see it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from hfmedia.server.config import Config

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")
_PREFIX = re.compile(r"/[A-Za-z0-9._~/-]{0,200}")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15}))(?::[0-9]{1,5})?")
_PAIR = re.compile(r"\s*([A-Za-z]+)\s*=\s*(\"[^\"]*\"|[^\s;,\"]+)\s*")
FALLBACK = "127.0.0.1"  # where a Host header is missing or no name at all
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Forwarded:
    """Middleware: gives a request the scheme, host, client and path prefix that trusted proxies tell of it."""

    def __init__(self, app: ASGIApp, config: Config) -> None:
        self._app = app
        self._prefix = config.root_path
        self._trusted = tuple(ipaddress.ip_network(one, strict=False) for one in config.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on as it was before the proxy."""
        if scope["type"] in ("http", "websocket"):
            if self._prefix:
                scope = {**scope, **under(self._prefix, scope)}
            if self._trusted and trusts(self._trusted, _peer(scope)):
                scope = {**scope, **told(Headers(scope=scope), scope, self._trusted)}
        await self._app(scope, receive, send)


def under(prefix: str, scope: Scope) -> Scope:
    """What changes in a request's scope when its path lies under a prefix, whether the proxy left that or took it."""
    path: str = scope["path"]
    if path == prefix or path.startswith(f"{prefix}/"):
        return {"root_path": prefix}
    raw: bytes = scope.get("raw_path") or path.encode()
    return {"root_path": prefix, "path": prefix + path, "raw_path": prefix.encode() + raw}


def trusts(trusted: Iterable[Network], address: str | None) -> bool:
    """Whether an address is one of ours to believe; what is no address is not."""
    try:
        here = ipaddress.ip_address((address or "").strip("[]"))
    except ValueError:
        return False
    here = getattr(here, "ipv4_mapped", None) or here
    return any(here in network for network in trusted if network.version == here.version)


def told(headers: Headers, scope: Scope, trusted: tuple[Network, ...]) -> Scope:
    """What changes in a request's scope by the word of a trusted proxy; what makes no sense changes nothing."""
    made: Scope = {}
    said = {name: _hops(headers, f"x-forwarded-{name}") for name in ("proto", "host", "for", "prefix")}
    if not any(said.values()):  # one of the two: a proxy that knows the older names passes a stranger's newer one on
        said |= _standard(headers)
    proto = _nearest(said["proto"]).lower()
    if proto in ("http", "https"):
        made["scheme"] = proto
    if is_host(host := _nearest(said["host"])):
        kept = [(name, value) for name, value in scope["headers"] if name != b"host"]
        made["headers"] = [*kept, (b"host", host.encode())]
    client = _client(said["for"], trusted)
    if client:
        made["client"] = (client, 0)
    prefix = _nearest(said["prefix"]).rstrip("/")
    if prefix and _PREFIX.fullmatch(prefix) and "//" not in prefix and ".." not in prefix:
        made.update(under(prefix, scope))
    return made


def is_host(text: str) -> bool:
    """Whether it is a host, with or without a port, that may stand in an address."""
    found = _HOST.fullmatch(text)
    return found is not None and int((found[2] or ":0")[1:]) <= 65535


def base_url(request: HTTPConnection) -> str:
    """The gateway's address as this caller sees it, without a slash at its end: ``https://example.org/hf``."""
    config: Config = request.app.state.gateway.config
    if config.public_url:
        return config.public_url
    host = request.headers.get("host", "")
    if not is_host(host):
        server = request.scope.get("server") or (FALLBACK, None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    scheme = request.scope.get("scheme", "http")
    prefix = str(request.scope.get("root_path", "")).rstrip("/")
    return f"{scheme}://{host}{prefix if _PREFIX.fullmatch(prefix) else ''}"


def _peer(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


def _hops(headers: Headers, name: str) -> list[str]:
    """What each proxy said, the nearest last; a proxy may add to a line or add a line."""
    return [hop.strip() for value in headers.getlist(name) for hop in value.split(",")]


def _nearest(hops: list[str]) -> str:
    """The word of the proxy nearest to us, which is the one that we trust."""
    return hops[-1] if hops else ""


def _standard(headers: Headers) -> dict[str, list[str]]:
    """The elements of the Forwarded headers (RFC 7239) under the older names; proto and host of the nearest alone."""
    elements = [
        {name.lower(): value.strip('"') for name, value in _PAIR.findall(hop)} for hop in _hops(headers, "forwarded")
    ]
    near = elements[-1] if elements else {}
    told = {name: [near[name]] for name in ("proto", "host") if name in near}
    return {**told, "for": [element.get("for", "") for element in elements]}


def _client(hops: list[str], trusted: tuple[Network, ...]) -> str | None:
    """The address nearest to us that is no proxy of ours; None when there is none that can be read."""
    for text in reversed(hops):
        found = _ADDRESS.fullmatch(text)
        bare = (found[1] or found[2]) if found else text
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            return None
        if not trusts(trusted, bare):
            return bare
    return None
