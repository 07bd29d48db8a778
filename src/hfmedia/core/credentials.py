"""Credentials: secrets that never show themselves, the URLs they may be sent to, and redaction of texts.

Nothing here sends anything.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NoReturn
from urllib.parse import unquote, urlsplit

from msgspec import Struct

BILL_TO_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")  # the Hub's rule for names; a resource group id fits
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-key"})
# Each pattern keeps its first group, if it has one, and hides the rest. Repetitions before a fixed part are bounded, so
# that matching takes linear time on a hostile text too.
SECRET_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(://)[^/\s@?#]{1,1000}(?=@)",  # user and password of a proxy
        r"(?i)([?&][^=&\s]{0,64}(?:signature|credential|token|key|sig|secret|expires|policy)[^=&\s]{0,64}=)[^&#\s\"'<>]+",
        r"(?i)(authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:(?:bearer|key|basic|token)\s+)?)[^\s\"',;]+",
        r"(?i)(\bbearer\s+)[\w.~+/:=-]{8,}",
        # other names of secrets are ordinary English too: "the token expired" stays, "token 1f2e3d4c" is redacted
        r"(?i)(\b(?:key|token)\s+)(?=\S{0,64}\d|\S{20})[\w.~+/:=-]{8,}",
        r"(?i)((?:api[_-]?key|token|secret|password)[\"']?\s{0,3}[:=]\s{0,3}[\"']?)(?=\S{0,64}\d|\S{16})[^\s\"',;&}]{6,}",
        r"\bhf_[A-Za-z0-9_]{6,}[\w.-]*",  # lower case only: HF_ENDPOINT is not a secret
        r"\bhfm_[0-9a-f]{12}_[A-Za-z0-9]+",  # an API key of the gateway
        r"\br8_[A-Za-z0-9]{10,}",
        r"\bsk[-_][A-Za-z0-9_-]{10,}",
        r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",  # a JSON web token
        r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9a-f]{16,}",  # fal.ai: key id and key secret
        r"\b[0-9a-f]{32}\.[A-Za-z0-9]{16,}",  # z.ai: id and secret
    )
)


class Secret:
    """A secret that ``str`` and ``repr`` never show; only ``reveal`` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret itself, for the one header that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be serialized")

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
        """Return True if this credential may be sent to the URL: same scheme, host and port, and below the same path.

        The URL has to be spelled exactly like the base URL: one that two parsers might read differently is rejected.
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
            and not has_parent_segment(target.path)
        )

    @property
    def header(self) -> str:
        """Value of the Authorization header."""
        return f"{self.scheme} {self.secret.reveal()}"


def redact(text: str) -> str:
    """Return the text with everything that looks like a secret replaced by ``***``: tokens, keys, signed URLs."""
    for pattern in SECRET_PATTERNS:
        text = pattern.sub(r"\1***" if pattern.groups else "***", text)
    return text


def has_parent_segment(path: str) -> bool:
    """Return True if a path contains ``..``, plain or percent-encoded (even twice), or a backslash.

    Some servers treat a backslash as a slash.
    """
    decoded = unquote(unquote(path))
    return "\\" in decoded or ".." in decoded.split("/")
