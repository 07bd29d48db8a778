"""Sizes: what the user asks for (pixels, a ratio, a resolution) and what a provider can take.

This file alone knows that "16:9", "1024x768" and "480p" are text. Whatever is rounded or dropped comes back in words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from .errors import InvalidRequestError

LARGEST_SIDE = 16_384  # pixels; no provider makes a larger side, and Pillow refuses to read much more
GRAIN = 16  # pixels; latent models work on blocks of 8 or 16, codecs on blocks of 16
SMALLEST_SIDE = 16  # pixels; below one block of every codec in use
RATIO_LIMIT = 8  # no model on the Hub takes a picture longer than this times its other side
RESOLUTIONS = {"240p": 240, "360p": 360, "480p": 480, "540p": 540, "580p": 580, "720p": 720, "768p": 768,
               "1080p": 1080, "1440p": 1440, "2160p": 2160, "1k": 1024, "2k": 1440, "4k": 2160}  # fmt: skip
RATIO_GRAIN = 0.06  # of a logarithm: what rounding both sides near 1024 to a multiple of 64 may do to a shape
VIDEO_RESOLUTIONS = ("480p", "580p", "720p", "1080p")  # what video models commonly name


class Ratio(Struct, frozen=True):
    """An aspect ratio, width to height, in lowest terms (but 21:9 as the field writes it)."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}:{self.height}"

    @property
    def value(self) -> float:
        """Width divided by height."""
        return self.width / self.height


RATIOS = tuple(
    Ratio(w, h)
    for w, h in (
        (21, 9), (16, 9), (3, 2), (4, 3), (5, 4), (1, 1), (4, 5), (3, 4), (2, 3), (9, 16), (9, 21),
    )
)  # fmt: skip


class Size(Struct, frozen=True):
    """A size in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class SizeRule(Struct, frozen=True, kw_only=True):
    """How one provider takes a size for one task.

    ``form`` says in which words: ``pixels`` (width and height, everything else is turned into them), ``ratio`` (an
    aspect ratio and a named resolution, pixels are turned into them), ``given`` (its models differ: passed on as given)
    or ``none`` (it takes no size at all).
    """

    form: Literal["pixels", "ratio", "given", "none"]
    multiple: int = 1
    smallest: int = SMALLEST_SIDE
    largest: int = LARGEST_SIDE
    most_pixels: int | None = None
    area: int = 1024 * 1024  # pixels, when only a ratio is known


class Sizing(Struct, frozen=True, kw_only=True):
    """A size as a provider takes it: any of these may be absent."""

    width: int | None = None
    height: int | None = None
    aspect_ratio: Ratio | None = None
    resolution: str | None = None


def shown(value: object) -> str:
    """A value as one sentence may quote it: never longer than 80 characters, however absurd it is."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return "a number of more than 40 digits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def parse_ratio(text: str) -> Ratio:
    """``"16:9"`` as a Ratio; InvalidRequestError for anything else (``16/9``, ``banana``, ``0:1``)."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*:\s*(\d{1,5})\s*", text)
    if not found:
        raise InvalidRequestError(f"aspect ratio {shown(text)} is not WIDTH:HEIGHT, such as 16:9")
    width, height = int(found[1]), int(found[2])
    if not width or not height:
        raise InvalidRequestError(f"aspect ratio {text!r} has a side of zero; write it as 16:9 or 1:1")
    if max(width, height) > RATIO_LIMIT * min(width, height):
        raise InvalidRequestError(f"aspect ratio {text!r} is beyond {RATIO_LIMIT}:1, which no model draws")
    common = math.gcd(width, height)
    lowest = (width // common, height // common)
    return Ratio(*_USUAL.get(lowest, lowest))


_USUAL = {(7, 3): (21, 9), (3, 7): (9, 21)}  # lower terms, but nobody in the field writes them


def parse_size(text: str) -> Size:
    """``"1024x768"`` as a Size; InvalidRequestError for anything else."""
    found = re.fullmatch(r"\s*(-?\d{1,9})\s*[xX*]\s*(-?\d{1,9})\s*", text)
    if not found:
        raise InvalidRequestError(f"size {shown(text)} is not WIDTHxHEIGHT in pixels, such as 1024x768")
    size = Size(int(found[1]), int(found[2]))
    check_side("width", size.width)
    check_side("height", size.height)
    return size


def parse_resolution(text: str) -> str:
    """``"480p"`` or ``"2K"`` in its usual spelling (lower case); InvalidRequestError for an unknown one."""
    name = text.strip().lower()
    if name not in RESOLUTIONS:
        raise InvalidRequestError(f"resolution {shown(text)} is not one of {', '.join(RESOLUTIONS)}")
    return name


def check_side(name: str, pixels: int) -> None:
    """InvalidRequestError when a side in pixels is zero, negative or absurd."""
    if not SMALLEST_SIDE <= pixels <= LARGEST_SIDE:
        raise InvalidRequestError(f"{name} is {shown(pixels)}, but must be {SMALLEST_SIDE} to {LARGEST_SIDE} pixels")


def fit_size(wanted: Sizing, rule: SizeRule, *, provider: str, default: Ratio) -> tuple[Sizing, tuple[str, ...]]:
    """What this provider is told of a wanted size, and a sentence for each thing changed on the way.

    ``default`` is the ratio to assume where only a resolution is known.
    """
    if wanted == Sizing() or rule.form == "given":
        return wanted, ()
    if rule.form == "none":
        return Sizing(), (f"{provider} takes no size here; {describe(wanted)} was dropped",)
    if rule.form == "ratio":
        return _as_ratio(wanted, provider)
    return _as_pixels(wanted, rule, provider, default)


def describe(wanted: Sizing) -> str:
    """A size in the user's words: ``1024x768``, ``width 512``, ``16:9``, ``16:9 at 480p``."""
    side = f"width {wanted.width}" if wanted.width else f"height {wanted.height}" if wanted.height else ""
    pixels = f"{wanted.width}x{wanted.height}" if wanted.width and wanted.height else side
    words = [pixels, str(wanted.aspect_ratio or ""), f"at {wanted.resolution}" if wanted.resolution else ""]
    return " ".join(word for word in words if word)


def _as_ratio(wanted: Sizing, provider: str) -> tuple[Sizing, tuple[str, ...]]:
    if not wanted.width or not wanted.height:
        told = Sizing(aspect_ratio=wanted.aspect_ratio, resolution=wanted.resolution)
        alone = wanted.width or wanted.height
        return told, (f"{provider} takes no single side; {alone} pixels was dropped",) if alone else ()
    ratio = min(RATIOS, key=lambda known: abs(math.log(known.value * wanted.height / wanted.width)))  # type: ignore[operator]
    short = min(wanted.width, wanted.height)
    named = min(VIDEO_RESOLUTIONS, key=lambda name: abs(RESOLUTIONS[name] - short))
    told = Sizing(aspect_ratio=wanted.aspect_ratio or ratio, resolution=wanted.resolution or named)
    pixels = f"{wanted.width}x{wanted.height}"
    return told, (f"{provider} takes a ratio and a resolution here; {pixels} became {describe(told)}",)


def _as_pixels(wanted: Sizing, rule: SizeRule, provider: str, default: Ratio) -> tuple[Sizing, tuple[str, ...]]:
    size = _legal(*_pixels_asked(wanted, rule, default), rule)
    return Sizing(width=size.width, height=size.height), tuple(_changes(wanted, size, provider))


def _changes(wanted: Sizing, size: Size, provider: str) -> Iterator[str]:
    """A sentence for each of the user's words that a size in pixels does not keep."""
    sides = [
        (n, w, s) for n, w, s in (("width", wanted.width, size.width), ("height", wanted.height, size.height)) if w
    ]
    exact = len(sides) == 2
    if exact and any(asked != made for _, asked, made in sides):
        yield f"{provider} cannot make {wanted.width}x{wanted.height}; the nearest it takes is {size}"
    elif any(asked != made for _, asked, made in sides):
        yield f"{provider} cannot make a {sides[0][0]} of {sides[0][1]}; the nearest it takes is {size}"
    shape = Size(wanted.width or size.width, wanted.height or size.height) if exact else size
    if wanted.resolution and min(shape.width, shape.height) != RESOLUTIONS[wanted.resolution]:
        if sides:
            yield f"resolution {wanted.resolution} was dropped: width and height say otherwise"
        else:
            yield f"{provider} cannot make {wanted.resolution} exactly; the nearest it takes is {size}"
    if wanted.aspect_ratio and abs(math.log(shape.width / shape.height / wanted.aspect_ratio.value)) > RATIO_GRAIN:
        if exact:
            yield f"aspect ratio {wanted.aspect_ratio} was dropped: width and height say otherwise"
        else:
            yield f"{provider} cannot make {wanted.aspect_ratio} exactly; the nearest it takes is {size}"


def _pixels_asked(wanted: Sizing, rule: SizeRule, default: Ratio) -> tuple[float, float]:
    """The width and height that the user's words mean, before any rule of the provider."""
    ratio = (wanted.aspect_ratio or default).value
    if wanted.width and wanted.height:
        return wanted.width, wanted.height
    if wanted.width:
        return wanted.width, wanted.width / ratio
    if wanted.height:
        return wanted.height * ratio, wanted.height
    if wanted.resolution:
        short = RESOLUTIONS[wanted.resolution]
        return (_grained(short * ratio), short) if ratio >= 1 else (short, _grained(short / ratio))
    return _grained(math.sqrt(rule.area * ratio)), _grained(math.sqrt(rule.area / ratio))


def _grained(side: float) -> int:
    """A side that nobody stated, on the grid that models and codecs like best."""
    return max(GRAIN, round(side / GRAIN) * GRAIN)


def _legal(width: float, height: float, rule: SizeRule) -> Size:
    """The legal size nearest to a wanted one: scaled as a whole first, so that its shape stays."""
    scale = 1.0
    if min(width, height) < rule.smallest:
        scale = rule.smallest / min(width, height)
    if max(width, height) * scale > rule.largest:
        scale = rule.largest / max(width, height)
    if rule.most_pixels and width * height * scale * scale > rule.most_pixels:
        scale = math.sqrt(rule.most_pixels / (width * height))
    fitted = [_nearest(side * scale, rule) for side in (width, height)]
    while rule.most_pixels and fitted[0] * fitted[1] > rule.most_pixels:
        fitted[0 if fitted[0] >= fitted[1] else 1] -= rule.multiple
    return Size(fitted[0], fitted[1])


def _nearest(side: float, rule: SizeRule) -> int:
    lowest = math.ceil(rule.smallest / rule.multiple) * rule.multiple
    highest = rule.largest // rule.multiple * rule.multiple
    return max(lowest, min(highest, round(side / rule.multiple) * rule.multiple))
