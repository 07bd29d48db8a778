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
from hfmedia.core.sizes import shown

from .lines import column, value_of

Format = Literal["jsonl", "csv", "parquet", "txt"]
FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".txt": "txt",
}  # fmt: skip
LONGEST_LINE = 16 * 1024 * 1024  # bytes; a line with an image inside fits, a file without line ends does not
ROWS_AT_ONCE = 256  # of a Parquet file
BOM = b"\xef\xbb\xbf"
OTHER_UNICODE = (b"\xff\xfe", b"\xfe\xff")
HEAD = 1 << 16  # bytes that are looked at to tell a format or a delimiter


class Raw(Struct, frozen=True):
    """One line as it was read: its cells by column, or what is wrong with it."""

    number: int
    cells: Mapping[str, Any] | None = None
    wrong: str = ""


class Sheet(Protocol):
    """Something that holds requests, to be read from its beginning as often as needed."""

    name: str
    unit: str
    base: Path

    def rows(self) -> Iterator[Raw]:
        """Every line that is not blank, in order."""
        ...

    def stamp(self) -> object:
        """What changes when the lines do."""
        ...

    def close(self) -> None:
        """Lets go of it."""
        ...


class Rows:
    """Requests that are in memory already: a sequence of mappings, each with the columns of a file's line."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], *, base: Path | None = None) -> None:
        if iter(rows) is rows:
            raise InvalidRequestError("the rows can be read only once; give a list, or a file")
        self.name, self.unit, self.base = "the rows", "row", base or Path.cwd()
        self._rows = rows

    def rows(self) -> Iterator[Raw]:
        """Each mapping, without what is None."""
        for number, row in enumerate(self._rows, 1):
            yield _raw(number, row)

    def stamp(self) -> object:
        """Nobody else has them."""
        return None

    def close(self) -> None:
        """Nothing to let go of."""


class File:
    """A file of requests. It stays open, so that all passes read the same one whatever is put in its place."""

    def __init__(self, path: Path, file: BinaryIO, form: Format, *, name: str, base: Path) -> None:
        self.path, self.name, self.base = path, name, base
        self.unit = "row" if form == "parquet" else "line"
        self._file, self._form = file, form
        self._spooled = path == Path("-")

    def rows(self) -> Iterator[Raw]:
        """Every line that is not blank, in order; InvalidRequestError when the file is none of its format."""
        self._file.seek(0)
        return _READERS[self._form](self._file, self.name)

    def stamp(self) -> object:
        """Its length and the time of its last change."""
        if self._spooled:
            return None
        told = os.fstat(self._file.fileno())
        return told.st_size, told.st_mtime_ns

    def close(self) -> None:
        """Closes the file; what was piped in is forgotten."""
        self._file.close()


def open_sheet(path: str | os.PathLike[str], form: str | None = None) -> File:
    """The sheet at a path, or what is piped in for ``-``. Its format is ``form``, else what its suffix says.

    InvalidRequestError when it cannot be opened, when nobody can tell its format, or when it is no UTF-8.
    """
    named = os.fspath(path)
    if form is not None and form not in FORMATS.values():
        raise InvalidRequestError(f"format {shown(form)} is not one of {', '.join(dict.fromkeys(FORMATS.values()))}")
    known = cast("Format | None", form) or FORMATS.get(Path(named).suffix.lower())
    if named == "-":
        file = _spooled()
        sheet = File(Path("-"), file, known or _told_by_its_head(file), name="stdin", base=Path.cwd())
    else:
        if known is None:
            raise InvalidRequestError(
                f"{named}: what format is it? Name it {', '.join(FORMATS)}, or say it with --format"
            )
        place = Path(named)
        try:
            file = place.open("rb")
        except (OSError, ValueError) as error:
            reason = ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
            raise InvalidRequestError(f"{named} cannot be read: {reason}") from error
        if not file.seekable():
            raise InvalidRequestError(f"{named} can be read only once; pipe it in, and give - for the file")
        sheet = File(place, file, known, name=place.name, base=place.absolute().parent)
    if file.read(2) in OTHER_UNICODE:
        sheet.close()
        raise InvalidRequestError(f"{sheet.name} is text in UTF-16; save it as UTF-8")
    return sheet


def _spooled() -> BinaryIO:
    """What is piped in, put aside, so that it can be checked whole before anything is sent."""
    file = TemporaryFile("w+b")  # noqa: SIM115 - it lives as long as the sheet
    shutil.copyfileobj(getattr(sys.stdin.buffer, "raw", sys.stdin.buffer), file)
    file.seek(0)
    return file


def _told_by_its_head(file: BinaryIO) -> Format:
    head = file.read(HEAD).removeprefix(BOM).lstrip()
    file.seek(0)
    return "jsonl" if head.startswith(b"{") else "txt"


def _raw(number: int, row: Any) -> Raw:
    """A row of typed values; what is None, or the NaN by which tables say None, is absent."""
    if not isinstance(row, Mapping):
        return Raw(number, wrong=f'is {shown(row)}, but must be an object such as {{"prompt": "a red fox"}}')
    cells = cast("Mapping[str, Any]", row)
    return Raw(number, {name: value for name, value in cells.items() if value is not None})


def _numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Every line with its number; None for one that is longer than any request."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE)
            yield number, None
        else:
            yield number, line.removeprefix(BOM) if number == 1 else line


TOO_LONG = f"is longer than {LONGEST_LINE // 2**20} MiB"


def _jsonl(file: BinaryIO, name: str) -> Iterator[Raw]:
    for number, line in _numbered_lines(file):
        if line is None:
            yield Raw(number, wrong=TOO_LONG)
        elif line.strip():
            try:
                yield _raw(number, msgspec.json.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield Raw(number, wrong=f"is not JSON: {error}")


def _txt(file: BinaryIO, name: str) -> Iterator[Raw]:
    for number, line in _numbered_lines(file):
        if line is None:
            yield Raw(number, wrong=TOO_LONG)
        elif prompt := line.strip():
            try:
                yield Raw(number, {"prompt": prompt.decode()})
            except UnicodeDecodeError:
                yield Raw(number, wrong="holds bytes that are no text; write it in UTF-8")


class _OverlongError(Exception):
    """A line of a CSV that nobody can have meant."""


def _csv(file: BinaryIO, name: str) -> Iterator[Raw]:
    def lines() -> Iterator[str]:
        for number, line in _numbered_lines(file):
            if line is None:
                raise _OverlongError(number)
            yield line.decode(errors="surrogateescape")

    delimiter = _delimiter(file.readline(HEAD).decode(errors="replace"))
    file.seek(0)
    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        number = reader.line_num + 1  # a record may go on over several lines; this is its first
        try:
            record = next(reader)
            if header is None and any(cell.strip() for cell in record):
                header = _header(record, name)
            elif header is not None and record:
                yield _record(number, header, record)
        except StopIteration:
            return
        except csv.Error as error:
            yield Raw(number, wrong=f"is not CSV: {error}")
        except _OverlongError as error:
            yield Raw(error.args[0], wrong=f"{TOO_LONG}; what follows was not read")
            return


def _delimiter(head: str) -> str:
    """What stands between the names in the header: a comma, a tab, or the semicolon of some spreadsheets."""
    return max(",;\t", key=head.count)


def _header(record: list[str], name: str) -> list[str]:
    names = [cell.strip() for cell in record]
    known = [column(one) or one for one in names if one]
    if not any(column(one) for one in names):
        told = ", ".join(names)
        raise InvalidRequestError(
            f"{name}: the first line must name the columns, such as prompt; it says {shown(told)}"
        )
    for one in known:
        if known.count(one) > 1:
            raise InvalidRequestError(f"{name}: the column {one} is there twice")
    return names


def _record(number: int, header: list[str], record: list[str]) -> Raw:
    """A record's cells by column; empty ones are absent."""
    cells: dict[str, Any] = {}
    for position, cell in enumerate(record):
        bare = cell.strip()
        if not bare:
            continue
        name = header[position] if position < len(header) else ""
        if not name:
            return Raw(number, wrong=f"has {len(record)} cells, and the header names no column for {shown(bare)}")
        if any("\udc80" <= char <= "\udcff" for char in bare):
            return Raw(number, wrong=f"holds bytes that are no text in {name}; write it in UTF-8")
        cells[name] = bare if column(name) else value_of(bare)
    return Raw(number, cells) if cells else Raw(number, wrong="holds nothing but delimiters")


def _parquet(file: BinaryIO, name: str) -> Iterator[Raw]:
    try:
        parquet, arrow = import_module("pyarrow.parquet"), import_module("pyarrow")
    except ImportError:
        words = f"{name}: reading Parquet takes pyarrow, which is not here: pip install 'hfmedia[parquet]'"
        raise InvalidRequestError(words) from None
    number = 0
    try:
        table = parquet.ParquetFile(file, pre_buffer=False)
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield _raw(number, {key: value for key, value in row.items() if not _absent(value)})
    except (arrow.ArrowException, OSError) as error:
        after = f" after row {number}" if number else ""
        raise InvalidRequestError(f"{name} is no Parquet that can be read{after}: {str(error)[:200]}") from error


def _absent(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


_READERS = {"jsonl": _jsonl, "csv": _csv, "txt": _txt, "parquet": _parquet}


def close_quietly(rows: Iterator[Raw]) -> None:
    """Ends a reading that is not at its end."""
    with suppress(AttributeError, ValueError):
        rows.close()  # type: ignore[attr-defined] # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue] - generators have it
