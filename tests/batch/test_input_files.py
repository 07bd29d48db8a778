"""Input sources: every format, invalid lines reported by number, invalid files rejected."""

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
    """All that a file holds, read twice, since every source is."""
    source = open_input(path, form)
    try:
        rows = list(source.rows())
        assert list(source.rows()) == rows
        return rows
    finally:
        source.close()


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
    "csv for the provider": ("a.csv", b"prompt,shift\na fox,0.5\n", [(2, {**FOX, "shift": 0.5})]),
    "csv with a parameter hashed as for the provider": (
        "a.csv",
        b"prompt,strength\na fox,0.5\n",
        [(2, {**FOX, "strength": 0.5})],
    ),
    "csv with fewer cells": ("a.csv", b"prompt,seed\na fox\n", [(2, FOX)]),
    "csv with blank lines": ("a.csv", b"prompt\n\na fox\n", [(3, FOX)]),
    "empty": ("a.txt", b"", []),
}


@pytest.mark.parametrize("case", READ)
def test_an_input_is_read_line_by_line(case: str, tmp_path: Path) -> None:
    """With the numbers that an editor shows."""
    name, data, rows = READ[case]
    (tmp_path / name).write_bytes(data)
    assert [(row.number, row.cells) for row in read(tmp_path / name)] == rows


INVALID_LINES: dict[str, tuple[str, bytes, list[tuple[int, str]]]] = {
    "no json": ("a.jsonl", b'{"prompt": "a"}\n{"prompt": \n[1]\n"x"\n7', [
        (2, "not valid JSON"), (3, "[1] is not an object"), (4, "'x' is not an object"), (5, "7 is not")]),
    "no utf-8 in json": ("a.jsonl", b'{"prompt": "\xff"}', [(1, "not valid JSON")]),
    "deep json": ("a.jsonl", b'{"prompt": ' + b"[" * 100_000, [(1, "not valid JSON")]),
    "no utf-8 in text": ("a.txt", b"fine\n\xff\xfe\xfd\nfine", [(2, "not valid UTF-8")]),
    "no utf-8 in csv": ("a.csv", b"prompt,seed\n\xffox,1\nfine,1", [(2, "prompt is not valid UTF-8")]),
    "too many cells": ("a.csv", b"prompt\na,b\nfine\n", [(2, "2 cells, but the header names no column for 'b'")]),
    "only delimiters": ("a.csv", b"prompt,seed\n,\nfine,1\n", [(2, "contains only delimiters")]),
    "an open quote": ("a.csv", b'prompt\nfine\n"open\nfox\n', [(3, "not valid CSV")]),
    "a stray quote": ("a.csv", b'prompt\n"a"fox\nfine\n', [(2, "not valid CSV")]),
    "endless text": ("a.txt", b"x" * (MAX_LINE_BYTES + 1) + b"\nfine", [(1, "longer than 16 MiB")]),
    "endless json": ("a.jsonl", b"x" * (2 * MAX_LINE_BYTES + 7) + b"\n{}", [(1, "longer than 16 MiB")]),
    "endless csv": ("a.csv", b"prompt\n" + b"x" * (MAX_LINE_BYTES + 1), [(2, "longer than 16 MiB")]),
}  # fmt: skip


@pytest.mark.parametrize("case", INVALID_LINES)
def test_an_invalid_line_is_reported_by_its_number_and_reading_continues(case: str, tmp_path: Path) -> None:
    """Nothing is raised for one line."""
    name, data, expected = INVALID_LINES[case]
    (tmp_path / name).write_bytes(data)
    invalid = [row for row in read(tmp_path / name) if row.cells is None]
    assert [row.number for row in invalid] == [number for number, _ in expected]
    for row, (_, text) in zip(invalid, expected, strict=True):
        assert text in row.error
        assert len(row.error) < 300


INVALID_FILES: dict[str, tuple[str, bytes | None, str]] = {
    "missing": ("a.txt", None, "cannot be read: no such file"),
    "a folder": (".", None, "unknown format"),
    "unknown": ("a.xlsx", b"", "unknown format; use a suffix of .jsonl"),
    "utf-16": ("a.csv", "prompt\n".encode("utf-16"), "UTF-16; save it as UTF-8"),
    "no header": ("a.csv", b"a red fox,7\n", "the first line must name the columns"),
    "a column twice": ("a.csv", b"prompt,steps,num_inference_steps\n", "column num_inference_steps appears twice"),
    "no parquet": ("a.parquet", b"PAR1 or so", "is not a valid Parquet file"),
}


@pytest.mark.parametrize("case", INVALID_FILES)
def test_a_file_of_no_known_format_is_rejected(case: str, tmp_path: Path) -> None:
    """With one message that names it."""
    name, data, text = INVALID_FILES[case]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidRequestError) as caught:
        read(tmp_path / name)
    assert text in caught.value.message


def test_the_format_can_be_given(tmp_path: Path) -> None:
    """Whatever the suffix; an unknown one is rejected."""
    (tmp_path / "a.dat").write_text('{"prompt": "a fox"}')
    assert [row.cells for row in read(tmp_path / "a.dat", "jsonl")] == [FOX]
    with pytest.raises(InvalidRequestError, match="is not one of jsonl, csv, parquet, txt"):
        open_input(tmp_path / "a.dat", "xls")


def test_parquet_is_read_row_by_row(tmp_path: Path) -> None:
    """Null, NaN and empty text are absent; whole numbers stored as floats are kept as floats."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [
        {"prompt": "a fox", "seed": 7.0, "tags": ["x"]},
        {"prompt": "a whale", "seed": None, "tags": None},
        {"prompt": "", "seed": float("nan"), "tags": []},
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    read_rows = read(tmp_path / "a.parquet")
    assert [row.number for row in read_rows] == [1, 2, 3]
    assert [row.cells for row in read_rows] == [{**FOX, "seed": 7.0, "tags": ["x"]}, WHALE, {"tags": []}]


def test_parquet_without_pyarrow_names_the_package_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of hfmedia works without it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(InvalidRequestError, match=r"pip install 'hfmedia\[parquet\]'"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("data", "cells"),
    [(b'\n {"prompt": "a fox"}\n', [FOX]), (b"a fox\n{x}\n", [FOX, {"prompt": "{x}"}]), (b"", [])],
)
def test_stdin_is_spooled_and_its_format_is_detected_by_its_first_line(
    data: bytes, cells: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it can be read as often as a file."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert [row.cells for row in read(Path("-"))] == cells


def test_an_input_stays_the_file_that_was_opened(tmp_path: Path) -> None:
    """Even if another file takes its name; a file that was written to has another fingerprint."""
    path = tmp_path / "a.txt"
    path.write_text("a fox\n")
    source = open_input(path)
    before = source.fingerprint()
    path.rename(tmp_path / "b.txt")
    path.write_text("a whale\na bear\n")
    assert [row.cells for row in source.rows()] == [FOX]
    assert source.fingerprint() == before
    with (tmp_path / "b.txt").open("a") as file:
        file.write("more\n")
    assert source.fingerprint() != before
    source.close()


def test_rows_in_memory_are_an_input_source() -> None:
    """A list of mappings; an iterator is rejected."""
    assert [row.cells for row in RowsInput([{**FOX, "seed": None}]).rows()] == [FOX]
    with pytest.raises(InvalidRequestError, match="only once"):
        RowsInput(iter([FOX]))
