"""Real media to test with, made by Pillow and PyAV; small, and the same each time."""

from __future__ import annotations

import io
import random
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 62, 46  # not square, not a power of two, both even as video wants them


def picture(shift: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """A few shapes, and the corner of a gradient, so that no format can make it trivial."""
    drawn = Image.linear_gradient("L").resize(size).convert("RGB")
    pencil = ImageDraw.Draw(drawn)
    pencil.ellipse((4 + shift, 4, 30 + shift, 30), fill=(200, 80, 20))
    pencil.line((0, 0, *size), fill=(20, 60, 120), width=3)
    return drawn


@cache
def image(form: str) -> bytes:
    """A picture in one of the forms of ``IMAGES``."""
    name, options = IMAGES[form]
    out = io.BytesIO()
    picture().save(out, name, **options)
    return out.getvalue()


@cache
def film(form: str) -> bytes:
    """A video of a few frames in one of the forms of ``FILMS``."""
    container, codec, options = FILMS[form]
    with TemporaryDirectory() as folder:  # an index can be moved to the front of a file only, not of a stream
        path = Path(folder) / "film"
        _shoot(path, container, codec, dict(options))
        return path.read_bytes()


def _shoot(path: Path, container: str, codec: str, options: dict[str, str]) -> None:
    with av.open(str(path), "w", format=container, options=options) as file:
        stream: Any = file.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for shift in range(8):
            for packet in stream.encode(av.VideoFrame.from_image(picture(shift))):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def noise(length: int) -> bytes:
    """A whole PNG of about that many bytes, which no compression makes smaller."""
    side = max(8, int((length / 3) ** 0.5))
    out = io.BytesIO()
    pixels = random.Random(7).randbytes(side * side * 3)
    Image.frombytes("RGB", (side, side), pixels).save(out, "PNG", compress_level=0)
    return out.getvalue()


FRAMES = {"save_all": True, "append_images": [picture(3), picture(6)], "duration": 80}
IMAGES: dict[str, tuple[str, dict[str, object]]] = {
    "png": ("PNG", {}),
    "apng": ("PNG", FRAMES),
    "jpeg": ("JPEG", {}),
    "jpeg-progressive": ("JPEG", {"progressive": True, "quality": 95}),
    "jpeg-with-thumbnail": ("JPEG", {"exif": b"Exif\0\0" + b"\xff\xd8 a thumbnail \xff\xd9"}),
    "gif": ("GIF", {}),
    "gif-moving": ("GIF", FRAMES),
    "webp": ("WEBP", {}),
    "webp-lossless": ("WEBP", {"lossless": True}),
    "webp-moving": ("WEBP", FRAMES),
    "avif": ("AVIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "tiff-packed": ("TIFF", {"compression": "tiff_lzw"}),
}
FILMS: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "mp4": ("mp4", "libx264", ()),
    "mp4-faststart": ("mp4", "libx264", (("movflags", "faststart"),)),
    "mp4-fragmented": ("mp4", "libx264", (("movflags", "frag_keyframe+empty_moov"), ("g", "4"))),
    "mov": ("mov", "mpeg4", ()),
    "webm": ("webm", "libvpx-vp9", ()),
    "mkv": ("matroska", "libx264", ()),
    "avi": ("avi", "mpeg4", ()),
}
MIMES = {
    "png": "image/png", "apng": "image/png", "jpeg": "image/jpeg", "jpeg-progressive": "image/jpeg",
    "jpeg-with-thumbnail": "image/jpeg", "gif": "image/gif", "gif-moving": "image/gif", "webp": "image/webp",
    "webp-lossless": "image/webp", "webp-moving": "image/webp", "avif": "image/avif", "bmp": "image/bmp",
    "tiff": "image/tiff", "tiff-packed": "image/tiff", "mp4": "video/mp4", "mp4-faststart": "video/mp4",
    "mp4-fragmented": "video/mp4",
    "mov": "video/quicktime", "webm": "video/webm", "mkv": "video/x-matroska", "avi": "video/x-msvideo",
}  # fmt: skip
MOVING = ("apng", "gif-moving", "webp-moving", *FILMS)


def sample(form: str) -> bytes:
    """A whole file of any form above."""
    return film(form) if form in FILMS else image(form)
