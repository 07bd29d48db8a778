"""Media that came inside a reply: bytes as they are, and ``data:`` URIs taken apart a piece at a time.

Pure. A piece is small, so that 20 MB of base64 need little more memory than they have already.
"""

from __future__ import annotations

from binascii import Error, a2b_base64
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from ..core.errors import DownloadError

PIECE = 256 * 1024  # bytes or characters taken at once; a multiple of four, as base64 comes in fours
LONGEST_HEAD = 1024  # characters before the comma of a data: URI; real ones have about twenty
URL_SAFE = bytes.maketrans(b"-_", b"+/")  # the other alphabet of base64 (RFC 4648, 5)


def pieces_of_bytes(data: bytes) -> Iterator[memoryview]:
    """Bytes in pieces, none of them copied."""
    view = memoryview(data)
    return (view[at : at + PIECE] for at in range(0, len(view), PIECE))


def pieces_of_uri(uri: str) -> Iterator[bytes]:
    """What a ``data:`` URI holds, whatever it says it is (RFC 2397); DownloadError when it cannot be read."""
    comma = uri.find(",", 0, LONGEST_HEAD)
    if comma < 0:
        raise DownloadError("the result is a data: URI without data")
    escaped = _unescaped(uri, comma + 1)
    return _from_base64(escaped) if uri[:comma].lower().rstrip().endswith(";base64") else escaped


def _unescaped(text: str, at: int) -> Iterator[bytes]:
    while at < len(text):
        end = at + PIECE
        torn = text.rfind("%", max(at, end - 2), end)  # a piece does not end inside of %41
        if torn > at and end < len(text):
            end = torn
        piece = text[at:end]
        yield unquote_to_bytes(piece) if "%" in piece else piece.encode("utf-8", "replace")
        at = end


def _from_base64(pieces: Iterator[bytes]) -> Iterator[bytes]:
    left, padded = b"", False
    try:
        for piece in pieces:
            text = left + b"".join(piece.split()).translate(URL_SAFE)
            if text and padded:
                raise Error("something follows its padding")
            whole = len(text) // 4 * 4
            left, padded = text[whole:], text[:whole].endswith(b"=")
            yield a2b_base64(text[:whole], strict_mode=True)
        if left and padded:
            raise Error("something follows its padding")
        yield a2b_base64(left + b"=" * (-len(left) % 4), strict_mode=True)  # some leave the padding out
    except Error as error:
        raise DownloadError(f"the result is a data: URI whose base64 is broken: {error}") from None
