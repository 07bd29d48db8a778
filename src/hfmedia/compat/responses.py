"""Items that the g4f-compatible API yields: progress, the provider, and the images or videos.

``str`` of each is what a chat shows: Markdown for images, HTML for videos, nothing for items meant for programs.
Prompts and URLs are untrusted and therefore escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote

from hfmedia.core.text import single_line

IMAGES_START = "<!-- generated images start -->"  # markers by which a chat removes images from its history
IMAGES_END = "<!-- generated images end -->"
URL_PATTERN = re.compile(r"https?://|data:(?:image|video)/", re.I)
DRIVE_PATTERN = re.compile(r"[A-Za-z]:[\\/]")
URL_SAFE_CHARS = "%/:?#@!$&*+,;=~|"  # unchanged in a URL, which is quoted already; other characters could end a link


class Reasoning:
    """Progress for people: a ``label`` (Queued, Downloading, …) and a short ``status``."""

    def __init__(
        self,
        token: str | None = None,
        label: str | None = None,
        status: str | None = None,
        is_thinking: str | None = None,
    ) -> None:
        self.token = token
        self.label = label
        self.status = status
        self.is_thinking = is_thinking

    def __str__(self) -> str:
        for text in (self.is_thinking, self.token):
            if text is not None:
                return text
        if self.status is None:
            return ""
        return f"{self.label}: {self.status}\n" if self.label is not None else f"{self.status}\n"

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value is not None)
        return f"Reasoning({fields})"

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, Reasoning) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def get_dict(self) -> dict[str, str | None]:
        """Return the fields for JSON: label and status if there is a label, else all that are set."""
        if self.label is not None:
            return {"label": self.label, "status": self.status}
        fields = {"token": self.token, "status": self.status, "is_thinking": self.is_thinking}
        return {name: value for name, value in fields.items() if value is not None or name == "token"}


class ProviderInfo:
    """Provider of the result that follows: ``name``, ``label``, ``url``, ``model``, ``provider``. Hidden in chats."""

    name: str
    label: str
    url: str
    model: str
    provider: str

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)

    def __str__(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"ProviderInfo({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, ProviderInfo) else NotImplemented

    def get_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {name: value for name, value in vars(self).items() if not name.startswith("__")}


class MediaResponse:
    """One result: its URL or URLs, the prompt as ``alt``, and details in ``options``.

    A URL is the provider's, which expires, or a local path; ``options["path"]`` is always the local path.
    """

    def __init__(
        self, urls: str | list[str], alt: str = "", options: Mapping[str, Any] | None = None, **extra_options: Any
    ) -> None:
        self.urls = urls
        self.alt = alt
        self.options: dict[str, Any] = {**(options or {}), **extra_options}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.urls!r}, {self.alt!r})"

    def get(self, key: str) -> Any:
        """Return one of the options; None if it is unknown."""
        return self.options.get(key)

    def get_list(self) -> list[str]:
        """Return the URLs, as a list even if there is only one."""
        return [self.urls] if isinstance(self.urls, str) else list(self.urls)


class ImageResponse(MediaResponse):
    """One or more images; ``str`` is Markdown, each image linked to itself."""

    def __str__(self) -> str:
        urls = self.get_list()
        alts = [self.alt] if len(urls) == 1 else [f"#{number} {self.alt}" for number in range(1, len(urls) + 1)]
        links = (
            f"[![{_alt_text(alt)}]({safe_url(url)})]({safe_url(url)})" for alt, url in zip(alts, urls, strict=True)
        )
        return "\n".join(["", IMAGES_START, *links, IMAGES_END, ""])

    def _repr_markdown_(self) -> str:
        return str(self)


class VideoResponse(MediaResponse):
    """One or more videos; ``str`` is HTML."""

    def __str__(self) -> str:
        return "\n".join(f'<video controls src="{escape(safe_url(url))}"></video>' for url in self.get_list())

    def _repr_html_(self) -> str:
        return str(self)


def safe_url(url: str) -> str:
    """Quote a URL or a path for Markdown or an HTML attribute; any other scheme is quoted as part of a path."""
    if URL_PATTERN.match(url):
        return quote(url, safe=URL_SAFE_CHARS, errors="replace")
    drive = DRIVE_PATTERN.match(url)
    path = url.replace("\\", "/") if drive else url
    return (path[:2] if drive else "") + quote(path[2:] if drive else path, safe="/", errors="surrogateescape")


def _alt_text(text: str) -> str:
    """Escape a prompt for the alternative text of a Markdown image: one line, no tags, brackets or code."""
    return re.sub(r"([\\\[\]`])", r"\\\1", escape(single_line(text), quote=False))
