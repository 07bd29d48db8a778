"""What bytes are, and whether they are all there: looked up in the bytes, never in a header or a name.

Only heads, tails and box lengths are read, so a large video costs no more than a small one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from io import SEEK_END
from typing import Any, BinaryIO, Literal

from msgspec import Struct

from ..core.errors import DownloadError
from ..core.wire import redact

HEAD = 4096  # bytes looked at to tell what a file is
SHOWN = 120  # characters of something that is no media, shown to a person
MOST_BOXES = 100_000  # of an MP4 or chunks of a PNG; a real file has some hundreds
MOST_PIXELS = 500_000_000  # a picture that claims more is a bomb
SUFFIXES = {
    "image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "image/bmp": ".bmp",
    "image/tiff": ".tif", "image/avif": ".avif", "image/heic": ".heic", "video/mp4": ".mp4",
    "video/quicktime": ".mov", "video/webm": ".webm", "video/x-matroska": ".mkv",
}  # fmt: skip
IMAGE_BRANDS = {b"avif": "image/avif", b"avis": "image/avif"} | dict.fromkeys((b"heic", b"heix", b"mif1"), "image/heic")
ISO_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"})


class Kind(Struct, frozen=True):
    """What a file is: its media type, its size in pixels where the bytes tell it, its length in seconds if it moves."""

    mime: str
    width: int | None = None
    height: int | None = None
    seconds: float | None = None

    @property
    def suffix(self) -> str:
        """The usual ending of a name."""
        return SUFFIXES.get(self.mime, "." + self.mime.rpartition("/")[2])


def inspect(file: BinaryIO, makes: Literal["image", "video"]) -> Kind:
    """What the file is, when it is whole and of the sort that was asked for; DownloadError says what is wrong.

    Blocking: call it in a thread.
    """
    size = file.seek(0, SEEK_END)
    file.seek(0)
    head = file.read(HEAD)
    if not head:
        raise DownloadError(f"the result is empty, not {_a(makes)}")
    mime = _mime(head)
    if mime is None:
        raise DownloadError(f"the result is {_looks_like(head)}, not {_a(makes)}: {_shown(head)}")
    whole = WHOLE.get(mime)
    if whole is not None and not whole(file, size):
        raise DownloadError(f"the result is {mime}, but it breaks off after {size:,} bytes")
    kind = _moving(file, mime, size) if mime.startswith("video/") else _still(file, mime)
    moves = mime.startswith("video/") or (kind.seconds is not None and makes == "video")
    if moves != (makes == "video"):
        raise DownloadError(f"the result is {mime}, not {_a(makes)}")
    return kind


# -- what it is -----------------------------------------------------------------------------------------------------


def _mime(head: bytes) -> str | None:
    """The media type of a file that begins like this; None when it is no image and no video."""
    if head[4:8] in ISO_BOXES:
        brand = head[8:12] if head[4:8] == b"ftyp" else b""
        return IMAGE_BRANDS.get(brand) or ("video/quicktime" if brand == b"qt  " else "video/mp4")
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head.lstrip()[:1] in (b"<", b"{", b"["):
        return None
    import puremagic

    try:
        found: list[Any] = puremagic.magic_string(head)  # pyright: ignore[reportUnknownMemberType]
    except (puremagic.PureError, ValueError):
        return None
    told = (str(match.mime_type) for match in found)
    return next((mime for mime in told if mime.startswith(("image/", "video/")) and mime in SUFFIXES), None)


def _looks_like(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:400].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")) or b"<html" in start:
        return "an HTML page"
    if start.startswith(b"<"):
        return "an XML document"
    if start.startswith((b"{", b"[")):
        return "JSON"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return "of an unknown kind"
    return "text"


def _shown(head: bytes) -> str:
    """The beginning of something unexpected, as a person may see it."""
    text = head[: SHOWN * 2].decode("utf-8", "replace")
    clean = "".join(char if char.isprintable() else " " for char in text)
    return repr(redact(" ".join(clean.split()))[:SHOWN])


def _a(makes: str) -> str:
    return "an image" if makes == "image" else "a video"


# -- whether it is all there --------------------------------------------------------------------------------------


def _png_whole(file: BinaryIO, size: int) -> bool:
    """Every chunk is within the file, and the last one is IEND (W3C PNG, 5.3)."""
    at = 8
    for _ in range(MOST_BOXES):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return False
        at += 12 + int.from_bytes(head[:4])
        if head[4:] == b"IEND":
            return at <= size
    return False


def _jpeg_whole(file: BinaryIO, size: int) -> bool:
    """The end of image stands near the end: some cameras and servers append a little (ITU T.81, B.1.1.3)."""
    file.seek(max(0, size - 64 * 1024))
    tail = file.read()
    at = tail.rfind(b"\xff\xd9")
    return at >= 0 and (b"\xff\xda" not in tail[at:])


def _gif_whole(file: BinaryIO, size: int) -> bool:
    """It ends with the trailer (GIF89a, 27)."""
    file.seek(max(0, size - 16))
    return file.read().rstrip(b"\0").endswith(b"\x3b")


def _riff_whole(file: BinaryIO, size: int) -> bool:
    """As long as its first chunk says (RFC 9649, 2.4)."""
    file.seek(4)
    return size >= 8 + int.from_bytes(file.read(4), "little")


def _bmp_whole(file: BinaryIO, size: int) -> bool:
    file.seek(2)
    return size >= int.from_bytes(file.read(4), "little")


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of an ISO file between two places: kind, where the content begins and ends (ISO 14496-12, 4.2)."""
    at = start
    for _ in range(MOST_BOXES):
        if at + 8 > end:
            return
        file.seek(at)
        head = file.read(16)
        length, content = int.from_bytes(head[:4]), at + 8
        if length == 1 and len(head) == 16:
            length, content = int.from_bytes(head[8:16]), at + 16
        elif length == 0:  # to the end of the file
            length = end - at
        if length < content - at:
            return
        yield head[4:8], content, at + length
        at += length


def _iso_whole(file: BinaryIO, size: int) -> bool:
    """Every box is within the file, which ends with one, and what describes the media is there."""
    kinds: set[bytes] = set()
    last = 0
    for kind, _, end in _boxes(file, 0, size):
        kinds.add(kind)
        last = end
    return last == size and bool(kinds & {b"moov", b"moof", b"meta"}) and bool(kinds & {b"mdat", b"idat", b"moof"})


def _ebml_whole(file: BinaryIO, size: int) -> bool:
    """Its segment is within the file, where its length is told at all (RFC 8794)."""
    at = 0
    for _ in range(8):
        file.seek(at)
        head = file.read(12)
        if len(head) < 2:
            return at == size
        width = 1 + _zeros(head[0])
        told = 1 + _zeros(head[width]) if len(head) > width else 9
        if width > 4 or told > 8 or len(head) < width + told:
            return False
        length = int.from_bytes(head[width : width + told]) & ((1 << 7 * told) - 1)
        if length == (1 << 7 * told) - 1:  # unknown on purpose: a live stream
            return True
        at += width + told + length
        if at >= size:
            return at == size
    return True


def _zeros(byte: int) -> int:
    return 8 - byte.bit_length()


WHOLE: dict[str, Callable[[BinaryIO, int], bool]] = {
    "image/png": _png_whole,
    "image/jpeg": _jpeg_whole,
    "image/gif": _gif_whole,
    "image/webp": _riff_whole,
    "image/bmp": _bmp_whole,
    "image/avif": _iso_whole,
    "image/heic": _iso_whole,
    "video/mp4": _iso_whole,
    "video/quicktime": _iso_whole,
    "video/webm": _ebml_whole,
    "video/x-matroska": _ebml_whole,
}


# -- how large it is ------------------------------------------------------------------------------------------------


def _still(file: BinaryIO, mime: str) -> Kind:
    """Size and frames of a picture, from its head; pixels are never decoded."""
    from PIL import Image, UnidentifiedImageError

    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as picture:
                width, height = picture.size
                moves = bool(getattr(picture, "is_animated", False))
    except UnidentifiedImageError:
        if mime in ("image/avif", "image/heic"):  # this Pillow may not know the format; its boxes were whole
            return Kind(mime)
        raise DownloadError(f"the result begins like {mime}, but is no picture that can be read") from None
    except Image.DecompressionBombError:
        raise DownloadError("the result claims more pixels than any picture has") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DownloadError(f"the result is {mime}, but cannot be read: {error}") from None
    if not width or not height or width * height > MOST_PIXELS:
        raise DownloadError(f"the result claims to have {width}x{height} pixels")
    return Kind(mime, width, height, 0.0 if moves else None)


def _moving(file: BinaryIO, mime: str, size: int) -> Kind:
    """Size and length of an MP4 or QuickTime film; other containers do not tell them at a fixed place."""
    if mime not in ("video/mp4", "video/quicktime"):
        return Kind(mime)
    width = height = seconds = None
    for _, start, end in (box for box in _boxes(file, 0, size) if box[0] == b"moov"):
        for kind, inner, last in list(_boxes(file, start, end)):
            if kind == b"mvhd":
                seconds = _length(file, inner)
            if kind == b"trak":
                tracks = [_track(file, at) for name, at, _ in list(_boxes(file, inner, last)) if name == b"tkhd"]
                width, height = max([(width or 0, height or 0), *tracks])
    return Kind(mime, width or None, height or None, seconds)


def _length(file: BinaryIO, at: int) -> float | None:
    """Seconds out of a movie header (ISO 14496-12, 8.2.2)."""
    file.seek(at)
    head = file.read(32)
    if len(head) < 32:
        return None
    scale, length = (head[20:24], head[24:32]) if head[0] == 1 else (head[12:16], head[16:20])
    return int.from_bytes(length) / int.from_bytes(scale) if any(scale) else None


def _track(file: BinaryIO, at: int) -> tuple[int, int]:
    """Width and height out of a track header, 0 for sound (ISO 14496-12, 8.3.2)."""
    file.seek(at)
    wide = file.read(1) == b"\1"
    file.seek(at + (88 if wide else 76))
    sides = file.read(8)
    return int.from_bytes(sides[:2]), int.from_bytes(sides[4:6])
