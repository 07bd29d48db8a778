"""The vocabulary of sources, documents and help: words with a standard term in the glossary stay rare or absent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from hfmedia.cli.app import app

ROOT = Path(__file__).parents[1]
PRIVATE_WORDS = "told|wish|whoever|anew|let go of|mended|nobody|somebody|begun|trouble|deed|patience"
MAX_OCCURRENCES = 20  # in sources and documents together
PATTERN = re.compile(rf"\b(?:{PRIVATE_WORDS})\b")
SOURCES = sorted(path for path in (ROOT / "src").rglob("*") if path.suffix in {".py", ".js", ".html", ".css"})
PAGE = sorted((ROOT / "src/hfmedia/server/studio/page").iterdir())
DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.*"),
                    *(path for path in (ROOT / "deploy").iterdir() if path.is_file())])  # fmt: skip


def relative(path: Path) -> str:
    """Return a path relative to the repository, as a test ID."""
    return str(path.relative_to(ROOT))


def private_words(text: str) -> Counter[str]:
    """Count the private words in a text, regardless of case; identifiers are split at underscores and capitals."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_\W]+", " ", text)
    return Counter(PATTERN.findall(split.lower()))


def help_pages() -> Iterator[tuple[str, ...]]:
    """Yield the path of every command, starting with the application itself."""

    def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, (*path, name))

    return walk(get_command(app), ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The server told it so.", {"told": 1}),
        ("let go\n    of", {"let go of": 1}),
        (
            "_told, toldAnew, WishList, HTTPTrouble, NOBODY",
            {"told": 2, "anew": 1, "wish": 1, "trouble": 1, "nobody": 1},
        ),
        ("untold, anewly, troubleshooting, indeed, impatience", {}),
    ],
)
def test_words_are_found_in_prose_and_identifiers(text: str, expected: dict[str, int]) -> None:
    """Whole words only."""
    assert private_words(text) == expected


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_documents_contain_none(path: Path) -> None:
    """README, CHANGELOG and everything else that users read."""
    assert private_words(path.read_text(encoding="utf-8")) == {}


@pytest.mark.parametrize("path", PAGE, ids=relative)
def test_the_studio_page_contains_none(path: Path) -> None:
    """Neither its texts nor its code."""
    assert private_words(path.read_text(encoding="utf-8")) == {}


@pytest.mark.parametrize("path", list(help_pages()), ids=" ".join)
def test_help_contains_none(path: tuple[str, ...]) -> None:
    """The help of every command."""
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert private_words(result.output) == {}


def test_sources_and_documents_contain_few() -> None:
    """File names included."""
    counts = {
        relative(path): sum(private_words(f"{relative(path)} {path.read_text(encoding='utf-8')}").values())
        for path in {*SOURCES, *DOCUMENTS}
    }
    report = "\n".join(f"{count:3} {name}" for name, count in sorted(counts.items()) if count)
    assert sum(counts.values()) <= MAX_OCCURRENCES, f"private words by file:\n{report}"
