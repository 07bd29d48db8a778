"""A download that goes on where it broke off: Range and If-Range where the server honours them, else from the start.

Nothing here decides what a file is; it only gets its bytes onto the disk, bounded in tries.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, BinaryIO

from ..core.errors import DownloadError, ExpiredError, LostError, StoreError, UnsentError
from ..core.ports import Body, Fetch
from ..core.retry import DOWNLOAD_RETRIES, backoff, retry_after, seconds_until

GONE = frozenset({403, 404, 410})  # what signed and temporary addresses answer once their time is over
LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
OFFSET = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Download:
    """One file on its way from one URL into one open file."""

    def __init__(
        self,
        url: str,
        file: BinaryIO,
        fetch: Fetch,
        *,
        most_bytes: int,
        progress: Callable[[int, int | None], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._url, self._file, self._fetch = url, file, fetch
        self._most, self._progress, self._sleep = most_bytes, progress, sleep
        self._validator: str | None = None
        self._total: int | None = None
        self._at = 0
        self._digest = _sha256()
        self.tries = 0

    @property
    def sha256(self) -> str:
        """The digest of what has been written, in hex."""
        return str(self._digest.hexdigest())

    async def run(self) -> None:
        """The whole file. DownloadError when it does not arrive within the bound, ExpiredError when it is gone."""
        while True:
            self.tries += 1
            try:
                return await self._try()
            except (DownloadError, UnsentError, LostError) as error:
                if isinstance(error, DownloadError) and not error.retryable:
                    raise DownloadError(error.message, status=error.status) from None
                if self.tries > DOWNLOAD_RETRIES:
                    raise DownloadError(f"the download did not arrive whole in {self.tries} tries: {error}") from None
                told = error.after if isinstance(error, _LaterError) else (None, None)
                wait = seconds_until(*told, time.time())
                await self._sleep(backoff(self.tries, random.random()) if wait is None else wait)

    async def _try(self) -> None:
        asked: dict[str, str] = {}
        if self._at and self._validator:
            asked = {"Range": f"bytes={self._at}-", "If-Range": self._validator}
        elif self._at:
            self._begin_again()
        async with self._fetch(self._url, headers=asked) as body:
            self._open(body)
            try:
                async for chunk in body.chunks():
                    self._write(chunk)
            finally:
                self._file.flush()
        if self._total is not None and self._at != self._total:
            raise DownloadError(f"the connection ended after {self._at:,} of {self._total:,} bytes")

    def _open(self, body: Body) -> None:
        """Reads the head of an answer: goes on, begins again, or raises."""
        headers = body.headers
        if body.status in GONE:
            raise ExpiredError(
                f"the result is no longer there (HTTP {body.status}): expired or removed", status=body.status
            )
        if body.status == 416 and self._at:  # the file is not what it was, or we had all of it
            self._begin_again()
            raise DownloadError("the server has no such range of it")
        if body.status == 206 and self._at:
            return self._go_on(headers)
        if body.status != 200:
            raise _refused(body.status, headers)
        if self._at:
            self._begin_again()
        self._total = _whole(headers.get("content-length"))
        self._validator = _validator(headers)
        if self._total is not None and self._total > self._most:
            raise _FinalError(f"the result has {self._total:,} bytes, more than the limit of {self._most:,}")
        return None

    def _go_on(self, headers: Mapping[str, str]) -> None:
        found = OFFSET.fullmatch(headers.get("content-range", "").strip())
        fits = found and int(found[1]) == self._at and (self._total is None or found[3] in ("*", str(self._total)))
        if not fits:
            self._begin_again()
            raise DownloadError("the server went on at another place than it was asked to")
        if self._total is None and found and found[3] != "*":
            self._total = int(found[3])

    def _write(self, chunk: bytes) -> None:
        if self._at + len(chunk) > self._most:
            raise _FinalError(f"the result is larger than the limit of {self._most:,} bytes")
        try:
            self._file.write(chunk)
        except OSError as error:
            raise StoreError(f"the media could not be written: {(error.strerror or str(error)).lower()}") from error
        self._digest.update(chunk)
        self._at += len(chunk)
        self._progress(self._at, self._total)

    def _begin_again(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._digest = _sha256()
        self._at, self._validator, self._total = 0, None, None


def _sha256() -> Any:
    import hashlib

    return hashlib.sha256()


class _FinalError(DownloadError):
    """Another try would not help."""

    retryable = False


class _LaterError(DownloadError):
    """The server asks for another try, and perhaps says when."""

    after: tuple[float | None, str | None] = (None, None)


def _refused(status: int, headers: Mapping[str, str]) -> DownloadError:
    words = f"the media's server answered HTTP {status}"
    if status not in LATER:
        return _FinalError(words, status=status)
    error = _LaterError(words, status=status)
    error.after = retry_after(headers)
    return error


def _validator(headers: Mapping[str, str]) -> str | None:
    """What proves later that the file is still the same: a strong ETag, else its date (RFC 9110, 13.1.5)."""
    etag = headers.get("etag", "")
    return etag if etag.startswith('"') else headers.get("last-modified")


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
