"""The performance page matches the measured results and shows every plot."""

from __future__ import annotations

import json
from pathlib import Path

from bench import report


def test_the_numbers_on_the_page_match_the_results() -> None:
    """``python -m bench.report`` would not change it."""
    text = report.PAGE.read_text(encoding="utf-8")
    assert report.BEGIN_MARK in text
    assert report.updated_page(text, json.loads(report.RESULTS.read_text(encoding="utf-8"))) == text


def test_every_plot_is_shown_and_every_shown_plot_exists() -> None:
    """And each has an accessible role."""
    text = report.PAGE.read_text(encoding="utf-8")
    plots = {path.name for path in report.RESULTS.parent.glob("*.svg")}
    assert plots == {name for name in plots if f"(performance/{name})" in text}
    assert text.count(".svg)") == len(plots)
    for name in plots:
        assert 'role="img"' in Path(report.RESULTS.parent, name).read_text(encoding="utf-8")
