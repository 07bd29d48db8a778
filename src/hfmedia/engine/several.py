"""Several outputs of one wish: a seed for each, so that no two are the same picture, and a file for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hfmedia.core.ports import OutputTarget
from hfmedia.core.request import MAX_SEED, GenerationRequest

RANDOM_SEED_LIMIT = 2**31  # models take at least that many; the whole range of 64 bits is refused by some


def seeds_for(request: GenerationRequest, n: int, random_float: Callable[[], float]) -> list[int | None]:
    """The seeds of n outputs: one after the other from the wish's own, or from a random one when it has none.

    A single output keeps what was asked for, None included.
    """
    if n == 1:
        return [request.seed]
    first = request.seed if request.seed is not None else int(random_float() * RANDOM_SEED_LIMIT)
    return [(first + offset) % (MAX_SEED + 1) for offset in range(n)]


def numbered_path(target: OutputTarget, index: int, n: int) -> Path | None:
    """The file of one of several outputs: ``fox.png`` becomes ``fox-1.png``, ``fox-2.png``, …"""
    if target.file is None or n == 1:
        return target.file
    return target.file.with_name(f"{target.file.stem}-{index + 1}{target.file.suffix}")
