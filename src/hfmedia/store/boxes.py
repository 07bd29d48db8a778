"""Media files as nested boxes (ISO BMFF: mp4, mov, avif, heic; EBML: webm, mkv): are they whole, and how large?

Only the headers of boxes are read, never what they hold; nothing is decoded, and every walk has an end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MOST_BOXES = 100_000  # in one walk: an hour of fragmented video has a few thousand
EBML_HEAD = 256 * 1024  # bytes in which a webm tells its tracks, before the first picture
UNKNOWN = 1 << 62  # where an element of unknown length ends


class CutError(Exception):
    """A file ends before it is complete, or contradicts itself; the words say where."""


class Box(NamedTuple):
    """One box: its name, where its payload starts and where it ends."""

    name: bytes
    start: int
    end: int


class Shape(NamedTuple):
    """What a file says of itself: its sides in pixels, its length in seconds, and whether its pictures move."""

    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    moves: bool = False


def read_at(file: BinaryIO, at: int, count: int) -> bytes:
    """``count`` bytes from an offset; CutError when the file ends earlier."""
    file.seek(at)
    got = file.read(count)
    if len(got) < count:
        raise CutError(f"it ends {count - len(got)} bytes too early")
    return got


def walk(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two offsets, in order; CutError when one of them reaches past the end."""
    for _ in range(MOST_BOXES):
        if start >= end:
            return
        head = read_at(file, start, min(8, end - start))
        if not any(head):  # zeros after the last box are padding
            return
        if len(head) < 8:
            raise CutError("it ends inside a box header")
        size, name = struct.unpack(">I4s", head)
        payload = start + 8
        if size == 1:
            size, payload = struct.unpack(">Q", read_at(file, start + 8, 8))[0], start + 16
        elif size == 0:
            size = end - start
        if size < payload - start or start + size > end:
            raise CutError(f"its {name.decode('latin-1')!r} box is {start + size - end:,} bytes longer than the file")
        yield Box(name, payload, start + size)
        start += size
    raise CutError("it has more boxes than any real file")


def check_movie(file: BinaryIO, size: int) -> Shape:
    """Size and length of an mp4 or mov that has its index and all of its media; CutError otherwise."""
    index, media = None, False
    for box in walk(file, 0, size):
        if box.name == b"moov":
            index = box
        media = media or (box.name == b"mdat" and box.end > box.start)
    if index is None:
        raise CutError("its index (moov) is missing")
    if not media:
        raise CutError("its media (mdat) is missing")
    seconds, sides = None, (0, 0)
    for box in walk(file, index.start, index.end):
        if box.name == b"mvhd":
            seconds = _seconds(file, box)
        elif box.name == b"trak":
            sides = max(sides, _sides(file, box), key=_area)
    if not all(sides):
        raise CutError("it has no track with pictures")
    return Shape(*sides, seconds, moves=True)


def check_still(file: BinaryIO, size: int) -> Shape:
    """Size of an avif or heic that has its properties and all of its media; CutError otherwise."""
    found = {box.name: box for box in walk(file, 0, size)}
    meta = found.get(b"meta")
    if meta is None:
        raise CutError("its index (meta) is missing")
    inside = {box.name: box for box in walk(file, meta.start + 4, meta.end)}
    if b"mdat" not in found and b"idat" not in inside:
        raise CutError("its media (mdat) is missing")
    properties = inside.get(b"iprp", Box(b"iprp", 0, 0))
    sides = (0, 0)
    for middle in walk(file, properties.start, properties.end):
        for inner in walk(file, middle.start, middle.end) if middle.name == b"ipco" else ():
            if inner.name == b"ispe":  # the picture's own size; tiles and thumbnails are smaller
                told = struct.unpack(">II", read_at(file, inner.start + 4, 8))
                sides = max(sides, (told[0], told[1]), key=_area)
    if not all(sides):
        raise CutError("it does not say how large it is")
    return Shape(*sides)


def check_matroska(file: BinaryIO, size: int) -> Shape:
    """Size of a webm or mkv whose one segment is all there; CutError otherwise.

    A segment of unknown length (a live stream) cannot be told from a cut one, and passes.
    """
    file.seek(0)
    head = file.read(EBML_HEAD)
    _, _, at = _element(head, 0)
    name, start, end = _element(head, at)
    if name != 0x18538067:
        raise CutError("its segment is missing")
    if size < end < UNKNOWN:
        raise CutError(f"its segment is {end - size:,} bytes longer than the file")
    width, height = _video_track(head, start, min(end, len(head)))
    return Shape(width, height, moves=True)


def _area(sides: tuple[int, int]) -> int:
    return sides[0] * sides[1]


def _seconds(file: BinaryIO, mvhd: Box) -> float | None:
    version = read_at(file, mvhd.start, 1)[0]
    form, skip, unknown = (">IQ", 20, 2**64 - 1) if version == 1 else (">II", 12, 2**32 - 1)
    scale, length = struct.unpack(form, read_at(file, mvhd.start + skip, struct.calcsize(form)))
    return length / scale if scale and length != unknown else None


def _sides(file: BinaryIO, trak: Box) -> tuple[int, int]:
    """Width and height of a track in pixels (they are 16.16 fixed point numbers at the end of tkhd); 0 for sound."""
    for box in walk(file, trak.start, trak.end):
        if box.name == b"tkhd":
            width, height = struct.unpack(">II", read_at(file, box.end - 8, 8))
            return width >> 16, height >> 16
    return 0, 0


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """One EBML element: its id, where its payload starts, and where it ends (UNKNOWN for a live stream)."""
    try:
        id_length = 9 - data[at].bit_length()
        size_at = at + id_length
        length = 9 - data[size_at].bit_length()
        start = size_at + length
        raw = int.from_bytes(data[size_at:start], "big") & ((1 << 7 * length) - 1)
    except IndexError:
        raise CutError("it ends inside an element header") from None
    if length > 8 or id_length > 4 or start > len(data):
        raise CutError("it ends inside an element header")
    unknown = raw == (1 << 7 * length) - 1
    return int.from_bytes(data[at:size_at], "big"), start, UNKNOWN if unknown else start + raw


def _video_track(data: bytes, at: int, end: int) -> tuple[int | None, int | None]:
    """PixelWidth and PixelHeight of the first video track, both None when they are not told near the front."""
    inside = (0x1654AE6B, 0xAE, 0xE0)  # Tracks, TrackEntry, Video
    sides: dict[int, int] = {}
    while at < end and len(sides) < 2:
        try:
            name, start, stop = _element(data, at)
        except CutError:
            break
        if name in (0xB0, 0xBA):
            sides[name] = int.from_bytes(data[start : min(stop, start + 8)], "big")
        at = start if name in inside else stop
    return (sides[0xB0], sides[0xBA]) if len(sides) == 2 else (None, None)
