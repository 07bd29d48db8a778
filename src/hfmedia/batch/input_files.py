"""Sheets: files of requests, a line at a time, in any format, as often as asked, in constant memory.

A line that cannot be read is told with its number, and the next one is read; only a file that is none is refused.
"""

from __future__ import annotations

import csv
import math
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Literal, Protocol, cast

import msgspec
from msgspec import Struct

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.text import truncated_repr

from .columns import canonical_column, parse_value

InputFormat = Literal["jsonl", "csv", "parquet", "txt"]
INPUT_FORMATS: dict[str, InputFormat] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".txt": "txt",
}  # fmt: skip
MAX_LINE_BYTES = 16 * 1024 * 1024  # bytes; a line with an image inside fits, a file without line ends does not
PARQUET_BATCH_SIZE = 256  # of a Parquet file
BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
SNIFF_BYTES = 1 << 16  # bytes that are looked at to tell a format or a delimiter


class RawRow(Struct, frozen=True):
    """One line as it was read: its cells by column, or what is wrong with it."""

    number: int
    cells: Mapping[str, Any] | None = None
    error: str = ""


class InputSource(Protocol):
    """Something that holds requests, to be read from its beginning as often as needed."""

    name: str
    unit: str
    base_folder: Path

    def rows(self) -> Iterator[RawRow]:
        """Every line that is not blank, in order."""
        ...

    def fingerprint(self) -> object:
        """What changes when the lines do."""
        ...

    def close(self) -> None:
        """Lets go of it."""
        ...


class RowsInput:
    """Requests that are in memory already: a sequence of mappings, each with the columns of a file's line."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], *, base_folder: Path | None = None) -> None:
        if iter(rows) is rows:
            raise InvalidRequestError("the rows can be read only once; give a list, or a file")
        self.name, self.unit, self.base_folder = "the rows", "row", base_folder or Path.cwd()
        self._rows = rows

    def rows(self) -> Iterator[RawRow]:
        """Each mapping, without what is None."""
        for number, row in enumerate(self._rows, 1):
            yield _to_row(number, row)

    def fingerprint(self) -> object:
        """Nobody else has them."""
        return None

    def close(self) -> None:
        """Nothing to let go of."""


class FileInput:
    """A file of requests. It stays open, so that all passes read the same one whatever is put in its place."""

    def __init__(self, path: Path, file: BinaryIO, input_format: InputFormat, *, name: str, base_folder: Path) -> None:
        self.path, self.name, self.base_folder = path, name, base_folder
        self.unit = "row" if input_format == "parquet" else "line"
        self._file, self._input_format = file, input_format
        self._is_spooled = path == Path("-")

    def rows(self) -> Iterator[RawRow]:
        """Every line that is not blank, in order; InvalidRequestError when the file is none of its format."""
        self._file.seek(0)
        return _READERS[self._input_format](self._file, self.name)

    def fingerprint(self) -> object:
        """Its length and the time of its last change."""
        if self._is_spooled:
            return None
        stat = os.fstat(self._file.fileno())
        return stat.st_size, stat.st_mtime_ns

    def close(self) -> None:
        """Closes the file; what was piped in is forgotten."""
        self._file.close()


def open_input(path: str | os.PathLike[str], input_format: str | None = None) -> FileInput:
    """The sheet at a path, or what is piped in for ``-``. Its format is ``form``, else what its suffix says.

    InvalidRequestError when it cannot be opened, when nobody can tell its format, or when it is no UTF-8.
    """
    path_text = os.fspath(path)
    if input_format is not None and input_format not in INPUT_FORMATS.values():
        raise InvalidRequestError(
            f"format {truncated_repr(input_format)} is not one of {', '.join(dict.fromkeys(INPUT_FORMATS.values()))}"
        )
    resolved_format = cast("InputFormat | None", input_format) or INPUT_FORMATS.get(Path(path_text).suffix.lower())
    if path_text == "-":
        file = _spool_stdin()
        source = FileInput(
            Path("-"), file, resolved_format or _sniff_format(file), name="stdin", base_folder=Path.cwd()
        )
    else:
        if resolved_format is None:
            raise InvalidRequestError(
                f"{path_text}: what format is it? Name it {', '.join(INPUT_FORMATS)}, or say it with --format"
            )
        file_path = Path(path_text)
        try:
            file = file_path.open("rb")
        except (OSError, ValueError) as error:
            reason = ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
            raise InvalidRequestError(f"{path_text} cannot be read: {reason}") from error
        if not file.seekable():
            raise InvalidRequestError(f"{path_text} can be read only once; pipe it in, and give - for the file")
        source = FileInput(
            file_path, file, resolved_format, name=file_path.name, base_folder=file_path.absolute().parent
        )
    if file.read(2) in UTF16_BOMS:
        source.close()
        raise InvalidRequestError(f"{source.name} is text in UTF-16; save it as UTF-8")
    return source


def _spool_stdin() -> BinaryIO:
    """What is piped in, put aside, so that it can be checked whole before anything is sent."""
    file = TemporaryFile("w+b")  # noqa: SIM115 - it lives as long as the sheet
    shutil.copyfileobj(getattr(sys.stdin.buffer, "raw", sys.stdin.buffer), file)
    file.seek(0)
    return file


def _sniff_format(file: BinaryIO) -> InputFormat:
    head = file.read(SNIFF_BYTES).removeprefix(BOM).lstrip()
    file.seek(0)
    return "jsonl" if head.startswith(b"{") else "txt"


def _to_row(number: int, row: Any) -> RawRow:
    """A row of typed values; what is None, or the NaN by which tables say None, is absent."""
    if not isinstance(row, Mapping):
        return RawRow(
            number, error=f'is {truncated_repr(row)}, but must be an object such as {{"prompt": "a red fox"}}'
        )
    cells = cast("Mapping[str, Any]", row)
    return RawRow(number, {name: value for name, value in cells.items() if value is not None})


def _numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Every line with its number; None for one that is longer than any request."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            yield number, None
        else:
            yield number, line.removeprefix(BOM) if number == 1 else line


TOO_LONG_ERROR = f"is longer than {MAX_LINE_BYTES // 2**20} MiB"


def _read_jsonl(file: BinaryIO, name: str) -> Iterator[RawRow]:
    for number, line in _numbered_lines(file):
        if line is None:
            yield RawRow(number, error=TOO_LONG_ERROR)
        elif line.strip():
            try:
                yield _to_row(number, msgspec.json.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield RawRow(number, error=f"is not JSON: {error}")


def _read_txt(file: BinaryIO, name: str) -> Iterator[RawRow]:
    for number, line in _numbered_lines(file):
        if line is None:
            yield RawRow(number, error=TOO_LONG_ERROR)
        elif prompt := line.strip():
            try:
                yield RawRow(number, {"prompt": prompt.decode()})
            except UnicodeDecodeError:
                yield RawRow(number, error="holds bytes that are no text; write it in UTF-8")


class _LineTooLongError(Exception):
    """A line of a CSV that nobody can have meant."""


def _read_csv(file: BinaryIO, name: str) -> Iterator[RawRow]:
    def lines() -> Iterator[str]:
        for number, line in _numbered_lines(file):
            if line is None:
                raise _LineTooLongError(number)
            yield line.decode(errors="surrogateescape")

    delimiter = _sniff_delimiter(file.readline(SNIFF_BYTES).decode(errors="replace"))
    file.seek(0)
    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        number = reader.line_num + 1  # a record may go on over several lines; this is its first
        try:
            record = next(reader)
            if header is None and any(cell.strip() for cell in record):
                header = _parse_header(record, name)
            elif header is not None and record:
                yield _parse_record(number, header, record)
        except StopIteration:
            return
        except csv.Error as error:
            yield RawRow(number, error=f"is not CSV: {error}")
        except _LineTooLongError as error:
            yield RawRow(error.args[0], error=f"{TOO_LONG_ERROR}; what follows was not read")
            return


def _sniff_delimiter(head: str) -> str:
    """What stands between the names in the header: a comma, a tab, or the semicolon of some spreadsheets."""
    return max(",;\t", key=head.count)


def _parse_header(record: list[str], name: str) -> list[str]:
    names = [cell.strip() for cell in record]
    canonical_names = [canonical_column(canonical_name) or canonical_name for canonical_name in names if canonical_name]
    if not any(canonical_column(canonical_name) for canonical_name in names):
        header_text = ", ".join(names)
        raise InvalidRequestError(
            f"{name}: the first line must name the columns, such as prompt; it says {truncated_repr(header_text)}"
        )
    for canonical_name in canonical_names:
        if canonical_names.count(canonical_name) > 1:
            raise InvalidRequestError(f"{name}: the column {canonical_name} is there twice")
    return names


def _parse_record(number: int, header: list[str], record: list[str]) -> RawRow:
    """A record's cells by column; empty ones are absent."""
    cells: dict[str, Any] = {}
    for position, cell in enumerate(record):
        stripped = cell.strip()
        if not stripped:
            continue
        name = header[position] if position < len(header) else ""
        if not name:
            return RawRow(
                number, error=f"has {len(record)} cells, and the header names no column for {truncated_repr(stripped)}"
            )
        if any("\udc80" <= char <= "\udcff" for char in stripped):
            return RawRow(number, error=f"holds bytes that are no text in {name}; write it in UTF-8")
        cells[name] = stripped if canonical_column(name) else parse_value(stripped)
    return RawRow(number, cells) if cells else RawRow(number, error="holds nothing but delimiters")


def _read_parquet(file: BinaryIO, name: str) -> Iterator[RawRow]:
    try:
        parquet, arrow = import_module("pyarrow.parquet"), import_module("pyarrow")
    except ImportError:
        message = f"{name}: reading Parquet takes pyarrow, which is not here: pip install 'hfmedia[parquet]'"
        raise InvalidRequestError(message) from None
    number = 0
    try:
        table = parquet.ParquetFile(file, pre_buffer=False)
        for batch in table.iter_batches(batch_size=PARQUET_BATCH_SIZE):
            for row in batch.to_pylist():
                number += 1
                yield _to_row(number, {key: value for key, value in row.items() if not _is_empty(value)})
    except (arrow.ArrowException, OSError) as error:
        position = f" after row {number}" if number else ""
        raise InvalidRequestError(f"{name} is no Parquet that can be read{position}: {str(error)[:200]}") from error


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


_READERS = {"jsonl": _read_jsonl, "csv": _read_csv, "txt": _read_txt, "parquet": _read_parquet}


def close_quietly(rows: Iterator[RawRow]) -> None:
    """Ends a reading that is not at its end."""
    with suppress(AttributeError, ValueError):
        rows.close()  # type: ignore[attr-defined] # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue] - generators have it
