"""Landscape in layers: sky, sun, clouds, hills and a subject. Images flatten the layers, videos move them.

Soft layers are drawn small and enlarged, edges are drawn large and reduced; nothing here depends on the clock.
"""

# pyright: reportUnknownMemberType=false
# Pillow's type hints reference numpy, which is not a dependency.
from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import msgspec
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from . import palettes, shapes
from .palettes import Color, Palette, mix_colors

if TYPE_CHECKING:
    from collections.abc import Callable

HILL_COUNT = 5
SHORE_HILL = 3  # water, if any, starts at this hill
SUPERSAMPLING = 2  # edges are drawn this many times larger


class Layer(msgspec.Struct, frozen=True):
    """One hill: paint, mask and the row of its top edge."""

    paint: Image.Image
    mask: Image.Image
    top: int
    depth: float


class Scene(msgspec.Struct, frozen=True):
    """All layers at one size; hills may be wider than the image, for panning."""

    palette: Palette
    sky: Image.Image
    sun: tuple[float, float, float]
    clouds: Image.Image
    hills: tuple[Layer, ...]
    horizon: int
    shore: int
    stars: bool


def compose_scene(prompt: str, seed: int, width: int, height: int, *, width_factor: float = 1.0) -> Scene:
    """Compose the scene of a prompt and seed. `width_factor` widens clouds and hills for panning."""
    rng = random.Random(f"{prompt}\x00{seed}")  # media content, not secrets
    palette = palettes.choose_palette(prompt, rng)
    subject = palettes.subject_of(prompt)
    horizon = round(height * rng.uniform(0.56, 0.64))
    sun_x = rng.uniform(0.58, 0.80) if subject else rng.uniform(0.2, 0.8)
    sun = (sun_x, horizon / height * rng.uniform(0.38, 0.72), rng.uniform(0.055, 0.085))
    sky = _draw_sky(palette, width, height, horizon)
    if palette.night:
        _draw_stars(sky, rng, horizon)
    layer_width = round(width * width_factor)
    clouds = _draw_clouds(rng, layer_width, height, horizon)
    hills = tuple(_draw_hills(palette, rng, layer_width, width, height, horizon, subject))
    shore = round(_base_height(SHORE_HILL / (HILL_COUNT - 1), horizon, height))
    return Scene(palette, sky, sun, clouds, hills, horizon, shore, palette.night)


def gradient(stops: tuple[Color, ...], width: int, height: int) -> Image.Image:
    """Draw a vertical gradient through the colors."""
    rows = 96
    column = Image.new("RGB", (1, rows))
    for row in range(rows):
        position = row / (rows - 1) * (len(stops) - 1)
        index = min(int(position), len(stops) - 2)
        column.putpixel((0, row), mix_colors(stops[index], stops[index + 1], position - index))
    stretched = column.resize((1, max(1, height)), Image.Resampling.BICUBIC)
    return stretched.resize((max(1, width), max(1, height)), Image.Resampling.NEAREST)


def glow(diameter: int, power: float, strength: float) -> Image.Image:
    """Draw a soft round mask, brightest in the middle."""
    table = [round(255 * strength * max(0.0, 1 - value / 182) ** power) for value in range(256)]
    return Image.radial_gradient("L").point(table).resize((diameter, diameter), Image.Resampling.BILINEAR)


def disc(diameter: int) -> Image.Image:
    """Draw a round mask with an antialiased edge."""
    large = Image.new("L", (diameter * 4, diameter * 4))
    edge = min(4, diameter)
    ImageDraw.Draw(large).ellipse((edge, edge, diameter * 4 - 1 - edge, diameter * 4 - 1 - edge), fill=255)
    return large.reduce(4)


def draw_sun(image: Image.Image, scene: Scene, rise: float = 0.0) -> None:
    """Draw the sun or moon with its light; `rise` moves it up, in image heights."""
    width, height = image.size
    side = math.sqrt(width * height)
    x, y = round(scene.sun[0] * width), round((scene.sun[1] - rise) * height)
    color = scene.palette.sun
    for diameter, power, strength in ((1.5, 2.4, 0.55), (0.5, 2.0, 0.5)):
        size = max(4, round(side * diameter))
        image.paste(color, (x - size // 2, y - size // 2), glow(size, power, strength * (0.6 if scene.stars else 1)))
    size = max(3, round(side * scene.sun[2] * (1.0 if not scene.stars else 0.9)))
    image.paste(mix_colors(color, (255, 255, 255), 0.55), (x - size // 2, y - size // 2), disc(size))
    if scene.stars:
        for dx, dy, fraction in ((-0.16, -0.1, 0.2), (0.12, 0.14, 0.26), (0.1, -0.2, 0.13)):
            spot = max(2, round(size * fraction))
            corner = (x + round(dx * size) - spot // 2, y + round(dy * size) - spot // 2)
            image.paste(
                mix_colors(color, (120, 120, 150), 0.3), corner, disc(spot).point([value // 3 for value in range(256)])
            )


def draw_clouds(image: Image.Image, scene: Scene, shift: int = 0) -> None:
    """Draw the clouds, moved left by `shift` pixels."""
    width, height = image.size
    color = mix_colors(scene.palette.sky[2], (255, 255, 255), 0.0 if scene.stars else 0.55)
    image.paste(color, (0, 0), scene.clouds.crop((shift, 0, shift + width, height)))


def draw_hills(image: Image.Image, scene: Scene, shift: float = 0.0) -> None:
    """Draw the hills from far to near; near ones move further left for the same `shift` (pixels)."""
    width = image.width
    for layer in scene.hills:
        left = round(shift * layer.depth)
        box = (left, 0, left + width, layer.mask.height)
        mask = layer.mask if box[:3:2] == (0, layer.mask.width) else layer.mask.crop(box)
        paint = layer.paint if layer.paint.width == width else layer.paint.crop(box)
        image.paste(paint, (0, layer.top), mask)


def _draw_sky(palette: Palette, width: int, height: int, horizon: int) -> Image.Image:
    sky = gradient(palette.sky, width, horizon)
    canvas = Image.new("RGB", (width, height), palette.sky[2])
    canvas.paste(sky, (0, 0))
    return canvas


def _draw_stars(sky: Image.Image, rng: random.Random, horizon: int) -> None:
    width = sky.width
    unit = math.sqrt(width * sky.height) / 1024
    draw = ImageDraw.Draw(sky)
    for _ in range(220):
        x, y = rng.randrange(width), int(horizon * rng.random() ** 1.4)
        brightness = rng.random() ** 3
        pixel = sky.getpixel((x, min(y, sky.height - 1)))
        background: Color = (int(pixel[0]), int(pixel[1]), int(pixel[2])) if isinstance(pixel, tuple) else (0, 0, 0)
        size = (0.5 + 1.6 * brightness) * unit
        draw.ellipse(
            (x - size, y - size, x + size, y + size),
            fill=mix_colors(background, (255, 250, 240), 0.25 + 0.7 * brightness),
        )


def _draw_clouds(rng: random.Random, layer_width: int, height: int, horizon: int) -> Image.Image:
    small_width, small_height = max(8, layer_width // 8), max(8, height // 8)
    mask = Image.new("L", (small_width, small_height))
    draw = ImageDraw.Draw(mask)
    horizon_y = horizon / height * small_height
    for _ in range(max(4, round(5 * layer_width / height))):
        x, y = rng.uniform(0, small_width), horizon_y * rng.uniform(0.12, 0.8)
        length = small_height * rng.uniform(0.12, 0.4)
        for _ in range(9):
            cx, cy = x + rng.gauss(0, 0.4) * length, y + rng.gauss(0, 0.035) * length
            rx, ry = length * rng.uniform(0.15, 0.42), length * rng.uniform(0.02, 0.06)
            draw.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=rng.randrange(60, 150))
    blurred = mask.filter(ImageFilter.GaussianBlur(max(1.0, small_height / 90)))
    return blurred.resize((layer_width, height), Image.Resampling.BICUBIC)


def _ridge_line(rng: random.Random, roughness: float) -> Callable[[float], float]:
    """Return a ridge function: a height of about -1 to 1 at a position."""
    waves = [
        (rate, rng.uniform(0, math.tau), float(1 / rate ** (1.25 - roughness)))
        for rate in (1.1, 2.3, 4.7, 9.1, 17.3, 31.0, 57.0)[: 4 + round(roughness * 6)]
    ]
    total = sum(size for _, _, size in waves) or 1

    def height_at(x: float) -> float:
        return sum(math.sin(x * rate * math.tau / 2 + phase) * size for rate, phase, size in waves) / total * 1.6

    return height_at


def _base_height(depth: float, horizon: int, height: int) -> float:
    """Return the mean height of a ridge; depth 0 is the farthest hill, 1 the nearest."""
    return horizon + (height - horizon) * math.pow(depth, 1.25) * 0.74 - height * 0.02


def _draw_hills(
    palette: Palette,
    rng: random.Random,
    layer_width: int,
    width: int,
    height: int,
    horizon: int,
    subject: str | None,
) -> list[Layer]:
    layers: list[Layer] = []
    has_pines = rng.random() < 0.75 and not palette.water
    for index in range(HILL_COUNT):
        depth = index / (HILL_COUNT - 1)
        base_y = _base_height(depth, horizon, height)
        amplitude = height * (0.07 - 0.025 * depth)
        ridge_line = _ridge_line(rng, 0.42 if index < 2 else 0.12)
        if palette.water and index >= SHORE_HILL:
            amplitude *= 0.12
        ridge = [(float(x), base_y + amplitude * ridge_line(x / height)) for x in range(-4, layer_width + 8, 4)]
        top = max(0, int(min(y for _, y in ridge) - height * (0.14 if index >= 2 else 0.02)))
        oversized = Image.new("L", (layer_width * SUPERSAMPLING, (height - top) * SUPERSAMPLING))
        draw = ImageDraw.Draw(oversized)
        outline = [(x * SUPERSAMPLING, (y - top) * SUPERSAMPLING) for x, y in ridge]
        draw.polygon(
            [*outline, (layer_width * SUPERSAMPLING + 20, oversized.height), (-20, oversized.height)], fill=255
        )
        if has_pines and index in (2, 4):
            _draw_pines(draw, rng, ridge, top, height * (0.035 if index == 2 else 0.075))
        color = mix_colors(palette.far, palette.near, depth**0.8)
        haze_color = mix_colors(color, palette.sky[2], 0.42 * (1 - depth) + 0.08)
        lit_color = mix_colors(color, palette.sun, 0.20 * (1 - depth) + 0.05)
        shade_color = (
            mix_colors(color, (8, 10, 24), 0.25 * depth) if not palette.snow else mix_colors(color, (90, 120, 170), 0.3)
        )
        stops = (lit_color, color, haze_color) if index < 3 else (lit_color, color, shade_color)
        paint = gradient(stops, layer_width, height - top)
        hill = Layer(paint, oversized.reduce(SUPERSAMPLING), top, 0.25 + 0.75 * depth)
        subject_layer = (
            _subject_layer(palette, rng, subject, ridge, layer_width, width, height)
            if subject and _hill_of(subject) == index
            else None
        )
        match subject_layer, subject in shapes.FAR_AWAY:
            case None, _:
                layers.append(hill)
            case Layer(), True:
                layers += [msgspec.structs.replace(subject_layer, depth=hill.depth), hill]
            case Layer(), False:
                layers += [hill, msgspec.structs.replace(subject_layer, depth=hill.depth)]
    return layers


def _draw_pines(
    draw: ImageDraw.ImageDraw, rng: random.Random, ridge: list[tuple[float, float]], top: int, size: float
) -> None:
    """Draw groups of small firs along a ridge."""
    index = rng.randrange(0, 12)
    while index < len(ridge):
        x, y = ridge[index]
        tree_height = size * rng.uniform(0.55, 1.0)
        for tier in range(3):
            peak, foot = y - tree_height * (1 - tier * 0.24), y - tree_height * (0.42 - tier * 0.2)
            half_width = tree_height * (0.12 + tier * 0.06)
            draw.polygon(
                [(x * SUPERSAMPLING, (peak - top) * SUPERSAMPLING)]
                + [((x + side * half_width) * SUPERSAMPLING, (foot - top) * SUPERSAMPLING) for side in (1, -1)],
                fill=255,
            )
        draw.rectangle(
            (
                (x - tree_height * 0.025) * SUPERSAMPLING,
                (y - tree_height * 0.1 - top) * SUPERSAMPLING,
                (x + tree_height * 0.025) * SUPERSAMPLING,
                (y + 6 - top) * SUPERSAMPLING,
            ),
            fill=255,
        )
        index += 1 + int(size * (rng.random() ** 2 * 0.9 + 0.08)) if rng.random() < 0.8 else 6 + int(size)


def _hill_of(subject: str) -> int:
    """Return the hill that a subject is on or behind."""
    return 2 if subject in shapes.FAR_AWAY else SHORE_HILL


def _subject_layer(
    palette: Palette,
    rng: random.Random,
    subject: str,
    ridge: list[tuple[float, float]],
    layer_width: int,
    width: int,
    height: int,
) -> Layer:
    """Draw a silhouette on a ridge; the ridge hides the base of a distant one."""
    is_far = subject in shapes.FAR_AWAY
    side = min(width, height) * (0.34 if is_far else 0.30)
    center = width * rng.uniform(0.28, 0.42)
    ridge_heights = [y for x, y in ridge if abs(x - center) <= 4 + side / (2 if is_far else 4)]
    ground = max(ridge_heights) + 2 if is_far else sum(ridge_heights) / len(ridge_heights) + side * 0.02
    if subject in shapes.IN_THE_SKY:
        ground -= height * 0.16
    elif subject in shapes.IN_THE_WATER:
        ground += side * 0.1
    top = max(0, int(ground - side))
    oversized = Image.new("L", (layer_width * SUPERSAMPLING, max(1, int(ground - top) + 1) * SUPERSAMPLING))
    draw = ImageDraw.Draw(oversized)
    for outline in shapes.SHAPES[subject]:
        points = [
            ((center + (x - 0.5) * side) * SUPERSAMPLING, (ground - (1 - y) * side - top) * SUPERSAMPLING)
            for x, y in outline
        ]
        draw.polygon(points, fill=255)
    mask = oversized.reduce(SUPERSAMPLING)
    color = mix_colors(mix_colors(palette.far, palette.near, 0.45), palette.subject, 0.4) if is_far else palette.subject
    paint = gradient(
        (mix_colors(color, palette.sun, 0.28), color, mix_colors(color, (8, 8, 20), 0.35)), layer_width, mask.height
    )
    return Layer(paint, mask, top, 0.0)


def draw_water(image: Image.Image, scene: Scene, rng: random.Random) -> None:
    """Draw the sun's reflection over the lower part of the image."""
    width, height = image.size
    draw = ImageDraw.Draw(image, "RGBA")
    start = scene.shore + max(1, height // 200)
    for row in range(start, height, max(3, height // 90)):
        depth = (row - start) / max(1, height - start)
        for _ in range(3):
            center_x = scene.sun[0] * width + rng.gauss(0, 0.03 + 0.06 * depth) * width
            half_width = width * (0.01 + 0.035 * depth) * rng.uniform(0.4, 1)
            thickness = max(1, round(height / 400 * (1 + 2 * depth)))
            color = (*scene.palette.sun, round(120 * (1 - depth) + 20))
            draw.rounded_rectangle(
                (center_x - half_width, row, center_x + half_width, row + thickness), radius=thickness, fill=color
            )


def draw_birds(image: Image.Image, scene: Scene, rng: random.Random) -> None:
    """Draw a few birds, by day only."""
    if scene.stars or rng.random() < 0.35:
        return
    width, height = image.size
    draw = ImageDraw.Draw(image)
    x, y = rng.uniform(0.2, 0.7) * width, scene.horizon * rng.uniform(0.25, 0.5)
    color = mix_colors(scene.palette.sky[1], scene.palette.near, 0.75)
    for _ in range(rng.randrange(3, 7)):
        size = height * rng.uniform(0.006, 0.014)
        bx, by = x + rng.gauss(0, 0.06) * width, y + rng.gauss(0, 0.03) * height
        thickness = max(1, round(height / 600))
        draw.arc((bx - 2 * size, by - size, bx, by + size), 200, 340, fill=color, width=thickness)
        draw.arc((bx, by - size, bx + 2 * size, by + size), 200, 340, fill=color, width=thickness)


def add_grain(image: Image.Image, seed: int, strength: int = 5) -> Image.Image:
    """Add fine, even noise, which prevents banding in gradients."""
    rng = random.Random(seed)  # media content, not secrets
    tile = Image.frombytes("L", (128, 128), rng.randbytes(128 * 128)).point(
        [128 - strength + value * (2 * strength + 1) // 256 for value in range(256)]
    )
    noise = Image.new("L", image.size)
    for x in range(0, image.width, 128):
        for y in range(0, image.height, 128):
            noise.paste(tile, (x, y))
    return ImageChops.add(image, Image.merge("RGB", (noise, noise, noise)), 1, -128)
