"""Images of the sandbox: rendered from prompt and seed in the requested size, and watermarked as simulated.

The same prompt, seed, size and format yield the same bytes.
"""

# pyright: reportUnknownMemberType=false
# Pillow's type hints reference numpy, which is not a dependency.
from __future__ import annotations

import io
import random
import warnings
from functools import lru_cache

from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps, PngImagePlugin

from . import palettes, scene

WATERMARK = "hfmedia sandbox · simulated"
MAX_DRAWN_PIXELS = 1_600_000  # pixels; larger images are rendered at this size and enlarged


class InvalidImageError(ValueError):
    """The bytes are not a readable image."""


def render_image(
    prompt: str,
    seed: int,
    width: int,
    height: int,
    *,
    image_format: str = "jpeg",
    source: bytes | None = None,
    is_blacked_out: bool = False,
) -> bytes:
    """Render PNG, JPEG or WebP bytes: a landscape, the recolored source, or all black for a flagged image."""
    if is_blacked_out:
        image = Image.new("RGB", (width, height))
    elif source is not None:
        image = recolor(source, prompt, seed, width, height)
    else:
        image = draw_landscape(prompt, seed, width, height)
    if not is_blacked_out:
        draw_caption(image, prompt)
    return encode_image(image, image_format, prompt, seed)


def draw_landscape(prompt: str, seed: int, width: int, height: int) -> Image.Image:
    """Draw the landscape of a prompt and seed, without caption."""
    scale = min(1.0, (MAX_DRAWN_PIXELS / (width * height)) ** 0.5)
    drawn_size = (max(8, round(width * scale)), max(8, round(height * scale)))
    view = scene.compose_scene(prompt, seed, *drawn_size)
    rng = random.Random(f"{seed}/details/{prompt}")  # media content, not secrets
    image = view.sky.copy()
    scene.draw_sun(image, view)
    scene.draw_clouds(image, view)
    scene.draw_birds(image, view, rng)
    scene.draw_hills(image, view)
    if view.palette.water:
        scene.draw_water(image, view, rng)
    image = scene.add_grain(image, seed)
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BICUBIC)


def recolor(source: bytes, prompt: str, seed: int, width: int, height: int) -> Image.Image:
    """Fit the source image to the size and tint it with the prompt's palette."""
    rng = random.Random(f"{prompt}\x00{seed}")  # media content, not secrets
    palette = palettes.choose_palette(prompt, rng)
    with Image.open(io.BytesIO(source)) as opened:
        fitted = ImageOps.fit(opened.convert("RGB"), (width, height), Image.Resampling.BICUBIC)
    dark = palettes.mix_colors(palette.near, (6, 6, 16), 0.45)
    tinted = ImageOps.colorize(
        ImageOps.autocontrast(fitted.convert("L"), cutoff=1),
        dark,
        palettes.mix_colors(palette.sky[2], (255, 255, 255), 0.2),
        mid=palettes.mix_colors(palette.sky[1], palette.far, 0.5),
    )
    mixed = Image.blend(fitted, tinted, 0.72)
    return scene.add_grain(ImageEnhance.Contrast(mixed).enhance(1.05), seed)


@lru_cache(maxsize=16)
def load_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load Pillow's default font in a size."""
    return ImageFont.load_default(size)


def caption_text(prompt: str, limit: int) -> str:
    """Format the prompt as one line, truncated, with characters missing from the font replaced."""
    one_line = " ".join(prompt.split())
    clean = "".join(letter if letter.isprintable() and ord(letter) < 0x250 else "·" for letter in one_line)
    return clean if len(clean) <= limit else clean[: max(1, limit - 1)].rstrip() + "…"


def draw_caption(image: Image.Image, prompt: str) -> None:
    """Draw the watermark and above it the truncated prompt, like a subtitle, within the middle square of the image."""
    width, height = image.size
    if width < 96 or height < 64:
        _draw_corner_mark(image)
        return
    small = load_font(max(9, round(min(width, height) * 0.019)))
    large = load_font(max(10, round(min(width, height) * 0.028)))
    margin = max(4, round(min(width, height) * 0.022))
    draw = ImageDraw.Draw(image, "RGBA")
    text = caption_text(prompt, 90)
    max_width = min(width, height) - 5 * margin
    while len(text) > 4 and draw.textlength(text, font=large) > max_width:
        text = caption_text(text[:-2], len(text) - 3).rstrip("…") + "…"
    prompt_height, mark_height = large.getbbox("Åg")[3], small.getbbox("Åg")[3]
    box_width = max(draw.textlength(text, font=large), draw.textlength(WATERMARK, font=small))
    center_x, top = width / 2, height - 2.5 * margin - prompt_height - mark_height
    area = (center_x - box_width / 2 - margin, top, center_x + box_width / 2 + margin, height - margin)
    draw.rounded_rectangle(area, radius=margin, fill=(10, 12, 20, 118))
    draw.text((center_x, top + margin * 0.55), text, font=large, anchor="ma", fill=(255, 255, 255, 240))
    draw.text(
        (center_x, top + margin * 0.95 + prompt_height), WATERMARK, font=small, anchor="ma", fill=(255, 255, 255, 170)
    )


def _draw_corner_mark(image: Image.Image) -> None:
    """Draw two bars in the corner, for images too small for text."""
    width, height = image.size
    draw = ImageDraw.Draw(image, "RGBA")
    side = max(1, min(width, height) // 8)
    draw.rectangle((0, height - side, side, height), fill=(255, 255, 255, 200))
    draw.rectangle((side, height - side, 2 * side, height), fill=(0, 0, 0, 200))


def encode_image(image: Image.Image, image_format: str, prompt: str, seed: int) -> bytes:
    """Encode an image, with metadata that marks it as simulated."""
    comment = f"{WATERMARK}; seed {seed}"
    buffer = io.BytesIO()
    if image_format == "png":
        png_info = PngImagePlugin.PngInfo()
        png_info.add_text("Software", comment)
        png_info.add_itxt("Description", prompt[:500])
        image.save(buffer, "PNG", pnginfo=png_info, compress_level=1)
    elif image_format == "webp":
        exif = Image.Exif()
        exif[0x0131] = comment.replace("·", "-")  # this field is ASCII
        image.save(buffer, "WEBP", quality=88, method=1, exif=exif)
    else:
        image.save(buffer, "JPEG", quality=90, comment=comment.encode())
    return buffer.getvalue()


def normalize_image(raw: bytes, max_side: int) -> bytes:
    """Convert input bytes to a JPEG with sides of at most `max_side` pixels. Raises InvalidImageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(raw)) as opened:
                if opened.width * opened.height > 80_000_000:
                    raise InvalidImageError("too many pixels")
                upright = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InvalidImageError(str(error)) from error
    upright.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    upright.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def image_size(raw: bytes) -> tuple[int, int]:
    """Return width and height of an encoded image. Raises InvalidImageError."""
    try:
        with Image.open(io.BytesIO(raw)) as opened:
            return opened.size
    except (OSError, ValueError, SyntaxError) as error:
        raise InvalidImageError(str(error)) from error
