"""Chat messages, and the prompt in them: the text of the last user message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

Messages = list[dict[str, Any]]


def last_prompt(messages: Sequence[Mapping[str, Any]] | None, prompt: str | None = None) -> str:
    """Return ``prompt`` if there is one, else the text of the last user message; empty if there is none."""
    if prompt:
        return prompt
    for message in reversed(messages or ()):
        if message.get("role") == "user":
            return message_text(message.get("content"))
    return ""


def message_text(content: Any) -> str:
    """Return the text of a message: the content itself, or the text parts of structured content, one per line."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        text = cast("Mapping[str, Any]", content).get("text")
        return text if isinstance(text, str) else ""
    if isinstance(content, list | tuple):
        return "\n".join(text for part in cast("Sequence[Any]", content) if (text := message_text(part)))
    return ""
