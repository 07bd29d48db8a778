"""Bare text, misspelled commands, help and version."""

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
    *((name, command) for name, (group, _) in GROUPS.items() for command in group().commands),
]
OWN = ("--help", "-h", "--version")
VALUE_OPTIONS = ("-m", "--model", "-n", "--task")

RESOLVED: tuple[tuple[list[str], list[str]], ...] = (
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


@pytest.mark.parametrize(("args", "resolved"), RESOLVED)
def test_text_that_names_no_command_is_a_prompt(args: list[str], resolved: list[str]) -> None:
    """The first argument decides; the values of options don't count."""
    assert resolve_args(args, COMMANDS, own_options=OWN, value_options=VALUE_OPTIONS) == resolved


MISSPELLED = (
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


@pytest.mark.parametrize(("args", "suggestion"), MISSPELLED)
def test_a_misspelled_command_is_noticed(args: list[str], suggestion: tuple[str, str] | None) -> None:
    """A typing mistake must not be billed as a prompt."""
    assert suggest_command(args, COMMANDS, VALUE_OPTIONS) == suggestion


def test_a_misspelled_command_is_a_usage_error() -> None:
    """The message names the command, and how to use the word as a prompt."""
    result = CliRunner().invoke(app, ["modles"], prog_name="hfmedia")
    assert result.exit_code == 2
    assert "did you mean `hfmedia models`?" in result.stderr
    assert "hfmedia generate modles" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_help_shows_the_commands_and_the_exit_codes(args: list[str]) -> None:
    """Without arguments too, with exit code 0."""
    result = CliRunner().invoke(app, args, prog_name="hfmedia")
    assert result.exit_code == 0
    assert all(f"  {command}  " in result.stdout for command in COMMANDS)
    assert "8 in doubt" in result.stdout


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_each_command_has_a_page_with_examples(words: tuple[str, ...]) -> None:
    """Without exception; and no flag shows a type for a value that it does not take."""
    result = CliRunner().invoke(app, [*words, "--help"], prog_name="hfmedia")
    assert result.exit_code == 0
    assert "Examples:\n\n  " in result.stdout
    assert f"  hfmedia {words[0]}" in result.stdout or words == ("generate",)
    assert "bool" not in result.stdout


def test_the_sandbox_page_lists_every_fault() -> None:
    """The table of faults is the sandbox's own."""
    from hfmedia.sandbox.faults import FAULT_KINDS

    result = CliRunner().invoke(app, ["sandbox", "--help"], prog_name="hfmedia")
    assert all(kind in result.stdout for kind in FAULT_KINDS)


def test_the_version_is_the_package_s() -> None:
    """One number in one line."""
    result = CliRunner().invoke(app, ["--version"], prog_name="hfmedia")
    assert (result.exit_code, result.stdout) == (0, f"hfmedia {_version.__version__}\n")


@pytest.mark.parametrize("args", [["--nonsense"], ["models", "--nonsense"], ["-n", "many", "a fox"]])
def test_an_unknown_option_is_a_usage_error(args: list[str]) -> None:
    """On stderr, with exit code 2."""
    result = CliRunner().invoke(app, args, prog_name="hfmedia")
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


HEAVY = ("aiohttp", "PIL", "av", "rich", "msgspec", "hfmedia.client", "hfmedia.sandbox")


def test_help_imports_nothing_heavy() -> None:
    """Slow imports happen only when they are used."""
    code = f"""
import sys
sys.argv = ["hfmedia", "--help"]
from hfmedia.cli import main
try:
    main()
finally:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (completed.returncode, completed.stderr.strip()) == (0, "[]")
    assert completed.stdout.startswith("Usage: hfmedia")
