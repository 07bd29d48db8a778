"""Exit codes of the command that belong to no exception; core/errors.py has the others."""

from __future__ import annotations

EXIT_INTERRUPTED = 130  # the convention of shells for a program ended by Ctrl-C
