"""Checking a whole sheet: what is broken is named before anything is sent, what clashes as well."""

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
    """A reading of rows, or of a file."""
    marks = ScratchDb()
    opened: list[InputReader] = []

    def read(sheet: Any, defaults: dict[str, Any] | None = None, folder: str = "out") -> InputReader:
        given = open_input(sheet) if isinstance(sheet, Path) else RowsInput(sheet, base_folder=tmp_path)
        opened.append(InputReader(given, tmp_path / folder, defaults or {}, marks))
        return opened[-1]

    yield read
    marks.close()
    for one in opened:
        one.source.close()


def test_a_sound_sheet_is_counted(reading: Read) -> None:
    """Lines, outputs, and the columns that only a provider knows."""
    told = reading([{"prompt": "a", "n": 3}, {"prompt": "b", "strength": 1, "heigth": 64}]).validate()
    assert told == ValidationSummary(lines=2, outputs=4, extra_columns=("strength", "heigth"))
    assert told.warnings() == [
        "the column 'strength' is passed on to the provider as it is",
        "the column 'heigth' is passed on as it is; did you mean height?",
    ]


def test_the_first_broken_lines_are_named_and_the_others_counted(reading: Read, tmp_path: Path) -> None:
    """By the numbers that an editor shows."""
    lines = ['{"prompt": "fine"}', *['{"prompt": "a", "seed": -1}'] * 25, "", "{"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(InvalidInputFileError) as caught:
        reading(tmp_path / "a.jsonl").validate()
    error = caught.value
    assert error.count == 26
    assert [one.line for one in error.errors] == list(range(2, 2 + MAX_LISTED_ERRORS))
    assert error.message.startswith("26 of 27 lines of a.jsonl are broken; nothing was sent\n  line 2: seed is -1")
    assert error.message.endswith("\n  and 6 more")


CLASHES: list[tuple[list[dict[str, Any]], dict[int, str]]] = [
    ([{"key": "a"}, {"key": "b"}, {"key": "a"}], {3: "its key 'a' is that of row 1 already"}),
    ([{"output": "a.png"}, {"output": "./a.png"}], {2: "its output 'a.png' is that of row 1 already"}),
    ([{"output": "a.png", "n": 2}, {"output": "a-2.png"}], {2: "its output 'a-2.png' is that of row 1 already"}),
    ([{"image": "gone.png"}, {"image": "there.png"}, {"image": "http://x.test/a.png"}], {1: "is not there"}),
    ([{"output": "link/a.png"}, {"output": "sub/a.png"}], {1: "leads out of the folder, through a link"}),
]


@pytest.mark.parametrize(("rows", "told"), CLASHES)
def test_lines_that_clash_are_named(
    rows: list[dict[str, Any]], told: dict[int, str], reading: Read, tmp_path: Path
) -> None:
    """With each other, or with what is on the disk."""
    Image.new("RGB", (8, 8)).save(tmp_path / "there.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(InvalidInputFileError) as caught:
        reading([{"prompt": "a", **row} for row in rows]).validate()
    assert {one.line for one in caught.value.errors} == set(told)
    for one in caught.value.errors:
        assert told[one.line] in one.message


def test_identical_lines_do_not_clash(reading: Read) -> None:
    """They are as many jobs, each with its key."""
    read = reading([{"prompt": "a"}] * 5)
    assert read.validate().outputs == 5
    keys = [order.key for order in read.items()]
    assert len(set(keys)) == 5
    assert [order.key for order in read.items()] == keys


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_sheet_is_told(text: str, reading: Read, tmp_path: Path) -> None:
    """Nobody means to do nothing."""
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(InvalidRequestError, match="holds no request"):
        reading(tmp_path / "a.txt").validate()


def test_an_image_is_found_from_where_the_sheet_lies(reading: Read, tmp_path: Path) -> None:
    """And it counts by its bytes: another picture under the same name is another job."""
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
    with pytest.raises(InvalidRequestError, match=r"line 2: its image .* cannot be read"):
        list(read.items())


def test_a_sheet_that_is_written_into_is_told(reading: Read, tmp_path: Path) -> None:
    """What was checked is what is sent, or nothing is."""
    path = tmp_path / "a.txt"
    path.write_text("a fox\na whale\n")
    read = reading(path)
    read.validate()
    path.write_text("a fox\na whale\na bear\n")
    with pytest.raises(InvalidRequestError, match=r"a\.txt was changed while it was read; start again"):
        list(read.items())


def test_the_folder_is_the_same_by_whatever_name(reading: Read, tmp_path: Path) -> None:
    """A link to it makes no new jobs."""
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    rows = [{"prompt": "a"}]
    assert next(iter(reading(rows).items())).key == next(iter(reading(rows, folder="link").items())).key
    assert next(iter(reading(rows).items())).key != next(iter(reading(rows, folder="other").items())).key
