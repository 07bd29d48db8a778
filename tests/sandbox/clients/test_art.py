"""Pictures and films of the sandbox: the same each time, in the size asked for, marked, and playable.

Whether they please is for eyes; whether they differ, move and follow their source is held here.
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
from hfmedia.sandbox.service import NoEncoderError

from .conftest import FLUX, Web, opened

SIZES = [(1, 1), (2, 300), (17, 9), (64, 64), (96, 64), (333, 500), (1024, 256), (2048, 2048)]


def frames(data: bytes) -> list[Image.Image]:
    """Every frame of an mp4."""
    with av.open(io.BytesIO(data), "r") as film:
        return [frame.to_image() for frame in film.decode(video=0)]


def unlike(one: Image.Image, other: Image.Image) -> float:
    """How far two pictures differ, per channel, of 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


@pytest.mark.parametrize(("form", "says"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_picture_has_the_size_and_the_form_asked_for(form: str, says: str, width: int, height: int) -> None:
    """From one pixel upwards."""
    image = opened(image_art.render_image("a red fox at night", 3, width, height, image_format=form))
    assert (image.size, image.format) == ((width, height), says)


def test_prompt_and_seed_decide_every_byte() -> None:
    """The same for the same, another for another."""
    made = [
        image_art.render_image(prompt, seed, 160, 120)
        for prompt, seed in (("a fox", 1), ("a fox", 1), ("a fox", 2), ("a whale", 1))
    ]
    assert made[0] == made[1]
    assert len(set(made)) == 3


@pytest.mark.parametrize("words", [*palettes.PALETTES, *shapes.SHAPES, "", "日本の狐 🦊", "x" * 40_000])
def test_any_prompt_can_be_drawn(words: str) -> None:
    """Every palette and subject, no words at all, letters the font lacks, and far too many."""
    for size in ((48, 32), (200, 120)):
        assert opened(image_art.render_image(words, 0, *size)).size == size


def test_words_choose_the_colours() -> None:
    """A fox of fire is redder than the sea is."""
    warm, cold = (
        ImageStat.Stat(image_art.draw_landscape(words, 4, 128, 128)).mean for words in ("red fire", "blue sea")
    )
    assert warm[0] - warm[2] > 20 > 0 > cold[0] - cold[2]


def test_every_picture_says_that_it_is_simulated() -> None:
    """Inside the file, and in words on it."""
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
    assert box[1] > 200  # below, where it covers little


def test_a_picture_from_a_picture_keeps_its_shapes(photo: bytes) -> None:
    """Left unlike right as in the source, in the new size."""
    image = opened(image_art.render_image("at night", 1, 300, 300, image_format="png", source=photo)).convert("RGB")
    left, right = image.crop((10, 10, 100, 100)), image.crop((200, 10, 290, 100))
    assert unlike(left, right) > 25
    assert ImageStat.Stat(left.convert("L")).stddev[0] < 15


@pytest.mark.parametrize("source", [False, True])
def test_a_film_plays_moves_and_is_the_same_each_time(photo: bytes, source: bool) -> None:
    """In even pixels, of the length asked for; one made from a picture starts with it."""
    options: dict[str, Any] = {"seconds": 1.0, "fps": 12, "source": photo if source else None}
    film = video.render_video("waves at dawn", 5, 321, 240, **options)
    assert film == video.render_video("waves at dawn", 5, 321, 240, **options)
    shown = frames(film)
    assert len(shown) == 12
    assert {frame.size for frame in shown} == {(320, 240)}
    assert unlike(shown[0], shown[-1]) > 2
    assert all(one.tobytes() != other.tobytes() for one, other in itertools.pairwise(shown))
    if source:
        start = image_art.recolor(photo, "waves at dawn", 5, 320, 240)
        assert unlike(shown[0].crop((0, 0, 320, 150)), start.crop((0, 0, 320, 150))) < 12
    with av.open(io.BytesIO(film), "r") as container:
        assert container.metadata["title"] == image_art.WATERMARK
        assert container.streams.video[0].codec_context.name in ("h264", "mpeg4")
        assert 0.8 <= (container.duration or 0) / av.time_base <= 1.2


def test_long_films_stay_affordable() -> None:
    """However long: no more frames than the limit, and the length is kept."""
    film = video.render_video("x", 1, 64, 64, seconds=12, fps=24)
    with av.open(io.BytesIO(film), "r") as container:
        assert 10 < (container.duration or 0) / av.time_base < 14
    assert len(frames(film)) <= video.MAX_FRAMES


def test_without_an_encoder_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyAV is an extra."""
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NoEncoderError, match=r"pip install \"hfmedia\[sandbox\]\""):
        video.render_video("x", 1, 64, 64, seconds=1, fps=8)


@pytest.mark.parametrize("raw", [b"", b"GIF89a", b"<html>", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_picture_is_refused(raw: bytes) -> None:
    """With its own error."""
    with pytest.raises(image_art.InvalidImageError):
        image_art.normalize_image(raw, 100)


async def test_the_cdn_serves_what_the_picture_module_draws(sandbox: Sandbox, web: Web) -> None:
    """Nothing is added on the way."""
    body = {"model": FLUX, "prompt": "a kite", "width": 128, "height": 96, "seed": 11}
    status, _, raw = await web.post("/router/together/v1/images/generations", body)
    assert status == 200
    url = raw.decode().partition('"url":"')[2].partition('"')[0]
    drawn = image_art.render_image("a kite", 11, 128, 96, image_format="jpeg")
    assert (await web("GET", url, key=""))[2] == drawn
