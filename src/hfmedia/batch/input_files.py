"""Input sources: requests read line by line, in any format, as often as needed, in constant memory.

An unreadable line is reported with its number and reading continues; only a file that is not of its format is rejected.
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

from .columns import canonical_column, keyed_column, parse_value

InputFormat = Literal["jsonl", "csv", "parquet", "txt"]
INPUT_FORMATS: dict[str, InputFormat] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".txt": "txt",
}  # fmt: skip
MAX_LINE_BYTES = 16 * 1024 * 1024  # bytes; fits a line with an inline image, stops a file without line ends
PARQUET_BATCH_SIZE = 256  # rows decoded at once
BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
SNIFF_BYTES = 1 << 16  # bytes read to detect a format or a delimiter


class RawRow(Struct, frozen=True):
    """One line: its cells by column, or what is wrong with it."""

    number: int
    cells: Mapping[str, Any] | None = None
    error: str = ""


class InputSource(Protocol):
    """A source of requests that can be read from its start as often as needed."""

    name: str
    unit: str
    base_folder: Path

    def rows(self) -> Iterator[RawRow]:
        """Yield every non-blank line in order."""
        ...

    def fingerprint(self) -> object:
        """Return a value that changes when the lines do."""
        ...

    def close(self) -> None:
        """Release the source."""
        ...


class RowsInput:
    """Requests in memory: a sequence of mappings with the columns of a file's line.

    Raises InvalidRequestError for an iterator, which can be read only once.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], *, base_folder: Path | None = None) -> None:
        if iter(rows) is rows:
            raise InvalidRequestError("the rows can be read only once; give a list, or a file")
        self.name, self.unit, self.base_folder = "the rows", "row", base_folder or Path.cwd()
        self._rows = rows

    def rows(self) -> Iterator[RawRow]:
        """Yield each mapping without its None values."""
        for number, row in enumerate(self._rows, 1):
            yield _to_row(number, row)

    def fingerprint(self) -> object:
        """Return None: rows in memory are not expected to change."""
        return None

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class FileInput:
    """A file of requests. It stays open, so that all passes read the same file even if its path is replaced."""

    def __init__(self, path: Path, file: BinaryIO, input_format: InputFormat, *, name: str, base_folder: Path) -> None:
        self.path, self.name, self.base_folder = path, name, base_folder
        self.unit = "row" if input_format == "parquet" else "line"
        self._file, self._input_format = file, input_format
        self._is_spooled = path == Path("-")

    def rows(self) -> Iterator[RawRow]:
        """Yield every non-blank line in order; InvalidRequestError when the file is not of its format."""
        self._file.seek(0)
        return _READERS[self._input_format](self._file, self.name)

    def fingerprint(self) -> object:
        """Return the file's size and modification time, None for spooled stdin."""
        if self._is_spooled:
            return None
        stat = os.fstat(self._file.fileno())
        return stat.st_size, stat.st_mtime_ns

    def close(self) -> None:
        """Close the file; spooled stdin is deleted."""
        self._file.close()


def open_input(path: str | os.PathLike[str], input_format: str | None = None) -> FileInput:
    """Open the file at a path, or stdin for ``-``; the format is ``input_format``, else that of the suffix.

    Raises InvalidRequestError when it cannot be opened, when its format is unknown, or when it is UTF-16.
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
                f"{path_text}: unknown format; use a suffix of {', '.join(INPUT_FORMATS)}, or --format"
            )
        file_path = Path(path_text)
        try:
            file = file_path.open("rb")
        except (OSError, ValueError) as error:
            reason = ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
            raise InvalidRequestError(f"{path_text} cannot be read: {reason}") from error
        if not file.seekable():
            raise InvalidRequestError(f"{path_text} can be read only once; pipe it in and pass - as the file")
        source = FileInput(
            file_path, file, resolved_format, name=file_path.name, base_folder=file_path.absolute().parent
        )
    if file.read(2) in UTF16_BOMS:
        source.close()
        raise InvalidRequestError(f"{source.name} is encoded as UTF-16; save it as UTF-8")
    return source


def _spool_stdin() -> BinaryIO:
    """Copy stdin into a temporary file, so that all of it can be validated before anything is sent."""
    file = TemporaryFile("w+b")  # noqa: SIM115 - stays open as long as the input source
    shutil.copyfileobj(getattr(sys.stdin.buffer, "raw", sys.stdin.buffer), file)
    file.seek(0)
    return file


def _sniff_format(file: BinaryIO) -> InputFormat:
    head = file.read(SNIFF_BYTES).removeprefix(BOM).lstrip()
    file.seek(0)
    return "jsonl" if head.startswith(b"{") else "txt"


def _to_row(number: int, row: Any) -> RawRow:
    """Return a row of typed values without its None values."""
    if not isinstance(row, Mapping):
        return RawRow(number, error=f'{truncated_repr(row)} is not an object such as {{"prompt": "a red fox"}}')
    cells = cast("Mapping[str, Any]", row)
    return RawRow(number, {name: value for name, value in cells.items() if value is not None})


def _numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield every line with its number; None for one that is too long for a request."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            yield number, None
        else:
            yield number, line.removeprefix(BOM) if number == 1 else line


TOO_LONG_ERROR = f"longer than {MAX_LINE_BYTES // 2**20} MiB"


def _read_jsonl(file: BinaryIO, name: str) -> Iterator[RawRow]:
    for number, line in _numbered_lines(file):
        if line is None:
            yield RawRow(number, error=TOO_LONG_ERROR)
        elif line.strip():
            try:
                yield _to_row(number, msgspec.json.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield RawRow(number, error=f"not valid JSON: {error}")


def _read_txt(file: BinaryIO, name: str) -> Iterator[RawRow]:
    for number, line in _numbered_lines(file):
        if line is None:
            yield RawRow(number, error=TOO_LONG_ERROR)
        elif prompt := line.strip():
            try:
                yield RawRow(number, {"prompt": prompt.decode()})
            except UnicodeDecodeError:
                yield RawRow(number, error="not valid UTF-8")


class _LineTooLongError(Exception):
    """A line of a CSV file is longer than ``MAX_LINE_BYTES``."""


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
        number = reader.line_num + 1  # a record may span several lines; this is its first
        try:
            record = next(reader)
            if header is None and any(cell.strip() for cell in record):
                header = _parse_header(record, name)
            elif header is not None and record:
                yield _parse_record(number, header, record)
        except StopIteration:
            return
        except csv.Error as error:
            yield RawRow(number, error=f"not valid CSV: {error}")
        except _LineTooLongError as error:
            yield RawRow(error.args[0], error=f"{TOO_LONG_ERROR}; the lines after it were not read")
            return


def _sniff_delimiter(head: str) -> str:
    """Return the delimiter of the header: a comma, a tab, or the semicolon of some spreadsheets."""
    return max(",;\t", key=head.count)


def _parse_header(record: list[str], name: str) -> list[str]:
    names = [cell.strip() for cell in record]
    canonical_names = [canonical_column(canonical_name) or canonical_name for canonical_name in names if canonical_name]
    if not any(canonical_column(canonical_name) for canonical_name in names):
        header_text = ", ".join(names)
        raise InvalidRequestError(
            f"{name}: the first line must name the columns, such as prompt; it is {truncated_repr(header_text)}"
        )
    for canonical_name in canonical_names:
        if canonical_names.count(canonical_name) > 1:
            raise InvalidRequestError(f"{name}: column {canonical_name} appears twice")
    return names


def _parse_record(number: int, header: list[str], record: list[str]) -> RawRow:
    """Return a record's cells by column, without empty ones."""
    cells: dict[str, Any] = {}
    for position, cell in enumerate(record):
        stripped = cell.strip()
        if not stripped:
            continue
        name = header[position] if position < len(header) else ""
        if not name:
            return RawRow(
                number, error=f"{len(record)} cells, but the header names no column for {truncated_repr(stripped)}"
            )
        if any("\udc80" <= char <= "\udcff" for char in stripped):
            return RawRow(number, error=f"{name} is not valid UTF-8")
        cells[name] = stripped if keyed_column(name) else parse_value(stripped)
    return RawRow(number, cells) if cells else RawRow(number, error="contains only delimiters")


def _read_parquet(file: BinaryIO, name: str) -> Iterator[RawRow]:
    try:
        parquet, arrow = import_module("pyarrow.parquet"), import_module("pyarrow")
    except ImportError:
        message = f"{name}: reading Parquet requires pyarrow: pip install 'hfmedia[parquet]'"
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
        raise InvalidRequestError(f"{name} is not a valid Parquet file{position}: {str(error)[:200]}") from error


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


_READERS = {"jsonl": _read_jsonl, "csv": _read_csv, "txt": _read_txt, "parquet": _read_parquet}


def close_quietly(rows: Iterator[RawRow]) -> None:
    """Close a generator of rows that may not be exhausted."""
    with suppress(AttributeError, ValueError):
        rows.close()  # type: ignore[attr-defined] # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue] - generators have it
