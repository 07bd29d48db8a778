"""What the command says: results on stdout, and on stderr notes, warnings and errors, each once.

With ``--json`` every line on either is one JSON object; with ``--quiet`` only results and errors are said.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

from hfmedia.core.errors import HfmediaError
from hfmedia.core.wire import redact

Tone = Literal["note", "warning", "error"]
PAINT: dict[Tone, str] = {"note": "2", "warning": "33", "error": "31"}  # what a terminal is told: dim, yellow, red


def plain(text: str) -> str:
    """The text with nothing in it that a terminal obeys: what a provider says is shown, never executed."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def is_terminal() -> bool:
    """Whether a person watches stderr on a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _write(text: str, tone: Tone) -> None:
    """One line on stderr, its first word in colour where a terminal wants it."""
    head, colon, rest = text.partition(":")
    if colon and is_terminal() and os.name == "posix" and not os.environ.get("NO_COLOR"):
        text = f"\x1b[{PAINT[tone]}m{head}:\x1b[0m{rest}"
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except BrokenPipeError:  # nobody listens; the exit code still says it
        return


class Voice:
    """Says things. ``write`` is how a line reaches stderr; progress bars put their own there while they move."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.write: Callable[[str, Tone], None] = _write
        self.deaf = False  # whether the reader of stdout is gone
        self._said: set[str] = set()

    def result(self, line: str | Mapping[str, Any]) -> None:
        """One result on stdout: a line, or an object as JSON. Once the reader is gone, nothing."""
        if self.deaf:
            return
        text = line if isinstance(line, str) else json.dumps(line, default=str)
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            self.deaf = True

    def note(self, text: str) -> None:
        """Something a person may like to know."""
        if not self.quiet:
            self._say("note", plain(text), {"note": text})

    def fate(self, text: str, **fields: Any) -> None:
        """What became of something paid or payable: said whatever else is quiet."""
        self._say("note", plain(redact(text)), fields)

    def warning(self, text: str, about: str = "") -> None:
        """Something that is not as it was asked for. The same words are said once, about the first they concern."""
        if self.quiet or text in self._said:
            return
        self._said.add(text)
        self._say("warning", f"warning: {about}{plain(text)}", {"warning": text})

    def error(self, error: HfmediaError, about: str = "") -> None:
        """What went wrong and what to do next; as JSON, everything that is known of it."""
        self._say("error", f"error: {about}{plain(redact(str(error)))}", told(error))

    def _say(self, tone: Tone, text: str, fields: Mapping[str, Any]) -> None:
        self.write(json.dumps(fields, default=str) if self.as_json else text, tone)


def told(error: HfmediaError) -> dict[str, Any]:
    """An error as plain data."""
    return {
        "error": type(error).__name__,
        "message": redact(error.message),
        "exit_code": error.exit_code,
        "provider": error.provider,
        "model": error.model,
        "job_id": error.job_id,
        "status": error.status,
        "code": error.code,
        "retryable": error.retryable,
        "attempts": [redact(attempt) for attempt in error.attempts],
    }
