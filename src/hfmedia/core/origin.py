"""Origins of URLs (scheme, host and port) and base URLs, parsed in one way for every comparison."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme and host in lower case; the port is None only for a scheme without a default port."""

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port is None else f":{self.port}")

    @property
    def is_http(self) -> bool:
        """True for http and https."""
        return self.scheme in DEFAULT_PORTS


def parse_origin(url: str) -> Origin | None:
    """Return the origin of a URL; None when it has no scheme or host, or when it contains user information."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not parts.scheme or not host or "@" in parts.netloc:
        return None
    return Origin(parts.scheme, host, port or DEFAULT_PORTS.get(parts.scheme))


def normalize_url(text: str) -> str | None:
    """Return an http or https URL in its normal form: lower-case host, no default port, no trailing slash.

    None for anything else: other schemes, user information, a query, a fragment, white space, or ``..`` in the path.
    """
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    is_invalid = (
        not host or "@" in parts.netloc or parts.query or parts.fragment or re.search(r"[\s\\\x00-\x1f]", text.strip())
    )
    if is_invalid or parts.scheme not in DEFAULT_PORTS or not host or (port == 0) or ".." in parts.path.split("/"):
        return None
    host_label = f"[{host}]" if ":" in host else host
    port_suffix = "" if port in (None, DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host_label}{port_suffix}{parts.path.rstrip('/')}"
