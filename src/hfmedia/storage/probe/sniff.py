"""Detection of media types from content, never from headers or names, and checks for truncated files.

Only the start, the end and the lengths of boxes are read, so a large video costs no more than a small one.
"""

from __future__ import annotations

from collections.abc import Callable
from io import SEEK_END
from typing import Any, BinaryIO, Literal

from msgspec import Struct

from hfmedia.core.credentials import redact
from hfmedia.core.errors import DownloadError

from .containers import ProbeResult, TruncatedError, probe_heif, probe_matroska, probe_mp4
from .images import probe_avi, probe_bmp, probe_gif, probe_jpeg, probe_png, probe_tiff, probe_webp

SNIFF_BYTES = 4096  # bytes from which the type is detected
PREVIEW_CHARS = 120  # characters of unexpected content in an error message
MAX_PIXELS = 2**28  # 16,384 x 16,384: more than any model generates, and 1 GB when decoded
LEADING_WHITESPACE = b"\xef\xbb\xbf \t\r\n"  # what may precede the first character of a text


class MediaFormat(Struct, frozen=True):
    """One media format: its label, its usual suffix and its probe function."""

    label: str
    suffix: str
    probe: Callable[[BinaryIO, int], ProbeResult]


class MediaInfo(Struct, frozen=True):
    """Properties of a media file; the size in pixels is None where unknown, the duration where it is not a video."""

    mime: str
    suffix: str
    width: int | None = None
    height: int | None = None
    seconds: float | None = None


FORMATS = {
    "image/png": MediaFormat("a PNG image", ".png", probe_png),
    "image/jpeg": MediaFormat("a JPEG image", ".jpg", probe_jpeg),
    "image/gif": MediaFormat("a GIF image", ".gif", probe_gif),
    "image/webp": MediaFormat("a WebP image", ".webp", probe_webp),
    "image/avif": MediaFormat("an AVIF image", ".avif", probe_heif),
    "image/heic": MediaFormat("a HEIC image", ".heic", probe_heif),
    "image/bmp": MediaFormat("a BMP image", ".bmp", probe_bmp),
    "image/tiff": MediaFormat("a TIFF image", ".tif", probe_tiff),
    "video/mp4": MediaFormat("an MP4 video", ".mp4", probe_mp4),
    "video/quicktime": MediaFormat("a QuickTime video", ".mov", probe_mp4),
    "video/webm": MediaFormat("a WebM video", ".webm", probe_matroska),
    "video/x-matroska": MediaFormat("a Matroska video", ".mkv", probe_matroska),
    "video/x-msvideo": MediaFormat("an AVI video", ".avi", probe_avi),
}
# Offset, signature, media type. Containers (ISO, EBML) are handled below.
SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBPVP8", "image/webp"),
    (8, b"AVI LIST", "video/x-msvideo"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
)
FTYP_BRANDS = {
    b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"hevc": "image/heic",
    b"mif1": "image/heic", b"msf1": "image/heic", b"qt  ": "video/quicktime", b"M4A ": None, b"M4B ": None,
}  # fmt: skip
LEGACY_QUICKTIME_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})  # QuickTime before ftyp
BMP_HEADER_SIZES = frozenset({40, 52, 56, 108, 124})  # bytes; sizes of the second header in the versions of Windows


def probe(file: BinaryIO, output_kind: Literal["image", "video"]) -> MediaInfo:
    """Probe a file. Raises DownloadError unless it is complete media of the requested kind.

    An animated GIF, WebP or PNG counts as a video. Blocks briefly: call it in a thread.
    """
    size = file.seek(0, SEEK_END)
    file.seek(0)
    head = file.read(SNIFF_BYTES)
    expected = "an image" if output_kind == "image" else "a video"
    if not head:
        raise DownloadError(f"the result is empty, not {expected}")
    mime = sniff(head)
    if mime is None:
        raise DownloadError(f"the result is {_describe_content(head)}, not {expected}: {_preview(head)}")
    media_format = FORMATS[mime]
    try:
        probed = media_format.probe(file, size)
    except TruncatedError as error:
        raise DownloadError(f"the result is {media_format.label}, but broken after {size:,} bytes: {error}") from None
    width, height = probed.width, probed.height
    if width is not None and height is not None and not 0 < width * height <= MAX_PIXELS:
        raise DownloadError(f"the result is {media_format.label} that claims {width}x{height} pixels")
    if mime.startswith("video/") != (output_kind == "video") and not (output_kind == "video" and probed.is_animated):
        raise DownloadError(f"the result is {media_format.label}, not {expected}")
    return MediaInfo(mime, media_format.suffix, width, height, probed.seconds)


def sniff(head: bytes) -> str | None:
    """Return the media type for the start of a file; None for an unsupported format."""
    for offset, signature, mime in SIGNATURES:
        if head.startswith(signature, offset):
            return mime
    if head[4:8] == b"ftyp":
        return _mime_from_brands(head)
    if head[4:8] in LEGACY_QUICKTIME_BOXES and head[0] < 0x20:  # text such as "the free trial" is not a movie
        return "video/quicktime"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in BMP_HEADER_SIZES:
        return "image/bmp"
    return None


def _mime_from_brands(head: bytes) -> str | None:
    """Return the media type for the brands of an ISO file: the major brand, then the compatible ones."""
    end = min(int.from_bytes(head[:4], "big"), 128)
    brands = [head[8:12], *(head[offset : offset + 4] for offset in range(16, end, 4))]
    if brands[0] in (b"mif1", b"msf1") and b"avif" in brands:
        return "image/avif"
    return FTYP_BRANDS.get(brands[0], "video/mp4")


def _describe_content(head: bytes) -> str:
    """Describe unsupported content in a few words."""
    start = head.lstrip(LEADING_WHITESPACE)[:512].lower()
    if b"<html" in start or start.startswith((b"<!doctype html", b"<head", b"<body")):
        return "an HTML page"
    if start.startswith(b"<"):
        return "an SVG drawing" if b"<svg" in start else "an XML document"
    if _is_text(head):
        return "JSON" if start.startswith((b"{", b"[")) else "text"
    import puremagic

    try:
        matches: list[Any] = puremagic.magic_string(head)  # pyright: ignore[reportUnknownMemberType]
    except (puremagic.PureError, ValueError):
        matches = []
    name = next((str(match.name) for match in matches if match.name), "")
    return f"something else ({name})" if name else "of an unknown kind"


def _is_text(head: bytes) -> bool:
    """Return whether the bytes are UTF-8 text without control characters; the last character may be incomplete."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\ufeff\t\r\n\f" for char in text)


def _preview(head: bytes) -> str:
    """Return the start of unexpected content for an error message: one line, redacted."""
    text = redact(head.decode("utf-8", "replace"))
    printable = "".join(char if char.isprintable() and char != "\ufffd" else " " for char in text)
    return repr(" ".join(printable.split())[:PREVIEW_CHARS])
