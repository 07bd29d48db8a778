"""Videos of the sandbox: the layers of a scene drift apart, encoded as a playable mp4.

The same prompt, seed, size and length yield the same video. CPU-bound: call it in a thread.
"""

# pyright: reportUnknownMemberType=false
# Pillow's type hints reference numpy, which is not a dependency.
from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from PIL import Image

from ..messages import NoEncoderError
from . import image as image_art
from . import scene

MAX_FRAMES = 96  # longer videos have fewer frames per second instead
LAYER_WIDTH_FACTOR = 1.35  # width of the moving layers relative to the image
LIGHT_COLOR = (255, 244, 214)
ZOOM_FACTOR = 0.14  # total zoom of a video that starts from an image


def render_video(
    prompt: str,
    seed: int,
    width: int,
    height: int,
    *,
    seconds: float,
    fps: int,
    source: bytes | None = None,
    is_blacked_out: bool = False,
) -> bytes:
    """Render an mp4 of about `seconds`, with even sides. Raises NoEncoderError naming the missing package."""
    width, height = max(16, width // 2 * 2), max(16, height // 2 * 2)
    frame_count = max(2, min(MAX_FRAMES, round(seconds * fps)))
    frame_rate = max(1, round(frame_count / max(seconds, 0.1)))
    if is_blacked_out:
        frames: Iterator[Image.Image] = (Image.new("RGB", (width, height)) for _ in range(frame_count))
    elif source is not None:
        frames = _zooming_frames(source, prompt, seed, width, height, frame_count)
    else:
        frames = _drifting_frames(prompt, seed, width, height, frame_count)
    return _encode(frames, width, height, frame_rate, with_caption=not is_blacked_out, prompt=prompt)


def _drifting_frames(prompt: str, seed: int, width: int, height: int, frame_count: int) -> Iterator[Image.Image]:
    """Yield frames of the scene: the sun rises while clouds and hills pass by."""
    view = scene.compose_scene(prompt, seed, width, height, width_factor=LAYER_WIDTH_FACTOR)
    extra_width = round(width * (LAYER_WIDTH_FACTOR - 1)) - 2
    for frame_index in range(frame_count):
        progress = frame_index / (frame_count - 1)
        image = view.sky.copy()
        scene.draw_sun(image, view, rise=0.12 * progress)
        scene.draw_clouds(image, view, shift=round(extra_width * 0.5 * progress))
        scene.draw_hills(image, view, shift=extra_width * progress)
        yield image


def _zooming_frames(
    source: bytes, prompt: str, seed: int, width: int, height: int, frame_count: int
) -> Iterator[Image.Image]:
    """Yield frames of a slow zoom into the source image while a light passes; the first shows the full image."""
    base_image = image_art.recolor(source, prompt, seed, width, height)
    for frame_index in range(frame_count):
        zoom = ZOOM_FACTOR * frame_index / (frame_count - 1)
        box = (zoom * width / 2, zoom * height / 2, width - zoom * width / 2, height - zoom * height / 2)
        image = base_image.resize((width, height), Image.Resampling.BILINEAR, box=box)
        if frame_index:  # a light passes from left to right
            light_diameter = max(width, height)
            light = scene.glow(light_diameter, 1.6, 0.4 * min(1.0, 4 * frame_index / frame_count))
            image.paste(
                LIGHT_COLOR,
                (round(width * 1.2 * frame_index / frame_count) - light_diameter // 2, -light_diameter // 3),
                light,
            )
        yield image


def _encode(
    frames: Iterator[Image.Image], width: int, height: int, frame_rate: int, *, with_caption: bool, prompt: str
) -> bytes:
    av = _import_av()
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        container.metadata["title"] = image_art.WATERMARK
        stream = container.add_stream(_codec_name(av), rate=frame_rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "27", "threads": "1"}
        for image in frames:
            if with_caption:
                image_art.draw_caption(image, prompt)
            for packet in stream.encode(av.VideoFrame.from_image(image)):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return buffer.getvalue()


def _codec_name(av: Any) -> str:
    """Return H.264 if this build has it, otherwise MPEG-4 part 2, which plays nearly everywhere too."""
    return next((name for name in ("libx264", "h264") if name in av.codecs_available), "mpeg4")


def _import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise NoEncoderError('the sandbox needs PyAV to generate videos: pip install "hfmedia[sandbox]"') from error
    return av
