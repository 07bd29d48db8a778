"""Variants of a file: the original, its thumbnail, or another format; pure.

A variant has a short name that is part of URLs: ``o``, ``t``, ``png``, ``webp-80``.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from msgspec import Struct

from hfmedia.storage import Media
from hfmedia.storage.probe.sniff import FORMATS

ORIGINAL, THUMBNAIL = "o", "t"
ImageFormat = Literal["png", "jpeg", "webp", "gif"]
IMAGE_FORMATS: tuple[ImageFormat, ...] = get_args(ImageFormat)
LOSSY_FORMATS: tuple[ImageFormat, ...] = ("jpeg", "webp")  # formats with a quality setting
SUFFIXES: dict[ImageFormat, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "gif": ".gif"}
BY_NAME: dict[str, ImageFormat] = {name: name for name in IMAGE_FORMATS}
FORMAT_ALIASES: dict[str, ImageFormat] = {"jpg": "jpeg"}
NAME_PATTERN = re.compile(r"([a-z]+)(?:-(\d{1,3}))?")


class VariantSpec(Struct, frozen=True):
    """How to render a variant. ``quality`` is 0 to 100 for formats that have one; ``max_side`` is in pixels."""

    format: ImageFormat
    quality: int | None = None
    max_side: int | None = None

    @property
    def mime(self) -> str:
        """MIME type of the rendered file."""
        return f"image/{self.format}"

    @property
    def suffix(self) -> str:
        """File name suffix of the rendered file."""
        return SUFFIXES[self.format]


THUMBNAIL_SPEC = VariantSpec("webp", quality=80, max_side=512)


def parse_image_format(text: str) -> ImageFormat | None:
    """Return the image format of a name, in any case; None for an unknown one."""
    name = text.lower()
    return BY_NAME.get(name) or FORMAT_ALIASES.get(name)


def variant_name(format: ImageFormat, quality: int | None = None) -> str:  # noqa: A002 - OpenAI's name
    """Return the name of a variant, such as ``webp-80``; raise ValueError for an invalid quality."""
    if quality is None or format not in LOSSY_FORMATS:
        return format
    if not 0 <= quality <= 100:
        raise ValueError(f"the quality is {quality}, but must be 0 to 100")
    return f"{format}-{quality}"


def parse_variant(variant: str) -> VariantSpec | None:
    """Return how to render a variant; None for the original and for an unknown name."""
    if variant == THUMBNAIL:
        return THUMBNAIL_SPEC
    match = NAME_PATTERN.fullmatch(variant)
    image_format = BY_NAME.get(match[1]) if match else None
    if match is None or image_format is None:
        return None
    quality = int(match[2]) if match[2] is not None else None
    if quality is not None and (image_format not in LOSSY_FORMATS or quality > 100):
        return None
    return VariantSpec(image_format, quality)


def suffix_for(media: Media, variant: str) -> str:
    """Return the suffix of a variant's file name, such as ``.png``; raise ValueError for an unknown variant."""
    if variant == ORIGINAL:
        media_format = FORMATS.get(media.mime)
        return media_format.suffix if media_format else ".bin"
    spec = parse_variant(variant)
    if spec is None:
        raise ValueError(f"unknown variant {variant!r}")
    return spec.suffix
