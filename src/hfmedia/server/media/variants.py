"""Variants of a file: itself, its thumbnail, or itself in another format; pure.

A variant's name is short and stands in URLs: ``o``, ``t``, ``png``, ``webp-80``.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from msgspec import Struct

from hfmedia.store import Media
from hfmedia.store.kinds import FORMS

ORIGINAL, THUMBNAIL = "o", "t"
Format = Literal["png", "jpeg", "webp", "gif"]
FORMATS: tuple[Format, ...] = get_args(Format)
COMPRESSED: tuple[Format, ...] = ("jpeg", "webp")  # those that have a quality
SUFFIXES: dict[Format, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "gif": ".gif"}
BY_NAME: dict[str, Format] = {name: name for name in FORMATS}
NAME = re.compile(r"([a-z]+)(?:-(\d{1,3}))?")


class Recipe(Struct, frozen=True):
    """How a variant is made. ``quality`` is 0 to 100 where the format has one; ``side``: pixels at most."""

    format: Format
    quality: int | None = None
    side: int | None = None

    @property
    def mime(self) -> str:
        """The media type of what it makes."""
        return f"image/{self.format}"

    @property
    def suffix(self) -> str:
        """How the names of its files end."""
        return SUFFIXES[self.format]


SMALL = Recipe("webp", quality=80, side=512)


def variant_of(format: Format, quality: int | None = None) -> str:  # noqa: A002 - OpenAI's word
    """The name of a variant: ``webp-80``; ValueError for a quality that is none."""
    if quality is None or format not in COMPRESSED:
        return format
    if not 0 <= quality <= 100:
        raise ValueError(f"the quality is {quality}, but must be 0 to 100")
    return f"{format}-{quality}"


def recipe_of(variant: str) -> Recipe | None:
    """How the variant of that name is made; None for the file itself and for a name that is unknown."""
    if variant == THUMBNAIL:
        return SMALL
    found = NAME.fullmatch(variant)
    chosen = BY_NAME.get(found[1]) if found else None
    if found is None or chosen is None:
        return None
    quality = int(found[2]) if found[2] is not None else None
    if quality is not None and (chosen not in COMPRESSED or quality > 100):
        return None
    return Recipe(chosen, quality)


def suffix_of(media: Media, variant: str) -> str:
    """How the name of a variant ends: ``.png``; ValueError for a variant that is unknown."""
    if variant == ORIGINAL:
        form = FORMS.get(media.mime)
        return form.suffix if form else ".bin"
    recipe = recipe_of(variant)
    if recipe is None:
        raise ValueError(f"there is no variant {variant!r}")
    return recipe.suffix
