"""Protocols of what the engine depends on: an HTTP sender, a media fetcher and a media storage.

Implementations do not import each other; the engine receives them by injection.
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
        """Send the request and return the complete response, whatever its status; redirects are not followed.

        ``timeout`` limits the whole exchange, in seconds (None or 0: only the transport's limits for each step apply).

        Raises:
            RequestNotSentError: no connection could be established, so nothing was sent.
            ResponseLostError: the request was sent, and no complete response arrived.
        """
        ...


class ResponseStream(Protocol):
    """A response whose body is read in chunks."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]:
        """Header names are in lower case."""
        ...

    @property
    def url(self) -> str:
        """URL of the body after redirects."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body. Raises DownloadError when it is interrupted; time limits are the caller's."""
        ...


class MediaFetcher(Protocol):
    """Opens media by URL, without credentials, and rejects private addresses.

    ``headers`` may contain Range and If-Range. Raises UnsafeUrlError, RequestNotSentError or ResponseLostError.
    """

    def __call__(self, url: str, *, headers: Mapping[str, str]) -> AbstractAsyncContextManager[ResponseStream]: ...


class OutputTarget(Struct, frozen=True, kw_only=True):
    """Path of an output: a generated name in ``folder``, or exactly ``file`` (then nothing is appended).

    ``name_hint``, usually the prompt, and ``created_at``, in Unix seconds, are the parts of a generated name.
    """

    folder: Path
    file: Path | None = None
    name_hint: str = ""
    created_at: float = 0.0
    job_id: str = ""


class StoredFile(Struct, frozen=True, kw_only=True):
    """A completely stored file, described by its content.

    ``width`` and ``height`` are in pixels, None where the format does not reveal them. ``source`` is the URL it came
    from without its query, None for inline media. ``attempts`` counts the downloads it took.
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
    """Stores media: at any moment a file is complete or absent."""

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
        """Store an output from a URL, a data: URI or bytes, and return its file.

        ``progress`` receives the bytes so far and the total if known. The result of ``build_sidecar``, called once and
        possibly in another thread, is written as a JSON sidecar next to the file.

        Raises:
            DownloadError: the media is interrupted, empty, truncated, or not media at all.
            ResultExpiredError: the provider no longer has it (404, 403, 410).
            StorageError: the file could not be written.
            UnsafeUrlError: the URL points to a private network.
        """
        ...
