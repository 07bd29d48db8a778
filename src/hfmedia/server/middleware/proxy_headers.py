"""Proxy headers: X-Forwarded-* and Forwarded (RFC 7239), believed only from configured proxies.

uvicorn's own ``ProxyHeadersMiddleware`` reads neither X-Forwarded-Host nor X-Forwarded-Prefix nor RFC 7239. The studio
and the URLs of results need host and prefix when the gateway is served under a path such as ``/hf``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from hfmedia.server.config import Config
from hfmedia.server.http.urls import is_host, is_path_prefix

_ADDRESS_PATTERN = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15}))(?::[0-9]{1,5})?")
_PAIR_PATTERN = re.compile(r"\s*([A-Za-z]+)\s*=\s*(\"[^\"]*\"|[^\s;,\"]+)\s*")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ProxyHeadersMiddleware:
    """Middleware: gives a request the scheme, host, client and path prefix that trusted proxies report."""

    def __init__(self, app: ASGIApp, config: Config) -> None:
        self._app = app
        self._prefix = config.root_path
        self._trusted_networks = tuple(
            ipaddress.ip_network(network, strict=False) for network in config.trusted_proxies
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on as it was before the proxy."""
        if scope["type"] in ("http", "websocket"):
            if self._prefix:
                scope = {**scope, **with_root_path(self._prefix, scope)}
            if self._trusted_networks and is_trusted(self._trusted_networks, _peer(scope)):
                scope = {**scope, **apply_forwarded(Headers(scope=scope), scope, self._trusted_networks)}
        await self._app(scope, receive, send)


def with_root_path(prefix: str, scope: Scope) -> Scope:
    """Return the scope changes for a path prefix, whether the proxy left it in the path or stripped it."""
    path: str = scope["path"]
    if path == prefix or path.startswith(f"{prefix}/"):
        return {"root_path": prefix}
    raw: bytes = scope.get("raw_path") or path.encode()
    return {"root_path": prefix, "path": prefix + path, "raw_path": prefix.encode() + raw}


def is_trusted(networks: Iterable[Network], address: str | None) -> bool:
    """Return True for an address of a trusted network, False for others and for text that is not an address."""
    try:
        ip = ipaddress.ip_address((address or "").strip("[]"))
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip in network for network in networks if network.version == ip.version)


def apply_forwarded(headers: Headers, scope: Scope, trusted_networks: tuple[Network, ...]) -> Scope:
    """Return the scope changes from a trusted proxy's headers; invalid values change nothing."""
    changes: Scope = {}
    forwarded = {name: _hops(headers, f"x-forwarded-{name}") for name in ("proto", "host", "for", "prefix")}
    # One kind only: a proxy that sets the X-Forwarded-* headers may pass on a client's own Forwarded header.
    if not any(forwarded.values()):
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
    if is_path_prefix(prefix):
        changes.update(with_root_path(prefix, scope))
    return changes


def _peer(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


def _hops(headers: Headers, name: str) -> list[str]:
    """Return the values of all proxies, the nearest last; a proxy may append to a header or add another."""
    return [hop.strip() for value in headers.getlist(name) for hop in value.split(",")]


def _last_hop(hops: list[str]) -> str:
    """Return the value of the nearest proxy, the only trusted one."""
    return hops[-1] if hops else ""


def _parse_forwarded(headers: Headers) -> dict[str, list[str]]:
    """Return the Forwarded elements (RFC 7239) under the X-Forwarded names; proto and host of the last only."""
    elements = [
        {name.lower(): value.strip('"') for name, value in _PAIR_PATTERN.findall(hop)}
        for hop in _hops(headers, "forwarded")
    ]
    last_element = elements[-1] if elements else {}
    nearest_values = {name: [last_element[name]] for name in ("proto", "host") if name in last_element}
    return {**nearest_values, "for": [element.get("for", "") for element in elements]}


def _client_address(hops: list[str], trusted_networks: tuple[Network, ...]) -> str | None:
    """Return the nearest address that is not a trusted proxy; None if there is none or it is not a valid address."""
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
