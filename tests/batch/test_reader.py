"""Validation of a whole input: invalid lines and conflicts are listed before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hfmedia.batch import InvalidInputFileError, RowsInput
from hfmedia.batch.input_files import open_input
from hfmedia.batch.reader import MAX_LISTED_ERRORS, InputReader, ValidationSummary
from hfmedia.batch.scratch import ScratchDb
from hfmedia.core.errors import InvalidRequestError

Read = Callable[..., InputReader]


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Read]:
    """A reader of rows, or of a file."""
    scratch = ScratchDb()
    opened: list[InputReader] = []

    def read(source: Any, defaults: dict[str, Any] | None = None, folder: str = "out") -> InputReader:
        opened_source = open_input(source) if isinstance(source, Path) else RowsInput(source, base_folder=tmp_path)
        opened.append(InputReader(opened_source, tmp_path / folder, defaults or {}, scratch))
        return opened[-1]

    yield read
    scratch.close()
    for reader in opened:
        reader.source.close()


def test_a_valid_input_is_summarized(reading: Read) -> None:
    """Lines, outputs, and the columns that only a provider may know."""
    summary = reading([{"prompt": "a", "n": 3}, {"prompt": "b", "shift": 1, "heigth": 64}]).validate()
    assert summary == ValidationSummary(lines=2, outputs=4, extra_columns=("shift", "heigth"))
    assert summary.warnings() == [
        "unknown column 'shift' is passed to the provider unchanged",
        "unknown column 'heigth' is passed to the provider unchanged; did you mean height?",
    ]


def test_the_first_invalid_lines_are_listed_and_the_others_counted(reading: Read, tmp_path: Path) -> None:
    """By the numbers that an editor shows."""
    lines = ['{"prompt": "fine"}', *['{"prompt": "a", "seed": -1}'] * 25, "", "{"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(InvalidInputFileError) as caught:
        reading(tmp_path / "a.jsonl").validate()
    error = caught.value
    assert error.count == 26
    assert [line_error.line for line_error in error.errors] == list(range(2, 2 + MAX_LISTED_ERRORS))
    assert error.message.startswith("a.jsonl: 26 of 27 lines are invalid; nothing was sent\n  line 2: seed is -1")
    assert error.message.endswith("\n  and 6 more")


CONFLICTS: list[tuple[list[dict[str, Any]], dict[int, str]]] = [
    ([{"key": "a"}, {"key": "b"}, {"key": "a"}], {3: "key 'a' is already used by row 1"}),
    ([{"output": "a.png"}, {"output": "./a.png"}], {2: "output 'a.png' is already used by row 1"}),
    ([{"output": "a.png", "n": 2}, {"output": "a-2.png"}], {2: "output 'a-2.png' is already used by row 1"}),
    ([{"image": "gone.png"}, {"image": "there.png"}, {"image": "http://x.test/a.png"}], {1: "does not exist"}),
    ([{"output": "link/a.png"}, {"output": "sub/a.png"}], {1: "is outside the folder, through a link"}),
]


@pytest.mark.parametrize(("rows", "expected"), CONFLICTS)
def test_conflicting_lines_are_listed(
    rows: list[dict[str, Any]], expected: dict[int, str], reading: Read, tmp_path: Path
) -> None:
    """They conflict with each other, or with the disk."""
    Image.new("RGB", (8, 8)).save(tmp_path / "there.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(InvalidInputFileError) as caught:
        reading([{"prompt": "a", **row} for row in rows]).validate()
    assert {error.line for error in caught.value.errors} == set(expected)
    for error in caught.value.errors:
        assert expected[error.line] in error.message


def test_identical_lines_do_not_conflict(reading: Read) -> None:
    """They are separate jobs, each with its own key."""
    read = reading([{"prompt": "a"}] * 5)
    assert read.validate().outputs == 5
    keys = [item.key for item in read.items()]
    assert len(set(keys)) == 5
    assert [item.key for item in read.items()] == keys


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_input_is_an_error(text: str, reading: Read, tmp_path: Path) -> None:
    """It is probably the wrong file."""
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(InvalidRequestError, match="contains no requests"):
        reading(tmp_path / "a.txt").validate()


def test_an_image_path_is_relative_to_the_input_file(reading: Read, tmp_path: Path) -> None:
    """And the image counts by its bytes: another image under the same name is another job."""
    (tmp_path / "sub").mkdir()
    picture = tmp_path / "sub" / "fox.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    (tmp_path / "sub" / "a.csv").write_text("prompt,image\na fox,fox.png\n")
    read = reading(tmp_path / "sub" / "a.csv")
    read.validate()
    before = list(read.items())
    assert before[0].options["image"] == str(picture)
    Image.new("RGB", (8, 8), "blue").save(picture)
    assert next(iter(read.items())).key != before[0].key
    picture.unlink()
    with pytest.raises(InvalidRequestError, match=r"line 2: image .* cannot be read"):
        list(read.items())


def test_an_input_that_changes_is_an_error(reading: Read, tmp_path: Path) -> None:
    """Only what was validated is sent."""
    path = tmp_path / "a.txt"
    path.write_text("a fox\na whale\n")
    read = reading(path)
    read.validate()
    path.write_text("a fox\na whale\na bear\n")
    with pytest.raises(InvalidRequestError, match=r"a\.txt was changed while it was read; run the command again"):
        list(read.items())


def test_the_folder_is_the_same_under_another_name(reading: Read, tmp_path: Path) -> None:
    """A link to it creates no new jobs."""
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    rows = [{"prompt": "a"}]
    assert next(iter(reading(rows).items())).key == next(iter(reading(rows, folder="link").items())).key
    assert next(iter(reading(rows).items())).key != next(iter(reading(rows, folder="other").items())).key
