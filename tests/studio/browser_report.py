"""Reports prominently, at the end of a run, that browser tests did not run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

MISSING = re.compile(r"no (Chromium|Playwright) found")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts the browser tests that were skipped because the browser is missing."""
    skipped = [
        match[0]
        for report in terminalreporter.stats.get("skipped", [])
        if "browser" in report.keywords and (match := MISSING.search(str(report.longrepr)))
    ]
    if skipped:
        text = f"BROWSER TESTS DID NOT RUN: {skipped[0]}; {len(skipped)} tests skipped"
        terminalreporter.section(text, sep="!", red=True, bold=True)
