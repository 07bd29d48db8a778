"""Streamed response bodies: bounded, decompressed chunk by chunk, with a timeout for each read.

Limits count decompressed bytes, and no chunk is large enough to block the event loop noticeably.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import aiohttp
from yarl import URL

from ..core.errors import DownloadError
from .decompression import CHUNK_SIZE, Decompressor, decompressor_for, is_supported_encoding
from .limits import TransportLimits
from .ssrf import host_label

ENCODED_BODY_HEADERS = ("content-encoding", "content-length", "content-range", "accept-ranges", "etag")


def normalize_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return response headers with lower-case names and repeated ones joined; cookies are left out."""
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
    """A response whose body has not been read yet (implements core.ports.ResponseStream).

    A body that is compressed although the request did not allow it is decompressed; ``headers`` then lacks those that
    describe the compressed bytes (length, range, ETag), since they would mislead.
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
        return f"StreamedBody({self.status} from {self._host})"

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body in chunks of at most 256 KiB.

        Raises DownloadError when it is interrupted, stalls, exceeds ``max_media_bytes`` or cannot be decompressed.
        """
        if self._content_length > self._limits.max_media_bytes:
            raise self._too_large_error()
        if not is_supported_encoding(self._encoding):
            raise self._download_error("sent a body in an unsupported encoding")
        decompressor = decompressor_for(self._encoding)
        if decompressor is not None and self.status == 206:
            raise self._download_error("sent part of a compressed file, which cannot be decoded")
        total = 0
        while True:
            raw = await self._read_raw()
            for chunk in self._decompress(decompressor, raw):
                total += len(chunk)
                if total > self._limits.max_media_bytes:
                    raise self._too_large_error()
                yield chunk
                if decompressor is not None and len(chunk) == CHUNK_SIZE:
                    await asyncio.sleep(0)  # between the slices of a decompression bomb, other tasks run
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
            raise self._download_error("sent a corrupt compressed body")

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
        error = self._download_error(f"sent more than the limit of {self._limits.max_media_bytes:,} bytes")
        error.retryable = False
        return error


def content_length(headers: Mapping[str, str]) -> int:
    """Return the Content-Length in bytes, 0 when it is absent or invalid."""
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
