"""What bytes are, and whether they are all there: looked up in the bytes, never in a header or a name.

Heads, tails and the lengths of boxes are all that is read, so a large video costs no more than a small one.
"""

from __future__ import annotations

from collections.abc import Callable
from io import SEEK_END
from typing import Any, BinaryIO, Literal

from msgspec import Struct

from ..core.errors import DownloadError
from ..core.wire import redact
from .boxes import CutError, Shape, check_matroska, check_movie, check_still
from .pictures import check_avi, check_bmp, check_gif, check_jpeg, check_png, check_tiff, check_webp

HEAD = 4096  # bytes looked at to tell what a file is
SHOWN = 120  # characters of something that is no media, shown to a person
MOST_PIXELS = 2**28  # 16,384 x 16,384: beyond what any model draws, and 1 GB once it is decoded
WHITE = b"\xef\xbb\xbf \t\r\n"  # what may stand before the first sign of a text


class Form(Struct, frozen=True):
    """One form of media: what it is called, how its names end, how it is checked."""

    words: str
    suffix: str
    check: Callable[[BinaryIO, int], Shape]


class Kind(Struct, frozen=True):
    """What a file is: media type, usual suffix, sides in pixels where it tells them, seconds if it is a video."""

    mime: str
    suffix: str
    width: int | None = None
    height: int | None = None
    seconds: float | None = None


FORMS = {
    "image/png": Form("a PNG image", ".png", check_png),
    "image/jpeg": Form("a JPEG image", ".jpg", check_jpeg),
    "image/gif": Form("a GIF image", ".gif", check_gif),
    "image/webp": Form("a WebP image", ".webp", check_webp),
    "image/avif": Form("an AVIF image", ".avif", check_still),
    "image/heic": Form("a HEIC image", ".heic", check_still),
    "image/bmp": Form("a BMP image", ".bmp", check_bmp),
    "image/tiff": Form("a TIFF image", ".tif", check_tiff),
    "video/mp4": Form("an MP4 video", ".mp4", check_movie),
    "video/quicktime": Form("a QuickTime video", ".mov", check_movie),
    "video/webm": Form("a WebM video", ".webm", check_matroska),
    "video/x-matroska": Form("a Matroska video", ".mkv", check_matroska),
    "video/x-msvideo": Form("an AVI video", ".avi", check_avi),
}
# Offset, sign, media type. The boxed forms (ISO, EBML) need a second look, below.
SIGNS = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBPVP8", "image/webp"),
    (8, b"AVI LIST", "video/x-msvideo"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
)
BRANDS = {
    b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"hevc": "image/heic",
    b"mif1": "image/heic", b"msf1": "image/heic", b"qt  ": "video/quicktime", b"M4A ": None, b"M4B ": None,
}  # fmt: skip
OLD_MOVIES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})  # QuickTime before it knew ftyp
BMP_HEADERS = frozenset({40, 52, 56, 108, 124})  # bytes; the lengths that Windows has given the second header


def inspect(file: BinaryIO, makes: Literal["image", "video"]) -> Kind:
    """What the file is, when it is whole and of the sort that was asked for; DownloadError says what is wrong.

    A moving GIF, WebP or PNG passes as a video. Blocking, though not for long: call it in a thread.
    """
    size = file.seek(0, SEEK_END)
    file.seek(0)
    head = file.read(HEAD)
    wanted = "an image" if makes == "image" else "a video"
    if not head:
        raise DownloadError(f"the result is empty, not {wanted}")
    mime = recognise(head)
    if mime is None:
        raise DownloadError(f"the result is {_looks_like(head)}, not {wanted}: {_shown(head)}")
    form = FORMS[mime]
    try:
        shape = form.check(file, size)
    except CutError as cut:
        raise DownloadError(f"the result is {form.words}, but broken after {size:,} bytes: {cut}") from None
    width, height = shape.width, shape.height
    if width is not None and height is not None and not 0 < width * height <= MOST_PIXELS:
        raise DownloadError(f"the result is {form.words} that claims {width}x{height} pixels")
    if mime.startswith("video/") != (makes == "video") and not (makes == "video" and shape.moves):
        raise DownloadError(f"the result is {form.words}, not {wanted}")
    return Kind(mime, form.suffix, width, height, shape.seconds)


def recognise(head: bytes) -> str | None:
    """The media type of a file that begins like this; None when it is nothing that can be checked."""
    for at, sign, mime in SIGNS:
        if head.startswith(sign, at):
            return mime
    if head[4:8] == b"ftyp":
        return _brand(head)
    if head[4:8] in OLD_MOVIES and head[0] < 0x20:  # "the free trial" is no movie
        return "video/quicktime"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in BMP_HEADERS:
        return "image/bmp"
    return None


def _brand(head: bytes) -> str | None:
    """The media type that the brands of an ISO file stand for; the first one is its own, the others it can pass for."""
    end = min(int.from_bytes(head[:4], "big"), 128)
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]
    if brands[0] in (b"mif1", b"msf1") and b"avif" in brands:
        return "image/avif"
    return BRANDS.get(brands[0], "video/mp4")


def _looks_like(head: bytes) -> str:
    """What a person would call something that is no media we know."""
    start = head.lstrip(WHITE)[:512].lower()
    if b"<html" in start or start.startswith((b"<!doctype html", b"<head", b"<body")):
        return "an HTML page"
    if start.startswith(b"<"):
        return "an SVG drawing" if b"<svg" in start else "an XML document"
    if _is_text(head):
        return "JSON" if start.startswith((b"{", b"[")) else "text"
    import puremagic

    try:
        found: list[Any] = puremagic.magic_string(head)  # pyright: ignore[reportUnknownMemberType]
    except (puremagic.PureError, ValueError):
        found = []
    name = next((str(match.name) for match in found if match.name), "")
    return f"something else ({name})" if name else "of an unknown kind"


def _is_text(head: bytes) -> bool:
    """Whether these bytes are text: UTF-8, torn at its end at most, with no control characters in it."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\ufeff\t\r\n\f" for char in text)


def _shown(head: bytes) -> str:
    """The beginning of something unexpected, as a person may see it: one line, without secrets."""
    text = redact(head.decode("utf-8", "replace"))
    clean = "".join(char if char.isprintable() and char != "\ufffd" else " " for char in text)
    return repr(" ".join(clean.split())[:SHOWN])
