"""Colors and subjects chosen from the words of a prompt.

Known words decide, otherwise the seed does; the same prompt and seed always yield the same choice.
"""

from __future__ import annotations

import random
import re

import msgspec

Color = tuple[int, int, int]


class Palette(msgspec.Struct, frozen=True):
    """Colors of a scene: sky from top to horizon, hills from far to near, sun, and subject."""

    sky: tuple[Color, Color, Color]
    far: Color
    near: Color
    sun: Color
    subject: Color
    night: bool = False
    water: bool = False
    snow: bool = False


def _rgb(text: str) -> tuple[Color, ...]:
    """Parse colors written as hex words."""
    return tuple((int(word[0:2], 16), int(word[2:4], 16), int(word[4:6], 16)) for word in text.split())


def _palette(colors: str, *, night: bool = False, water: bool = False, snow: bool = False) -> Palette:
    top, middle, horizon, far, near, sun, subject = _rgb(colors)
    return Palette((top, middle, horizon), far, near, sun, subject, night, water, snow)


PALETTES: dict[str, Palette] = {
    "ember": _palette("5b3a6e d9735b ffd9a0 c98a7d 4a1f2b fff0c8 d8572a"),
    "dawn": _palette("6fa3c9 f3c6b5 ffeccc b79fb0 3c4a63 fff6dc 4f3a50"),
    "forest": _palette("7fb5b0 c9e0c0 f6f3d2 8fb39a 173a2d fffbe0 22402f"),
    "sea": _palette("2f6f9f 86c3d6 f7e7c9 6d9fb5 123a55 fff4d6 f4efe6", water=True),
    "night": _palette("070b24 1b2a5c 5a5f96 3a4379 0a0f26 f4f1de 0c1230", night=True),
    "space": _palette("05040f 1d1147 6a2c70 40246a 0c0720 f9e7ff 1a1036", night=True),
    "snow": _palette("7fa6c9 c3d9ea fbf1ea aec4da eef4fa fffdf4 52647c", snow=True),
    "desert": _palette("5f93b8 f2cf9b ffe9bf d9a066 8a4a24 fff3cf 5c2e16"),
    "blossom": _palette("8fb0d9 f3c4d6 fff0ea d59ab5 6a3357 fff7ee 7d2e56"),
    "violet": _palette("372a6b 9a6bc2 f7c7d9 8265a8 261a45 ffeaf3 2d1b4e"),
    "neon": _palette("0b0b2b 3b1d6e ff5d9e 3d2a78 0a0a1f 9ef7ff 10102e", night=True),
    "meadow": _palette("4f9bd1 b9def0 fdf6d8 9cc48d 2f6b35 fff9d9 3b4a2a"),
    "gold": _palette("8c5a3c e9a94b fff0b8 cf9a4d 5a3216 fffbe3 6b3a14"),
    "storm": _palette("28323d 667582 c5c9c4 75838c 1d262c f2f2ea 141b20"),
}

PALETTE_WORDS: dict[str, str] = {
    "ember": "red fox fire autumn fall sunset ember lava volcano dragon phoenix orange maple rust",
    "dawn": "dawn sunrise morning mist fog balloon soft pastel calm dream",
    "forest": "forest tree trees jungle green wood woods moss fern bamboo deer bear frog emerald",
    "sea": "sea ocean beach boat ship sail wave waves blue whale fish island lake river water harbour harbor coast",
    "night": "night moon midnight owl dark stars starry bat wolf ghost lantern",
    "space": "space galaxy planet nebula astronaut rocket cosmic alien comet mars",
    "snow": "snow winter ice frozen penguin polar christmas mountain mountains alps white frost ski",
    "desert": "desert sand dune camel pyramid canyon savanna lion elephant giraffe cactus egypt",
    "blossom": "pink flower flowers cherry blossom rose spring sakura butterfly garden love tulip",
    "violet": "purple violet lavender magic wizard fairy mystic dusk twilight amethyst unicorn",
    "neon": "neon city cyberpunk robot futuristic street tokyo skyline android car synthwave",
    "meadow": "meadow grass field farm cow horse sheep hill hills kite picnic summer rabbit dog cat bird",
    "gold": "gold golden yellow wheat honey bee sun harvest amber retriever",
    "storm": "storm rain thunder grey gray tornado castle ruins stone gloomy knight",
}
PALETTE_BY_WORD = {word: name for name, words in PALETTE_WORDS.items() for word in words.split()}
MODIFIER_WORDS = {"night": "night", "midnight": "night", "snow": "snow", "snowy": "snow", "winter": "snow"}

SUBJECT_WORDS: dict[str, str] = {
    "fox": "fox wolf dog corgi coyote",
    "cat": "cat kitten cats lion tiger rabbit",
    "boat": "boat ship sail sailing yacht",
    "whale": "whale fish shark dolphin",
    "house": "house cabin cottage home farm village barn hut",
    "city": "city skyline tokyo street cyberpunk neon futuristic",
    "balloon": "balloon balloons kite airship",
    "rocket": "rocket space astronaut spaceship mars",
    "tree": "tree oak maple cherry sakura",
    "castle": "castle tower knight wizard fortress",
    "robot": "robot android mech",
}
LANDSCAPE_NEUTRAL_SUBJECTS = frozenset(
    {"fox", "cat", "whale", "house", "balloon", "castle", "robot"}
)  # other words choose the landscape
SUBJECT_COLORS: dict[str, Color] = {"fox": (216, 87, 42), "whale": (38, 66, 92)}  # in every landscape
SUBJECT_BY_WORD = {word: name for name, words in SUBJECT_WORDS.items() for word in words.split()}


def prompt_words(prompt: str) -> list[str]:
    """Return the prompt's words in lowercase."""
    return re.findall(r"[a-z]+", prompt.lower())


def choose_palette(prompt: str, rng: random.Random) -> Palette:
    """Choose the palette of a prompt."""
    words = prompt_words(prompt)
    known_words = [word for word in words if word in PALETTE_BY_WORD]
    names = [
        PALETTE_BY_WORD[word] for word in known_words if SUBJECT_BY_WORD.get(word) not in LANDSCAPE_NEUTRAL_SUBJECTS
    ] or [PALETTE_BY_WORD[word] for word in known_words]
    chosen = PALETTES[names[0] if names else rng.choice(sorted(PALETTES))]
    subject_color = SUBJECT_COLORS.get(subject_of(prompt) or "")
    if subject_color is not None:
        chosen = msgspec.structs.replace(chosen, subject=subject_color)
    for word in words:
        modifier = MODIFIER_WORDS.get(word)
        if modifier == "snow" and not chosen.snow:
            cold = PALETTES["snow"]
            chosen = msgspec.structs.replace(
                chosen,
                far=mix_colors(chosen.far, cold.far, 0.7),
                near=mix_colors(chosen.near, cold.near, 0.86),
                snow=True,
            )
        if modifier == "night" and not chosen.night:
            dark = PALETTES["night"]
            chosen = msgspec.structs.replace(
                chosen,
                sky=(*dark.sky[:2], mix_colors(dark.sky[2], chosen.sky[2], 0.35)),
                far=mix_colors(chosen.far, dark.far, 0.65),
                near=mix_colors(chosen.near, dark.near, 0.7),
                sun=dark.sun,
                night=True,
            )
    return chosen


def subject_of(prompt: str) -> str | None:
    """Return the subject that a prompt names, if any."""
    return next((SUBJECT_BY_WORD[word] for word in prompt_words(prompt) if word in SUBJECT_BY_WORD), None)


def mix_colors(first: Color, second: Color, ratio: float) -> Color:
    """Mix two colors; ratio 0 is the first, 1 the second."""
    red, green, blue = (round(a + (b - a) * ratio) for a, b in zip(first, second, strict=True))
    return red, green, blue
