"""Messages as a chat writes them, and the prompt in them: the last thing that the user said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

Messages = list[dict[str, Any]]


def last_prompt(messages: Sequence[Mapping[str, Any]] | None, prompt: str | None = None) -> str:
    """``prompt`` if there is one, else the text of the last user message; empty where the user said nothing."""
    if prompt:
        return prompt
    for message in reversed(messages or ()):
        if message.get("role") == "user":
            return message_text(message.get("content"))
    return ""


def message_text(content: Any) -> str:
    """The text of a message: itself, or the text parts of structured content, one a line."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        text = cast("Mapping[str, Any]", content).get("text")
        return text if isinstance(text, str) else ""
    if isinstance(content, list | tuple):
        return "\n".join(text for part in cast("Sequence[Any]", content) if (text := message_text(part)))
    return ""
