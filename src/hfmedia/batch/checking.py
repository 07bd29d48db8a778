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
from hfmedia.core.sizes import shown

from .keys import Order, fingerprint, order_of, outputs_of
from .lines import Line, column, line_of, nearest
from .marks import Marks, file_stamp
from .sheets import Sheet, close_quietly

MOST_NAMED = 20  # broken lines in full; the others are counted
MOST_COLUMNS = 50  # columns passed on that are named
PIECE = 1 << 20
WEB = ("http://", "https://", "data:")


class Broken(Struct, frozen=True):
    """One line that cannot be sent as it is, and why."""

    line: int
    words: str


class Checked(Struct, frozen=True, kw_only=True):
    """What a sheet holds: lines that are not blank, outputs they ask for, columns passed on to the provider as is."""

    lines: int
    outputs: int
    passed_on: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """A sentence for each thing that may not be meant."""
        told: list[str] = []
        for name in self.passed_on:
            near = nearest(name)
            told += [f"the column {shown(name)} is passed on to the provider as it is"] if near is None else []
            told += [f"the column {shown(name)} is passed on as it is; did you mean {near}?"] if near else []
        return told


class BrokenSheetError(InvalidRequestError):
    """Lines of a batch cannot be sent as they are. ``lines`` names the first of them, ``count`` says how many."""

    def __init__(self, name: str, unit: str, lines: tuple[Broken, ...], count: int, total: int) -> None:
        told = "".join(f"\n  {unit} {one.line}: {one.words}" for one in lines)
        more = f"\n  and {count - len(lines):,} more" if count > len(lines) else ""
        are = "is" if count == 1 else "are"
        super().__init__(f"{count:,} of {total:,} {unit}s of {name} {are} broken; nothing was sent{told}{more}")
        self.lines, self.count = lines, count


class Reading:
    """One sheet on its way into one folder. Everything here blocks, and may be used by one thread at a time."""

    def __init__(
        self, sheet: Sheet, folder: Path, defaults: Mapping[str, Any], marks: Marks, *, realm: str = ""
    ) -> None:
        self.sheet, self.folder = sheet, folder
        self._defaults, self._marks, self._realm = defaults, marks, realm
        self._place = os.path.realpath(folder)
        self._stamp = sheet.stamp()

    def check(self) -> Checked:
        """What the sheet holds. BrokenSheetError names what is wrong; an empty sheet is an InvalidRequestError."""
        lines = outputs = count = 0
        broken: list[Broken] = []
        others: dict[str, None] = {}
        for number, line, wrong in self._lines():
            lines += 1
            wrong = wrong or (self._clash(line) if line else None)
            if line is not None and wrong is None:
                outputs += line.n
                for name in line.wish.get("extra_body", ()) if len(others) < MOST_COLUMNS else ():
                    others[name] = None
            else:
                count += 1
                if len(broken) < MOST_NAMED:
                    broken.append(Broken(number, wrong or ""))
        if count:
            raise BrokenSheetError(self.sheet.name, self.sheet.unit, tuple(broken), count, lines)
        if not lines:
            raise InvalidRequestError(f"{self.sheet.name} holds no request; write one a line")
        given = self._defaults.get("extra_body", {})
        return Checked(lines=lines, outputs=outputs, passed_on=tuple(name for name in others if name not in given))

    def orders(self) -> Iterator[Order]:
        """Every output to be made, in order, each with its key.

        InvalidRequestError when the sheet is no longer the one that was checked.
        """
        self._marks.recount()
        for number, line, wrong in self._lines():
            self._same()
            if line is None:
                raise InvalidRequestError(f"{self.sheet.name}, {self.sheet.unit} {number}: {wrong}")
            print_ = fingerprint(line, folder=self._place, realm=self._realm, image=self._digest(line))
            for copy in range(line.n):
                yield order_of(line, copy, print_, self._marks.count(print_))

    def _same(self) -> None:
        if self.sheet.stamp() != self._stamp:
            words = f"{self.sheet.name} was changed while it was read; start again, and what is new in it is done too"
            raise InvalidRequestError(words)

    def _lines(self) -> Iterator[tuple[int, Line | None, str | None]]:
        rows = self.sheet.rows()
        try:
            for raw in rows:
                if raw.cells is None:
                    yield raw.number, None, raw.wrong
                    continue
                try:
                    line = line_of(raw.number, self._placed(raw.cells), self._defaults)
                except InvalidRequestError as error:
                    yield raw.number, None, error.message
                else:
                    yield raw.number, line, None
        finally:
            close_quietly(rows)

    def _placed(self, cells: Mapping[str, Any]) -> Mapping[str, Any]:
        """The cells, with the path of an input image from where the sheet lies."""
        for name, value in cells.items():
            if isinstance(value, str) and column(name) == "image":
                return {**cells, name: located(value, self.sheet.base)}
        return cells

    def _clash(self, line: Line) -> str | None:
        """What is wrong with a line only beside the others, or beside what is on the disk."""
        if line.name is not None and (other := self._marks.first("key", line.name, line.number)):
            return f"its key {shown(line.name)} is that of {self.sheet.unit} {other} already"
        for name in outputs_of(line):
            if other := self._marks.first("output", os.path.normcase(name), line.number):
                return f"its output {shown(name)} is that of {self.sheet.unit} {other} already"
            if not Path(os.path.realpath(self.folder / name)).is_relative_to(self._place):
                return f"its output {shown(name)} leads out of the folder, through a link"
        image = line.wish.get("image")
        if image is not None and not image.lower().startswith(WEB) and not Path(image).is_file():
            return f"its image {shown(image)} is not there"
        return None

    def _digest(self, line: Line) -> str | None:
        """The digest of the bytes of an input image that is a file; InvalidRequestError when it is gone."""
        image: str | None = line.wish.get("image")
        if image is None or image.lower().startswith(WEB):
            return None
        try:
            stamp = file_stamp(Path(image))
            known = self._marks.digest(image, stamp)
            if known is None:
                known = _sha256(Path(image))
                self._marks.keep_digest(image, stamp, known)
        except OSError as error:
            words = f"{self.sheet.name}, {self.sheet.unit} {line.number}: its image {shown(image)} cannot be read"
            raise InvalidRequestError(f"{words}: {(error.strerror or str(error)).lower()}") from error
        return known


def located(image: str, base: Path) -> str:
    """An input image as it can be found from anywhere: a URL as it stands, a path from its base."""
    if not image.strip() or image.lower().lstrip().startswith(WEB):
        return image
    return str(base / Path(image.strip()).expanduser())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
