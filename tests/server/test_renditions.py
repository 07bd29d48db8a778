"""Renditions: other formats and thumbnails, made once, whole or absent; the original is never touched."""

from __future__ import annotations

import asyncio
import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hfmedia.core.errors import StorageError
from hfmedia.server.errors import ApiError
from hfmedia.server.media import renditions as module
from hfmedia.server.media.renditions import Rendition, Renditions
from hfmedia.storage import Media

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><made-by>a model</made-by></x:xmpmeta>'
FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/gif": "GIF"}


def drawn(folder: Path, picture: Image.Image, mime: str = "image/png", **options: Any) -> Media:
    """A picture as a file of a job."""
    buffer = BytesIO()
    picture.save(buffer, FORMATS[mime], **options)
    return written(folder, buffer.getvalue(), mime)


def written(folder: Path, data: bytes, mime: str = "image/png") -> Media:
    """Bytes as a file of a job."""
    path = folder / f"file.{mime.rpartition('/')[2]}"
    path.write_bytes(data)
    return Media(path=path, mime=mime, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), job_id="j")


def half(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Red above, nothing below."""
    picture = Image.new("RGBA", size, (200, 30, 30, 255))
    picture.paste((0, 0, 0, 0), (0, size[1] // 2, size[0], size[1]))
    return picture


@pytest.fixture
def renditions(tmp_path: Path) -> Renditions:
    """A folder that does not exist yet."""
    return Renditions(tmp_path / "made" / "renditions")


@pytest.mark.parametrize("form", ["jpeg", "webp", "gif", "png"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1"])
async def test_every_picture_can_be_had_in_every_format(
    renditions: Renditions, tmp_path: Path, form: Any, mode: str
) -> None:
    """Whatever its colours, it comes out whole, in the right format and of the same size."""
    picture = half().convert("RGB").convert(mode) if mode != "RGBA" else half()
    media = drawn(tmp_path, picture, "image/jpeg" if mode == "CMYK" else "image/png")
    made = await renditions.image(media, format=form, quality=70)
    with Image.open(made.path) as seen:
        assert (seen.format, seen.size) == (form.upper(), (64, 48))
        seen.load()
    assert (made.mime, made.bytes) == (f"image/{form}", made.path.stat().st_size)


async def test_what_is_transparent_becomes_white_where_it_must(renditions: Renditions, tmp_path: Path) -> None:
    """JPEG knows no transparency; WebP keeps it."""
    media = drawn(tmp_path, half())
    flat = await renditions.image(media, format="jpeg", quality=95)
    with Image.open(flat.path) as picture:
        assert min(picture.getpixel((5, 45))) > 245  # type: ignore[arg-type, type-var]
    kept = await renditions.image(media, format="webp", quality=95)
    with Image.open(kept.path) as picture:
        assert picture.mode == "RGBA" and picture.getpixel((5, 45))[3] == 0  # type: ignore[index]


async def test_quality_is_obeyed_at_both_ends(renditions: Renditions, tmp_path: Path) -> None:
    """0 is the smallest there is, not a default; 100 the largest."""
    media = drawn(tmp_path, Image.effect_noise((128, 128), 60).convert("RGB"))
    for form in ("jpeg", "webp"):
        sizes = [(await renditions.image(media, format=form, quality=q)).bytes for q in (0, 50, 100)]  # type: ignore[arg-type]
        assert sizes == sorted(sizes) and sizes[0] * 2 < sizes[2], form


@pytest.mark.parametrize("form", ["jpeg", "webp", "png"])
async def test_metadata_goes_along_and_the_original_stays(renditions: Renditions, tmp_path: Path, form: Any) -> None:
    """EXIF, XMP and the colour profile are carried over; the original file keeps every byte."""
    exif = Image.Exif()
    exif[0x0131] = "a model"
    media = drawn(tmp_path, half(), "image/webp", exif=exif, xmp=XMP, icc_profile=b"profile", lossless=True)
    before = media.path.read_bytes()
    made = await renditions.image(media, format=form, quality=None if form == "png" else 90)
    with Image.open(made.path) as picture:
        picture.load()
        assert picture.getexif()[0x0131] == "a model"
        assert picture.info["icc_profile"] == b"profile"
        assert b"a model" in bytes(picture.info["xmp"])
    assert media.path.read_bytes() == before


async def test_the_same_format_without_a_quality_is_the_file_itself(renditions: Renditions, tmp_path: Path) -> None:
    """Nothing is re-encoded that need not be."""
    media = drawn(tmp_path, half())
    assert (await renditions.image(media, format="png")).path == media.path
    assert not renditions.folder.exists()


async def test_a_thumbnail_fits_into_512_pixels_and_is_upright(renditions: Renditions, tmp_path: Path) -> None:
    """A camera's turned picture is turned back, since a thumbnail carries no metadata."""
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    media = drawn(tmp_path, Image.new("RGB", (1600, 400), "teal"), "image/jpeg", exif=exif)
    made = await renditions.thumbnail(media)
    with Image.open(made.path) as picture:
        assert (made.mime, picture.format, picture.size) == ("image/webp", "WEBP", (128, 512))
    small = await renditions.thumbnail(drawn(tmp_path, half()))
    with Image.open(small.path) as picture:
        assert picture.size == (64, 48), "what is small already does not grow"


async def test_of_an_animation_the_first_frame_is_used(renditions: Renditions, tmp_path: Path) -> None:
    """Of a GIF that moves the first picture is taken."""
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    media = drawn(tmp_path, frames[0], "image/gif", save_all=True, append_images=frames[1:])
    made = await renditions.image(media, format="png")
    with Image.open(made.path) as picture:
        red, _, blue = picture.convert("RGB").getpixel((4, 4))  # type: ignore[misc]
        assert red > 200 > blue


async def test_a_video_has_its_first_picture(renditions: Renditions, tmp_path: Path) -> None:
    """Decoded with PyAV, and small."""
    media = written(tmp_path, film(640, 360), "video/mp4")
    made = await renditions.thumbnail(media)
    with Image.open(made.path) as picture:
        assert picture.size == (512, 288)
        assert picture.convert("RGB").getpixel((9, 9))[0] > 150  # type: ignore[index]


async def test_a_video_is_transcoded_into_nothing(renditions: Renditions, tmp_path: Path) -> None:
    """Only its thumbnail can be had."""
    media = written(tmp_path, film(64, 64), "video/mp4")
    with pytest.raises(ApiError) as caught:
        await renditions.image(media, format="webp", quality=80)
    assert (caught.value.status, caught.value.code) == (404, "rendition_unavailable")


BROKEN: dict[str, tuple[Any, str]] = {
    "no picture": (b"these are words", "image/png"),
    "a head alone": (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "image/png"),
    "no film": (b"\0\0\0\x18ftypmp42" + b"\0" * 200, "video/mp4"),
    "a film cut short": ("cut", "video/mp4"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_cannot_be_read_is_refused_in_words(renditions: Renditions, tmp_path: Path, name: str) -> None:
    """404 with a code, no trace of a file, and the same again when asked again."""
    data, mime = BROKEN[name]
    media = written(tmp_path, film(64, 64)[:400] if isinstance(data, str) else data, mime)
    for _ in range(2):
        with pytest.raises(ApiError) as caught:
            await renditions.thumbnail(media)
        assert (caught.value.status, caught.value.code) == (404, "thumbnail_unavailable")
    assert not renditions.folder.exists() or not list(renditions.folder.iterdir())


async def test_a_bomb_is_not_decoded(renditions: Renditions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that claims more pixels than the limit is refused by its head alone."""
    monkeypatch.setattr(module, "MAX_PIXELS", 1000)
    with pytest.raises(ApiError, match="pixels") as caught:
        await renditions.image(drawn(tmp_path, half()), format="jpeg")
    assert caught.value.code == "rendition_unavailable"


async def test_a_file_that_is_gone_is_410(renditions: Renditions, tmp_path: Path) -> None:
    """It was there once."""
    media = drawn(tmp_path, half())
    media.path.unlink()
    with pytest.raises(ApiError) as caught:
        await renditions.thumbnail(media)
    assert (caught.value.status, caught.value.code) == (410, "gone")


async def test_a_disk_that_refuses_says_so(renditions: Renditions, tmp_path: Path) -> None:
    """A StoreError with the disk's reason, and no half file."""
    renditions.folder.parent.write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        await renditions.thumbnail(drawn(tmp_path, half()))


async def test_concurrent_requests_share_one_conversion_and_two_run_at_most(
    renditions: Renditions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten who ask for the same wait for one; of many different ones two are made side by side."""
    running, most, count = set[str](), 0, 0
    real = module._render

    def watched(media: Media, recipe: Any, target: Path) -> Rendition:
        nonlocal most, count
        running.add(target.name)
        most, count = max(most, len(running)), count + 1
        try:
            return real(media, recipe, target)
        finally:
            running.discard(target.name)

    monkeypatch.setattr(module, "_render", watched)
    media = drawn(tmp_path, half((256, 256)))
    made = await asyncio.gather(*(renditions.thumbnail(media) for _ in range(10)))
    assert count == 1 and len(set(made)) == 1
    await asyncio.gather(*(renditions.image(media, format="webp", quality=quality) for quality in range(12)))
    assert count == 13 and most <= 2
    await renditions.thumbnail(media)
    assert count == 13, "a second asking makes nothing"


async def test_a_cancelled_request_does_not_affect_others(renditions: Renditions, tmp_path: Path) -> None:
    """The first who asked is cancelled; the second gets it all the same."""
    media = drawn(tmp_path, half((512, 512)))
    first = asyncio.create_task(renditions.thumbnail(media))
    second = asyncio.create_task(renditions.thumbnail(media))
    await asyncio.sleep(0.001)
    first.cancel()
    assert (await second).path.exists()


async def test_all_renditions_of_a_file_are_removed_together(renditions: Renditions, tmp_path: Path) -> None:
    """And nothing of another file."""
    media = drawn(tmp_path, half())
    await renditions.thumbnail(media)
    await renditions.image(media, format="webp", quality=1)
    kept = (await renditions.thumbnail(drawn(tmp_path, half((20, 20))))).path
    renditions.remove(media.sha256)
    assert list(renditions.folder.iterdir()) == [kept]


def film(width: int, height: int) -> bytes:
    """Half a second of red, as MP4."""
    import av

    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as box:
        track = box.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_image(Image.new("RGB", (width, height), (200, 20, 20)))
            box.mux(track.encode(frame))
        box.mux(track.encode())
    return buffer.getvalue()
