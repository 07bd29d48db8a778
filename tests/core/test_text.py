"""Text for messages: shortened, quoted, without control characters, and amounts of money."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfmedia.core.text import format_amount, single_line, strip_control, truncate, truncated_repr


@given(st.text(), st.integers(1, 100))
def test_a_truncated_text_has_at_most_that_many_characters(text: str, max_chars: int) -> None:
    """A text that fits is unchanged."""
    truncated = truncate(text, max_chars)
    assert len(truncated) <= max_chars
    assert (truncated == text) if len(text) <= max_chars else truncated.endswith("…")


@pytest.mark.parametrize("value", ["x" * 9000, 10**5000, b"x" * 9000, list(range(9000)), None, 7, "fox"], ids=range(7))
def test_a_quoted_value_fits_into_a_message(value: object) -> None:
    """Also an integer that Python refuses to convert to text."""
    assert 1 <= len(truncated_repr(value)) <= 80


def test_control_characters_are_replaced() -> None:
    """Line breaks and tabs stay; nothing is left that a terminal executes."""
    assert strip_control("a\tb\nc") == "a\tb\nc"
    assert strip_control("\x1b[31mred\x07\u202e\r") == "\ufffd[31mred\ufffd\ufffd\ufffd"


def test_a_single_line_has_single_spaces() -> None:
    """Line breaks are white space too."""
    assert single_line("  a\r\n b\t\tc ") == "a b c"


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [
        (0.04, "USD", "$0.04"),
        (2.0, "USD", "$2"),
        (0.0, "USD", "$0"),
        (0.00325, "USD", "$0.00325"),
        (1.25e-06, "USD", "$0.00000125"),
        (1_234_567.5, "USD", "$1234567.5"),
        (3.0, "fal-units", "3 fal-units"),
        (0.1 + 0.2, "USD", "$0.3"),
    ],
)
def test_an_amount_is_formatted_with_its_unit(amount: float, unit: str, text: str) -> None:
    """Never in scientific notation, and without binary noise."""
    assert format_amount(amount, unit) == text


def test_an_amount_may_have_fewer_digits() -> None:
    """As for an estimate."""
    assert format_amount(0.123456, "USD", digits=2) == "$0.12"
