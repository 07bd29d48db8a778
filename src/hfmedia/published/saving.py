"""save_response_media: a reply that is media becomes a file in the store, and a response that shows it.

The bytes decide what it is, as for everything that hfmedia keeps: an error page does not become a picture.
"""

from __future__ import annotations

import base64
import binascii
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, cast
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from hfmedia.core.answers import Output
from hfmedia.core.errors import DownloadError, InvalidRequestError
from hfmedia.core.ports import Body, Place
from hfmedia.settings import read_settings
from hfmedia.store import Store

from .responses import ImageResponse, VideoResponse

VIDEO_MARKS = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"))  # MP4 and QuickTime, WebM and Matroska
PICTURES_IN_FTYP = (b"avif", b"avis", b"heic", b"heix", b"mif1")  # the same box opens these images


class Given(Struct, frozen=True, kw_only=True):
    """Media as it was handed in: its bytes, or a stream of them and where it comes from."""

    data: bytes | None = None
    stream: AsyncIterator[bytes] | None = None
    length: str | None = None
    url: str | None = None
    mime: str | None = None


async def save_response_media(
    response: Any,
    prompt: str,
    tags: Iterable[str] = (),
    transcript: str | None = None,
    content_type: str | None = None,
) -> AsyncGenerator[ImageResponse | VideoResponse, None]:
    """Keeps an image or a video in the store and yields its response: its path, and in ``options`` what it is.

    ``response`` is a reply open for reading (of StreamSession, of aiohttp), bytes, base64 text, a ``data:`` URI, or a
    dict with ``data`` and ``mimeType``. ``tags`` go into the name of the file, ``transcript`` into the options.

    Raises:
        DownloadError: it is no image and no video, an error, or it broke off; nothing was kept.
        StoreError: it could not be written.
    """
    given = _given(response, content_type)
    first = given.data if given.stream is None else await anext(given.stream, b"")
    store = Store(read_settings(os.environ).home / "media")
    words = " ".join([*(str(tag) for tag in tags if tag), prompt])
    place = Place(folder=store.folder, words=words, at=time.time(), job_id=uuid.uuid4().hex)
    kept = await store.keep(
        Output(url=given.url, data=given.data, mime=given.mime),
        place,
        makes=_kind(given.mime, first or b""),
        fetch=_once(given, first or b""),
        progress=lambda received, total: None,
    )
    facts = {"mime": kept.mime, "width": kept.width, "height": kept.height}
    beside = {"prompt": prompt, **facts, "bytes": kept.bytes, "sha256": kept.sha256, "created": place.at}
    await store.describe(kept, {**beside, "source": given.url and _bare(given.url)})
    options: dict[str, Any] = {"path": str(kept.path), **facts}
    if given.url and getattr(response, "method", None) == "GET":
        options["source_url"] = given.url
    if transcript:
        options["transcript"] = transcript
    kind = VideoResponse if kept.mime.startswith("video/") else ImageResponse
    yield kind(str(kept.path), prompt, options)


class _Reply:
    """A reply as the store reads it: a success, and all of it."""

    status = 200

    def __init__(self, url: str, headers: Mapping[str, str], stream: AsyncIterator[bytes]) -> None:
        self.url, self.headers, self._stream = url, headers, stream

    def chunks(self) -> AsyncIterator[bytes]:
        return self._stream


def _once(given: Given, first: bytes) -> Any:
    """What is given, as a download; it can be read only once, so a broken one is not tried again."""
    opened: list[str] = []

    async def whole() -> AsyncIterator[bytes]:
        yield first
        if given.stream is not None:
            async for piece in given.stream:
                yield piece

    @asynccontextmanager
    async def fetch(url: str, *, headers: Mapping[str, str]) -> AsyncGenerator[Body, None]:
        if opened:
            raise _final("the reply broke off")
        opened.append(url)
        yield _Reply(url, {"content-length": given.length} if given.length else {}, whole())

    return fetch


def _given(response: Any, content_type: str | None) -> Given:
    """Whatever was handed in, in one form."""
    if isinstance(response, Mapping):
        told = cast("Mapping[str, Any]", response)
        return _given(told.get("data"), told.get("mimeType") or content_type)
    if isinstance(response, str):
        head, comma, rest = response.partition(",")
        inline = head[:5].lower() == "data:" and bool(comma)
        mime = head[5:].partition(";")[0] if inline else None
        return Given(data=_decoded(rest if inline else response), mime=mime or content_type)
    if isinstance(response, bytes | bytearray):
        return Given(data=bytes(response), mime=content_type)
    if not hasattr(response, "headers") or not hasattr(response, "status"):
        raise InvalidRequestError(f"media is a reply, bytes or base64 text, not {type(response).__name__}")
    if response.status != 200:
        raise _final(f"the reply is no media, but HTTP {response.status}", response.status)
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    packed = "content-encoding" in headers  # its length is that of the packed body, and what is read is unpacked
    return Given(
        stream=_read(response),
        mime=headers.get("content-type", content_type or "").partition(";")[0].strip().lower() or None,
        length=None if packed else headers.get("content-length"),
        url=str(response.url),
    )


async def _read(response: Any) -> AsyncIterator[bytes]:
    import aiohttp

    try:
        async for piece in response.content.iter_any():
            yield piece
    except (aiohttp.ClientError, OSError) as error:
        raise _final(f"the reply broke off ({type(error).__name__})") from None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _final(f"the media is not base64: {error}") from None


def _kind(mime: str | None, first: bytes) -> Literal["image", "video"]:
    """What the first bytes look like; the claimed type decides only where they are silent."""
    if first[4:8] == b"ftyp" and first[8:12] in PICTURES_IN_FTYP:
        return "image"
    marked = any(first[at : at + len(mark)] == mark for at, mark in VIDEO_MARKS)
    return "video" if marked or (not first and (mime or "").startswith("video/")) else "image"


def _final(words: str, status: int | None = None) -> DownloadError:
    error = DownloadError(words, status=status)
    error.retryable = False
    return error


def _bare(url: str) -> str:
    """The address without its query, which may be a signature, and without a user."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
