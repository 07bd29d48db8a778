"""Bodies as they come in: inflating them in small bites, and a download read a piece at a time.

The rule: a limit counts what comes out of the decompressor, and no bite is large enough to hold up the event loop.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import aiohttp
from yarl import URL

from ..core.errors import DownloadError
from .limits import TransportLimits
from .ssrf import host_label

CHUNK_SIZE = 256 * 1024  # bytes; the largest piece handed on, and the most inflated at once (under 1 ms)
SUPPORTED_ENCODINGS = ("", "identity", "gzip", "x-gzip", "deflate")
ENCODED_BODY_HEADERS = ("content-encoding", "content-length", "content-range", "accept-ranges", "etag")


class Decompressor:
    """Undoes one Content-Encoding. ``feed`` yields pieces of at most ``BITE`` bytes; zlib.error when it is broken."""

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding in ("gzip", "x-gzip")
        self._decoder = zlib.decompressobj(31) if self._gzip else None
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` inflates to, as far as it goes."""
        while data:
            decoder = self._decoder
            if decoder is None:  # "deflate" is zlib by the standard, and raw deflate at many a server
                decoder = self._decoder = zlib.decompressobj(15 if data[0] & 0x0F == 8 else -15)
            elif decoder.eof:
                if not self._gzip or not data.strip(b"\0"):
                    return  # padding after the end
                decoder = self._decoder = zlib.decompressobj(31)  # gzip members may follow one another
            self._started = True
            piece = decoder.decompress(data, CHUNK_SIZE)
            data = decoder.unconsumed_tail or decoder.unused_data
            if piece:
                yield piece

    def finish(self) -> Iterator[bytes]:
        """What was still held back; zlib.error when the stream was not at its end."""
        if self._decoder is None or not self._started:
            return
        while not self._decoder.eof:
            piece = self._decoder.decompress(b"", CHUNK_SIZE)
            if not piece:
                raise zlib.error("the compressed body ends too early")
            yield piece


def is_supported_encoding(encoding: str) -> bool:
    """Whether a body in this Content-Encoding can be read here."""
    return encoding in SUPPORTED_ENCODINGS


def decompressor_for(encoding: str) -> Decompressor | None:
    """What undoes this Content-Encoding (one that is readable), None when nothing is to be done."""
    return None if encoding in ("", "identity") else Decompressor(encoding)


def normalize_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as they come, names in lower case, doubles joined; cookies are nobody's business here."""
    normalized: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        if key in ("set-cookie", "set-cookie2"):
            continue
        if not value.isascii():
            value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        normalized[key] = f"{normalized[key]}, {value}" if key in normalized else value
    return normalized


class StreamedBody:
    """A reply whose body is still to be read (core.ports.Body).

    A body that came compressed although none was asked for is inflated; then ``headers`` drops the ones that speak of
    the compressed bytes (length, range, tag), since they would mislead.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        url: URL,
        limits: TransportLimits,
        describe_error: Callable[[BaseException], str],
    ) -> None:
        self._response = response
        self._limits = limits
        self._describe_error = describe_error
        self._host = host_label(url)
        self.status: int = response.status
        self.url: str = str(url)
        self.headers: Mapping[str, str] = normalize_headers(response.headers)
        self._encoding = self.headers.get("content-encoding", "").strip().lower()
        self._content_length = content_length(self.headers)
        if self._encoding not in ("", "identity"):
            self.headers = {name: value for name, value in self.headers.items() if name not in ENCODED_BODY_HEADERS}

    def __repr__(self) -> str:
        return f"Download({self.status} from {self._host})"

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces of at most 256 KiB; DownloadError when it breaks off, stalls or grows too large."""
        if self._content_length > self._limits.max_media_bytes:
            raise self._too_large_error()
        if not is_supported_encoding(self._encoding):
            raise self._download_error("sent a body in an encoding that was not asked for")
        decompressor = decompressor_for(self._encoding)
        if decompressor is not None and self.status == 206:
            raise self._download_error("sent a part of a compressed file, which cannot be read")
        total = 0
        while True:
            raw = await self._read_raw()
            for chunk in self._decompress(decompressor, raw):
                total += len(chunk)
                if total > self._limits.max_media_bytes:
                    raise self._too_large_error()
                yield chunk
                if decompressor is not None and len(chunk) == CHUNK_SIZE:
                    await asyncio.sleep(0)  # a bomb goes off in slices, between which everybody else gets their turn
            if not raw:
                return

    def _decompress(self, decompressor: Decompressor | None, raw: bytes) -> Iterator[bytes]:
        if decompressor is None:
            if raw:
                yield raw
            return
        corrupt = False
        try:
            yield from decompressor.feed(raw) if raw else decompressor.finish()
        except zlib.error:
            corrupt = True
        if corrupt:
            raise self._download_error("sent a body whose compression is broken")

    async def _read_raw(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.download_idle):
                return await self._response.content.read(CHUNK_SIZE)
        except Exception as error:
            message = self._describe_error(error)
        raise DownloadError(message, status=self.status)

    def _download_error(self, problem: str) -> DownloadError:
        return DownloadError(f"{self._host} {problem}", status=self.status)

    def _too_large_error(self) -> DownloadError:
        error = self._download_error(
            f"sends more than {self._limits.max_media_bytes:,} bytes, the most that is fetched"
        )
        error.retryable = False
        return error


def content_length(headers: Mapping[str, str]) -> int:
    """The bytes that Content-Length promises, 0 when it says nothing sensible."""
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
