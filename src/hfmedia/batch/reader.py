"""Reading a whole sheet: first to find what is broken in it, before anything is sent, then to turn it into orders.

Nothing is kept of a line once the next is read, but for its marks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.text import truncated_repr

from .columns import Line, canonical_column, parse_line, suggest_column
from .input_files import InputSource, close_quietly
from .items import BatchItem, fingerprint, make_item, output_names
from .scratch import ScratchDb, file_stamp

MAX_LISTED_ERRORS = 20  # broken lines in full; the others are counted
MAX_LISTED_COLUMNS = 50  # columns passed on that are named
CHUNK_SIZE = 1 << 20
URL_PREFIXES = ("http://", "https://", "data:")


class LineError(Struct, frozen=True):
    """One line that cannot be sent as it is, and why."""

    line: int
    message: str


class ValidationSummary(Struct, frozen=True, kw_only=True):
    """What a sheet holds: lines that are not blank, outputs they ask for, columns passed on to the provider as is."""

    lines: int
    outputs: int
    extra_columns: tuple[str, ...] = ()

    def warnings(self) -> list[str]:
        """A sentence for each thing that may not be meant."""
        messages: list[str] = []
        for name in self.extra_columns:
            suggestion = suggest_column(name)
            messages += (
                [f"the column {truncated_repr(name)} is passed on to the provider as it is"]
                if suggestion is None
                else []
            )
            messages += (
                [f"the column {truncated_repr(name)} is passed on as it is; did you mean {suggestion}?"]
                if suggestion
                else []
            )
        return messages


class InvalidInputFileError(InvalidRequestError):
    """Lines of a batch cannot be sent as they are. ``lines`` names the first of them, ``count`` says how many."""

    def __init__(self, name: str, unit: str, errors: tuple[LineError, ...], count: int, total: int) -> None:
        details = "".join(f"\n  {unit} {line_error.line}: {line_error.message}" for line_error in errors)
        remainder = f"\n  and {count - len(errors):,} more" if count > len(errors) else ""
        verb = "is" if count == 1 else "are"
        super().__init__(
            f"{count:,} of {total:,} {unit}s of {name} {verb} broken; nothing was sent{details}{remainder}"
        )
        self.errors, self.count = errors, count


class InputReader:
    """One sheet on its way into one folder. Everything here blocks, and may be used by one thread at a time."""

    def __init__(
        self, source: InputSource, folder: Path, defaults: Mapping[str, Any], scratch: ScratchDb, *, namespace: str = ""
    ) -> None:
        self.source, self.folder = source, folder
        self._defaults, self._scratch, self._namespace = defaults, scratch, namespace
        self._real_folder = os.path.realpath(folder)
        self._fingerprint = source.fingerprint()

    def validate(self) -> ValidationSummary:
        """What the sheet holds. BrokenSheetError names what is wrong; an empty sheet is an InvalidRequestError."""
        lines = outputs = error_count = 0
        errors: list[LineError] = []
        extra_columns: dict[str, None] = {}
        for number, line, error in self._parsed_lines():
            lines += 1
            error = error or (self._conflict_error(line) if line else None)
            if line is not None and error is None:
                outputs += line.n
                for name in line.options.get("extra_body", ()) if len(extra_columns) < MAX_LISTED_COLUMNS else ():
                    extra_columns[name] = None
            else:
                error_count += 1
                if len(errors) < MAX_LISTED_ERRORS:
                    errors.append(LineError(number, error or ""))
        if error_count:
            raise InvalidInputFileError(self.source.name, self.source.unit, tuple(errors), error_count, lines)
        if not lines:
            raise InvalidRequestError(f"{self.source.name} holds no request; write one a line")
        default_extra = self._defaults.get("extra_body", {})
        return ValidationSummary(
            lines=lines,
            outputs=outputs,
            extra_columns=tuple(name for name in extra_columns if name not in default_extra),
        )

    def items(self) -> Iterator[BatchItem]:
        """Every output to be made, in order, each with its key.

        InvalidRequestError when the sheet is no longer the one that was checked.
        """
        self._scratch.reset_counts()
        for number, line, error in self._parsed_lines():
            self._ensure_unchanged()
            if line is None:
                raise InvalidRequestError(f"{self.source.name}, {self.source.unit} {number}: {error}")
            line_digest = fingerprint(
                line, folder=self._real_folder, namespace=self._namespace, image_digest=self._image_digest(line)
            )
            for copy_index in range(line.n):
                yield make_item(line, copy_index, line_digest, self._scratch.count_earlier(line_digest))

    def _ensure_unchanged(self) -> None:
        if self.source.fingerprint() != self._fingerprint:
            message = (
                f"{self.source.name} was changed while it was read; start again, and what is new in it is done too"
            )
            raise InvalidRequestError(message)

    def _parsed_lines(self) -> Iterator[tuple[int, Line | None, str | None]]:
        rows = self.source.rows()
        try:
            for row in rows:
                if row.cells is None:
                    yield row.number, None, row.error
                    continue
                try:
                    line = parse_line(row.number, self._with_resolved_image(row.cells), self._defaults)
                except InvalidRequestError as error:
                    yield row.number, None, error.message
                else:
                    yield row.number, line, None
        finally:
            close_quietly(rows)

    def _with_resolved_image(self, cells: Mapping[str, Any]) -> Mapping[str, Any]:
        """The cells, with the path of an input image from where the sheet lies."""
        for name, value in cells.items():
            if isinstance(value, str) and canonical_column(name) == "image":
                return {**cells, name: resolve_image(value, self.source.base_folder)}
        return cells

    def _conflict_error(self, line: Line) -> str | None:
        """What is wrong with a line only beside the others, or beside what is on the disk."""
        if line.key is not None and (earlier_line := self._scratch.earlier_line("key", line.key, line.number)):
            return f"its key {truncated_repr(line.key)} is that of {self.source.unit} {earlier_line} already"
        for name in output_names(line):
            if earlier_line := self._scratch.earlier_line("output", os.path.normcase(name), line.number):
                return f"its output {truncated_repr(name)} is that of {self.source.unit} {earlier_line} already"
            if not Path(os.path.realpath(self.folder / name)).is_relative_to(self._real_folder):
                return f"its output {truncated_repr(name)} leads out of the folder, through a link"
        image = line.options.get("image")
        if image is not None and not image.lower().startswith(URL_PREFIXES) and not Path(image).is_file():
            return f"its image {truncated_repr(image)} is not there"
        return None

    def _image_digest(self, line: Line) -> str | None:
        """The digest of the bytes of an input image that is a file; InvalidRequestError when it is gone."""
        image: str | None = line.options.get("image")
        if image is None or image.lower().startswith(URL_PREFIXES):
            return None
        try:
            stamp = file_stamp(Path(image))
            digest = self._scratch.image_digest(image, stamp)
            if digest is None:
                digest = _sha256(Path(image))
                self._scratch.set_image_digest(image, stamp, digest)
        except OSError as error:
            message = f"{self.source.name}, {self.source.unit} {line.number}: its image {truncated_repr(image)} cannot be read"
            raise InvalidRequestError(f"{message}: {(error.strerror or str(error)).lower()}") from error
        return digest


def resolve_image(image: str, base: Path) -> str:
    """An input image as it can be found from anywhere: a URL as it stands, a path from its base."""
    if not image.strip() or image.lower().lstrip().startswith(URL_PREFIXES):
        return image
    return str(base / Path(image.strip()).expanduser())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_SIZE):
            digest.update(chunk)
    return digest.hexdigest()
