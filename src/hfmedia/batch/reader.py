"""Input reader: validates a whole input source before anything is sent, then yields its batch items.

Keeps no line in memory once the next one is read; what must be remembered goes into the scratch database.
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

MAX_LISTED_ERRORS = 20  # invalid lines that are listed; the others are counted
MAX_LISTED_COLUMNS = 50  # unknown columns that are named
CHUNK_SIZE = 1 << 20
URL_PREFIXES = ("http://", "https://", "data:")


class LineError(Struct, frozen=True):
    """An invalid line, and what is wrong with it."""

    line: int
    message: str


class ValidationSummary(Struct, frozen=True, kw_only=True):
    """Content of an input source: non-blank lines, their outputs, and columns passed to the provider unchanged."""

    lines: int
    outputs: int
    extra_columns: tuple[str, ...] = ()

    def warnings(self) -> list[str]:
        """Return a message for each column that may be a mistake."""
        messages: list[str] = []
        for name in self.extra_columns:
            suggestion = suggest_column(name)
            question = f"; did you mean {suggestion}?" if suggestion else ""
            messages.append(f"unknown column {truncated_repr(name)} is passed to the provider unchanged{question}")
        return messages


class InvalidInputFileError(InvalidRequestError):
    """Lines of a batch are invalid: ``errors`` lists the first of them, ``count`` is their number."""

    def __init__(self, name: str, unit: str, errors: tuple[LineError, ...], count: int, total: int) -> None:
        details = "".join(f"\n  {unit} {line_error.line}: {line_error.message}" for line_error in errors)
        remainder = f"\n  and {count - len(errors):,} more" if count > len(errors) else ""
        verb = "is" if count == 1 else "are"
        super().__init__(f"{name}: {count:,} of {total:,} {unit}s {verb} invalid; nothing was sent{details}{remainder}")
        self.errors, self.count = errors, count


class InputReader:
    """Reads one input source for one folder. Every method blocks; for one thread at a time."""

    def __init__(
        self,
        source: InputSource,
        folder: Path,
        defaults: Mapping[str, Any],
        scratch: ScratchDb,
        *,
        keyed_defaults: Mapping[str, Any] | None = None,
        namespace: str = "",
    ) -> None:
        self.source, self.folder = source, folder
        self._defaults, self._keyed_defaults = defaults, keyed_defaults
        self._scratch, self._namespace = scratch, namespace
        self._real_folder = os.path.realpath(folder)
        self._fingerprint = source.fingerprint()

    def validate(self) -> ValidationSummary:
        """Validate every line and summarize them.

        Raises InvalidInputFileError that lists invalid lines, InvalidRequestError for an input without any request.
        """
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
            raise InvalidRequestError(f"{self.source.name} contains no requests; write one per line")
        default_extra = self._defaults.get("extra_body", {})
        return ValidationSummary(
            lines=lines,
            outputs=outputs,
            extra_columns=tuple(name for name in extra_columns if name not in default_extra),
        )

    def items(self) -> Iterator[BatchItem]:
        """Yield every output in order, each with its key.

        Raises InvalidRequestError when the input has changed since it was validated.
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
            raise InvalidRequestError(
                f"{self.source.name} was changed while it was read; run the command again to use the new version"
            )

    def _parsed_lines(self) -> Iterator[tuple[int, Line | None, str | None]]:
        rows = self.source.rows()
        try:
            for row in rows:
                if row.cells is None:
                    yield row.number, None, row.error
                    continue
                try:
                    line = parse_line(
                        row.number, self._with_resolved_image(row.cells), self._defaults, self._keyed_defaults
                    )
                except InvalidRequestError as error:
                    yield row.number, None, error.message
                else:
                    yield row.number, line, None
        finally:
            close_quietly(rows)

    def _with_resolved_image(self, cells: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the cells, with the path of an input image relative to the input file's folder resolved."""
        for name, value in cells.items():
            if isinstance(value, str) and canonical_column(name) == "image":
                return {**cells, name: resolve_image(value, self.source.base_folder)}
        return cells

    def _conflict_error(self, line: Line) -> str | None:
        """Return what is wrong with a line in view of the lines before it and of the disk; None when nothing is."""
        if line.key is not None and (earlier_line := self._scratch.earlier_line("key", line.key, line.number)):
            return f"key {truncated_repr(line.key)} is already used by {self.source.unit} {earlier_line}"
        for name in output_names(line):
            if earlier_line := self._scratch.earlier_line("output", os.path.normcase(name), line.number):
                return f"output {truncated_repr(name)} is already used by {self.source.unit} {earlier_line}"
            if not Path(os.path.realpath(self.folder / name)).is_relative_to(self._real_folder):
                return f"output {truncated_repr(name)} is outside the folder, through a link"
        image = line.options.get("image")
        if image is not None and not image.lower().startswith(URL_PREFIXES) and not Path(image).is_file():
            return f"image {truncated_repr(image)} does not exist"
        return None

    def _image_digest(self, line: Line) -> str | None:
        """Return the digest of an input image file, None for a URL; InvalidRequestError when it cannot be read."""
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
            place = f"{self.source.name}, {self.source.unit} {line.number}"
            reason = (error.strerror or str(error)).lower()
            raise InvalidRequestError(f"{place}: image {truncated_repr(image)} cannot be read: {reason}") from error
        return digest


def resolve_image(image: str, base: Path) -> str:
    """Return a URL unchanged, and a path relative to its base folder."""
    if not image.strip() or image.lower().lstrip().startswith(URL_PREFIXES):
        return image
    return str(base / Path(image.strip()).expanduser())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_SIZE):
            digest.update(chunk)
    return digest.hexdigest()
