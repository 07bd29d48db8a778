"""Sanitized metadata, for display and for files: plain JSON without secrets and without inline media.

Pure. Long and secret values are replaced by a note.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ..core.credentials import redact
from ..core.http import display_url
from ..core.request import MAX_PROMPT_CHARS

MAX_TEXT_CHARS = MAX_PROMPT_CHARS  # characters; a longer text is not a prompt but encoded media
OMITTED_SUFFIX = " characters)"  # end of a note about an omitted value
SECRET_NAME_PATTERN = re.compile(r"(?i)(secret|password|credential|authorization|api[_-]?key|access[_-]?key|token)$")


def to_plain_json(value: Any, name: str = "") -> Any:
    """Convert a value to plain JSON data; inline media become a note of their length, URLs lose their query."""
    if isinstance(value, str):
        return _sanitize_text(value, name)
    if isinstance(value, bytes | bytearray):
        return f"({len(value):,} bytes)"
    if isinstance(value, Mapping):
        return {str(key): to_plain_json(item, str(key)) for key, item in cast("Any", value).items()}
    if isinstance(value, list | tuple):
        return [to_plain_json(item, name) for item in cast("Any", value)]
    if value is None or isinstance(value, bool | int | float):
        return value
    return to_plain_json(msgspec.to_builtins(value, enc_hook=str), name)


def redact_text(text: str | None) -> str | None:
    """Redact a text from an external source; None stays None."""
    return None if text is None else redact(text)


def _sanitize_text(text: str, name: str) -> str:
    if SECRET_NAME_PATTERN.search(name):
        return "***"
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate cannot be encoded
    if text[:5].lower() == "data:" and not text.endswith(OMITTED_SUFFIX):
        return f"{text[:64].partition(',')[0]},... ({len(text):,}{OMITTED_SUFFIX}"
    if re.match(r"(?i)https?://\S+$", text):
        return redact(display_url(text))
    return text if len(text) <= MAX_TEXT_CHARS else f"{text[:64]}... ({len(text):,}{OMITTED_SUFFIX}"
