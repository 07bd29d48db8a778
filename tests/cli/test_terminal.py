"""Who watches: bars on a terminal, nothing when piped, and a reader who leaves early."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.cli import Start, seen
from tests.support.models import FLUX

pytest.importorskip("pty", reason="pseudo-terminals are POSIX")

FAL = f"{FLUX}:fal-ai"
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m|\x1b\[[0-9;]*9[0-7]m")


def test_a_terminal_sees_a_line_per_job_and_the_totals(start: Start) -> None:
    """Number, provider, state, then what came of it all; the results stay on stdout alone."""
    code, out, shown = seen(start, "a fox", "-m", FAL, "-n", "2")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert all(Path(line).stat().st_size for line in out.splitlines())
    for words in ("1/2", "2/2", "fal-ai", "done: "):
        assert words in shown
    assert re.search(r"2 made, cost .*, \d+\.\d s", shown)
    assert COLOUR.search(shown)
    assert shown.count("\x1b[?25l") <= shown.count("\x1b[?25h")  # a cursor that was hidden is shown again


def test_results_and_bars_share_a_terminal(start: Start) -> None:
    """Each path stands on a line of its own."""
    code, _, shown = seen(start, "a fox", "-m", FAL, "-o", "fox.jpg", both=True)
    assert code == 0
    assert re.search(r"(^|[\n\r]|\x1b\[[0-9]*[A-Za-z])fox\.jpg\r?\n", shown)
    assert "1 made" in shown


def test_no_color_is_honoured(start: Start) -> None:
    """Bars, but no colour."""
    code, _, shown = seen(start, "a fox", "-m", FAL, "--size", "1001x777", env={"NO_COLOR": "1"})
    assert code == 0
    assert "1/1" in shown
    assert not COLOUR.search(shown)


@pytest.mark.parametrize(("args", "env"), [(("--quiet",), {}), ((), {"TERM": "dumb"})])
def test_quiet_and_a_dumb_terminal_see_no_bars(start: Start, args: tuple[str, ...], env: dict[str, str]) -> None:
    """Nothing moves, and nothing is said of a job that goes well, but for the totals where they may be."""
    code, _, shown = seen(start, "a fox", "-m", FAL, *args, env=env)
    assert code == 0
    assert "\x1b" not in shown
    assert "1/1" not in shown


@pytest.mark.parametrize("command", [("models",), ("a fox", "-m", FAL, "-n", "2")], ids=["models", "generate"])
def test_a_reader_who_leaves_is_no_trouble(start: Start, command: tuple[str, ...]) -> None:
    """Quietly; what was paid for is carried to its file all the same."""
    reader, writer = os.pipe()
    os.close(reader)
    process = start(*command, stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert len(list(Path().glob("*.jp*g"))) == (2 if "-n" in command else 0)
