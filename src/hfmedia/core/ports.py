"""What the engine needs of the world, as protocols: something that sends, and something that keeps.

The parts behind them are strangers to each other; the engine introduces them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

from msgspec import Struct

from .credentials import Credential
from .http import HttpRequest, HttpResponse
from .protocol import Output


class HttpSender(Protocol):
    """Sends one HTTP request to a provider, the router or the Hub."""

    async def send(
        self, request: HttpRequest, *, credential: Credential | None, timeout: float | None = None
    ) -> HttpResponse:
        """The complete reply, whatever its status; redirects are not followed.

        ``timeout`` is for all of it, in seconds (None or 0: the transport's own bounds for each step still hold).

        Raises:
            UnsentError: no connection could be made, so nothing was sent.
            LostError: the request went out, and no complete answer came back.
        """
        ...


class ResponseStream(Protocol):
    """A reply whose body is still to be read, a piece at a time."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]:
        """Header names are in lower case."""
        ...

    @property
    def url(self) -> str:
        """Where the body came from after redirects."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body; DownloadError when it breaks off, OutOfTime never (the caller holds the clock)."""
        ...


class MediaFetcher(Protocol):
    """Opens media by URL, without credentials, refusing private addresses.

    ``headers`` may hold Range and If-Range. Raises UnsafeAddressError, UnsentError or LostError.
    """

    def __call__(self, url: str, *, headers: Mapping[str, str]) -> AbstractAsyncContextManager[ResponseStream]: ...


class OutputTarget(Struct, frozen=True, kw_only=True):
    """Where a file shall lie: in ``folder`` under a made name, or at ``file`` exactly (then nothing is appended).

    ``words`` is what a made name is made of: the prompt. ``at`` is the time in it, in unix seconds.
    """

    folder: Path
    file: Path | None = None
    name_hint: str = ""
    created_at: float = 0.0
    job_id: str = ""


class StoredFile(Struct, frozen=True, kw_only=True):
    """A file that lies whole in its place, and what its bytes say of themselves.

    ``width`` and ``height`` are in pixels, None where the format hides them. ``source`` is the URL it came from without
    its query, None for inline media. ``tries`` counts the downloads it took.
    """

    path: Path
    mime: str
    bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None
    source: str | None = None
    attempts: int = 1


class MediaStorage(Protocol):
    """Keeps media: a file is whole or absent, at any moment."""

    async def save(
        self,
        output: Output,
        target: OutputTarget,
        *,
        output_kind: Literal["image", "video"],
        fetch: MediaFetcher,
        progress: Callable[[int, int | None], None],
        build_sidecar: Callable[[StoredFile], Mapping[str, Any]] | None = None,
    ) -> StoredFile:
        """The file, from a URL, a data: URI or bytes. ``progress`` hears the bytes so far and the total if known.

        What ``facts`` tells of the kept file, asked once, is written as JSON beside it; a thread may ask.

        Raises DownloadError (broken, empty, truncated, or not media at all), ExpiredError (404, 403, 410), StoreError
        (disk), UnsafeAddressError.
        """
        ...
