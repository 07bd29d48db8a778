"""HTTP as data: a request to send and the response to it.

Nothing here sends anything. A response is decoded through types: ``response.json(Prediction).urls``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Struct, field

from .credentials import SECRET_HEADERS, has_parent_segment, redact

T = TypeVar("T")

MAX_RAW_BYTES = 64 * 1024  # bytes of a response body kept in an error for inspection


class HttpRequest(Struct, frozen=True, kw_only=True):
    """One HTTP request; ``server_wait`` is how long, in seconds, the server may hold it open before it responds."""

    method: Literal["GET", "POST", "PUT"]
    url: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    server_wait: float = 0.0

    def __repr__(self) -> str:
        safe_headers = {k: "***" if k.lower() in SECRET_HEADERS else v for k, v in self.headers.items()}
        return f"HttpRequest({self.method} {redact(self.url)} {safe_headers} {len(self.body or b'')} bytes)"


class HttpResponse(Struct, frozen=True, kw_only=True):
    """One complete HTTP response; header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpResponse({self.status} {self.mime} {len(self.body)} bytes)"

    @property
    def ok(self) -> bool:
        """True for a 2xx status."""
        return 200 <= self.status < 300

    @property
    def mime(self) -> str:
        """Media type from the Content-Type header, without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self, kind: type[T]) -> T:
        """Decode the JSON body as ``kind``.

        Raises msgspec.DecodeError when the body is not JSON, and its subclass ValidationError, with the path of the
        value, when it does not have that type.
        """
        return msgspec.json.decode(self.body, type=kind)


def post_json(
    url: str, body: Any, *, headers: Mapping[str, str] | None = None, server_wait: float = 0.0
) -> HttpRequest:
    """Build a POST request with a JSON body."""
    all_headers = {"Content-Type": "application/json", **(headers or {})}
    return HttpRequest(
        method="POST", url=url, headers=all_headers, body=msgspec.json.encode(body), server_wait=server_wait
    )


def get(url: str, *, headers: Mapping[str, str] | None = None) -> HttpRequest:
    """Build a GET request."""
    return HttpRequest(method="GET", url=url, headers=dict(headers or {}))


def safe_path(url: str, *, default: str = "") -> str:
    """Return the path of a URL from a response, safe to append to a route's base URL.

    It starts with exactly one slash and never leaves the base. The host in the URL is discarded: requests go to the
    route's own host only. ``default`` is returned for a path that is empty or contains ``..``, and for an invalid URL.
    """
    try:
        path = urlsplit(url).path
    except ValueError:
        return default
    unsafe = has_parent_segment(path) or not path.isascii() or not path.isprintable()
    return default if unsafe or not path.strip("/") else "/" + path.strip("/")


def display_url(url: str) -> str:
    """Return a URL for people to read: without user information, and without its query, which may be a signature."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
