"""Facts as they may be shown and written down: plain JSON, without secrets and without the media themselves.

Pure. What is long or secret is named, not kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from ..core.request import LONGEST_PROMPT
from ..core.wire import redact
from .download import plain_url

LONGEST_TEXT = LONGEST_PROMPT  # characters; what is longer is no prompt but media in disguise
SECRET_NAME = re.compile(r"(?i)(secret|password|credential|authorization|api[_-]?key|access[_-]?key|token)$")


def plain(value: Any, name: str = "") -> Any:
    """The value as JSON can hold it. Inline media become a note of their length; URLs lose their query."""
    if isinstance(value, str):
        return _words(value, name)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"({len(value):,} bytes)"
    if isinstance(value, Mapping):
        return {str(key): plain(item, str(key)) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, Sequence):
        return [plain(item, name) for item in cast("Sequence[Any]", value)]
    if value is None or isinstance(value, bool | int | float):
        return value
    return plain(msgspec.to_builtins(value, enc_hook=str), name)


def told(text: str | None) -> str | None:
    """Words that came from somewhere else, without what looks like a secret."""
    return None if text is None else redact(text)


def _words(text: str, name: str) -> str:
    if SECRET_NAME.search(name):
        return "***"
    if text[:5].lower() == "data:":
        return f"{text[:64].partition(',')[0]},... ({len(text):,} characters)"
    if re.match(r"(?i)https?://\S+$", text):
        return redact(plain_url(text))
    return text if len(text) <= LONGEST_TEXT else f"{text[:64]}... ({len(text):,} characters)"
