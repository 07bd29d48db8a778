"""HTTP as data: a request to send, a reply that came back, and the secrets that neither ever shows.

Nothing here sends anything. A reply is read through types: ``reply.read(Painting).url``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct, field

T = TypeVar("T")

SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-key"})
# Each pattern keeps its first group, if it has one, and hides the rest. Repetitions before a fixed word are bounded, so
# that a hostile text costs no more than its length.
SECRET_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(://)[^/\s@?#]{1,1000}(?=@)",  # user and password of a proxy
        r"(?i)([?&][^=&\s]{0,64}(?:signature|credential|token|key|sig|secret|expires|policy)[^=&\s]{0,64}=)[^&#\s\"'<>]+",
        r"(?i)(authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:(?:bearer|key|basic|token)\s+)?)[^\s\"',;]+",
        r"(?i)(\bbearer\s+)[\w.~+/:=-]{8,}",
        # other names of secrets are plain words too: "the token expired" keeps its words, "token 1f2e3d4c" does not
        r"(?i)(\b(?:key|token)\s+)(?=\S{0,64}\d|\S{20})[\w.~+/:=-]{8,}",
        r"(?i)((?:api[_-]?key|token|secret|password)[\"']?\s{0,3}[:=]\s{0,3}[\"']?)(?=\S{0,64}\d|\S{16})[^\s\"',;&}]{6,}",
        r"\bhf_[A-Za-z0-9_]{6,}[\w.-]*",  # lower case only: HF_ENDPOINT is no secret
        r"\bhfm_[0-9a-f]{12}_[A-Za-z0-9]+",  # a key of the gateway
        r"\br8_[A-Za-z0-9]{10,}",
        r"\bsk[-_][A-Za-z0-9_-]{10,}",
        r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",  # a JSON web token
        r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9a-f]{16,}",  # fal.ai: key id and key secret
        r"\b[0-9a-f]{32}\.[A-Za-z0-9]{16,}",  # z.ai: id and secret
    )
)
MAX_RAW_BYTES = 64 * 1024  # bytes of a reply kept for a person to look at


class Secret:
    """A secret that does not show itself: ``str`` and ``repr`` are blind, ``reveal`` is the one way in."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself, for the one header it belongs into."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never written down")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Credential(Struct, frozen=True, kw_only=True):
    """A secret, the scheme it is sent with, and the one origin (scheme, host, port) it may be sent to."""

    secret: Secret
    base_url: str
    scheme: Literal["Bearer", "Key"] = "Bearer"

    def allows(self, url: str) -> bool:
        """Whether this credential may go to that URL: same scheme, host and port, and below the same path.

        Spelled exactly as the base URL: what two parsers might read differently is refused.
        """
        if not url.isprintable() or "\\" in url or url[:1].isspace():
            return False
        try:
            base, target = urlsplit(self.base_url), urlsplit(url)
        except ValueError:
            return False
        same_origin = (base.scheme, base.netloc) == (target.scheme, target.netloc)
        return (
            same_origin
            and (target.path + "/").startswith(base.path.rstrip("/") + "/")
            and not _has_parent_segment(target.path)
        )

    @property
    def header(self) -> str:
        """The value of the Authorization header."""
        return f"{self.scheme} {self.secret.reveal()}"


class HttpRequest(Struct, frozen=True, kw_only=True):
    """One HTTP request. ``hold`` is how long, in seconds, the server may keep it open on purpose before it answers."""

    method: Literal["GET", "POST", "PUT"]
    url: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    server_wait: float = 0.0

    def __repr__(self) -> str:
        safe_headers = {k: "***" if k.lower() in SECRET_HEADERS else v for k, v in self.headers.items()}
        return f"HttpRequest({self.method} {redact(self.url)} {safe_headers} {len(self.body or b'')} bytes)"


class HttpResponse(Struct, frozen=True, kw_only=True):
    """One complete HTTP reply; header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpReply({self.status} {self.mime} {len(self.body)} bytes)"

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def mime(self) -> str:
        """The media type it claims, without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self, kind: type[T]) -> T:
        """The JSON body as ``kind``; msgspec.DecodeError (ValidationError says where) when it is something else."""
        return msgspec.json.decode(self.body, type=kind)


def post_json(
    url: str, body: Any, *, headers: Mapping[str, str] | None = None, server_wait: float = 0.0
) -> HttpRequest:
    """A POST of JSON."""
    all_headers = {"Content-Type": "application/json", **(headers or {})}
    return HttpRequest(
        method="POST", url=url, headers=all_headers, body=msgspec.json.encode(body), server_wait=server_wait
    )


def get(url: str, *, headers: Mapping[str, str] | None = None) -> HttpRequest:
    """A GET."""
    return HttpRequest(method="GET", url=url, headers=dict(headers or {}))


def redact(text: str) -> str:
    """The same text without what looks like a secret: tokens, keys, signatures in URLs."""
    for pattern in SECRET_PATTERNS:
        text = pattern.sub(r"\1***" if pattern.groups else "***", text)
    return text


def safe_path(url: str, *, default: str = "") -> str:
    """The path of a URL out of a reply, safe to append to a route's base: it starts with one slash and never climbs.

    Whatever host the URL names is thrown away: only the route's own host is ever asked. ``default`` stands in for a
    path that is empty or tries to climb, and for what is no URL at all.
    """
    try:
        path = urlsplit(url).path
    except ValueError:
        return default
    unsafe = _has_parent_segment(path) or not path.isascii() or not path.isprintable()
    return default if unsafe or not path.strip("/") else "/" + path.strip("/")


def _has_parent_segment(path: str) -> bool:
    """Whether a path has ``..`` in it, plain or percent-encoded (even twice), or a backslash, to some a slash."""
    decoded = unquote(unquote(path))
    return "\\" in decoded or ".." in decoded.split("/")
