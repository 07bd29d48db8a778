"""save_response_media: store an HTTP response, bytes or base64 text as a media file.

The content decides the type, as for everything that hfmedia stores: an error page is never stored as an image.
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

from msgspec import Struct

from hfmedia.core.errors import DownloadError, InvalidRequestError
from hfmedia.core.http import display_url
from hfmedia.core.ports import OutputTarget, ResponseStream
from hfmedia.core.protocol import Output
from hfmedia.settings import load_settings
from hfmedia.storage import FileStorage

from .responses import ImageResponse, VideoResponse

VIDEO_HINTS = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"))  # MP4 and QuickTime, WebM and Matroska
IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1")  # images that start with the same box


class ResponseMedia(Struct, frozen=True, kw_only=True):
    """Media as the caller passed it: bytes, or a stream with its metadata."""

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
    """Store an image or a video and yield its response: its path, and details in ``options``.

    ``response`` is an open HTTP response (StreamSession's or aiohttp's), bytes, base64 text, a ``data:`` URI, or a dict
    with ``data`` and ``mimeType``. ``tags`` become part of the file name, ``transcript`` part of the options.

    Raises:
        DownloadError: it is neither an image nor a video, an error response, or interrupted; nothing was stored.
        StorageError: it could not be written.
    """
    response_media = _open_response(response, content_type)
    first_chunk = response_media.data if response_media.stream is None else await anext(response_media.stream, b"")
    store = FileStorage(load_settings(os.environ).home / "media")
    name_hint = " ".join([*(str(tag) for tag in tags if tag), prompt])
    target = OutputTarget(folder=store.folder, name_hint=name_hint, created_at=time.time(), job_id=uuid.uuid4().hex)
    stored_file = await store.save(
        Output(url=response_media.url, data=response_media.data, mime=response_media.mime),
        target,
        output_kind=_sniff_kind(response_media.mime, first_chunk or b""),
        fetch=_single_use_fetch(response_media, first_chunk or b""),
        progress=lambda received, total: None,
    )
    media_info = {"mime": stored_file.mime, "width": stored_file.width, "height": stored_file.height}
    sidecar = {
        "prompt": prompt,
        **media_info,
        "bytes": stored_file.bytes,
        "sha256": stored_file.sha256,
        "created": target.created_at,
    }
    await store.write_sidecar(
        stored_file, {**sidecar, "source": response_media.url and display_url(response_media.url)}
    )
    options: dict[str, Any] = {"path": str(stored_file.path), **media_info}
    if response_media.url and getattr(response, "method", None) == "GET":
        options["source_url"] = response_media.url
    if transcript:
        options["transcript"] = transcript
    response_type = VideoResponse if stored_file.mime.startswith("video/") else ImageResponse
    yield response_type(str(stored_file.path), prompt, options)


class _CompleteResponse:
    """The media as a successful response, in the form that the storage reads."""

    status = 200

    def __init__(self, url: str, headers: Mapping[str, str], stream: AsyncIterator[bytes]) -> None:
        self.url, self.headers, self._stream = url, headers, stream

    def chunks(self) -> AsyncIterator[bytes]:
        return self._stream


def _single_use_fetch(response_media: ResponseMedia, first_chunk: bytes) -> Any:
    """Wrap the media as a download; it can be read only once, so an interrupted one is not retried."""
    fetched_urls: list[str] = []

    async def chunks() -> AsyncIterator[bytes]:
        yield first_chunk
        if response_media.stream is not None:
            async for chunk in response_media.stream:
                yield chunk

    @asynccontextmanager
    async def fetch(url: str, *, headers: Mapping[str, str]) -> AsyncGenerator[ResponseStream, None]:
        if fetched_urls:
            raise _permanent_error("the response was interrupted")
        fetched_urls.append(url)
        yield _CompleteResponse(
            url, {"content-length": response_media.length} if response_media.length else {}, chunks()
        )

    return fetch


def _open_response(response: Any, content_type: str | None) -> ResponseMedia:
    """Convert every accepted form to one."""
    if isinstance(response, Mapping):
        payload = cast("Mapping[str, Any]", response)
        return _open_response(payload.get("data"), payload.get("mimeType") or content_type)
    if isinstance(response, str):
        head, comma, data = response.partition(",")
        is_data_uri = head[:5].lower() == "data:" and bool(comma)
        mime = head[5:].partition(";")[0] if is_data_uri else None
        return ResponseMedia(data=_decode_base64(data if is_data_uri else response), mime=mime or content_type)
    if isinstance(response, bytes | bytearray):
        return ResponseMedia(data=bytes(response), mime=content_type)
    if not hasattr(response, "headers") or not hasattr(response, "status"):
        raise InvalidRequestError(
            f"response must be an HTTP response, bytes or base64 text, not {type(response).__name__}"
        )
    if response.status != 200:
        raise _permanent_error(f"the response is not media but HTTP {response.status}", response.status)
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    is_encoded = (
        "content-encoding" in headers
    )  # Content-Length is that of the compressed body, but the stream is decompressed
    return ResponseMedia(
        stream=_iter_body(response),
        mime=headers.get("content-type", content_type or "").partition(";")[0].strip().lower() or None,
        length=None if is_encoded else headers.get("content-length"),
        url=str(response.url),
    )


async def _iter_body(response: Any) -> AsyncIterator[bytes]:
    import aiohttp

    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, OSError) as error:
        raise _permanent_error(f"the response was interrupted ({type(error).__name__})") from None


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _permanent_error(f"the media is not base64: {error}") from None


def _sniff_kind(mime: str | None, first_chunk: bytes) -> Literal["image", "video"]:
    """Sniff the kind of media from its first bytes; the declared type decides only if they are inconclusive."""
    if first_chunk[4:8] == b"ftyp" and first_chunk[8:12] in IMAGE_BRANDS:
        return "image"
    looks_like_video = any(
        first_chunk[offset : offset + len(signature)] == signature for offset, signature in VIDEO_HINTS
    )
    return "video" if looks_like_video or (not first_chunk and (mime or "").startswith("video/")) else "image"


def _permanent_error(message: str, status: int | None = None) -> DownloadError:
    error = DownloadError(message, status=status)
    error.retryable = False
    return error
