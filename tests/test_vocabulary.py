"""The help of every command and the studio page contain no private word; test_architecture.py checks the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from hfmedia.cli.app import app
from tests.test_architecture import SOURCES, private_words

PAGE = sorted((SOURCES / "server/studio/page").iterdir())


def command_paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of a command and of all its subcommands."""
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from command_paths(child, (*path, name))


@pytest.mark.parametrize("path", PAGE, ids=lambda path: path.name)
def test_the_studio_page_contains_none(path: Path) -> None:
    """Neither in its texts nor in its code."""
    assert private_words(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", list(command_paths(get_command(app))), ids=" ".join)
def test_help_contains_none(path: tuple[str, ...]) -> None:
    """As printed, with examples and tables."""
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert private_words(result.output) == []
