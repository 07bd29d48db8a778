"""Several outputs of one wish: a seed for each, so that no two are the same picture, and a file for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hfmedia.core.ports import Place
from hfmedia.core.request import LARGEST_SEED, Request

RANDOM_SEEDS = 2**31  # models take at least that many; the whole range of 64 bits is refused by some


def seeds(wish: Request, n: int, dice: Callable[[], float]) -> list[int | None]:
    """The seeds of n outputs: one after the other from the wish's own, or from a random one when it has none.

    A single output keeps what was asked for, None included.
    """
    if n == 1:
        return [wish.seed]
    first = wish.seed if wish.seed is not None else int(dice() * RANDOM_SEEDS)
    return [(first + number) % (LARGEST_SEED + 1) for number in range(n)]


def numbered(place: Place, index: int, n: int) -> Path | None:
    """The file of one of several outputs: ``fox.png`` becomes ``fox-1.png``, ``fox-2.png``, …"""
    if place.file is None or n == 1:
        return place.file
    return place.file.with_name(f"{place.file.stem}-{index + 1}{place.file.suffix}")
