"""Images (png, jpeg, gif, webp, bmp, tiff) and avi: completeness, size in pixels, animation.

Pixels are never decoded, so decompression bombs do no harm; every loop reads headers only and is bounded.
"""

from __future__ import annotations

import struct
from io import BufferedReader, RawIOBase
from typing import BinaryIO, Literal, cast

from .containers import ProbeResult, TruncatedError, read_at

MAX_SEGMENTS = 1_000_000  # chunks of a png or blocks of a gif (255 bytes each); real files have thousands
JPEG_TRAILER_BYTES = 64 * 1024  # bytes that may follow an image: some encoders add padding or metadata
TIFF_TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes of each (TIFF 6.0, 2)
TIFF_TAGS = frozenset({256, 257, 273, 279, 324, 325})  # width, height; offsets and lengths of strips and tiles
# JPEG markers with the size: SOF0 to SOF15, except three with another meaning (ITU T.81, B.1).
JPEG_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def probe_png(file: BinaryIO, size: int) -> ProbeResult:
    """Probe a PNG: every chunk from IHDR to IEND is within the file, with pixels between (W3C PNG, 5 and 11.2)."""
    offset, sides, has_pixels, is_animated = 8, (0, 0), False, False
    for _ in range(MAX_SEGMENTS):
        chunk_length, chunk_type = struct.unpack(">I4s", read_at(file, offset, 8))
        if chunk_type == b"IHDR":
            width, height = struct.unpack(">II", read_at(file, offset + 8, 8))
            sides = width, height
        has_pixels, is_animated = has_pixels or chunk_type == b"IDAT", is_animated or chunk_type == b"acTL"
        offset += 12 + chunk_length
        if offset > size:
            raise TruncatedError(
                f"its {chunk_type.decode('latin-1')!r} chunk is {offset - size:,} bytes longer than the file"
            )
        if chunk_type == b"IEND":
            if not has_pixels:
                raise TruncatedError("it has no pixels")
            return ProbeResult(*sides, is_animated=is_animated)
    raise TruncatedError("it has more chunks than any real file")


def probe_jpeg(file: BinaryIO, size: int) -> ProbeResult:
    """Probe a JPEG: its segments are complete up to the scan, and an end of image follows (ITU T.81, B.1.1).

    Inside a scan 0xFF is always followed by a zero or a restart marker, so FF D9 there is the end.
    """
    offset, sides = 2, (0, 0)
    for _ in range(MAX_SEGMENTS):
        prefix, marker = read_at(file, offset, 2)
        if prefix != 0xFF:
            raise TruncatedError("a segment does not start where it should")
        if marker == 0xFF:  # any number of fill bytes may precede a marker
            offset += 1
            continue
        length = int.from_bytes(read_at(file, offset + 2, 2), "big")
        if marker in JPEG_SOF_MARKERS:
            height, width = struct.unpack(">HH", read_at(file, offset + 5, 4))
            sides = width, height
        offset += 2 + length
        if marker == 0xDA:
            break
    file.seek(max(offset, size - JPEG_TRAILER_BYTES))
    if b"\xff\xd9" not in file.read():
        raise TruncatedError("its end is missing")
    return ProbeResult(*sides)


def probe_gif(file: BinaryIO, size: int) -> ProbeResult:
    """Probe a GIF: its blocks reach the trailer (GIF89a, 12 to 27); with several images it is animated."""
    reader = BufferedReader(cast("RawIOBase", file), JPEG_TRAILER_BYTES)
    try:
        return _parse_gif(cast("BinaryIO", reader))
    finally:
        reader.detach()


def probe_webp(file: BinaryIO, size: int) -> ProbeResult:
    """Probe a WebP: as long as its RIFF header says; the size is in its first chunk (RFC 9649, 2.5 to 2.7)."""
    _require_complete_riff(file, size)
    header = read_at(file, 12, 18)
    if header[:4] == b"VP8X":
        width, height = int.from_bytes(header[12:15], "little") + 1, int.from_bytes(header[15:18], "little") + 1
        return ProbeResult(width, height, is_animated=bool(header[8] & 2))
    if header[:4] == b"VP8L":
        bits = int.from_bytes(header[9:13], "little")
        return ProbeResult((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    width, height = struct.unpack("<HH", header[14:18])
    return ProbeResult(width & 0x3FFF, height & 0x3FFF)


def probe_avi(file: BinaryIO, size: int) -> ProbeResult:
    """As long as its RIFF header says; the size stands in the main header, its first chunk."""
    _require_complete_riff(file, size)
    width, height = struct.unpack("<II", read_at(file, 64, 8))
    return ProbeResult(width, height, is_animated=True)


def probe_bmp(file: BinaryIO, size: int) -> ProbeResult:
    """Probe a BMP: at least as long as its header says; a negative height means that the first row is the top one."""
    length = int.from_bytes(read_at(file, 2, 4), "little")
    if length > size:
        raise TruncatedError(f"it ends {length - size:,} bytes too early")
    width, height = struct.unpack("<ii", read_at(file, 18, 8))
    return ProbeResult(width, abs(height))


def probe_tiff(file: BinaryIO, size: int) -> ProbeResult:
    """Probe a TIFF: its first directory, values, and strips or tiles are within the file (TIFF 6.0, 2 and 7)."""
    byte_order: Literal["little", "big"] = "little" if read_at(file, 0, 2) == b"II" else "big"
    offset = int.from_bytes(read_at(file, 4, 4), byte_order)
    entry_count = int.from_bytes(read_at(file, offset, 2), byte_order)
    entries = read_at(file, offset + 2, 12 * entry_count + 4)  # the offset of the next directory follows them
    tag_values: dict[int, list[int]] = {}
    for entry in (entries[start : start + 12] for start in range(0, 12 * entry_count, 12)):
        tag, field_type, value_count = (int.from_bytes(entry[a:b], byte_order) for a, b in ((0, 2), (2, 4), (4, 8)))
        value_size = TIFF_TYPES.get(field_type, 1)
        value_offset = int.from_bytes(entry[8:12], byte_order)
        if value_size * value_count > 4 and value_offset + value_size * value_count > size:
            raise TruncatedError(
                f"its directory points {value_offset + value_size * value_count - size:,} bytes past its end"
            )
        if tag in TIFF_TAGS and value_count <= MAX_SEGMENTS:
            data = (
                entry[8 : 8 + value_size * value_count]
                if value_size * value_count <= 4
                else read_at(file, value_offset, value_size * value_count)
            )
            tag_values[tag] = [
                int.from_bytes(data[n : n + value_size], byte_order) for n in range(0, len(data), value_size)
            ]
    offsets, lengths = tag_values.get(273) or tag_values.get(324, []), tag_values.get(279) or tag_values.get(325, [])
    ends = [start + length for start, length in zip(offsets, lengths, strict=False)]
    if not ends or max(ends) > size or len(offsets) != len(lengths):
        raise TruncatedError("its pixels are incomplete")
    width, height = (next(iter(tag_values.get(tag, ())), 0) for tag in (256, 257))
    return ProbeResult(width, height)


def _parse_gif(file: BinaryIO) -> ProbeResult:
    header = read_at(file, 0, 13)
    width, height = struct.unpack("<HH", header[6:10])
    offset, image_count = 13 + _color_table_bytes(header[10]), 0
    for _ in range(MAX_SEGMENTS):
        block_type = read_at(file, offset, 1)[0]
        if block_type == 0x3B:
            if not image_count:
                raise TruncatedError("it has no image")
            return ProbeResult(width, height, is_animated=image_count > 1)
        if block_type == 0x2C:
            image_count += 1
            offset += 11 + _color_table_bytes(
                read_at(file, offset + 9, 1)[0]
            )  # the descriptor, its colors, the code size
        elif block_type == 0x21:
            offset += 2
        else:
            raise TruncatedError("a block does not start where it should")
        while length := read_at(file, offset, 1)[0]:
            offset += 1 + length
        offset += 1
    raise TruncatedError("it has more blocks than any real file")


def _color_table_bytes(flags: int) -> int:
    """Bytes of the color table that these flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _require_complete_riff(file: BinaryIO, size: int) -> None:
    length = 8 + int.from_bytes(read_at(file, 4, 4), "little")
    if length > size:
        raise TruncatedError(f"it ends {length - size:,} bytes too early")
