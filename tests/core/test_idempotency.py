"""Suffixes of idempotency keys: what is built can be parsed, and the stored form never changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfmedia.core.idempotency import attempt_key, output_key, parse_output_key

bases = st.text(st.characters(exclude_characters="~#"), min_size=1, max_size=20)


def test_the_stored_form_is_fixed() -> None:
    """Ledgers of earlier releases contain it."""
    assert output_key("key", 3) == "key#3"
    assert attempt_key("key#3", 1) == "key#3"
    assert attempt_key("key#3", 2) == "key#3~2"


@given(bases, st.integers(0, 1000), st.integers(1, 1000))
def test_a_key_is_parsed_whatever_its_attempt(base: str, index: int, attempt: int) -> None:
    """The index belongs to the request, the attempt to the output."""
    assert parse_output_key(attempt_key(output_key(base, index), attempt)) == (base, index)


@pytest.mark.parametrize("key", ["", "key", "key~2", "#1", "key#", "key#x", "key#-1", "key#\u0661", "key#1#2"])
def test_a_key_without_an_index_is_not_an_output_key(key: str) -> None:
    """Nor is one with an invalid index."""
    assert parse_output_key(key) is None
