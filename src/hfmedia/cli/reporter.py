"""Output of commands: results on stdout; notes, warnings and errors on stderr.

With ``--json`` every line of both is one JSON object; with ``--quiet`` only results and errors are printed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

from hfmedia.core.credentials import redact
from hfmedia.core.errors import HfmediaError
from hfmedia.core.text import strip_control

Severity = Literal["note", "warning", "error"]
ANSI_COLORS: dict[Severity, str] = {"note": "2", "warning": "33", "error": "31"}  # dim, yellow, red


def stderr_is_terminal() -> bool:
    """Whether stderr is a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _write_stderr(text: str, severity: Severity) -> None:
    """Write one line on stderr, its first word in color on a terminal that wants colors."""
    head, colon, rest = text.partition(":")
    if colon and stderr_is_terminal() and os.name == "posix" and not os.environ.get("NO_COLOR"):
        text = f"\x1b[{ANSI_COLORS[severity]}m{head}:\x1b[0m{rest}"
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except BrokenPipeError:  # the reader is gone; the exit code remains
        return


class Reporter:
    """Prints results and messages. ``write`` writes a line on stderr; progress bars replace it while they are shown."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.write: Callable[[str, Severity], None] = _write_stderr
        self.stdout_closed = False  # the reader of stdout is gone
        self._printed_warnings: set[str] = set()

    def result(self, line: str | Mapping[str, Any]) -> None:
        """Print one result on stdout, a mapping as JSON; once the reader is gone, nothing is printed."""
        if self.stdout_closed:
            return
        text = line if isinstance(line, str) else json.dumps(line, default=str)
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            self.stdout_closed = True

    def info(self, text: str) -> None:
        """Print a note; not with --quiet."""
        if not self.quiet:
            self._emit("note", strip_control(text), {"note": text})

    def outcome(self, text: str, **fields: Any) -> None:
        """Print the outcome of something that is or may be billed, with --quiet too; as JSON, ``fields``."""
        self._emit("note", strip_control(redact(text)), fields)

    def warning(self, text: str, prefix: str = "") -> None:
        """Print a warning; the same text is printed only once, for the first output it concerns."""
        if self.quiet or text in self._printed_warnings:
            return
        self._printed_warnings.add(text)
        self._emit("warning", f"warning: {prefix}{strip_control(text)}", {"warning": text})

    def error(self, error: HfmediaError, prefix: str = "") -> None:
        """Print what went wrong and what to do next; as JSON, all fields of the error."""
        self._emit("error", f"error: {prefix}{strip_control(redact(str(error)))}", error_to_dict(error))

    def _emit(self, severity: Severity, text: str, fields: Mapping[str, Any]) -> None:
        self.write(json.dumps(fields, default=str) if self.as_json else text, severity)


def error_to_dict(error: HfmediaError) -> dict[str, Any]:
    """Return an error as plain JSON data, redacted."""
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
