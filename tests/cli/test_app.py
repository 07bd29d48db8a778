"""Bare text, near misses, help and version."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from hfmedia import _version
from hfmedia.cli.app import GROUPS, app, resolve_args, suggest_command

COMMANDS = tuple(get_command(app).commands)  # type: ignore[attr-defined]
PAGES = [
    *((command,) for command in COMMANDS if command not in GROUPS),
    *((noun, command) for noun, (group, _) in GROUPS.items() for command in group().commands),
]
OWN = ("--help", "-h", "--version")
TAKERS = ("-m", "--model", "-n", "--task")

SPOKEN: tuple[tuple[list[str], list[str]], ...] = (
    ([], []),
    (["--help"], ["--help"]),
    (["--version"], ["--version"]),
    (["a red fox"], ["generate", "a red fox"]),
    (["a", "red", "fox"], ["generate", "a", "red", "fox"]),
    (["generate", "models"], ["generate", "models"]),
    (["-m", "x/y", "a fox"], ["generate", "-m", "x/y", "a fox"]),
    (["-m", "models", "a fox"], ["generate", "-m", "models", "a fox"]),
    (["--sandbox", "a fox"], ["generate", "--sandbox", "a fox"]),
    (["--sandbox", "models"], ["models", "--sandbox"]),
    (["--task=text-to-video", "models", "--json"], ["models", "--task=text-to-video", "--json"]),
    (["models", "--task", "text-to-video"], ["models", "--task", "text-to-video"]),
    (["-"], ["generate", "-"]),
    (["--", "models"], ["generate", "--", "models"]),
    (["--json"], ["generate", "--json"]),
)


@pytest.mark.parametrize(("written", "meant"), SPOKEN)
def test_text_that_names_no_command_is_a_prompt(written: list[str], meant: list[str]) -> None:
    """The first word decides; the values of options are no words."""
    assert resolve_args(written, COMMANDS, own_options=OWN, value_options=TAKERS) == meant


MISSED = (
    (["modles"], ("modles", "models")),
    (["Provider"], ("Provider", "providers")),
    (["doctr", "--json"], ("doctr", "doctor")),
    (["--sandbox", "model", "railway"], ("model", "models")),
    (["models"], None),
    (["a sandbox on the beach"], None),
    (["noodles"], None),
    (["fox"], None),
    (["--", "modles"], None),
    (["-m", "modles", "a fox"], None),
)


@pytest.mark.parametrize(("written", "missed"), MISSED)
def test_a_word_that_is_nearly_a_command_is_noticed(written: list[str], missed: tuple[str, str] | None) -> None:
    """A typing mistake shall not buy a picture of itself."""
    assert suggest_command(written, COMMANDS, TAKERS) == missed


def test_a_near_miss_is_asked_about_and_not_paid() -> None:
    """It names both: the command, and how to draw the word all the same."""
    result = CliRunner().invoke(app, ["modles"], prog_name="hfmedia")
    assert result.exit_code == 2
    assert "did you mean `hfmedia models`?" in result.stderr
    assert "hfmedia generate modles" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_help_shows_the_commands_and_the_exit_codes(args: list[str]) -> None:
    """Nothing asked for is a question, and the answer is no failure."""
    result = CliRunner().invoke(app, args, prog_name="hfmedia")
    assert result.exit_code == 0
    assert all(f"  {command}  " in result.stdout for command in COMMANDS)
    assert "8 in doubt" in result.stdout


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_each_command_has_a_page_with_examples(words: tuple[str, ...]) -> None:
    """Every one there is: a page without an example is half a page, and no option has a type for a value it lacks."""
    result = CliRunner().invoke(app, [*words, "--help"], prog_name="hfmedia")
    assert result.exit_code == 0
    assert "Examples:\n\n  " in result.stdout
    assert f"  hfmedia {words[0]}" in result.stdout or words == ("generate",)
    assert "bool" not in result.stdout


def test_the_sandbox_page_tells_every_fault() -> None:
    """The table of faults is the sandbox's own, whole."""
    from hfmedia.sandbox.faults import FAULT_KINDS

    result = CliRunner().invoke(app, ["sandbox", "--help"], prog_name="hfmedia")
    assert all(kind in result.stdout for kind in FAULT_KINDS)


def test_the_version_is_the_package_s() -> None:
    """One number, told in one line."""
    result = CliRunner().invoke(app, ["--version"], prog_name="hfmedia")
    assert (result.exit_code, result.stdout) == (0, f"hfmedia {_version.__version__}\n")


@pytest.mark.parametrize("args", [["--nonsense"], ["models", "--nonsense"], ["-n", "many", "a fox"]])
def test_an_option_nobody_knows_is_a_usage_error(args: list[str]) -> None:
    """Said on stderr, with exit code 2."""
    result = CliRunner().invoke(app, args, prog_name="hfmedia")
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


HEAVY = ("aiohttp", "PIL", "av", "rich", "hfmedia.client", "hfmedia.sandbox")


def test_help_loads_nothing_heavy() -> None:
    """What makes the first page slow is only loaded when it is used."""
    code = f"""
import sys
sys.argv = ["hfmedia", "--help"]
from hfmedia.cli import main
try:
    main()
finally:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert done.stdout.startswith("Usage: hfmedia")
