"""Displays: bars on a terminal, none when piped, and a closed stdout."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.cli import Start, seen
from tests.support.models import FLUX

pytest.importorskip("pty", reason="pseudo-terminals are POSIX")

FAL = f"{FLUX}:fal-ai"
COLOR = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m|\x1b\[[0-9;]*9[0-7]m")


def test_a_terminal_sees_a_line_per_job_and_the_totals(start: Start) -> None:
    """Number, provider, status, then the totals; results are only on stdout."""
    code, out, shown = seen(start, "a fox", "-m", FAL, "-n", "2")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert all(Path(line).stat().st_size for line in out.splitlines())
    for text in ("1/2", "2/2", "fal-ai", "done: "):
        assert text in shown
    assert re.search(r"2 images saved; cost .*; \d+\.\d s", shown)
    assert COLOR.search(shown)
    assert shown.count("\x1b[?25l") <= shown.count("\x1b[?25h")  # a hidden cursor is shown again


def test_results_and_bars_share_a_terminal(start: Start) -> None:
    """Each path has its own line."""
    code, _, shown = seen(start, "a fox", "-m", FAL, "-o", "fox.jpg", both=True)
    assert code == 0
    assert re.search(r"(^|[\n\r]|\x1b\[[0-9]*[A-Za-z])fox\.jpg\r?\n", shown)
    assert "1 image saved" in shown


def test_no_color_is_respected(start: Start) -> None:
    """Bars, but no color."""
    code, _, shown = seen(start, "a fox", "-m", FAL, "--size", "1001x777", env={"NO_COLOR": "1"})
    assert code == 0
    assert "1/1" in shown
    assert not COLOR.search(shown)


@pytest.mark.parametrize(("args", "env"), [(("--quiet",), {}), ((), {"TERM": "dumb"})])
def test_quiet_and_a_dumb_terminal_see_no_bars(start: Start, args: tuple[str, ...], env: dict[str, str]) -> None:
    """Nothing moves, and a successful job prints nothing on stderr except the totals where allowed."""
    code, _, shown = seen(start, "a fox", "-m", FAL, *args, env=env)
    assert code == 0
    assert "\x1b" not in shown
    assert "1/1" not in shown


@pytest.mark.parametrize("command", [("models",), ("a fox", "-m", FAL, "-n", "2")], ids=["models", "generate"])
def test_a_closed_stdout_is_not_an_error(start: Start, command: tuple[str, ...]) -> None:
    """Without a message; results that are paid for are saved all the same."""
    reader, writer = os.pipe()
    os.close(reader)
    process = start(*command, stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert len(list(Path().glob("*.jp*g"))) == (2 if "-n" in command else 0)
