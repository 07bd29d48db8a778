"""The command ``hfmedia``: results on stdout, everything else on stderr, and an exit code that says who acts next.

Nothing heavy is imported before it is known which command runs, so that ``hfmedia --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

EXIT_INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended


def main() -> None:
    """Runs the command that ``sys.argv`` spells and leaves with its exit code."""
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, TextIOWrapper):  # a file name may hold bytes that are no UTF-8; it is told as it is
            stream.reconfigure(errors=errors if os.name == "posix" else "backslashreplace")
    try:
        from .app import app

        app(prog_name="hfmedia")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    finally:
        _flush_stdout()


def _flush_stdout() -> None:
    """Flushes stdout; when its reader is gone, the interpreter shall not complain of that at its end."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
