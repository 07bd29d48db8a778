"""Sheets: each format read, each broken line told by its number, each file that is none refused."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from hfmedia.batch.input_files import MAX_LINE_BYTES, RawRow, RowsInput, open_input
from hfmedia.core.errors import InvalidRequestError

FOX, WHALE = {"prompt": "a fox"}, {"prompt": "a whale"}


def read(path: Path, form: str | None = None) -> list[RawRow]:
    """All that a file holds, read twice, since every sheet is."""
    sheet = open_input(path, form)
    try:
        rows = list(sheet.rows())
        assert list(sheet.rows()) == rows
        return rows
    finally:
        sheet.close()


READ: dict[str, tuple[str, bytes, list[tuple[int, dict[str, Any]]]]] = {
    "text": ("a.txt", b"a fox\n\n  a whale  \r\n", [(1, FOX), (3, WHALE)]),
    "a hash is a prompt": ("a.txt", b"# a fox", [(1, {"prompt": "# a fox"})]),
    "text with a byte order mark": ("a.txt", b"\xef\xbb\xbfa fox\n", [(1, FOX)]),
    "json lines": ("a.jsonl", b'{"prompt": "a fox", "seed": null}\n\n{"prompt": "a whale"}', [(1, FOX), (3, WHALE)]),
    "ndjson": ("a.NDJSON", b'{"prompt": "a fox", "x": [1]}', [(1, {**FOX, "x": [1]})]),
    "csv": ("a.csv", b"prompt,seed\na fox,7\na whale,\n", [(2, {**FOX, "seed": "7"}), (3, WHALE)]),
    "csv with a byte order mark": ("a.csv", b"\xef\xbb\xbfprompt\r\na fox\r\n", [(2, FOX)]),
    "csv with semicolons": ("a.csv", b"prompt;seed\na fox;7\n", [(2, {**FOX, "seed": "7"})]),
    "csv with tabs": ("a.tsv", b"prompt\tseed\na fox\t7\n", [(2, {**FOX, "seed": "7"})]),
    "csv over several lines": ("a.csv", b'\nprompt\n"a\nfox"\na whale', [(3, {"prompt": "a\nfox"}), (5, WHALE)]),
    "csv for the provider": ("a.csv", b"prompt,strength\na fox,0.5\n", [(2, {**FOX, "strength": 0.5})]),
    "csv with fewer cells": ("a.csv", b"prompt,seed\na fox\n", [(2, FOX)]),
    "csv with blank lines": ("a.csv", b"prompt\n\na fox\n", [(3, FOX)]),
    "empty": ("a.txt", b"", []),
}


@pytest.mark.parametrize("case", READ)
def test_a_sheet_is_read_line_by_line(case: str, tmp_path: Path) -> None:
    """With the numbers that an editor shows."""
    name, data, rows = READ[case]
    (tmp_path / name).write_bytes(data)
    assert [(row.number, row.cells) for row in read(tmp_path / name)] == rows


BROKEN: dict[str, tuple[str, bytes, list[tuple[int, str]]]] = {
    "no json": ("a.jsonl", b'{"prompt": "a"}\n{"prompt": \n[1]\n"x"\n7', [
        (2, "is not JSON"), (3, "is [1], but must be an object"), (4, "is 'x'"), (5, "is 7")]),
    "no utf-8 in json": ("a.jsonl", b'{"prompt": "\xff"}', [(1, "is not JSON")]),
    "deep json": ("a.jsonl", b'{"prompt": ' + b"[" * 100_000, [(1, "is not JSON")]),
    "no utf-8 in text": ("a.txt", b"fine\n\xff\xfe\xfd\nfine", [(2, "write it in UTF-8")]),
    "no utf-8 in csv": ("a.csv", b"prompt,seed\n\xffox,1\nfine,1", [(2, "no text in prompt")]),
    "too many cells": ("a.csv", b"prompt\na,b\nfine\n", [(2, "has 2 cells, and the header names no column for 'b'")]),
    "only delimiters": ("a.csv", b"prompt,seed\n,\nfine,1\n", [(2, "holds nothing but delimiters")]),
    "an open quote": ("a.csv", b'prompt\nfine\n"open\nfox\n', [(3, "is not CSV")]),
    "a stray quote": ("a.csv", b'prompt\n"a"fox\nfine\n', [(2, "is not CSV")]),
    "endless text": ("a.txt", b"x" * (MAX_LINE_BYTES + 1) + b"\nfine", [(1, "is longer than 16 MiB")]),
    "endless json": ("a.jsonl", b"x" * (2 * MAX_LINE_BYTES + 7) + b"\n{}", [(1, "is longer than 16 MiB")]),
    "endless csv": ("a.csv", b"prompt\n" + b"x" * (MAX_LINE_BYTES + 1), [(2, "is longer than 16 MiB")]),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_line_is_told_by_its_number_and_the_next_one_is_read(case: str, tmp_path: Path) -> None:
    """Nothing is raised for one line."""
    name, data, told = BROKEN[case]
    (tmp_path / name).write_bytes(data)
    wrong = [row for row in read(tmp_path / name) if row.cells is None]
    assert [row.number for row in wrong] == [number for number, _ in told]
    for row, (_, words) in zip(wrong, told, strict=True):
        assert words in row.error
        assert len(row.error) < 300


REFUSED: dict[str, tuple[str, bytes | None, str]] = {
    "missing": ("a.txt", None, "cannot be read: no such file"),
    "a folder": (".", None, "what format is it"),
    "unknown": ("a.xlsx", b"", "what format is it? Name it .jsonl"),
    "utf-16": ("a.csv", "prompt\n".encode("utf-16"), "UTF-16; save it as UTF-8"),
    "no header": ("a.csv", b"a red fox,7\n", "the first line must name the columns"),
    "a column twice": ("a.csv", b"prompt,steps,num_inference_steps\n", "num_inference_steps is there twice"),
    "no parquet": ("a.parquet", b"PAR1 or so", "is no Parquet"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_no_sheet_is_refused(case: str, tmp_path: Path) -> None:
    """In one sentence that names it."""
    name, data, words = REFUSED[case]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidRequestError) as caught:
        read(tmp_path / name)
    assert words in caught.value.message


def test_the_format_can_be_said(tmp_path: Path) -> None:
    """Whatever the suffix; an unknown one is refused."""
    (tmp_path / "a.dat").write_text('{"prompt": "a fox"}')
    assert [row.cells for row in read(tmp_path / "a.dat", "jsonl")] == [FOX]
    with pytest.raises(InvalidRequestError, match="is not one of jsonl, csv, parquet, txt"):
        open_input(tmp_path / "a.dat", "xls")


def test_parquet_is_read_row_by_row(tmp_path: Path) -> None:
    """Null, NaN and empty text are absent; whole numbers that a table keeps as floats are read as they are meant."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [
        {"prompt": "a fox", "seed": 7.0, "tags": ["x"]},
        {"prompt": "a whale", "seed": None, "tags": None},
        {"prompt": "", "seed": float("nan"), "tags": []},
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    told = read(tmp_path / "a.parquet")
    assert [row.number for row in told] == [1, 2, 3]
    assert [row.cells for row in told] == [{**FOX, "seed": 7.0, "tags": ["x"]}, WHALE, {"tags": []}]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of hfmedia does without it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(InvalidRequestError, match=r"pip install 'hfmedia\[parquet\]'"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("data", "cells"),
    [(b'\n {"prompt": "a fox"}\n', [FOX]), (b"a fox\n{x}\n", [FOX, {"prompt": "{x}"}]), (b"", [])],
)
def test_what_is_piped_in_is_put_aside_and_told_by_its_first_line(
    data: bytes, cells: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it can be read as often as a file."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert [row.cells for row in read(Path("-"))] == cells


def test_a_sheet_stays_the_one_that_was_opened(tmp_path: Path) -> None:
    """Though another file takes its name; one that is written into has another stamp."""
    path = tmp_path / "a.txt"
    path.write_text("a fox\n")
    sheet = open_input(path)
    before = sheet.fingerprint()
    path.rename(tmp_path / "b.txt")
    path.write_text("a whale\na bear\n")
    assert [row.cells for row in sheet.rows()] == [FOX]
    assert sheet.fingerprint() == before
    with (tmp_path / "b.txt").open("a") as file:
        file.write("more\n")
    assert sheet.fingerprint() != before
    sheet.close()


def test_rows_in_memory_are_a_sheet() -> None:
    """A list of mappings; what can be read only once is refused."""
    assert [row.cells for row in RowsInput([{**FOX, "seed": None}]).rows()] == [FOX]
    with pytest.raises(InvalidRequestError, match="only once"):
        RowsInput(iter([FOX]))
