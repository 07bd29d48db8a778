"""ResumableDownload: continues an interrupted download with Range and If-Range, or restarts it.

It gets all bytes within a limited number of attempts, or raises; what they are is decided elsewhere.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from ..core.errors import DownloadError, RequestNotSentError, ResponseLostError, ResultExpiredError
from ..core.http import display_url
from ..core.ports import MediaFetcher, ResponseStream
from ..core.retry import DOWNLOAD_RETRIES, backoff, parse_retry_after, retry_delay

GONE_STATUSES = frozenset({403, 404, 410})  # what signed and temporary URLs return after they expire
RETRY_STATUSES = frozenset({408, 425, 429}) | frozenset(range(500, 600))
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.IGNORECASE)  # RFC 9110, 14.4
RetryHint = tuple[float | None, str | None]  # retry delay of a server: seconds, or a date


class Sink(Protocol):
    """Destination of the bytes."""

    @property
    def size(self) -> int:
        """Bytes written so far."""
        ...

    def set_expected_size(self, total: int) -> None:
        """Set the expected total, if it is known."""
        ...

    async def write(self, data: bytes) -> None:
        """Append bytes."""
        ...

    async def reset(self) -> None:
        """Discard all bytes."""
        ...


class RetryableError(Exception):
    """A failed attempt after which another may succeed; the message is the reason."""

    def __init__(self, reason: str, retry_hint: RetryHint = (None, None), status: int | None = None) -> None:
        super().__init__(reason)
        self.retry_hint, self.status = retry_hint, status


class ResumableDownload:
    """The download of one URL into a sink."""

    def __init__(
        self,
        url: str,
        sink: Sink,
        fetch: MediaFetcher,
        *,
        max_bytes: int,
        progress: Callable[[int, int | None], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._url, self._sink, self._fetch = url, sink, fetch
        self._max_bytes, self._progress, self._sleep = max_bytes, progress, sleep
        self._validators: dict[str, str] = {}
        self._total: int | None = None
        self.attempts = 0

    async def run(self) -> None:
        """Download the whole file. Raises DownloadError after the last attempt, ResultExpiredError when it is gone."""
        while True:
            self.attempts += 1
            try:
                return await self._attempt()
            except RetryableError as error:
                if self.attempts > DOWNLOAD_RETRIES:
                    received = (
                        f"{self._sink.size:,} of {self._total:,} bytes" if self._total else f"{self._sink.size:,} bytes"
                    )
                    raise DownloadError(
                        f"the download from {display_url(self._url)} is incomplete after {self.attempts} attempts "
                        f"({received}): {error}",
                        status=error.status,
                    ) from error
                delay = retry_delay(*error.retry_hint, time.time())
            await self._sleep(backoff(self.attempts, random.random()) if delay is None else delay)

    async def _attempt(self) -> None:
        range_headers: dict[str, str] = {}
        validator = _strong_validator(self._validators)
        if self._sink.size and validator:
            range_headers = {"Range": f"bytes={self._sink.size}-", "If-Range": validator}
        try:
            async with self._fetch(self._url, headers=range_headers) as response:
                if await self._accept(response):
                    await self._stream(response)
        except (RequestNotSentError, ResponseLostError) as error:
            raise RetryableError(str(error)) from error
        if self._total is not None and self._sink.size != self._total:
            raise RetryableError(f"it ended after {self._sink.size:,} of {self._total:,} bytes")

    async def _accept(self, response: ResponseStream) -> bool:
        """Check the head of a response; return whether its body is needed. Raises when it is unusable."""
        status, headers = response.status, response.headers
        if status in GONE_STATUSES:
            raise ResultExpiredError(
                f"the result is no longer available (HTTP {status}): it expired or was deleted", status=status
            )
        if status in RETRY_STATUSES:
            raise RetryableError(f"the media server returned HTTP {status}", parse_retry_after(headers), status)
        if status in (206, 416) and self._sink.size:
            return await self._resume(status, headers)
        if status != 200:
            raise DownloadError(f"the media server returned HTTP {status}", status=status)
        await self._restart()
        self._total = _content_length(headers)
        self._validators = {name: headers[name] for name in ("etag", "last-modified") if headers.get(name)}
        if self._total is not None and self._total > self._max_bytes:
            raise DownloadError(f"the result has {self._total:,} bytes, more than the limit of {self._max_bytes:,}")
        if self._total is not None:
            self._sink.set_expected_size(self._total)
        return True

    async def _resume(self, status: int, headers: Mapping[str, str]) -> bool:
        """Check that the response to a Range continues the same file at the same byte; otherwise restart.

        Some servers ignore If-Range, so the validators have to match, too. 416 at the very end means that nothing is
        missing.
        """
        match = CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
        start, total = (match[1], match[3]) if match else (None, None)
        matches = self._total is None or total in ("*", str(self._total))
        matches = matches and all(headers.get(name, value) == value for name, value in self._validators.items())
        if matches and status == 416 and total == str(self._sink.size):
            self._total = self._sink.size
            return False
        if matches and status == 206 and start == str(self._sink.size):
            self._total = int(total) if total and total != "*" else self._total
            return True
        await self._restart()
        raise RetryableError("the file changed on the server, or the server sent a different range")

    async def _stream(self, response: ResponseStream) -> None:
        chunks = aiter(response.chunks())
        while True:
            try:
                chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except DownloadError as error:
                if not error.retryable:  # such as the transport's own limit
                    raise
                raise RetryableError(str(error)) from error
            if self._sink.size + len(chunk) > self._max_bytes:
                raise DownloadError(f"the result has more bytes than the limit of {self._max_bytes:,}")
            await self._sink.write(chunk)
            self._progress(self._sink.size, self._total)

    async def _restart(self) -> None:
        self._total, self._validators = None, {}
        if self._sink.size:
            await self._sink.reset()


def _strong_validator(validators: Mapping[str, str]) -> str | None:
    """Return the validator for If-Range: a strong ETag, else the date (RFC 9110, 13.1.5)."""
    etag = validators.get("etag", "")
    return etag if etag.startswith('"') else validators.get("last-modified")


def _content_length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None
