"""Decompression of response bodies in small steps, with a limit on what comes out.

aiohttp's own decompression stays off: it inflates a whole chunk at once, before any limit of ours can count, and blocks
the event loop meanwhile. Here one step yields at most ``CHUNK_SIZE`` bytes, and callers count those.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

CHUNK_SIZE = 256 * 1024  # bytes; the largest chunk passed on, and the most inflated in one step (under 1 ms)
SUPPORTED_ENCODINGS = ("", "identity", "gzip", "x-gzip", "deflate")


class Decompressor:
    """Decodes one Content-Encoding in chunks of at most ``CHUNK_SIZE`` bytes; raises zlib.error on corrupt data."""

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding in ("gzip", "x-gzip")
        self._decoder = zlib.decompressobj(31) if self._gzip else None
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what ``data`` decompresses to, as far as it is available."""
        while data:
            decoder = self._decoder
            if decoder is None:  # "deflate" is zlib by the standard, and raw deflate on many servers
                decoder = self._decoder = zlib.decompressobj(15 if data[0] & 0x0F == 8 else -15)
            elif decoder.eof:
                if not self._gzip or not data.strip(b"\0"):
                    return  # padding after the end
                decoder = self._decoder = zlib.decompressobj(31)  # gzip members may follow one another
            self._started = True
            chunk = decoder.decompress(data, CHUNK_SIZE)
            data = decoder.unconsumed_tail or decoder.unused_data
            if chunk:
                yield chunk

    def finish(self) -> Iterator[bytes]:
        """Yield the remaining data; raises zlib.error when the compressed stream is incomplete."""
        if self._decoder is None or not self._started:
            return
        while not self._decoder.eof:
            chunk = self._decoder.decompress(b"", CHUNK_SIZE)
            if not chunk:
                raise zlib.error("the compressed body ends too early")
            yield chunk


def is_supported_encoding(encoding: str) -> bool:
    """Return whether a body with this Content-Encoding can be decoded."""
    return encoding in SUPPORTED_ENCODINGS


def decompressor_for(encoding: str) -> Decompressor | None:
    """Return the decompressor for a supported Content-Encoding, None for an uncompressed body."""
    return None if encoding in ("", "identity") else Decompressor(encoding)
