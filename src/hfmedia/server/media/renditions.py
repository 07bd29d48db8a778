"""Renditions: files converted to other formats, and thumbnails. Each is rendered once and written atomically.

A converted file loses a provider's signed provenance mark; EXIF, XMP and color profiles are kept where the format
allows.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from msgspec import Struct

from hfmedia.files.atomic import atomic_writer
from hfmedia.server.errors import ApiError
from hfmedia.singleflight import SingleFlight
from hfmedia.storage import Media
from hfmedia.storage.atomic_file import write_error

from .variants import THUMBNAIL, THUMBNAIL_SPEC, ImageFormat, VariantSpec, parse_variant, variant_name

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 2**26  # 8,192 x 8,192: 256 MB once it is decoded
CONCURRENCY = 2  # concurrent conversions: each needs memory for all pixels
DEFAULT_QUALITY = 95  # used unless requested; beyond it files grow without a visible difference
BACKGROUND = (255, 255, 255)  # for transparent pixels in formats without transparency
COMMON_MODES = frozenset({"L", "RGB", "RGBA"})  # modes that every format here can encode


class Rendition(Struct, frozen=True, kw_only=True):
    """A file converted from another one."""

    path: Path
    mime: str
    bytes: int


class Renditions:
    """A folder of renditions, named by the digests of their originals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._in_flight: SingleFlight[Rendition] = SingleFlight(finish_abandoned=True)  # threads cannot be cancelled
        self._semaphore = asyncio.Semaphore(CONCURRENCY)

    async def image(self, media: Media, *, format: ImageFormat, quality: int | None = None) -> Rendition:  # noqa: A002
        """Return the image in another format (``quality``: 0 to 100); the file itself if it already has that format.

        Raises ApiError 404 (``rendition_unavailable``) for a file that is not an image, too large or unreadable, 410 if
        it was removed; StorageError if the disk fails.
        """
        if media.mime == f"image/{format}" and quality is None:
            return Rendition(path=media.path, mime=media.mime, bytes=media.bytes)
        return await self.get(media, variant_name(format, quality))

    async def thumbnail(self, media: Media) -> Rendition:
        """Return a thumbnail of at most 512 pixels a side; of a video, of its first frame.

        Raises ApiError 404 (``thumbnail_unavailable``) if it cannot be rendered.
        """
        return await self.get(media, THUMBNAIL)

    async def get(self, media: Media, variant: str) -> Rendition:
        """Return a variant by name; concurrent calls for the same variant share one conversion."""
        spec = parse_variant(variant)
        if spec is None:
            raise ApiError(404, f"unknown variant {variant!r}", code="rendition_unavailable")
        target = self.folder / f"{media.sha256}.{variant}{spec.suffix}"
        if existing := await asyncio.to_thread(_existing, target, spec):
            return existing
        return await self._in_flight.do(target.name, lambda: self._render_limited(media, spec, target))

    def remove(self, sha256: str) -> None:
        """Remove all renditions of the file with this digest; blocking."""
        for path in self.folder.glob(f"{sha256}.*"):
            path.unlink(missing_ok=True)

    async def _render_limited(self, media: Media, spec: VariantSpec, target: Path) -> Rendition:
        async with self._semaphore:
            return await asyncio.to_thread(_render, media, spec, target)


# -- inside: all of it blocks -----------------------------------------------------------------------------------------


def _existing(path: Path, spec: VariantSpec) -> Rendition | None:
    try:
        return Rendition(path=path, mime=spec.mime, bytes=path.stat().st_size)
    except OSError:  # any other error shows when it is rendered
        return None


def _render(media: Media, spec: VariantSpec, target: Path) -> Rendition:
    make_error = _thumbnail_error if spec == THUMBNAIL_SPEC else _rendition_error
    if not media.path.is_file():
        raise ApiError(410, "the file was removed", code="gone")
    if media.kind == "video" and spec != THUMBNAIL_SPEC:
        raise make_error("videos are not converted")
    image = _first_frame(media.path, make_error) if media.kind == "video" else _open_image(media.path, spec, make_error)
    return _write_atomic(partial(_save, image, spec, make_error), spec, target)


def _open_image(path: Path, spec: VariantSpec, make_error: Callable[[str], ApiError]) -> Image:
    """Return the decoded image of a file; the first frame of an animation."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    try:
        with Pillow.open(path) as image:
            _check_pixels(*image.size, make_error)
            if spec.max_side is None:
                image.load()
                return image.copy()
            image.draft("RGB", (spec.max_side, spec.max_side))
            return ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise make_error(f"the image cannot be read: {type(error).__name__}") from error


def _first_frame(path: Path, make_error: Callable[[str], ApiError]) -> Image:
    """Return the first frame of a video."""
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise make_error('thumbnails of videos need PyAV; install "hfmedia[server]"') from None
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            _check_pixels(stream.width, stream.height, make_error)
            for frame in container.decode(stream):
                image: Image = cast("Any", frame).to_image()
                return image
    except (OSError, ValueError, IndexError, MemoryError, FFmpegError) as error:
        raise make_error(f"the video cannot be read: {type(error).__name__}") from error
    raise make_error("the video has no frames")


def _check_pixels(width: int, height: int, make_error: Callable[[str], ApiError]) -> None:
    if width * height > MAX_PIXELS:
        raise make_error(f"{width}x{height} exceeds the limit of {MAX_PIXELS:,} pixels")


def _save(image: Image, spec: VariantSpec, make_error: Callable[[str], ApiError], file: IO[bytes]) -> None:
    info: dict[str, Any] = {str(name): value for name, value in image.info.items()}
    if info.get("exif"):
        info["exif"] = image.getexif()  # each format encodes it differently
    if image.mode not in COMMON_MODES:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if spec.max_side is not None:
        image.thumbnail((spec.max_side, spec.max_side))
        info = {"icc_profile": info.get("icc_profile")}
    if spec.format == "jpeg" and image.mode == "RGBA":
        image = _flatten(image)
    try:
        image.save(file, format=spec.format.upper(), **_encoder_options(spec, info))
    except ValueError as error:  # a side longer than the format allows
        raise make_error(f"the image cannot be written as {spec.format}: {error}") from error


def _flatten(image: Image) -> Image:
    from PIL import Image as Pillow

    background = Pillow.new("RGB", image.size, BACKGROUND)
    background.paste(image, mask=image.getchannel("A"))
    return background


def _encoder_options(spec: VariantSpec, info: dict[str, Any]) -> dict[str, Any]:
    """Return the encoder's options, with the metadata that the format supports."""
    metadata = {name: info[name] for name in ("exif", "icc_profile", "xmp") if info.get(name)}
    if spec.format == "gif":
        return {}
    if spec.format == "png":
        return {**metadata, "compress_level": 4, **_text_chunks(metadata.pop("xmp", None))}
    quality = DEFAULT_QUALITY if spec.quality is None else spec.quality
    if spec.format == "jpeg":  # 0 would mean the encoder's default; XMP must fit into one segment
        xmp = metadata.get("xmp")
        if xmp and len(xmp) > 65_000:
            del metadata["xmp"]
        return {**metadata, "quality": max(1, quality)}
    return {**metadata, "quality": quality}


def _text_chunks(xmp: bytes | str | None) -> dict[str, Any]:
    from PIL.PngImagePlugin import PngInfo

    if not xmp:
        return {}
    chunks = PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else xmp)
    return {"pnginfo": chunks}


def _write_atomic(save: Callable[[IO[bytes]], None], spec: VariantSpec, target: Path) -> Rendition:
    """Write a rendition atomically; raise StorageError if the disk fails."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_writer(target, suffix=".part") as file:
            save(file)
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise write_error(target.parent, error) from error
    return Rendition(path=target, mime=spec.mime, bytes=size)


def _rendition_error(reason: str) -> ApiError:
    return ApiError(404, f"conversion failed: {reason}", code="rendition_unavailable", retry=False)


def _thumbnail_error(reason: str) -> ApiError:
    return ApiError(404, f"no thumbnail: {reason}", code="thumbnail_unavailable", retry=False)
