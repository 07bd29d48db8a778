"""Access to a gateway without API keys: from the machine it runs on, and from no web page but its own.

Without the second rule, any page could make its reader's browser call the gateway, either under a name of its own (DNS
rebinding) or across origins, and spend the operator's money.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.requests import Request

from hfmedia.core.origin import parse_origin
from hfmedia.server.config import Config
from hfmedia.server.errors import ApiError

CREATE_KEY_HINT = "create one with `hfmedia keys create NAME`"
FORWARDING_HEADERS = ("x-forwarded-for", "x-real-ip")
_HOST_PATTERN = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(?::([0-9]{1,5}))?")


def requires_api_keys(host: str) -> bool:
    """Return True if listening on this address admits other machines, so that API keys are required."""
    return not is_loopback(host)


def is_loopback(host: str) -> bool:
    """Return True if a host name or address means the local machine on every machine."""
    name = host.strip().strip("[]").lower()
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def require_local(request: Request, config: Config) -> None:
    """Raise ApiError 403 unless the request comes from this machine and not from a page of another site.

    Forwarding headers are taken into account where they speak against the request, never in its favor.
    """
    client_host = request.client.host if request.client else ""
    forwarded_addresses = [
        part for name in FORWARDING_HEADERS for text in request.headers.getlist(name) for part in text.split(",")
    ]
    if not is_loopback(client_host) or not all(is_loopback(_strip_port(part)) for part in forwarded_addresses):
        raise _key_required("a gateway without API keys serves only the machine it runs on")
    host = _require_own_host(request, config)
    origins = request.headers.getlist("origin")
    if origins:
        allowed_origins = (f"{request.url.scheme}://{host}", config.public_url or "", *config.cors_origins)
        origin = parse_origin(origins[0]) if len(origins) == 1 else None
        if origin is None or origin not in {parse_origin(text) for text in allowed_origins}:
            raise _key_required(
                "a gateway without API keys serves no web pages but its own; add others to cors_origins"
            )
    elif "cross-site" in (text.strip().lower() for text in request.headers.getlist("sec-fetch-site")):
        raise _key_required("a gateway without API keys serves no web pages but its own")


def _require_own_host(request: Request, config: Config) -> str:
    """Return the Host header if it names this machine or the host of ``public_url``; raise ApiError 403 otherwise."""
    hosts = request.headers.getlist("host")
    match = _HOST_PATTERN.fullmatch(hosts[0].strip()) if len(hosts) == 1 else None
    public_host = urlsplit(config.public_url).hostname if config.public_url else None
    if match is None or not (is_loopback(match[1]) or match[1].strip("[]").lower() == public_host):
        raise _key_required(
            "a gateway without API keys accepts only localhost, 127.0.0.1 or the host of public_url as its host name"
        )
    return hosts[0].strip()


def _strip_port(text: str) -> str:
    """Return the address of a forwarding header without its port."""
    address = text.strip().strip('"')
    match = _HOST_PATTERN.fullmatch(address)
    return match[1] if match else address


def _key_required(reason: str) -> ApiError:
    message = f"{reason}; create an API key to allow remote access: `hfmedia keys create NAME`"
    return ApiError(403, message, code="key_required", retry=False)
