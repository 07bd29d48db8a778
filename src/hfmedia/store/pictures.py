"""Pictures as bytes: is a png, jpeg, gif, webp, bmp or tiff whole, how large is it, does it move?

Pixels are never decoded, so a bomb cannot go off here; every walk reads headers alone and has an end.
"""

from __future__ import annotations

import struct
from io import BufferedReader, RawIOBase
from typing import BinaryIO, Literal, cast

from .boxes import CutError, Shape, read_at

MOST_STEPS = 1_000_000  # chunks of a png or blocks of a gif (255 bytes each); real files have thousands
JPEG_TAIL = 64 * 1024  # bytes that may follow a picture: some encoders add padding or notes of their own
TIFF_TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes of each (TIFF 6.0, 2)
TIFF_TAGS = frozenset({256, 257, 273, 279, 324, 325})  # width, height; where strips and tiles begin, how long they are
# Markers of a JPEG that tell its size: SOF0 to SOF15, without the three that mean something else (ITU T.81, B.1).
JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_png(file: BinaryIO, size: int) -> Shape:
    """Every chunk lies within the file, from IHDR to IEND, with pixels between (W3C PNG, 5 and 11.2)."""
    at, sides, pixels, moves = 8, (0, 0), False, False
    for _ in range(MOST_STEPS):
        length, name = struct.unpack(">I4s", read_at(file, at, 8))
        if name == b"IHDR":
            width, height = struct.unpack(">II", read_at(file, at + 8, 8))
            sides = width, height
        pixels, moves = pixels or name == b"IDAT", moves or name == b"acTL"
        at += 12 + length
        if at > size:
            raise CutError(f"its {name.decode('latin-1')!r} chunk is {at - size:,} bytes longer than the file")
        if name == b"IEND":
            if not pixels:
                raise CutError("it has no pixels")
            return Shape(*sides, moves=moves)
    raise CutError("it has more chunks than any real file")


def check_jpeg(file: BinaryIO, size: int) -> Shape:
    """Its segments are whole up to the scan, and the end of image follows (ITU T.81, B.1.1).

    Inside a scan 0xFF is always followed by a zero or a restart marker, so FF D9 there is the end.
    """
    at, sides = 2, (0, 0)
    for _ in range(MOST_STEPS):
        sign, marker = read_at(file, at, 2)
        if sign != 0xFF:
            raise CutError("a segment does not begin where it should")
        if marker == 0xFF:  # any number of fill bytes may stand before a marker
            at += 1
            continue
        length = int.from_bytes(read_at(file, at + 2, 2), "big")
        if marker in JPEG_SIZES:
            height, width = struct.unpack(">HH", read_at(file, at + 5, 4))
            sides = width, height
        at += 2 + length
        if marker == 0xDA:
            break
    file.seek(max(at, size - JPEG_TAIL))
    if b"\xff\xd9" not in file.read():
        raise CutError("its end is missing")
    return Shape(*sides)


def check_gif(file: BinaryIO, size: int) -> Shape:
    """Its blocks follow one another up to the trailer (GIF89a, 12 to 27); more than one image moves."""
    reader = BufferedReader(cast("RawIOBase", file), JPEG_TAIL)
    try:
        return _walk_gif(cast("BinaryIO", reader))
    finally:
        reader.detach()


def check_webp(file: BinaryIO, size: int) -> Shape:
    """As long as its RIFF header says; the size stands in its first chunk (RFC 9649, 2.5 to 2.7)."""
    _check_riff(file, size)
    head = read_at(file, 12, 18)
    if head[:4] == b"VP8X":
        width, height = int.from_bytes(head[12:15], "little") + 1, int.from_bytes(head[15:18], "little") + 1
        return Shape(width, height, moves=bool(head[8] & 2))
    if head[:4] == b"VP8L":
        bits = int.from_bytes(head[9:13], "little")
        return Shape((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    width, height = struct.unpack("<HH", head[14:18])
    return Shape(width & 0x3FFF, height & 0x3FFF)


def check_avi(file: BinaryIO, size: int) -> Shape:
    """As long as its RIFF header says; the size stands in the main header, its first chunk."""
    _check_riff(file, size)
    width, height = struct.unpack("<II", read_at(file, 64, 8))
    return Shape(width, height, moves=True)


def check_bmp(file: BinaryIO, size: int) -> Shape:
    """At least as long as its header says; a negative height means that the first row is the top one."""
    length = int.from_bytes(read_at(file, 2, 4), "little")
    if length > size:
        raise CutError(f"it ends {length - size:,} bytes too early")
    width, height = struct.unpack("<ii", read_at(file, 18, 8))
    return Shape(width, abs(height))


def check_tiff(file: BinaryIO, size: int) -> Shape:
    """The first directory, what it points to, and its strips or tiles lie within the file (TIFF 6.0, 2 and 7)."""
    order: Literal["little", "big"] = "little" if read_at(file, 0, 2) == b"II" else "big"
    at = int.from_bytes(read_at(file, 4, 4), order)
    count = int.from_bytes(read_at(file, at, 2), order)
    entries = read_at(file, at + 2, 12 * count + 4)  # the place of the next directory follows them
    told: dict[int, list[int]] = {}
    for entry in (entries[start : start + 12] for start in range(0, 12 * count, 12)):
        tag, form, many = (int.from_bytes(entry[a:b], order) for a, b in ((0, 2), (2, 4), (4, 8)))
        wide = TIFF_TYPES.get(form, 1)
        place = int.from_bytes(entry[8:12], order)
        if wide * many > 4 and place + wide * many > size:
            raise CutError(f"its directory points {place + wide * many - size:,} bytes past its end")
        if tag in TIFF_TAGS and many <= MOST_STEPS:
            data = entry[8 : 8 + wide * many] if wide * many <= 4 else read_at(file, place, wide * many)
            told[tag] = [int.from_bytes(data[n : n + wide], order) for n in range(0, len(data), wide)]
    places, lengths = told.get(273) or told.get(324, []), told.get(279) or told.get(325, [])
    ends = [start + length for start, length in zip(places, lengths, strict=False)]
    if not ends or max(ends) > size or len(places) != len(lengths):
        raise CutError("its pixels are not all there")
    width, height = (next(iter(told.get(tag, ())), 0) for tag in (256, 257))
    return Shape(width, height)


def _walk_gif(file: BinaryIO) -> Shape:
    head = read_at(file, 0, 13)
    width, height = struct.unpack("<HH", head[6:10])
    at, images = 13 + _colours(head[10]), 0
    for _ in range(MOST_STEPS):
        sign = read_at(file, at, 1)[0]
        if sign == 0x3B:
            if not images:
                raise CutError("it has no image")
            return Shape(width, height, moves=images > 1)
        if sign == 0x2C:
            images += 1
            at += 11 + _colours(read_at(file, at + 9, 1)[0])  # the descriptor, its colours, the code size
        elif sign == 0x21:
            at += 2
        else:
            raise CutError("a block does not begin where it should")
        while length := read_at(file, at, 1)[0]:
            at += 1 + length
        at += 1
    raise CutError("it has more blocks than any real file")


def _colours(flags: int) -> int:
    """Bytes of the colour table that these flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _check_riff(file: BinaryIO, size: int) -> None:
    length = 8 + int.from_bytes(read_at(file, 4, 4), "little")
    if length > size:
        raise CutError(f"it ends {length - size:,} bytes too early")
