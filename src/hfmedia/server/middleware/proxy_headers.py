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

_HOST_PATTERN = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")
_PREFIX_PATTERN = re.compile(r"/[A-Za-z0-9._~/-]{0,200}")
_ADDRESS_PATTERN = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15}))(?::[0-9]{1,5})?")
_PAIR_PATTERN = re.compile(r"\s*([A-Za-z]+)\s*=\s*(\"[^\"]*\"|[^\s;,\"]+)\s*")
FALLBACK_HOST = "127.0.0.1"  # where a Host header is missing or no name at all
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ProxyHeadersMiddleware:
    """Middleware: gives a request the scheme, host, client and path prefix that trusted proxies tell of it."""

    def __init__(self, app: ASGIApp, config: Config) -> None:
        self._app = app
        self._prefix = config.root_path
        self._trusted_networks = tuple(
            ipaddress.ip_network(network, strict=False) for network in config.trusted_proxies
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on as it was before the proxy."""
        if scope["type"] in ("http", "websocket"):
            if self._prefix:
                scope = {**scope, **with_root_path(self._prefix, scope)}
            if self._trusted_networks and is_trusted(self._trusted_networks, _peer(scope)):
                scope = {**scope, **apply_forwarded(Headers(scope=scope), scope, self._trusted_networks)}
        await self._app(scope, receive, send)


def with_root_path(prefix: str, scope: Scope) -> Scope:
    """What changes in a request's scope when its path lies under a prefix, whether the proxy left that or took it."""
    path: str = scope["path"]
    if path == prefix or path.startswith(f"{prefix}/"):
        return {"root_path": prefix}
    raw: bytes = scope.get("raw_path") or path.encode()
    return {"root_path": prefix, "path": prefix + path, "raw_path": prefix.encode() + raw}


def is_trusted(networks: Iterable[Network], address: str | None) -> bool:
    """Whether an address is one of ours to believe; what is no address is not."""
    try:
        ip = ipaddress.ip_address((address or "").strip("[]"))
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip in network for network in networks if network.version == ip.version)


def apply_forwarded(headers: Headers, scope: Scope, trusted_networks: tuple[Network, ...]) -> Scope:
    """What changes in a request's scope by the word of a trusted proxy; what makes no sense changes nothing."""
    changes: Scope = {}
    forwarded = {name: _hops(headers, f"x-forwarded-{name}") for name in ("proto", "host", "for", "prefix")}
    if not any(
        forwarded.values()
    ):  # one of the two: a proxy that knows the older names passes a stranger's newer one on
        forwarded |= _parse_forwarded(headers)
    proto = _last_hop(forwarded["proto"]).lower()
    if proto in ("http", "https"):
        changes["scheme"] = proto
    if is_host(host := _last_hop(forwarded["host"])):
        other_headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
        changes["headers"] = [*other_headers, (b"host", host.encode())]
    client = _client_address(forwarded["for"], trusted_networks)
    if client:
        changes["client"] = (client, 0)
    prefix = _last_hop(forwarded["prefix"]).rstrip("/")
    if prefix and _PREFIX_PATTERN.fullmatch(prefix) and "//" not in prefix and ".." not in prefix:
        changes.update(with_root_path(prefix, scope))
    return changes


def is_host(text: str) -> bool:
    """Whether it is a host, with or without a port, that may stand in an address."""
    match = _HOST_PATTERN.fullmatch(text)
    return match is not None and int((match[2] or ":0")[1:]) <= 65535


def external_base_url(request: HTTPConnection) -> str:
    """The gateway's address as this caller sees it, without a slash at its end: ``https://example.org/hf``."""
    config: Config = request.app.state.gateway.config
    if config.public_url:
        return config.public_url
    host = request.headers.get("host", "")
    if not is_host(host):
        server = request.scope.get("server") or (FALLBACK_HOST, None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    scheme = request.scope.get("scheme", "http")
    prefix = str(request.scope.get("root_path", "")).rstrip("/")
    return f"{scheme}://{host}{prefix if _PREFIX_PATTERN.fullmatch(prefix) else ''}"


def _peer(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


def _hops(headers: Headers, name: str) -> list[str]:
    """What each proxy said, the nearest last; a proxy may add to a line or add a line."""
    return [hop.strip() for value in headers.getlist(name) for hop in value.split(",")]


def _last_hop(hops: list[str]) -> str:
    """The word of the proxy nearest to us, which is the one that we trust."""
    return hops[-1] if hops else ""


def _parse_forwarded(headers: Headers) -> dict[str, list[str]]:
    """The elements of the Forwarded headers (RFC 7239) under the older names; proto and host of the nearest alone."""
    elements = [
        {name.lower(): value.strip('"') for name, value in _PAIR_PATTERN.findall(hop)}
        for hop in _hops(headers, "forwarded")
    ]
    last_element = elements[-1] if elements else {}
    nearest_values = {name: [last_element[name]] for name in ("proto", "host") if name in last_element}
    return {**nearest_values, "for": [element.get("for", "") for element in elements]}


def _client_address(hops: list[str], trusted_networks: tuple[Network, ...]) -> str | None:
    """The address nearest to us that is no proxy of ours; None when there is none that can be read."""
    for hop in reversed(hops):
        match = _ADDRESS_PATTERN.fullmatch(hop)
        address = (match[1] or match[2]) if match else hop
        try:
            ipaddress.ip_address(address)
        except ValueError:
            return None
        if not is_trusted(trusted_networks, address):
            return address
    return None
