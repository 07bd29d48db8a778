"""Containers (ISO BMFF: mp4, mov, avif, heic; EBML: webm, mkv): completeness and size in pixels.

Only box headers are read, nothing is decoded, and every loop is bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MAX_BOXES = 100_000  # per level: an hour of fragmented video has a few thousand
EBML_HEADER_BYTES = 256 * 1024  # bytes in which a webm describes its tracks, before the first frame
UNKNOWN_END = 1 << 62  # end of an element of unknown length


class TruncatedError(Exception):
    """A file is incomplete or inconsistent; the message says where."""


class Box(NamedTuple):
    """One box: its name, and the offsets of its payload's start and end."""

    name: bytes
    start: int
    end: int


class ProbeResult(NamedTuple):
    """Properties of a file: size in pixels, duration in seconds, and whether it is animated."""

    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    is_animated: bool = False


def read_at(file: BinaryIO, offset: int, count: int) -> bytes:
    """Read ``count`` bytes at an offset. Raises TruncatedError when the file ends earlier."""
    file.seek(offset)
    data = file.read(count)
    if len(data) < count:
        raise TruncatedError(f"it ends {count - len(data)} bytes too early")
    return data


def iter_boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two offsets. Raises TruncatedError when one exceeds the end."""
    for _ in range(MAX_BOXES):
        if start >= end:
            return
        header = read_at(file, start, min(8, end - start))
        if not any(header):  # zeros after the last box are padding
            return
        if len(header) < 8:
            raise TruncatedError("it ends inside a box header")
        size, name = struct.unpack(">I4s", header)
        payload = start + 8
        if size == 1:
            size, payload = struct.unpack(">Q", read_at(file, start + 8, 8))[0], start + 16
        elif size == 0:
            size = end - start
        if size < payload - start or start + size > end:
            raise TruncatedError(
                f"its {name.decode('latin-1')!r} box is {start + size - end:,} bytes longer than the file"
            )
        yield Box(name, payload, start + size)
        start += size
    raise TruncatedError("it has more boxes than any real file")


def probe_mp4(file: BinaryIO, size: int) -> ProbeResult:
    """Probe an mp4 or mov. Raises TruncatedError unless its index and all of its media are present."""
    index, has_media = None, False
    for box in iter_boxes(file, 0, size):
        if box.name == b"moov":
            index = box
        has_media = has_media or (box.name == b"mdat" and box.end > box.start)
    if index is None:
        raise TruncatedError("its index (moov) is missing")
    if not has_media:
        raise TruncatedError("its media (mdat) is missing")
    seconds, sides = None, (0, 0)
    for box in iter_boxes(file, index.start, index.end):
        if box.name == b"mvhd":
            seconds = _duration(file, box)
        elif box.name == b"trak":
            sides = max(sides, _track_size(file, box), key=_area)
    if not all(sides):
        raise TruncatedError("it has no video track")
    return ProbeResult(*sides, seconds, is_animated=True)


def probe_heif(file: BinaryIO, size: int) -> ProbeResult:
    """Probe an avif or heic. Raises TruncatedError unless its properties and all of its media are present."""
    boxes = {box.name: box for box in iter_boxes(file, 0, size)}
    meta = boxes.get(b"meta")
    if meta is None:
        raise TruncatedError("its index (meta) is missing")
    meta_boxes = {box.name: box for box in iter_boxes(file, meta.start + 4, meta.end)}
    if b"mdat" not in boxes and b"idat" not in meta_boxes:
        raise TruncatedError("its media (mdat) is missing")
    properties = meta_boxes.get(b"iprp", Box(b"iprp", 0, 0))
    sides = (0, 0)
    for container in iter_boxes(file, properties.start, properties.end):
        for property_box in iter_boxes(file, container.start, container.end) if container.name == b"ipco" else ():
            if property_box.name == b"ispe":  # the size of the image itself; tiles and thumbnails are smaller
                dimensions = struct.unpack(">II", read_at(file, property_box.start + 4, 8))
                sides = max(sides, (dimensions[0], dimensions[1]), key=_area)
    if not all(sides):
        raise TruncatedError("its size in pixels is missing")
    return ProbeResult(*sides)


def probe_matroska(file: BinaryIO, size: int) -> ProbeResult:
    """Probe a webm or mkv. Raises TruncatedError unless its one segment is complete.

    A segment of unknown length (a live stream) cannot be distinguished from a truncated one, and passes.
    """
    file.seek(0)
    header = file.read(EBML_HEADER_BYTES)
    _, _, offset = _parse_element(header, 0)
    element_id, start, end = _parse_element(header, offset)
    if element_id != 0x18538067:
        raise TruncatedError("its segment is missing")
    if size < end < UNKNOWN_END:
        raise TruncatedError(f"its segment is {end - size:,} bytes longer than the file")
    width, height = _video_size(header, start, min(end, len(header)))
    return ProbeResult(width, height, is_animated=True)


def _area(sides: tuple[int, int]) -> int:
    return sides[0] * sides[1]


def _duration(file: BinaryIO, mvhd: Box) -> float | None:
    version = read_at(file, mvhd.start, 1)[0]
    struct_format, field_offset, unknown = (">IQ", 20, 2**64 - 1) if version == 1 else (">II", 12, 2**32 - 1)
    timescale, length = struct.unpack(
        struct_format, read_at(file, mvhd.start + field_offset, struct.calcsize(struct_format))
    )
    return length / timescale if timescale and length != unknown else None


def _track_size(file: BinaryIO, trak: Box) -> tuple[int, int]:
    """Return a track's size in pixels (16.16 fixed-point numbers at the end of tkhd); 0 for audio."""
    for box in iter_boxes(file, trak.start, trak.end):
        if box.name == b"tkhd":
            width, height = struct.unpack(">II", read_at(file, box.end - 8, 8))
            return width >> 16, height >> 16
    return 0, 0


def _parse_element(data: bytes, offset: int) -> tuple[int, int, int]:
    """Parse an EBML element: ID, start and end of its payload (UNKNOWN_END for a live stream)."""
    try:
        id_length = 9 - data[offset].bit_length()
        size_offset = offset + id_length
        length = 9 - data[size_offset].bit_length()
        start = size_offset + length
        raw = int.from_bytes(data[size_offset:start], "big") & ((1 << 7 * length) - 1)
    except IndexError:
        raise TruncatedError("it ends inside an element header") from None
    if length > 8 or id_length > 4 or start > len(data):
        raise TruncatedError("it ends inside an element header")
    unknown = raw == (1 << 7 * length) - 1
    return int.from_bytes(data[offset:size_offset], "big"), start, UNKNOWN_END if unknown else start + raw


def _video_size(data: bytes, offset: int, end: int) -> tuple[int | None, int | None]:
    """Return PixelWidth and PixelHeight of the first video track; None for both unless they are near the start."""
    container_ids = (0x1654AE6B, 0xAE, 0xE0)  # Tracks, TrackEntry, Video
    sides: dict[int, int] = {}
    while offset < end and len(sides) < 2:
        try:
            element_id, start, payload_end = _parse_element(data, offset)
        except TruncatedError:
            break
        if element_id in (0xB0, 0xBA):
            sides[element_id] = int.from_bytes(data[start : min(payload_end, start + 8)], "big")
        offset = start if element_id in container_ids else payload_end
    return (sides[0xB0], sides[0xBA]) if len(sides) == 2 else (None, None)
