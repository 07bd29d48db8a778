"""Facts as they may be shown and written down: plain JSON, without secrets and without the media themselves.

Pure. What is long or secret is named, not kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ..core.request import LONGEST_PROMPT
from ..core.wire import redact
from .download import plain_url

LONGEST_TEXT = LONGEST_PROMPT  # characters; what is longer is no prompt but media in disguise
NOTED = " characters)"  # how a note of ours ends
SECRET_NAME = re.compile(r"(?i)(secret|password|credential|authorization|api[_-]?key|access[_-]?key|token)$")


def plain(value: Any, name: str = "") -> Any:
    """The value as JSON can hold it. Inline media become a note of their length; URLs lose their query."""
    if isinstance(value, str):
        return _words(value, name)
    if isinstance(value, bytes | bytearray):
        return f"({len(value):,} bytes)"
    if isinstance(value, Mapping):
        return {str(key): plain(item, str(key)) for key, item in cast("Any", value).items()}
    if isinstance(value, list | tuple):
        return [plain(item, name) for item in cast("Any", value)]
    if value is None or isinstance(value, bool | int | float):
        return value
    return plain(msgspec.to_builtins(value, enc_hook=str), name)


def cleaned(text: str | None) -> str | None:
    """Words that came from somewhere else, without what looks like a secret."""
    return None if text is None else redact(text)


def _words(text: str, name: str) -> str:
    if SECRET_NAME.search(name):
        return "***"
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text
    if text[:5].lower() == "data:" and not text.endswith(NOTED):
        return f"{text[:64].partition(',')[0]},... ({len(text):,}{NOTED}"
    if re.match(r"(?i)https?://\S+$", text):
        return redact(plain_url(text))
    return text if len(text) <= LONGEST_TEXT else f"{text[:64]}... ({len(text):,}{NOTED}"
