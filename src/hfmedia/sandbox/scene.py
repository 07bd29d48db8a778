"""A landscape in layers: sky, sun, clouds, hills, a subject. Pictures flatten it, films let it drift.

Soft things are drawn small and enlarged, edges are drawn large and reduced; nothing here uses the clock.
"""

# pyright: reportUnknownMemberType=false
# Pillow's own types name numpy, which is not installed here.
from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import msgspec
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from . import palettes, silhouettes
from .palettes import Colour, Palette, mix

if TYPE_CHECKING:
    from collections.abc import Callable

HILLS = 5
SHORE = 3  # where there is water, it begins at this hill
FINE = 2  # edges are drawn this many times larger


class Layer(msgspec.Struct, frozen=True):
    """One hill: its colours over its height, its mask, and where its top row lies."""

    paint: Image.Image
    mask: Image.Image
    top: int
    depth: float


class Scene(msgspec.Struct, frozen=True):
    """All layers at one size; hills may be wider than the picture, so that they can be moved."""

    palette: Palette
    sky: Image.Image
    sun: tuple[float, float, float]
    clouds: Image.Image
    hills: tuple[Layer, ...]
    horizon: int
    shore: int
    stars: bool


def compose(prompt: str, seed: int, width: int, height: int, *, wide: float = 1.0) -> Scene:
    """The scene of a prompt and seed. `wide` widens clouds and hills for panning."""
    chance = random.Random(f"{prompt}\x00{seed}")  # pictures, not secrets
    palette = palettes.choose(prompt, chance)
    subject = palettes.subject_of(prompt)
    horizon = round(height * chance.uniform(0.56, 0.64))
    sun_x = chance.uniform(0.58, 0.80) if subject else chance.uniform(0.2, 0.8)
    sun = (sun_x, horizon / height * chance.uniform(0.38, 0.72), chance.uniform(0.055, 0.085))
    sky = _sky(palette, width, height, horizon)
    if palette.night:
        _stars(sky, chance, horizon)
    span = round(width * wide)
    clouds = _clouds(chance, span, height, horizon)
    hills = tuple(_hills(palette, chance, span, width, height, horizon, subject))
    shore = round(_base(SHORE / (HILLS - 1), horizon, height))
    return Scene(palette, sky, sun, clouds, hills, horizon, shore, palette.night)


def gradient(stops: tuple[Colour, ...], width: int, height: int) -> Image.Image:
    """A vertical gradient through the colours."""
    rows = 96
    column = Image.new("RGB", (1, rows))
    for row in range(rows):
        place = row / (rows - 1) * (len(stops) - 1)
        index = min(int(place), len(stops) - 2)
        column.putpixel((0, row), mix(stops[index], stops[index + 1], place - index))
    tall = column.resize((1, max(1, height)), Image.Resampling.BICUBIC)
    return tall.resize((max(1, width), max(1, height)), Image.Resampling.NEAREST)


def glow(diameter: int, power: float, strength: float) -> Image.Image:
    """A soft round mask, brightest in the middle."""
    table = [round(255 * strength * max(0.0, 1 - value / 182) ** power) for value in range(256)]
    return Image.radial_gradient("L").point(table).resize((diameter, diameter), Image.Resampling.BILINEAR)


def disc(diameter: int) -> Image.Image:
    """A round mask with a clean edge."""
    large = Image.new("L", (diameter * 4, diameter * 4))
    edge = min(4, diameter)
    ImageDraw.Draw(large).ellipse((edge, edge, diameter * 4 - 1 - edge, diameter * 4 - 1 - edge), fill=255)
    return large.reduce(4)


def put_sun(image: Image.Image, scene: Scene, rise: float = 0.0) -> None:
    """Draw the sun or moon with its light; `rise` moves it up, in picture heights."""
    width, height = image.size
    side = math.sqrt(width * height)
    x, y = round(scene.sun[0] * width), round((scene.sun[1] - rise) * height)
    colour = scene.palette.sun
    for diameter, power, strength in ((1.5, 2.4, 0.55), (0.5, 2.0, 0.5)):
        size = max(4, round(side * diameter))
        image.paste(colour, (x - size // 2, y - size // 2), glow(size, power, strength * (0.6 if scene.stars else 1)))
    size = max(3, round(side * scene.sun[2] * (1.0 if not scene.stars else 0.9)))
    image.paste(mix(colour, (255, 255, 255), 0.55), (x - size // 2, y - size // 2), disc(size))
    if scene.stars:
        for dx, dy, part in ((-0.16, -0.1, 0.2), (0.12, 0.14, 0.26), (0.1, -0.2, 0.13)):
            spot = max(2, round(size * part))
            corner = (x + round(dx * size) - spot // 2, y + round(dy * size) - spot // 2)
            image.paste(
                mix(colour, (120, 120, 150), 0.3), corner, disc(spot).point([value // 3 for value in range(256)])
            )


def put_clouds(image: Image.Image, scene: Scene, shift: int = 0) -> None:
    """Draw the clouds, moved left by `shift` pixels."""
    width, height = image.size
    colour = mix(scene.palette.sky[2], (255, 255, 255), 0.0 if scene.stars else 0.55)
    image.paste(colour, (0, 0), scene.clouds.crop((shift, 0, shift + width, height)))


def put_hills(image: Image.Image, scene: Scene, shift: float = 0.0) -> None:
    """Draw the hills from far to near; near ones move further left for the same `shift` (pixels)."""
    width = image.width
    for layer in scene.hills:
        left = round(shift * layer.depth)
        box = (left, 0, left + width, layer.mask.height)
        mask = layer.mask if box[:3:2] == (0, layer.mask.width) else layer.mask.crop(box)
        paint = layer.paint if layer.paint.width == width else layer.paint.crop(box)
        image.paste(paint, (0, layer.top), mask)


def _sky(palette: Palette, width: int, height: int, horizon: int) -> Image.Image:
    sky = gradient(palette.sky, width, horizon)
    whole = Image.new("RGB", (width, height), palette.sky[2])
    whole.paste(sky, (0, 0))
    return whole


def _stars(sky: Image.Image, chance: random.Random, horizon: int) -> None:
    width = sky.width
    unit = math.sqrt(width * sky.height) / 1024
    pen = ImageDraw.Draw(sky)
    for _ in range(220):
        x, y = chance.randrange(width), int(horizon * chance.random() ** 1.4)
        bright = chance.random() ** 3
        under = sky.getpixel((x, min(y, sky.height - 1)))
        base: Colour = (int(under[0]), int(under[1]), int(under[2])) if isinstance(under, tuple) else (0, 0, 0)
        size = (0.5 + 1.6 * bright) * unit
        pen.ellipse((x - size, y - size, x + size, y + size), fill=mix(base, (255, 250, 240), 0.25 + 0.7 * bright))


def _clouds(chance: random.Random, span: int, height: int, horizon: int) -> Image.Image:
    small_width, small_height = max(8, span // 8), max(8, height // 8)
    mask = Image.new("L", (small_width, small_height))
    pen = ImageDraw.Draw(mask)
    low = horizon / height * small_height
    for _ in range(max(4, round(5 * span / height))):
        x, y = chance.uniform(0, small_width), low * chance.uniform(0.12, 0.8)
        length = small_height * chance.uniform(0.12, 0.4)
        for _ in range(9):
            cx, cy = x + chance.gauss(0, 0.4) * length, y + chance.gauss(0, 0.035) * length
            rx, ry = length * chance.uniform(0.15, 0.42), length * chance.uniform(0.02, 0.06)
            pen.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=chance.randrange(60, 150))
    soft = mask.filter(ImageFilter.GaussianBlur(max(1.0, small_height / 90)))
    return soft.resize((span, height), Image.Resampling.BICUBIC)


def _ridge(chance: random.Random, rough: float) -> Callable[[float], float]:
    """A line of hills: a height of about -1 to 1 for a place."""
    waves = [
        (rate, chance.uniform(0, math.tau), float(1 / rate ** (1.25 - rough)))
        for rate in (1.1, 2.3, 4.7, 9.1, 17.3, 31.0, 57.0)[: 4 + round(rough * 6)]
    ]
    total = sum(size for _, _, size in waves) or 1

    def line(x: float) -> float:
        return sum(math.sin(x * rate * math.tau / 2 + phase) * size for rate, phase, size in waves) / total * 1.6

    return line


def _base(depth: float, horizon: int, height: int) -> float:
    """The middle height of a hill's line: 0 is the farthest hill, 1 the nearest."""
    return horizon + (height - horizon) * math.pow(depth, 1.25) * 0.74 - height * 0.02


def _hills(
    palette: Palette,
    chance: random.Random,
    span: int,
    width: int,
    height: int,
    horizon: int,
    subject: str | None,
) -> list[Layer]:
    layers: list[Layer] = []
    pines = chance.random() < 0.75 and not palette.water
    for index in range(HILLS):
        depth = index / (HILLS - 1)
        base = _base(depth, horizon, height)
        swing = height * (0.07 - 0.025 * depth)
        line = _ridge(chance, 0.42 if index < 2 else 0.12)
        if palette.water and index >= SHORE:
            swing *= 0.12
        tops = [(float(x), base + swing * line(x / height)) for x in range(-4, span + 8, 4)]
        top = max(0, int(min(y for _, y in tops) - height * (0.14 if index >= 2 else 0.02)))
        large = Image.new("L", (span * FINE, (height - top) * FINE))
        pen = ImageDraw.Draw(large)
        outline = [(x * FINE, (y - top) * FINE) for x, y in tops]
        pen.polygon([*outline, (span * FINE + 20, large.height), (-20, large.height)], fill=255)
        if pines and index in (2, 4):
            _pines(pen, chance, tops, top, height * (0.035 if index == 2 else 0.075))
        colour = mix(palette.far, palette.near, depth**0.8)
        haze = mix(colour, palette.sky[2], 0.42 * (1 - depth) + 0.08)
        lit = mix(colour, palette.sun, 0.20 * (1 - depth) + 0.05)
        shade = mix(colour, (8, 10, 24), 0.25 * depth) if not palette.snow else mix(colour, (90, 120, 170), 0.3)
        stops = (lit, colour, haze) if index < 3 else (lit, colour, shade)
        paint = gradient(stops, span, height - top)
        hill = Layer(paint, large.reduce(FINE), top, 0.25 + 0.75 * depth)
        shown = (
            _subject(palette, chance, subject, tops, span, width, height) if subject and _at(subject) == index else None
        )
        match shown, subject in silhouettes.FAR_AWAY:
            case None, _:
                layers.append(hill)
            case Layer(), True:
                layers += [msgspec.structs.replace(shown, depth=hill.depth), hill]
            case Layer(), False:
                layers += [hill, msgspec.structs.replace(shown, depth=hill.depth)]
    return layers


def _pines(
    pen: ImageDraw.ImageDraw, chance: random.Random, tops: list[tuple[float, float]], top: int, size: float
) -> None:
    """Small firs along a ridge, in groups."""
    place = chance.randrange(0, 12)
    while place < len(tops):
        x, y = tops[place]
        tall = size * chance.uniform(0.55, 1.0)
        for part in range(3):
            peak, foot = y - tall * (1 - part * 0.24), y - tall * (0.42 - part * 0.2)
            half = tall * (0.12 + part * 0.06)
            pen.polygon(
                [(x * FINE, (peak - top) * FINE)]
                + [((x + side * half) * FINE, (foot - top) * FINE) for side in (1, -1)],
                fill=255,
            )
        pen.rectangle(
            ((x - tall * 0.025) * FINE, (y - tall * 0.1 - top) * FINE, (x + tall * 0.025) * FINE, (y + 6 - top) * FINE),
            fill=255,
        )
        place += 1 + int(size * (chance.random() ** 2 * 0.9 + 0.08)) if chance.random() < 0.8 else 6 + int(size)


def _at(subject: str) -> int:
    """The hill that a subject stands on, or rises behind."""
    return 2 if subject in silhouettes.FAR_AWAY else SHORE


def _subject(
    palette: Palette,
    chance: random.Random,
    subject: str,
    tops: list[tuple[float, float]],
    span: int,
    width: int,
    height: int,
) -> Layer:
    """A silhouette on the line of a hill; one that is far away has its feet hidden by that hill."""
    far = subject in silhouettes.FAR_AWAY
    side = min(width, height) * (0.34 if far else 0.30)
    centre = width * chance.uniform(0.28, 0.42)
    under = [y for x, y in tops if abs(x - centre) <= 4 + side / (2 if far else 4)]
    ground = max(under) + 2 if far else sum(under) / len(under) + side * 0.02
    if subject in silhouettes.IN_THE_SKY:
        ground -= height * 0.16
    elif subject in silhouettes.IN_THE_WATER:
        ground += side * 0.1
    top = max(0, int(ground - side))
    large = Image.new("L", (span * FINE, max(1, int(ground - top) + 1) * FINE))
    pen = ImageDraw.Draw(large)
    for outline in silhouettes.SHAPES[subject]:
        points = [((centre + (x - 0.5) * side) * FINE, (ground - (1 - y) * side - top) * FINE) for x, y in outline]
        pen.polygon(points, fill=255)
    mask = large.reduce(FINE)
    colour = mix(mix(palette.far, palette.near, 0.45), palette.subject, 0.4) if far else palette.subject
    paint = gradient((mix(colour, palette.sun, 0.28), colour, mix(colour, (8, 8, 20), 0.35)), span, mask.height)
    return Layer(paint, mask, top, 0.0)


def water(image: Image.Image, scene: Scene, chance: random.Random) -> None:
    """Lay the sun's path over the lower part of the picture."""
    width, height = image.size
    pen = ImageDraw.Draw(image, "RGBA")
    start = scene.shore + max(1, height // 200)
    for row in range(start, height, max(3, height // 90)):
        reach = (row - start) / max(1, height - start)
        for _ in range(3):
            middle = scene.sun[0] * width + chance.gauss(0, 0.03 + 0.06 * reach) * width
            half = width * (0.01 + 0.035 * reach) * chance.uniform(0.4, 1)
            thick = max(1, round(height / 400 * (1 + 2 * reach)))
            light = (*scene.palette.sun, round(120 * (1 - reach) + 20))
            pen.rounded_rectangle((middle - half, row, middle + half, row + thick), radius=thick, fill=light)


def birds(image: Image.Image, scene: Scene, chance: random.Random) -> None:
    """A few birds, by day."""
    if scene.stars or chance.random() < 0.35:
        return
    width, height = image.size
    pen = ImageDraw.Draw(image)
    x, y = chance.uniform(0.2, 0.7) * width, scene.horizon * chance.uniform(0.25, 0.5)
    colour = mix(scene.palette.sky[1], scene.palette.near, 0.75)
    for _ in range(chance.randrange(3, 7)):
        size = height * chance.uniform(0.006, 0.014)
        bx, by = x + chance.gauss(0, 0.06) * width, y + chance.gauss(0, 0.03) * height
        thick = max(1, round(height / 600))
        pen.arc((bx - 2 * size, by - size, bx, by + size), 200, 340, fill=colour, width=thick)
        pen.arc((bx, by - size, bx + 2 * size, by + size), 200, 340, fill=colour, width=thick)


def grain(image: Image.Image, seed: int, strength: int = 5) -> Image.Image:
    """The picture with fine, even noise: it keeps soft skies from showing steps."""
    chance = random.Random(seed)  # pictures, not secrets
    tile = Image.frombytes("L", (128, 128), chance.randbytes(128 * 128)).point(
        [128 - strength + value * (2 * strength + 1) // 256 for value in range(256)]
    )
    sheet = Image.new("L", image.size)
    for x in range(0, image.width, 128):
        for y in range(0, image.height, 128):
            sheet.paste(tile, (x, y))
    return ImageChops.add(image, Image.merge("RGB", (sheet, sheet, sheet)), 1, -128)
