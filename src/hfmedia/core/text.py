"""Text for messages: shortened, quoted, and free of control characters."""

from __future__ import annotations

MAX_QUOTED_CHARS = 80
MAX_QUOTED_DIGITS = 40


def truncate(text: str, max_chars: int, *, ellipsis: str = "…") -> str:
    """Shorten a text to at most ``max_chars`` characters; a shortened one ends with the ellipsis."""
    if len(text) <= max_chars:
        return text
    return text[: max(0, max_chars - len(ellipsis))].rstrip() + ellipsis


def truncated_repr(value: object) -> str:
    """Quote a value for a message, in at most 80 characters whatever its size."""
    if isinstance(value, int) and abs(value) >= 10**MAX_QUOTED_DIGITS:
        return f"a number of more than {MAX_QUOTED_DIGITS} digits"
    text = repr(value)
    return text if len(text) <= MAX_QUOTED_CHARS else f"{text[: MAX_QUOTED_CHARS - 3]}..."


def strip_control(text: str) -> str:
    """Replace every character that a terminal could execute; line breaks and tabs stay."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def single_line(text: str) -> str:
    """Collapse every run of white space, line breaks included, to one space."""
    return " ".join(text.split())


def format_amount(amount: float, unit: str, *, digits: int = 6) -> str:
    """Format an amount of money with its unit: ``$0.03``, ``2 fal-units``; never in scientific notation."""
    text = f"{amount:.{digits}g}"
    if "e" in text:  # $1.25e-06 is hard to read
        text = f"{amount:.12f}" if abs(amount) < 1 else f"{amount:.2f}"
        text = text.rstrip("0").rstrip(".")
    return f"${text}" if unit == "USD" else f"{text} {unit}"
