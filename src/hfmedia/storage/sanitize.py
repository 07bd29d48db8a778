"""Facts as they may be shown and written down: plain JSON, without secrets and without the media themselves.

Pure. What is long or secret is named, not kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ..core.credentials import redact
from ..core.http import display_url
from ..core.request import MAX_PROMPT_CHARS

MAX_TEXT_CHARS = MAX_PROMPT_CHARS  # characters; what is longer is no prompt but media in disguise
OMITTED_SUFFIX = " characters)"  # how a note of ours ends
SECRET_NAME_PATTERN = re.compile(r"(?i)(secret|password|credential|authorization|api[_-]?key|access[_-]?key|token)$")


def to_plain_json(value: Any, name: str = "") -> Any:
    """The value as JSON can hold it. Inline media become a note of their length; URLs lose their query."""
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
    """Words that came from somewhere else, without what looks like a secret."""
    return None if text is None else redact(text)


def _sanitize_text(text: str, name: str) -> str:
    if SECRET_NAME_PATTERN.search(name):
        return "***"
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text
    if text[:5].lower() == "data:" and not text.endswith(OMITTED_SUFFIX):
        return f"{text[:64].partition(',')[0]},... ({len(text):,}{OMITTED_SUFFIX}"
    if re.match(r"(?i)https?://\S+$", text):
        return redact(display_url(text))
    return text if len(text) <= MAX_TEXT_CHARS else f"{text[:64]}... ({len(text):,}{OMITTED_SUFFIX}"
