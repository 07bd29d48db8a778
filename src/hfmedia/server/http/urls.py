"""The gateway's own address as its callers see it."""

from __future__ import annotations

import re

from starlette.requests import HTTPConnection

from hfmedia.server.config import Config

FALLBACK_HOST = "127.0.0.1"  # used when the Host header is missing or not a host
_HOST_PATTERN = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")
_PREFIX_PATTERN = re.compile(r"/[A-Za-z0-9._~/-]{0,200}")


def external_base_url(connection: HTTPConnection) -> str:
    """Return the gateway's base URL for this caller, without a trailing slash: ``https://example.org/hf``.

    The configured ``public_url`` wins over everything in the request.
    """
    config: Config = connection.app.state.gateway.config
    if config.public_url:
        return config.public_url
    host = connection.headers.get("host", "")
    if not is_host(host):
        server = connection.scope.get("server") or (FALLBACK_HOST, None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    scheme = connection.scope.get("scheme", "http")
    prefix = str(connection.scope.get("root_path", "")).rstrip("/")
    return f"{scheme}://{host}{prefix if _PREFIX_PATTERN.fullmatch(prefix) else ''}"


def is_host(text: str) -> bool:
    """Return True for a valid ``host`` or ``host:port``."""
    match = _HOST_PATTERN.fullmatch(text)
    return match is not None and int((match[2] or ":0")[1:]) <= 65535


def is_path_prefix(text: str) -> bool:
    """Return True for a path that is safe as the prefix of all URLs: ``/hf``."""
    return _PREFIX_PATTERN.fullmatch(text) is not None and "//" not in text and ".." not in text
