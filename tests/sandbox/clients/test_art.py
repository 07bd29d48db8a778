"""Images and videos of the sandbox: deterministic, of the requested size, watermarked and playable.

Their looks are not tested; that they differ, move and follow their source is.
"""

from __future__ import annotations

import builtins
import io
import itertools
from typing import Any

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from hfmedia.sandbox import Sandbox
from hfmedia.sandbox.art import image as image_art
from hfmedia.sandbox.art import palettes, shapes, video
from hfmedia.sandbox.messages import NoEncoderError

from .conftest import FLUX, Web, opened

SIZES = [(1, 1), (2, 300), (17, 9), (64, 64), (96, 64), (333, 500), (1024, 256), (2048, 2048)]


def frames(data: bytes) -> list[Image.Image]:
    """Decode every frame of an mp4."""
    with av.open(io.BytesIO(data)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def difference(first: Image.Image, second: Image.Image) -> float:
    """Return the mean difference of two images per channel, of 255."""
    return sum(ImageStat.Stat(ImageChops.difference(first, second)).mean) / 3


@pytest.mark.parametrize(("image_format", "pil_format"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_an_image_has_the_requested_size_and_format(
    image_format: str, pil_format: str, width: int, height: int
) -> None:
    """From one pixel upwards."""
    image = opened(image_art.render_image("a red fox at night", 3, width, height, image_format=image_format))
    assert (image.size, image.format) == ((width, height), pil_format)


def test_prompt_and_seed_determine_every_byte() -> None:
    """Equal inputs give equal bytes, different inputs different ones."""
    images = [
        image_art.render_image(prompt, seed, 160, 120)
        for prompt, seed in (("a fox", 1), ("a fox", 1), ("a fox", 2), ("a whale", 1))
    ]
    assert images[0] == images[1]
    assert len(set(images)) == 3


@pytest.mark.parametrize("prompt", [*palettes.PALETTES, *shapes.SHAPES, "", "日本の狐 🦊", "x" * 40_000])
def test_any_prompt_can_be_rendered(prompt: str) -> None:
    """Every palette and subject, an empty prompt, characters missing from the font, and a very long prompt."""
    for size in ((48, 32), (200, 120)):
        assert opened(image_art.render_image(prompt, 0, *size)).size == size


def test_words_choose_the_colors() -> None:
    """Fire is redder than the sea."""
    warm, cold = (
        ImageStat.Stat(image_art.draw_landscape(words, 4, 128, 128)).mean for words in ("red fire", "blue sea")
    )
    assert warm[0] - warm[2] > 20 > 0 > cold[0] - cold[2]


def test_every_image_is_marked_as_simulated() -> None:
    """In its metadata and in a visible caption."""
    png = opened(image_art.render_image("a fox", 1, 400, 300, image_format="png"))
    assert image_art.WATERMARK in png.info["Software"]
    assert png.info["Description"] == "a fox"
    assert image_art.WATERMARK.encode() in opened(image_art.render_image("a fox", 1, 400, 300)).info["comment"]
    assert "simulated" in opened(image_art.render_image("a fox", 1, 400, 300, image_format="webp")).getexif()[0x0131]
    bare = image_art.draw_landscape("a fox", 1, 400, 300)
    written = bare.copy()
    image_art.draw_caption(written, "a fox")
    box = ImageChops.difference(bare, written).getbbox()
    assert box is not None
    assert box[1] > 200  # at the bottom, where it covers little


def test_an_edited_image_keeps_the_shapes_of_its_source(photo: bytes) -> None:
    """Left and right still differ, at the new size."""
    image = opened(image_art.render_image("at night", 1, 300, 300, image_format="png", source=photo)).convert("RGB")
    left, right = image.crop((10, 10, 100, 100)), image.crop((200, 10, 290, 100))
    assert difference(left, right) > 25
    assert ImageStat.Stat(left.convert("L")).stddev[0] < 15


@pytest.mark.parametrize("source", [False, True])
def test_a_video_is_playable_moving_and_deterministic(photo: bytes, source: bool) -> None:
    """With even sides and the requested length; one with an input image starts with it."""
    options: dict[str, Any] = {"seconds": 1.0, "fps": 12, "source": photo if source else None}
    data = video.render_video("waves at dawn", 5, 321, 240, **options)
    assert data == video.render_video("waves at dawn", 5, 321, 240, **options)
    images = frames(data)
    assert len(images) == 12
    assert {frame.size for frame in images} == {(320, 240)}
    assert difference(images[0], images[-1]) > 2
    assert all(first.tobytes() != second.tobytes() for first, second in itertools.pairwise(images))
    if source:
        start = image_art.recolor(photo, "waves at dawn", 5, 320, 240)
        assert difference(images[0].crop((0, 0, 320, 150)), start.crop((0, 0, 320, 150))) < 12
    with av.open(io.BytesIO(data)) as container:
        assert container.metadata["title"] == image_art.WATERMARK
        assert container.streams.video[0].codec_context.name in ("h264", "mpeg4")
        assert 0.8 <= (container.duration or 0) / av.time_base <= 1.2


def test_long_videos_stay_cheap() -> None:
    """The number of frames is limited, and the length is kept."""
    data = video.render_video("x", 1, 64, 64, seconds=12, fps=24)
    with av.open(io.BytesIO(data)) as container:
        assert 10 < (container.duration or 0) / av.time_base < 14
    assert len(frames(data)) <= video.MAX_FRAMES


def test_a_missing_encoder_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyAV is an extra."""
    real = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NoEncoderError, match=r"pip install \"hfmedia\[sandbox\]\""):
        video.render_video("x", 1, 64, 64, seconds=1, fps=8)


@pytest.mark.parametrize("raw", [b"", b"GIF89a", b"<html>", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_bytes_that_are_not_an_image_are_rejected(raw: bytes) -> None:
    """With InvalidImageError."""
    with pytest.raises(image_art.InvalidImageError):
        image_art.normalize_image(raw, 100)


async def test_the_cdn_serves_the_bytes_of_the_image_module(sandbox: Sandbox, web: Web) -> None:
    """Unchanged."""
    body = {"model": FLUX, "prompt": "a kite", "width": 128, "height": 96, "seed": 11}
    status, _, raw = await web.post("/router/together/v1/images/generations", body)
    assert status == 200
    url = raw.decode().partition('"url":"')[2].partition('"')[0]
    expected = image_art.render_image("a kite", 11, 128, 96, image_format="jpeg")
    assert (await web("GET", url, key=""))[2] == expected
