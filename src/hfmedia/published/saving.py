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

from hfmedia.core.answers import Output
from hfmedia.core.errors import DownloadError, InvalidRequestError
from hfmedia.core.ports import Body, Place
from hfmedia.settings import read_settings
from hfmedia.store import Store

from .responses import ImageResponse, VideoResponse

VIDEO_MARKS = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (8, b"AVI "))  # MP4 and QuickTime, WebM and Matroska, AVI
PICTURES_IN_FTYP = (b"avif", b"avis", b"heic", b"heix", b"mif1")  # the same box opens these images


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
        DownloadError: it is no image and no video, or it broke off; nothing was kept.
        StoreError: it could not be written.
    """
    body, mime = _body(response, content_type)
    chunks = body.chunks()
    first = await anext(chunks, b"")
    makes = _kind(mime, first)
    read = False

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    @asynccontextmanager
    async def fetch(url: str, *, headers: Mapping[str, str]) -> AsyncGenerator[Body, None]:
        nonlocal read
        if read:
            raise DownloadError("the reply broke off, and can be read only once")
        read = True
        yield _Reply(status=body.status, headers=body.headers, url=body.url, stream=whole())

    store = Store(read_settings(os.environ).home / "media")
    words = " ".join([*(str(tag) for tag in tags if tag), prompt])
    place = Place(folder=store.folder, words=words, at=time.time(), job_id=uuid.uuid4().hex)
    output = Output(url=body.url, mime=mime)
    kept = await store.keep(output, place, makes=makes, fetch=fetch, progress=lambda received, total: None)
    facts = {"prompt": prompt, "mime": kept.mime, "width": kept.width, "height": kept.height, "bytes": kept.bytes}
    await store.describe(kept, {**facts, "sha256": kept.sha256, "source": _bare(body.url), "created": place.at})
    shape: type[ImageResponse | VideoResponse] = VideoResponse if kept.mime.startswith("video/") else ImageResponse
    told = {"path": str(kept.path), "mime": kept.mime, "width": kept.width, "height": kept.height}
    source = {"source_url": body.url} if getattr(response, "method", None) == "GET" else {}
    yield shape(str(kept.path), prompt, told | source | ({"transcript": transcript} if transcript else {}))


class _Reply:
    """A reply as the store reads it."""

    def __init__(self, *, status: int, headers: Mapping[str, str], url: str, stream: AsyncIterator[bytes]) -> None:
        self.status, self.headers, self.url, self._stream = status, headers, url, stream

    def chunks(self) -> AsyncIterator[bytes]:
        return self._stream


NOWHERE = "https://localhost/"  # where inline media is said to come from; it is never asked


def _body(response: Any, content_type: str | None) -> tuple[_Reply, str | None]:
    """Whatever was handed in, as one reply, and the media type it claims."""
    if isinstance(response, Mapping):
        told = cast("Mapping[str, Any]", response)
        return _body(told.get("data"), told.get("mimeType") or content_type)
    if isinstance(response, str):
        head, comma, rest = response.partition(",")
        inline = head[:5].lower() == "data:" and bool(comma)
        mime = head[5:].partition(";")[0] if inline else content_type
        return _body(_decoded(rest if inline else response), mime or content_type)
    if isinstance(response, bytes | bytearray | memoryview):
        return _Reply(status=200, headers={}, url=NOWHERE, stream=_once(bytes(response))), content_type  # pyright: ignore[reportUnknownArgumentType]
    if not hasattr(response, "headers"):
        raise InvalidRequestError(f"media is a reply, bytes or base64 text, not {type(response).__name__}")
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    mime = headers.get("content-type", content_type or "").partition(";")[0].strip().lower() or None
    status: int = getattr(response, "status", None) or getattr(response, "status_code", None) or 200
    return _Reply(status=status, headers=headers, url=str(response.url), stream=_stream(response)), mime


async def _stream(response: Any) -> AsyncIterator[bytes]:
    import aiohttp

    pieces = response.iter_content() if hasattr(response, "iter_content") else response.content.iter_any()
    try:
        async for piece in pieces:
            yield piece
    except (aiohttp.ClientError, OSError) as error:
        raise DownloadError(f"the reply broke off: {type(error).__name__}") from None


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DownloadError(f"the media is not base64: {error}") from None


def _kind(mime: str | None, first: bytes) -> Literal["image", "video"]:
    """What the first bytes look like; the claimed type decides only where they are silent."""
    if first[4:8] == b"ftyp" and first[8:12] in PICTURES_IN_FTYP:
        return "image"
    marked = any(first[at : at + len(mark)] == mark for at, mark in VIDEO_MARKS)
    return "video" if marked or (mime or "").startswith("video/") else "image"


def _bare(url: str) -> str | None:
    """The address without its query, which may be a signature; None for inline media."""
    return None if url == NOWHERE else urlunsplit(urlsplit(url)._replace(query="", fragment=""))
