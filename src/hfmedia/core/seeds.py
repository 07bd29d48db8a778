"""Seeds of several outputs of one request: distinct, so that no two outputs are the same image."""

from __future__ import annotations

from collections.abc import Callable

from .request import MAX_SEED

RANDOM_SEED_LIMIT = 2**31  # exclusive; every model accepts seeds below this, some reject more bits


def seeds_for(seed: int | None, n: int, random_float: Callable[[], float]) -> list[int | None]:
    """Return a seed for each of n outputs, counting up from ``seed`` or from a random one when it is None.

    A single output keeps ``seed`` as it is, None included. ``random_float`` returns a number in [0, 1).
    """
    if n == 1:
        return [seed]
    first = int(random_float() * RANDOM_SEED_LIMIT) if seed is None else seed
    return [offset_seed(first, offset) for offset in range(n)]


def offset_seed(seed: int, offset: int) -> int:
    """Return the seed ``offset`` places after this one; after the largest comes 0."""
    return (seed + offset) % (MAX_SEED + 1)
