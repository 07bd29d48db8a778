"""Inline media of a response: raw bytes and ``data:`` URIs, decoded chunk by chunk.

Pure. Chunks are small, so that decoding 20 MB of base64 needs little more memory than the text itself.
"""

from __future__ import annotations

from binascii import Error, a2b_base64
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from ..core.errors import DownloadError

CHUNK_SIZE = 256 * 1024  # bytes or characters per chunk; a multiple of four, for base64
MAX_HEADER_CHARS = 1024  # characters before the comma of a data: URI; real ones have about twenty
URL_SAFE_TO_STANDARD = bytes.maketrans(b"-_", b"+/")  # the other alphabet of base64 (RFC 4648, 5)


def iter_bytes(data: bytes) -> Iterator[memoryview]:
    """Return the bytes in chunks, without copying."""
    view = memoryview(data)
    return (view[offset : offset + CHUNK_SIZE] for offset in range(0, len(view), CHUNK_SIZE))


def iter_data_uri(uri: str) -> Iterator[bytes]:
    """Decode a ``data:`` URI (RFC 2397), whatever its media type. Raises DownloadError when it is invalid."""
    comma = uri.find(",", 0, MAX_HEADER_CHARS)
    if comma < 0:
        raise DownloadError("the result is a data: URI without data")
    unescaped = _iter_unescaped(uri, comma + 1)
    return _decode_base64(unescaped) if uri[:comma].lower().rstrip().endswith(";base64") else unescaped


def _iter_unescaped(text: str, start: int) -> Iterator[bytes]:
    while start < len(text):
        end = start + CHUNK_SIZE
        percent = text.rfind("%", max(start, end - 2), end)  # do not split an escape such as %41
        if percent > start and end < len(text):
            end = percent
        chunk = text[start:end]
        yield unquote_to_bytes(chunk) if "%" in chunk else chunk.encode("utf-8", "replace")
        start = end


def _decode_base64(chunks: Iterator[bytes]) -> Iterator[bytes]:
    remainder, padded = b"", False
    try:
        for chunk in chunks:
            text = remainder + b"".join(chunk.split()).translate(URL_SAFE_TO_STANDARD)
            if text and padded:
                raise Error("data after the padding")
            aligned = len(text) // 4 * 4
            remainder, padded = text[aligned:], text[:aligned].endswith(b"=")
            yield a2b_base64(text[:aligned], strict_mode=True)
        if remainder and padded:
            raise Error("data after the padding")
        yield a2b_base64(remainder + b"=" * (-len(remainder) % 4), strict_mode=True)  # some omit the padding
    except Error as error:
        raise DownloadError(f"the result is a data: URI with invalid base64: {error}") from None
