"""Tables on stdout: aligned columns with a heading on a terminal, tab-separated values without one in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .reporter import Reporter


def print_table(reporter: Reporter, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text on stdout; without rows, nothing."""
    if not sys.stdout.isatty():
        for row in rows:
            reporter.result("\t".join(row))
        return
    lines = [[name.upper() for name in heading], *rows] if rows else []
    widths = [max(len(row[column]) for row in lines) for column in range(len(heading))] if lines else []
    for row in lines:
        reporter.result("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
