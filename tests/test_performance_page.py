"""The page on performance says what was measured, and shows every plot that lies beside it."""

from __future__ import annotations

import json
from pathlib import Path

from bench import report


def test_the_numbers_on_the_page_are_those_of_the_file() -> None:
    """``python -m bench.report`` would change nothing."""
    text = report.PAGE.read_text(encoding="utf-8")
    assert report.BEGIN_MARK in text
    assert report.updated_page(text, json.loads(report.RESULTS.read_text(encoding="utf-8"))) == text


def test_every_plot_is_shown_and_every_one_shown_is_there() -> None:
    """None is forgotten, none is missing, and each tells a reader who cannot see it what it shows."""
    text = report.PAGE.read_text(encoding="utf-8")
    plots = {path.name for path in report.RESULTS.parent.glob("*.svg")}
    assert plots == {name for name in plots if f"(performance/{name})" in text}
    assert text.count(".svg)") == len(plots)
    for name in plots:
        assert 'role="img"' in Path(report.RESULTS.parent, name).read_text(encoding="utf-8")
