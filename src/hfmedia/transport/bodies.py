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
from .guard import shown
from .limits import Limits

BITE = 256 * 1024  # bytes; the largest piece handed on, and the most inflated at once (under 1 ms)
READABLE = ("", "identity", "gzip", "x-gzip", "deflate")
ENCODED_HEADERS = ("content-encoding", "content-length", "content-range", "accept-ranges", "etag")


class Inflater:
    """Undoes one Content-Encoding. ``feed`` yields pieces of at most ``BITE`` bytes; zlib.error when it is broken."""

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding in ("gzip", "x-gzip")
        self._engine = zlib.decompressobj(31) if self._gzip else None
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` inflates to, as far as it goes."""
        while data:
            engine = self._engine
            if engine is None:  # "deflate" is zlib by the standard, and raw deflate at many a server
                engine = self._engine = zlib.decompressobj(15 if data[0] & 0x0F == 8 else -15)
            elif engine.eof:
                if not self._gzip or not data.strip(b"\0"):
                    return  # padding after the end
                engine = self._engine = zlib.decompressobj(31)  # gzip members may follow one another
            self._started = True
            piece = engine.decompress(data, BITE)
            data = engine.unconsumed_tail or engine.unused_data
            if piece:
                yield piece

    def finish(self) -> Iterator[bytes]:
        """What was still held back; zlib.error when the stream was not at its end."""
        if self._engine is None or not self._started:
            return
        while not self._engine.eof:
            piece = self._engine.decompress(b"", BITE)
            if not piece:
                raise zlib.error("the compressed body ends too early")
            yield piece


def readable(encoding: str) -> bool:
    """Whether a body in this Content-Encoding can be read here."""
    return encoding in READABLE


def inflater(encoding: str) -> Inflater | None:
    """What undoes this Content-Encoding (one that is readable), None when nothing is to be done."""
    return None if encoding in ("", "identity") else Inflater(encoding)


def plain_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as they come, names in lower case, doubles joined; cookies are nobody's business here."""
    joined: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        if key in ("set-cookie", "set-cookie2"):
            continue
        if not value.isascii():
            value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


class Download:
    """A reply whose body is still to be read (core.ports.Body).

    A body that came compressed although none was asked for is inflated; then ``headers`` drops the ones that speak of
    the compressed bytes (length, range, tag), since they would mislead.
    """

    def __init__(
        self, reply: aiohttp.ClientResponse, url: URL, limits: Limits, tell: Callable[[BaseException], str]
    ) -> None:
        self._reply = reply
        self._limits = limits
        self._tell = tell
        self._host = shown(url)
        self.status: int = reply.status
        self.url: str = str(url)
        self.headers: Mapping[str, str] = plain_headers(reply.headers)
        self._encoding = self.headers.get("content-encoding", "").strip().lower()
        self._announced = announced(self.headers)
        if self._encoding not in ("", "identity"):
            self.headers = {name: value for name, value in self.headers.items() if name not in ENCODED_HEADERS}

    def __repr__(self) -> str:
        return f"Download({self.status} from {self._host})"

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces of at most 256 KiB; DownloadError when it breaks off, stalls or grows too large."""
        if self._announced > self._limits.media_bytes:
            raise self._too_large()
        if not readable(self._encoding):
            raise self._broken("sent a body in an encoding that was not asked for")
        inflate = inflater(self._encoding)
        if inflate is not None and self.status == 206:
            raise self._broken("sent a part of a compressed file, which cannot be read")
        total = 0
        while True:
            wire = await self._read()
            for piece in self._inflate(inflate, wire):
                total += len(piece)
                if total > self._limits.media_bytes:
                    raise self._too_large()
                yield piece
                if inflate is not None and len(piece) == BITE:
                    await asyncio.sleep(0)  # a bomb goes off in slices, between which everybody else gets their turn
            if not wire:
                return

    def _inflate(self, inflate: Inflater | None, wire: bytes) -> Iterator[bytes]:
        if inflate is None:
            if wire:
                yield wire
            return
        broken = False
        try:
            yield from inflate.feed(wire) if wire else inflate.finish()
        except zlib.error:
            broken = True
        if broken:
            raise self._broken("sent a body whose compression is broken")

    async def _read(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.download_idle):
                return await self._reply.content.read(BITE)
        except Exception as error:
            what = self._tell(error)
        raise DownloadError(what, status=self.status)

    def _broken(self, what: str) -> DownloadError:
        return DownloadError(f"{self._host} {what}", status=self.status)

    def _too_large(self) -> DownloadError:
        error = self._broken(f"sends more than {self._limits.media_bytes:,} bytes, the most that is fetched")
        error.retryable = False
        return error


def announced(headers: Mapping[str, str]) -> int:
    """The bytes that Content-Length promises, 0 when it says nothing sensible."""
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
