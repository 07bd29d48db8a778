"""Sizes: as a user requests them (pixels, an aspect ratio, a resolution) and as a provider accepts them.

Only this module parses "16:9", "1024x768" and "480p". Every value that is rounded or dropped yields a warning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from .errors import InvalidRequestError
from .text import truncated_repr

MAX_SIDE = 16_384  # pixels; no provider generates a larger side, and Pillow rejects much larger images
SIDE_MULTIPLE = 16  # pixels; latent models work on blocks of 8 or 16, codecs on blocks of 16
MIN_SIDE = 16  # pixels; below one block of every codec in use
MAX_ASPECT_RATIO = 8  # no model on the Hub takes an image longer than this times its other side
RESOLUTIONS = {"240p": 240, "360p": 360, "480p": 480, "540p": 540, "580p": 580, "720p": 720, "768p": 768,
               "1080p": 1080, "1440p": 1440, "2160p": 2160, "1k": 1024, "2k": 1440, "4k": 2160}  # fmt: skip
RATIO_TOLERANCE = 0.06  # in log(width / height): the effect of rounding both sides near 1024 to a multiple of 64
VIDEO_RESOLUTIONS = ("480p", "580p", "720p", "1080p")  # the names that video models commonly use


class AspectRatio(Struct, frozen=True):
    """An aspect ratio, width to height, in lowest terms (but 21:9, as commonly written)."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}:{self.height}"

    @property
    def value(self) -> float:
        """Width divided by height."""
        return self.width / self.height


ASPECT_RATIOS = tuple(
    AspectRatio(w, h)
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


class SizeConstraints(Struct, frozen=True, kw_only=True):
    """Constraints of one provider on sizes for one task.

    ``style``: ``pixels`` (width and height; everything else is converted to them), ``ratio`` (an aspect ratio and a
    named resolution; pixels are converted to them), ``passthrough`` (passed on unchanged, since its models differ) or
    ``none`` (it takes no size at all).
    """

    style: Literal["pixels", "ratio", "passthrough", "none"]
    multiple: int = 1
    min_side: int = MIN_SIDE
    max_side: int = MAX_SIDE
    max_pixels: int | None = None
    default_area: int = 1024 * 1024  # pixels, when only a ratio is known


class SizeSpec(Struct, frozen=True, kw_only=True):
    """A size in any of its forms; each field may be absent."""

    width: int | None = None
    height: int | None = None
    aspect_ratio: AspectRatio | None = None
    resolution: str | None = None


def parse_ratio(text: str) -> AspectRatio:
    """Parse ``"16:9"``. Raises InvalidRequestError for anything else (``16/9``, ``banana``, ``0:1``)."""
    match = re.fullmatch(r"\s*(\d{1,5})\s*:\s*(\d{1,5})\s*", text)
    if not match:
        raise InvalidRequestError(f"aspect ratio {truncated_repr(text)} is not WIDTH:HEIGHT, such as 16:9")
    width, height = int(match[1]), int(match[2])
    if not width or not height:
        raise InvalidRequestError(f"aspect ratio {text!r} has a side of zero; write it as 16:9 or 1:1")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise InvalidRequestError(f"aspect ratio {text!r} is beyond {MAX_ASPECT_RATIO}:1, which no model supports")
    common = math.gcd(width, height)
    lowest = (width // common, height // common)
    return AspectRatio(*_COMMON_NAMES.get(lowest, lowest))


_COMMON_NAMES = {(7, 3): (21, 9), (3, 7): (9, 21)}  # in lowest terms, but commonly written 21:9


def parse_size(text: str) -> Size:
    """Parse ``"1024x768"``. Raises InvalidRequestError for anything else."""
    match = re.fullmatch(r"\s*(-?\d{1,9})\s*[xX*]\s*(-?\d{1,9})\s*", text)
    if not match:
        raise InvalidRequestError(f"size {truncated_repr(text)} is not WIDTHxHEIGHT in pixels, such as 1024x768")
    size = Size(int(match[1]), int(match[2]))
    validate_side("width", size.width)
    validate_side("height", size.height)
    return size


def parse_resolution(text: str) -> str:
    """Return ``"480p"`` or ``"2K"`` in its usual spelling (lower case). Raises InvalidRequestError if it is unknown."""
    name = text.strip().lower()
    if name not in RESOLUTIONS:
        raise InvalidRequestError(f"resolution {truncated_repr(text)} is not one of {', '.join(RESOLUTIONS)}")
    return name


def validate_side(name: str, pixels: int) -> None:
    """Raise InvalidRequestError when a side in pixels is out of range."""
    if not MIN_SIDE <= pixels <= MAX_SIDE:
        raise InvalidRequestError(f"{name} is {truncated_repr(pixels)}, but must be {MIN_SIDE} to {MAX_SIDE} pixels")


def adapt_size(
    requested: SizeSpec, constraints: SizeConstraints, *, provider: str, default_ratio: AspectRatio
) -> tuple[SizeSpec, tuple[str, ...]]:
    """Return the requested size as this provider accepts it, and a warning for each change.

    ``default_ratio`` is assumed where only a resolution is known.
    """
    if requested == SizeSpec() or constraints.style == "passthrough":
        return requested, ()
    if constraints.style == "none":
        return SizeSpec(), (f"{provider} takes no size here; {describe_size(requested)} was dropped",)
    if constraints.style == "ratio":
        return _to_ratio(requested, provider)
    return _to_pixels(requested, constraints, provider, default_ratio)


def describe_size(size_spec: SizeSpec) -> str:
    """Describe a size as a user writes it: ``1024x768``, ``width 512``, ``16:9``, ``16:9 at 480p``."""
    side = f"width {size_spec.width}" if size_spec.width else f"height {size_spec.height}" if size_spec.height else ""
    pixels = f"{size_spec.width}x{size_spec.height}" if size_spec.width and size_spec.height else side
    parts = [pixels, str(size_spec.aspect_ratio or ""), f"at {size_spec.resolution}" if size_spec.resolution else ""]
    return " ".join(part for part in parts if part)


def _to_ratio(requested: SizeSpec, provider: str) -> tuple[SizeSpec, tuple[str, ...]]:
    if not requested.width or not requested.height:
        adapted = SizeSpec(aspect_ratio=requested.aspect_ratio, resolution=requested.resolution)
        single_side = requested.width or requested.height
        return adapted, (f"{provider} takes no single side; {single_side} pixels was dropped",) if single_side else ()
    ratio = min(ASPECT_RATIOS, key=lambda known: abs(math.log(known.value * requested.height / requested.width)))  # type: ignore[operator]
    short = min(requested.width, requested.height)
    nearest_resolution = min(VIDEO_RESOLUTIONS, key=lambda name: abs(RESOLUTIONS[name] - short))
    adapted = SizeSpec(
        aspect_ratio=requested.aspect_ratio or ratio, resolution=requested.resolution or nearest_resolution
    )
    pixels = f"{requested.width}x{requested.height}"
    return adapted, (f"{provider} takes a ratio and a resolution here; {pixels} became {describe_size(adapted)}",)


def _to_pixels(
    requested: SizeSpec, constraints: SizeConstraints, provider: str, default_ratio: AspectRatio
) -> tuple[SizeSpec, tuple[str, ...]]:
    size = _clamp(*_requested_pixels(requested, constraints, default_ratio), constraints)
    return SizeSpec(width=size.width, height=size.height), tuple(_describe_changes(requested, size, provider))


def _describe_changes(requested: SizeSpec, size: Size, provider: str) -> Iterator[str]:
    """Yield a warning for each requested value that a size in pixels does not match."""
    sides = [
        (name, wanted, actual)
        for name, wanted, actual in (("width", requested.width, size.width), ("height", requested.height, size.height))
        if wanted
    ]
    has_both_sides = len(sides) == 2
    is_changed = any(wanted != actual for _, wanted, actual in sides)
    if has_both_sides and is_changed:
        yield f"{provider} does not support {requested.width}x{requested.height}; the nearest size is {size}"
    elif is_changed:
        yield f"{provider} does not support a {sides[0][0]} of {sides[0][1]}; the nearest size is {size}"
    shape = Size(requested.width or size.width, requested.height or size.height) if has_both_sides else size
    if requested.resolution and min(shape.width, shape.height) != RESOLUTIONS[requested.resolution]:
        if sides:
            yield f"resolution {requested.resolution} was dropped: it contradicts width and height"
        else:
            yield f"{provider} does not support {requested.resolution} exactly; the nearest size is {size}"
    if (
        requested.aspect_ratio
        and abs(math.log(shape.width / shape.height / requested.aspect_ratio.value)) > RATIO_TOLERANCE
    ):
        if has_both_sides:
            yield f"aspect ratio {requested.aspect_ratio} was dropped: it contradicts width and height"
        else:
            yield f"{provider} does not support {requested.aspect_ratio} exactly; the nearest size is {size}"


def _requested_pixels(
    requested: SizeSpec, constraints: SizeConstraints, default_ratio: AspectRatio
) -> tuple[float, float]:
    """Return the requested width and height, before the provider's constraints."""
    ratio = (requested.aspect_ratio or default_ratio).value
    if requested.width and requested.height:
        return requested.width, requested.height
    if requested.width:
        return requested.width, requested.width / ratio
    if requested.height:
        return requested.height * ratio, requested.height
    if requested.resolution:
        short = RESOLUTIONS[requested.resolution]
        return (_round_to_multiple(short * ratio), short) if ratio >= 1 else (short, _round_to_multiple(short / ratio))
    return _round_to_multiple(math.sqrt(constraints.default_area * ratio)), _round_to_multiple(
        math.sqrt(constraints.default_area / ratio)
    )


def _round_to_multiple(side: float) -> int:
    """Round a derived side to the multiple that models and codecs handle best."""
    return max(SIDE_MULTIPLE, round(side / SIDE_MULTIPLE) * SIDE_MULTIPLE)


def _clamp(width: float, height: float, constraints: SizeConstraints) -> Size:
    """Return the nearest valid size: scaled as a whole first, so that the aspect ratio stays."""
    scale = 1.0
    if min(width, height) < constraints.min_side:
        scale = constraints.min_side / min(width, height)
    if max(width, height) * scale > constraints.max_side:
        scale = constraints.max_side / max(width, height)
    if constraints.max_pixels and width * height * scale * scale > constraints.max_pixels:
        scale = math.sqrt(constraints.max_pixels / (width * height))
    sides = [_nearest_side(side * scale, constraints) for side in (width, height)]
    while constraints.max_pixels and sides[0] * sides[1] > constraints.max_pixels:
        sides[0 if sides[0] >= sides[1] else 1] -= constraints.multiple
    return Size(sides[0], sides[1])


def _nearest_side(side: float, constraints: SizeConstraints) -> int:
    lowest = math.ceil(constraints.min_side / constraints.multiple) * constraints.multiple
    highest = constraints.max_side // constraints.multiple * constraints.multiple
    return max(lowest, min(highest, round(side / constraints.multiple) * constraints.multiple))
