"""The command ``hfmedia``: results on stdout, everything else on stderr, and an exit code per kind of error.

Imports nothing heavy before the command is known, so that ``hfmedia --help`` is quick.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

from .exit_codes import EXIT_INTERRUPTED


def main() -> None:
    """Run the command of ``sys.argv`` and exit with its exit code."""
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, TextIOWrapper):  # file names that are not valid UTF-8 are printed as their bytes
            stream.reconfigure(errors=errors if os.name == "posix" else "backslashreplace")
    try:
        from .app import app

        app(prog_name="hfmedia")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    finally:
        _flush_stdout()


def _flush_stdout() -> None:
    """Flush stdout; when its reader is gone, keep the interpreter from reporting that at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
