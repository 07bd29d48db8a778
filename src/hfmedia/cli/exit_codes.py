"""Exit codes that do not belong to an error; every HfmediaError has its own ``exit_code``."""

from __future__ import annotations

EXIT_INTERRUPTED = 130  # the convention of shells for a program ended by Ctrl-C
