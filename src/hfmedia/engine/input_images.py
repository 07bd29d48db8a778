"""Input images: paths, URLs, bytes and Pillow images become InputImages, checked before anything is sent.

A URL stays a URL, which the provider downloads, unless the provider accepts only bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from hfmedia.core.errors import InvalidRequestError, RequestNotSentError, ResponseLostError
from hfmedia.core.ports import MediaFetcher
from hfmedia.core.request import InputImage

MAX_INPUT_BYTES = 64 * 1024 * 1024  # bytes; no provider accepts more, and a mistaken path may be a disk image


async def load_input_image(source: Any) -> InputImage:
    """Load an InputImage from a path, a URL (``http``, ``https``, ``data``), bytes, an open file or a Pillow image.

    Raises InvalidRequestError when it is missing, unreadable, empty, too large or not an image.
    """
    if isinstance(source, InputImage):
        return source
    if isinstance(source, str) and source[:8].lower().startswith(("http://", "https://")):
        if not urlsplit(source).hostname:
            raise InvalidRequestError(f"the input image's URL {source!r} names no host")
        return InputImage(url=source)
    return await asyncio.to_thread(_load_local, source)


async def download_image(image: InputImage, fetch: MediaFetcher) -> InputImage:
    """Return the image as bytes, for a provider that accepts no URL; downloaded without credentials."""
    if image.url is None or image.data is not None:
        return image
    host = urlsplit(image.url).hostname
    try:
        async with fetch(image.url, headers={}) as response:
            if not 200 <= response.status < 300:
                raise InvalidRequestError(
                    f"the input image could not be downloaded from {host}: HTTP {response.status}"
                )
            data = bytearray()
            async for chunk in response.chunks():
                data += chunk
                if len(data) > MAX_INPUT_BYTES:
                    raise InvalidRequestError(f"the input image at {host} is larger than {MAX_INPUT_BYTES:,} bytes")
    except (RequestNotSentError, ResponseLostError) as error:
        raise InvalidRequestError(f"the input image could not be downloaded from {host}: {error}") from error
    return await asyncio.to_thread(_probe, bytes(data), f"the input image from {host}", None)


def _load_local(source: Any) -> InputImage:
    if isinstance(source, str) and source[:5].lower() == "data:":
        return _probe(_from_data_uri(source), "the input image's data: URI", None)
    if isinstance(source, str | os.PathLike):
        path = Path(source)  # pyright: ignore[reportUnknownArgumentType]
        return _probe(_from_file(path), f"the input image {path}", path.name)
    if isinstance(source, bytes | bytearray | memoryview):
        return _probe(bytes(source), "the input image", None)  # pyright: ignore[reportUnknownArgumentType]
    if hasattr(source, "read"):
        data = source.read(MAX_INPUT_BYTES + 1)
        if not isinstance(data, bytes):
            raise InvalidRequestError("the input image's file is open in text mode; open it with mode 'rb'")
        return _probe(data, "the input image's file", None)
    if hasattr(source, "save") and hasattr(source, "mode"):
        buffer = BytesIO()
        source.save(buffer, format="PNG")
        return _probe(buffer.getvalue(), "the input image", None)
    raise InvalidRequestError(
        f"an input image must be a path, a URL, bytes or a Pillow image, not {type(source).__name__}"
    )


def _from_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_INPUT_BYTES:
            raise InvalidRequestError(f"the input image {path} is larger than {MAX_INPUT_BYTES:,} bytes")
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidRequestError(f"the input image {path} cannot be read: {reason}") from error
    except ValueError as error:  # a null character in the path
        raise InvalidRequestError(f"the input image's path is not valid: {error}") from error


def _from_data_uri(uri: str) -> bytes:
    import base64
    import binascii

    head, comma, text = uri.partition(",")
    if not comma:
        raise InvalidRequestError("the input image's data: URI has no comma before its data")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(text)
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise InvalidRequestError(f"the input image's data: URI is not base64: {error}") from error


def _probe(data: bytes, label: str, name: str | None) -> InputImage:
    """Build an InputImage from bytes whose header Pillow can read."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise InvalidRequestError(f"{label} is empty")
    if len(data) > MAX_INPUT_BYTES:
        raise InvalidRequestError(f"{label} is larger than {MAX_INPUT_BYTES:,} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data)) as picture:
                mime = picture.get_format_mimetype() or "application/octet-stream"
                width, height = picture.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InvalidRequestError(f"{label} is not a readable image; use PNG, JPEG or WebP") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InvalidRequestError(f"{label} has more pixels than any provider accepts") from error
    digest = hashlib.sha256(data).hexdigest()
    return InputImage(data=data, mime=mime, width=width, height=height, name=name, sha256=digest)
