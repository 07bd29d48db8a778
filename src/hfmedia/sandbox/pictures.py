"""Pictures of the sandbox: drawn from prompt and seed, in the size asked for, and marked as simulated.

The same prompt, seed, size and form give the same bytes.
"""

# pyright: reportUnknownMemberType=false
# Pillow's own types name numpy, which is not installed here.
from __future__ import annotations

import io
import random
import warnings
from functools import lru_cache

from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps, PngImagePlugin

from . import palettes, scene

MARK = "hfmedia sandbox · simulated"
LARGEST = 1_600_000  # pixels drawn; larger pictures are enlarged from there


class NotAPictureError(ValueError):
    """The bytes are no picture that can be read."""


def picture(
    prompt: str,
    seed: int,
    width: int,
    height: int,
    *,
    form: str = "jpeg",
    source: bytes | None = None,
    black: bool = False,
) -> bytes:
    """A picture as PNG, JPEG or WebP bytes. With a source it is that picture, recoloured; black is a flagged one."""
    if black:
        image = Image.new("RGB", (width, height))
    elif source is not None:
        image = recoloured(source, prompt, seed, width, height)
    else:
        image = landscape(prompt, seed, width, height)
    if not black:
        caption(image, prompt)
    return encoded(image, form, prompt, seed)


def landscape(prompt: str, seed: int, width: int, height: int) -> Image.Image:
    """The landscape of a prompt and seed, without caption."""
    scale = min(1.0, (LARGEST / (width * height)) ** 0.5)
    small = (max(8, round(width * scale)), max(8, round(height * scale)))
    view = scene.compose(prompt, seed, *small)
    chance = random.Random(f"{seed}/details/{prompt}")  # pictures, not secrets
    image = view.sky.copy()
    scene.put_sun(image, view)
    scene.put_clouds(image, view)
    scene.birds(image, view, chance)
    scene.put_hills(image, view)
    if view.palette.water:
        scene.water(image, view, chance)
    image = scene.grain(image, seed)
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BICUBIC)


def recoloured(source: bytes, prompt: str, seed: int, width: int, height: int) -> Image.Image:
    """The source picture, fitted to the size and tinted with the prompt's palette."""
    chance = random.Random(f"{prompt}\x00{seed}")  # pictures, not secrets
    palette = palettes.choose(prompt, chance)
    with Image.open(io.BytesIO(source)) as opened:
        fitted = ImageOps.fit(opened.convert("RGB"), (width, height), Image.Resampling.BICUBIC)
    dark = palettes.mix(palette.near, (6, 6, 16), 0.45)
    tinted = ImageOps.colorize(
        ImageOps.autocontrast(fitted.convert("L"), cutoff=1),
        dark,
        palettes.mix(palette.sky[2], (255, 255, 255), 0.2),
        mid=palettes.mix(palette.sky[1], palette.far, 0.5),
    )
    mixed = Image.blend(fitted, tinted, 0.72)
    return scene.grain(ImageEnhance.Contrast(mixed).enhance(1.05), seed)


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font in a size."""
    return ImageFont.load_default(size)


def shown(prompt: str, limit: int) -> str:
    """The prompt in one line, with only the letters that the font has, shortened."""
    words = " ".join(prompt.split())
    clean = "".join(letter if letter.isprintable() and ord(letter) < 0x250 else "·" for letter in words)
    return clean if len(clean) <= limit else clean[: max(1, limit - 1)].rstrip() + "…"


def caption(image: Image.Image, prompt: str) -> None:
    """Write the mark, and above it the shortened prompt, like a subtitle: whole in a wide picture's middle square."""
    width, height = image.size
    if width < 96 or height < 64:
        _corner(image)
        return
    small = font(max(9, round(min(width, height) * 0.019)))
    large = font(max(10, round(min(width, height) * 0.028)))
    margin = max(4, round(min(width, height) * 0.022))
    pen = ImageDraw.Draw(image, "RGBA")
    text = shown(prompt, 90)
    room = min(width, height) - 5 * margin
    while len(text) > 4 and pen.textlength(text, font=large) > room:
        text = shown(text[:-2], len(text) - 3).rstrip("…") + "…"
    tall, low = large.getbbox("Åg")[3], small.getbbox("Åg")[3]
    wide = max(pen.textlength(text, font=large), pen.textlength(MARK, font=small))
    middle, top = width / 2, height - 2.5 * margin - tall - low
    area = (middle - wide / 2 - margin, top, middle + wide / 2 + margin, height - margin)
    pen.rounded_rectangle(area, radius=margin, fill=(10, 12, 20, 118))
    pen.text((middle, top + margin * 0.55), text, font=large, anchor="ma", fill=(255, 255, 255, 240))
    pen.text((middle, top + margin * 0.95 + tall), MARK, font=small, anchor="ma", fill=(255, 255, 255, 170))


def _corner(image: Image.Image) -> None:
    """A small mark for pictures too small for words: two bars in the corner."""
    width, height = image.size
    pen = ImageDraw.Draw(image, "RGBA")
    side = max(1, min(width, height) // 8)
    pen.rectangle((0, height - side, side, height), fill=(255, 255, 255, 200))
    pen.rectangle((side, height - side, 2 * side, height), fill=(0, 0, 0, 200))


def encoded(image: Image.Image, form: str, prompt: str, seed: int) -> bytes:
    """The picture as bytes, saying inside the file that it is simulated."""
    said = f"{MARK}; seed {seed}"
    out = io.BytesIO()
    if form == "png":
        facts = PngImagePlugin.PngInfo()
        facts.add_text("Software", said)
        facts.add_itxt("Description", prompt[:500])
        image.save(out, "PNG", pnginfo=facts, compress_level=1)
    elif form == "webp":
        exif = Image.Exif()
        exif[0x0131] = said.replace("·", "-")  # this field is ASCII
        image.save(out, "WEBP", quality=88, method=1, exif=exif)
    else:
        image.save(out, "JPEG", quality=90, comment=said.encode())
    return out.getvalue()


def normal(raw: bytes, side: int) -> bytes:
    """Input bytes as a JPEG of at most `side` pixels. NotAPictureError where they cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(raw)) as opened:
                if opened.width * opened.height > 80_000_000:
                    raise NotAPictureError("too many pixels")
                upright = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise NotAPictureError(str(error)) from error
    upright.thumbnail((side, side), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    upright.save(out, "JPEG", quality=92)
    return out.getvalue()


def size_of(raw: bytes) -> tuple[int, int]:
    """Width and height of picture bytes. NotAPictureError where they cannot be read."""
    try:
        with Image.open(io.BytesIO(raw)) as opened:
            return opened.size
    except (OSError, ValueError, SyntaxError) as error:
        raise NotAPictureError(str(error)) from error
