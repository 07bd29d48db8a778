"""A download that goes on where it broke off: Range and If-Range where the server honours them, else from the start.

Nothing here decides what a file is; it gets all of its bytes, in a bounded number of tries, or says why not.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from ..core.errors import DownloadError, ExpiredError, LostError, UnsentError
from ..core.ports import Body, Fetch
from ..core.retry import DOWNLOAD_RETRIES, backoff, retry_after, seconds_until

GONE = frozenset({403, 404, 410})  # what signed and temporary addresses answer once their time is over
LATER = frozenset({408, 425, 429}) | frozenset(range(500, 600))
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.IGNORECASE)  # RFC 9110, 14.4
Wait = tuple[float | None, str | None]  # what a server says of when to come back: seconds, or a date


class Sink(Protocol):
    """Where the bytes go."""

    @property
    def size(self) -> int:
        """How many it has."""
        ...

    def announce(self, total: int) -> None:
        """Hears how many there will be, where that is known."""
        ...

    async def write(self, data: bytes) -> None:
        """Takes the next ones."""
        ...

    async def begin_again(self) -> None:
        """Forgets those it has."""
        ...


class BrokenError(Exception):
    """One try came to nothing, and another may help; the words say why."""

    def __init__(self, why: str, wait: Wait = (None, None), status: int | None = None) -> None:
        super().__init__(why)
        self.wait, self.status = wait, status


class Download:
    """One file on its way from one URL into a sink."""

    def __init__(
        self,
        url: str,
        sink: Sink,
        fetch: Fetch,
        *,
        most_bytes: int,
        progress: Callable[[int, int | None], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._url, self._sink, self._fetch = url, sink, fetch
        self._most, self._progress, self._sleep = most_bytes, progress, sleep
        self._marks: dict[str, str] = {}
        self._total: int | None = None
        self.tries = 0

    async def run(self) -> None:
        """All of the file. DownloadError when it does not arrive within the bound, ExpiredError when it is gone."""
        while True:
            self.tries += 1
            try:
                return await self._try()
            except BrokenError as broken:
                if self.tries > DOWNLOAD_RETRIES:
                    got = (
                        f"{self._sink.size:,} of {self._total:,} bytes" if self._total else f"{self._sink.size:,} bytes"
                    )
                    raise DownloadError(
                        f"the result did not arrive whole from {plain_url(self._url)} in {self.tries} tries "
                        f"({got}): {broken}",
                        status=broken.status,
                    ) from broken
                wait = seconds_until(*broken.wait, time.time())
            await self._sleep(backoff(self.tries, random.random()) if wait is None else wait)

    async def _try(self) -> None:
        asked: dict[str, str] = {}
        proof = _proof(self._marks)
        if self._sink.size and proof:
            asked = {"Range": f"bytes={self._sink.size}-", "If-Range": proof}
        try:
            async with self._fetch(self._url, headers=asked) as body:
                if await self._begin(body):
                    await self._pour(body)
        except (UnsentError, LostError) as error:
            raise BrokenError(str(error)) from error
        if self._total is not None and self._sink.size != self._total:
            raise BrokenError(f"it ended after {self._sink.size:,} of {self._total:,} bytes")

    async def _begin(self, body: Body) -> bool:
        """Reads the head of an answer: whether there is more to come; raises when it does not help."""
        status, headers = body.status, body.headers
        if status in GONE:
            raise ExpiredError(f"the result is gone (HTTP {status}): it expired or was removed", status=status)
        if status in LATER:
            raise BrokenError(f"the server of the result answered HTTP {status}", retry_after(headers), status)
        if status in (206, 416) and self._sink.size:
            return await self._go_on(status, headers)
        if status != 200:
            raise DownloadError(f"the server of the result answered HTTP {status}", status=status)
        await self._begin_again()
        self._total = _length(headers)
        self._marks = {name: headers[name] for name in ("etag", "last-modified") if headers.get(name)}
        if self._total is not None and self._total > self._most:
            raise DownloadError(f"the result has {self._total:,} bytes, more than the limit of {self._most:,}")
        if self._total is not None:
            self._sink.announce(self._total)
        return True

    async def _go_on(self, status: int, headers: Mapping[str, str]) -> bool:
        """Checks that the answer to a Range goes on with the same file at the same byte; if not, back to byte 0.

        Some servers ignore If-Range, so what they say of the file must match, too. 416 at the very end means that
        nothing is missing.
        """
        found = CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
        start, total = (found[1], found[3]) if found else (None, None)
        same = self._total is None or total in ("*", str(self._total))
        same = same and all(headers.get(name, mark) == mark for name, mark in self._marks.items())
        if same and status == 416 and total == str(self._sink.size):
            self._total = self._sink.size
            return False
        if same and status == 206 and start == str(self._sink.size):
            self._total = int(total) if total and total != "*" else self._total
            return True
        await self._begin_again()
        raise BrokenError("it changed at its server, or the server sent another part of it than was asked for")

    async def _pour(self, body: Body) -> None:
        chunks = aiter(body.chunks())
        while True:
            try:
                chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except DownloadError as error:
                if not error.retryable:  # the transport's own limit, say
                    raise
                raise BrokenError(str(error)) from error
            if self._sink.size + len(chunk) > self._most:
                raise DownloadError(f"the result has more bytes than the limit of {self._most:,}")
            await self._sink.write(chunk)
            self._progress(self._sink.size, self._total)

    async def _begin_again(self) -> None:
        self._total, self._marks = None, {}
        if self._sink.size:
            await self._sink.begin_again()


def plain_url(url: str) -> str:
    """A URL without its query, which may be a signature, and without a user's name and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _proof(marks: Mapping[str, str]) -> str | None:
    """What proves to a server which file we have begun: a strong ETag, else its date (RFC 9110, 13.1.5)."""
    etag = marks.get("etag", "")
    return etag if etag.startswith('"') else marks.get("last-modified")


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None
