"""Renditions: files in other formats, and small pictures of them; made once, whole or absent, originals untouched.

A re-encoded file loses a provider's signed mark of provenance; what Pillow carries over (EXIF, XMP, colours) it keeps.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from hfmedia.server.errors import Refusal
from hfmedia.store import Media
from hfmedia.store.part import cannot_write

from .variants import SMALL, THUMBNAIL, Format, Recipe, recipe_of, variant_of

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 2**26  # 8,192 x 8,192: 256 MB once it is decoded
AT_ONCE = 2  # made side by side: each needs memory for all its pixels
BEST = 95  # quality where nobody asked for one; beyond it files grow and nobody sees why
PAPER = (255, 255, 255)  # behind what is transparent, where a format knows no transparency
PLAIN = frozenset({"L", "RGB", "RGBA"})  # modes that every format here can be made of


class Rendition(Struct, frozen=True, kw_only=True):
    """A file that was made of another one."""

    path: Path
    mime: str
    bytes: int


class Renditions:
    """A folder of renditions, named by the digest of what they were made of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._making: dict[str, asyncio.Task[Rendition]] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def image(self, media: Media, *, format: Format, quality: int | None = None) -> Rendition:  # noqa: A002
        """The picture in another format; ``quality`` is 0 to 100. Asked for as what it is, it is the file itself.

        Refusal 404 (``rendition_unavailable``) for what is no picture, too large or unreadable, 410 when its file is
        gone; StoreError when the disk refuses it.
        """
        if media.mime == f"image/{format}" and quality is None:
            return Rendition(path=media.path, mime=media.mime, bytes=media.bytes)
        return await self.of(media, variant_of(format, quality))

    async def thumbnail(self, media: Media) -> Rendition:
        """A small picture of it: at most 512 pixels a side; of a video, its first picture.

        Refusal 404 (``thumbnail_unavailable``) when there is none.
        """
        return await self.of(media, THUMBNAIL)

    async def of(self, media: Media, variant: str) -> Rendition:
        """A variant by its name. Whoever asks for what is being made waits for that."""
        recipe = recipe_of(variant)
        if recipe is None:
            raise Refusal(404, f"there is no variant {variant!r}", code="rendition_unavailable")
        target = self.folder / f"{media.sha256}.{variant}{recipe.suffix}"
        if there := await asyncio.to_thread(_there, target, recipe):
            return there
        making = self._making.get(target.name)
        if making is None:
            making = self._making[target.name] = asyncio.create_task(self._make(media, recipe, target))
            making.add_done_callback(partial(self._made, target.name))
        return await asyncio.shield(making)

    def forget(self, sha256: str) -> None:
        """Removes all that was made of the file with this digest; blocking."""
        for path in self.folder.glob(f"{sha256}.*"):
            path.unlink(missing_ok=True)

    async def _make(self, media: Media, recipe: Recipe, target: Path) -> Rendition:
        async with self._room:
            return await asyncio.to_thread(_made, media, recipe, target)

    def _made(self, name: str, task: asyncio.Task[Rendition]) -> None:
        self._making.pop(name, None)
        if not task.cancelled():
            task.exception()  # whoever waited was told; if nobody waits any more, nobody needs to know


# -- inside: all of it blocks -----------------------------------------------------------------------------------------


def _there(path: Path, recipe: Recipe) -> Rendition | None:
    try:
        return Rendition(path=path, mime=recipe.mime, bytes=path.stat().st_size)
    except OSError:  # if it is more than that, making it will say so
        return None


def _made(media: Media, recipe: Recipe, target: Path) -> Rendition:
    refused = _no_thumbnail if recipe == SMALL else _no_rendition
    if not media.path.is_file():
        raise Refusal(410, "the file is no longer there", code="gone")
    if media.kind == "video" and recipe != SMALL:
        raise refused("a video is given out as it is")
    picture = _first_picture(media.path, refused) if media.kind == "video" else _picture(media.path, recipe, refused)
    return _written(partial(_save, picture, recipe, refused), recipe, target)


def _picture(path: Path, recipe: Recipe, refused: Callable[[str], Refusal]) -> Image:
    """The picture in a file, decoded; a moving one stands still."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    try:
        with Pillow.open(path) as picture:
            _bound(*picture.size, refused)
            if recipe.side is None:
                picture.load()
                return picture.copy()
            picture.draft("RGB", (recipe.side, recipe.side))
            return ImageOps.exif_transpose(picture)
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise refused(f"the picture cannot be read: {type(error).__name__}") from error


def _first_picture(path: Path, refused: Callable[[str], Refusal]) -> Image:
    """The first picture of a video."""
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise refused('thumbnails of videos need PyAV; install "hfmedia[server]"') from None
    try:
        with av.open(str(path)) as film:
            track = film.streams.video[0]
            _bound(track.width, track.height, refused)
            for frame in film.decode(track):
                picture: Image = cast("Any", frame).to_image()
                return picture
    except (OSError, ValueError, IndexError, MemoryError, FFmpegError) as error:
        raise refused(f"the video cannot be read: {type(error).__name__}") from error
    raise refused("the video has no picture")


def _bound(width: int, height: int, refused: Callable[[str], Refusal]) -> None:
    if width * height > MOST_PIXELS:
        raise refused(f"{width}x{height} are more pixels than are re-encoded here")


def _save(picture: Image, recipe: Recipe, refused: Callable[[str], Refusal], path: Path) -> None:
    info: dict[str, Any] = {str(name): value for name, value in picture.info.items()}
    if info.get("exif"):
        info["exif"] = picture.getexif()  # each format has its own way of writing it
    if picture.mode not in PLAIN:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if recipe.side is not None:
        picture.thumbnail((recipe.side, recipe.side))
        info = {"icc_profile": info.get("icc_profile")}
    if recipe.format == "jpeg" and picture.mode == "RGBA":
        picture = _on_paper(picture)
    try:
        picture.save(path, format=recipe.format.upper(), **_options(recipe, info))
    except ValueError as error:  # a side longer than the format allows
        raise refused(f"it cannot be written as {recipe.format}: {error}") from error


def _on_paper(picture: Image) -> Image:
    from PIL import Image as Pillow

    paper = Pillow.new("RGB", picture.size, PAPER)
    paper.paste(picture, mask=picture.getchannel("A"))
    return paper


def _options(recipe: Recipe, info: dict[str, Any]) -> dict[str, Any]:
    """What the encoder is told, metadata included, as far as the format takes it."""
    kept = {name: info[name] for name in ("exif", "icc_profile", "xmp") if info.get(name)}
    if recipe.format == "gif":
        return {}
    if recipe.format == "png":
        return {**kept, "compress_level": 4, **_text_chunks(kept.pop("xmp", None))}
    quality = BEST if recipe.quality is None else recipe.quality
    if recipe.format == "jpeg":  # 0 would mean "as the encoder likes", and beyond one segment XMP cannot be written
        xmp = kept.get("xmp")
        if xmp and len(xmp) > 65_000:
            del kept["xmp"]
        return {**kept, "quality": max(1, quality)}
    return {**kept, "quality": quality}


def _text_chunks(xmp: bytes | str | None) -> dict[str, Any]:
    from PIL.PngImagePlugin import PngInfo

    if not xmp:
        return {}
    chunks = PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else xmp)
    return {"pnginfo": chunks}


def _written(save: Callable[[Path], None], recipe: Recipe, target: Path) -> Rendition:
    """The rendition at its place, whole; StoreError when the disk refuses it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
        part = Path(name)
        try:
            save(part)
            os.fsync(handle)
            size = part.stat().st_size
            part.replace(target)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        finally:
            os.close(handle)
    except OSError as error:
        raise cannot_write(target.parent, error) from error
    return Rendition(path=target, mime=recipe.mime, bytes=size)


def _no_rendition(words: str) -> Refusal:
    return Refusal(404, f"it cannot be had in another format: {words}", code="rendition_unavailable", retry=False)


def _no_thumbnail(words: str) -> Refusal:
    return Refusal(404, f"there is no thumbnail: {words}", code="thumbnail_unavailable", retry=False)
