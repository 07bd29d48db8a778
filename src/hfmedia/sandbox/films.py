"""Films of the sandbox: the layers of a picture drift apart, as a real mp4 that plays.

The same prompt, seed, size and length give the same film. Heavy: call it in a thread.
"""

# pyright: reportUnknownMemberType=false
# Pillow's own types name numpy, which is not installed here.
from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from PIL import Image

from . import pictures, scene
from .service import NoEncoderError

MOST_FRAMES = 96  # a longer film shows fewer frames a second instead
WIDER = 1.35  # how much wider than the picture the moving layers are drawn
LIGHT = (255, 244, 214)
ZOOM = 0.14  # how far a film that starts from a picture moves into it


def film(
    prompt: str,
    seed: int,
    width: int,
    height: int,
    *,
    seconds: float,
    fps: int,
    source: bytes | None = None,
    black: bool = False,
) -> bytes:
    """An mp4 of about that many seconds, in even numbers of pixels. NoEncoderError tells what to install."""
    width, height = max(16, width // 2 * 2), max(16, height // 2 * 2)
    count = max(2, min(MOST_FRAMES, round(seconds * fps)))
    rate = max(1, round(count / max(seconds, 0.1)))
    if black:
        frames: Iterator[Image.Image] = (Image.new("RGB", (width, height)) for _ in range(count))
    elif source is not None:
        frames = _into(source, prompt, seed, width, height, count)
    else:
        frames = _drifting(prompt, seed, width, height, count)
    return _encoded(frames, width, height, rate, captioned=not black, prompt=prompt)


def _drifting(prompt: str, seed: int, width: int, height: int, count: int) -> Iterator[Image.Image]:
    """The scene with its sun rising, its clouds and hills passing by."""
    view = scene.compose(prompt, seed, width, height, wide=WIDER)
    room = round(width * (WIDER - 1)) - 2
    for number in range(count):
        place = number / (count - 1)
        image = view.sky.copy()
        scene.put_sun(image, view, rise=0.12 * place)
        scene.put_clouds(image, view, shift=round(room * 0.5 * place))
        scene.put_hills(image, view, shift=room * place)
        yield image


def _into(source: bytes, prompt: str, seed: int, width: int, height: int, count: int) -> Iterator[Image.Image]:
    """A slow move into the given picture while a light passes; its first frame is the whole of it."""
    whole = pictures.recoloured(source, prompt, seed, width, height)
    for number in range(count):
        near = ZOOM * number / (count - 1)
        box = (near * width / 2, near * height / 2, width - near * width / 2, height - near * height / 2)
        image = whole.resize((width, height), Image.Resampling.BILINEAR, box=box)
        if number:  # a light passes from left to right
            reach = max(width, height)
            light = scene.glow(reach, 1.6, 0.4 * min(1.0, 4 * number / count))
            image.paste(LIGHT, (round(width * 1.2 * number / count) - reach // 2, -reach // 3), light)
        yield image


def _encoded(
    frames: Iterator[Image.Image], width: int, height: int, rate: int, *, captioned: bool, prompt: str
) -> bytes:
    av = _av()
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        container.metadata["title"] = pictures.MARK
        stream = container.add_stream(_codec(av), rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "27", "threads": "1"}
        for image in frames:
            if captioned:
                pictures.caption(image, prompt)
            for packet in stream.encode(av.VideoFrame.from_image(image)):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return out.getvalue()


def _codec(av: Any) -> str:
    """H.264 where this build has it, else MPEG-4 part 2, which plays nearly everywhere too."""
    return next((name for name in ("libx264", "h264") if name in av.codecs_available), "mpeg4")


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise NoEncoderError('the sandbox needs PyAV to make videos: pip install "hfmedia[sandbox]"') from error
    return av
