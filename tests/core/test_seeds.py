"""Seeds of several outputs: distinct, reproducible, and within the range of every model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hfmedia.core.request import MAX_SEED
from hfmedia.core.seeds import RANDOM_SEED_LIMIT, offset_seed, seeds_for


def test_a_single_output_keeps_its_seed() -> None:
    """None included: the provider then chooses."""
    assert seeds_for(7, 1, lambda: 0.5) == [7]
    assert seeds_for(None, 1, lambda: 0.5) == [None]


@given(st.none() | st.integers(0, MAX_SEED), st.integers(2, 100), st.floats(0, 1, exclude_max=True))
def test_several_outputs_have_distinct_valid_seeds(seed: int | None, n: int, fraction: float) -> None:
    """They count up from the requested seed, or from a random one."""
    seeds = seeds_for(seed, n, lambda: fraction)
    assert len(set(seeds)) == n
    assert all(item is not None and 0 <= item <= MAX_SEED for item in seeds)
    first = seeds[0]
    assert first == seed or (seed is None and first is not None and first < RANDOM_SEED_LIMIT)
    assert seeds == [offset_seed(first or 0, offset) for offset in range(n)]


def test_after_the_largest_seed_comes_zero() -> None:
    """A seed stays within 64 bits."""
    assert seeds_for(MAX_SEED, 2, lambda: 0.0) == [MAX_SEED, 0]
