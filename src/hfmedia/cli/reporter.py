"""What the command says: results on stdout, and on stderr notes, warnings and errors, each once.

With ``--json`` every line on either is one JSON object; with ``--quiet`` only results and errors are said.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

from hfmedia.core.credentials import redact
from hfmedia.core.errors import HfmediaError

Severity = Literal["note", "warning", "error"]
ANSI_COLORS: dict[Severity, str] = {
    "note": "2",
    "warning": "33",
    "error": "31",
}  # what a terminal is told: dim, yellow, red


def strip_control(text: str) -> str:
    """The text with nothing in it that a terminal obeys: what a provider says is shown, never executed."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def stderr_is_terminal() -> bool:
    """Whether a person watches stderr on a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _write_stderr(text: str, severity: Severity) -> None:
    """One line on stderr, its first word in colour where a terminal wants it."""
    head, colon, rest = text.partition(":")
    if colon and stderr_is_terminal() and os.name == "posix" and not os.environ.get("NO_COLOR"):
        text = f"\x1b[{ANSI_COLORS[severity]}m{head}:\x1b[0m{rest}"
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except BrokenPipeError:  # nobody listens; the exit code still says it
        return


class Reporter:
    """Says things. ``write`` is how a line reaches stderr; progress bars put their own there while they move."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.write: Callable[[str, Severity], None] = _write_stderr
        self.stdout_closed = False  # whether the reader of stdout is gone
        self._printed_warnings: set[str] = set()

    def result(self, line: str | Mapping[str, Any]) -> None:
        """One result on stdout: a line, or an object as JSON. Once the reader is gone, nothing."""
        if self.stdout_closed:
            return
        text = line if isinstance(line, str) else json.dumps(line, default=str)
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            self.stdout_closed = True

    def info(self, text: str) -> None:
        """Something a person may like to know."""
        if not self.quiet:
            self._emit("note", strip_control(text), {"note": text})

    def outcome(self, text: str, **fields: Any) -> None:
        """What became of something paid or payable: said whatever else is quiet."""
        self._emit("note", strip_control(redact(text)), fields)

    def warning(self, text: str, prefix: str = "") -> None:
        """Something that is not as it was asked for. The same words are said once, about the first they concern."""
        if self.quiet or text in self._printed_warnings:
            return
        self._printed_warnings.add(text)
        self._emit("warning", f"warning: {prefix}{strip_control(text)}", {"warning": text})

    def error(self, error: HfmediaError, prefix: str = "") -> None:
        """What went wrong and what to do next; as JSON, everything that is known of it."""
        self._emit("error", f"error: {prefix}{strip_control(redact(str(error)))}", error_to_dict(error))

    def _emit(self, severity: Severity, text: str, fields: Mapping[str, Any]) -> None:
        self.write(json.dumps(fields, default=str) if self.as_json else text, severity)


def error_to_dict(error: HfmediaError) -> dict[str, Any]:
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
