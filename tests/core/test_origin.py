"""Origins of URLs: one form per origin, and nothing that two parsers read differently."""

from __future__ import annotations

import pytest

from hfmedia.core.origin import Origin, parse_origin


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Huggingface.CO/a?b#c", Origin("https", "huggingface.co", 443)),
        ("HTTP://h:8080", Origin("http", "h", 8080)),
        (" https://h ", Origin("https", "h", 443)),
        ("http://[::1]/x", Origin("http", "::1", 80)),
        ("ftp://h", Origin("ftp", "h", None)),
        ("https://user@h", None),
        ("https://h:banana", None),
        ("https://h:99999", None),
        ("https://[::1", None),
        ("//h", None),
        ("null", None),
        ("", None),
    ],
)
def test_an_origin_is_parsed_in_one_form(url: str, origin: Origin | None) -> None:
    """Without a scheme or a host, or with user information, there is none."""
    assert parse_origin(url) == origin


@pytest.mark.parametrize("text", ["https://h:443", "http://[::1]:80", "ftp://h"])
def test_an_origin_as_text_is_the_same_origin(text: str) -> None:
    """The port is always there for http and https."""
    origin = parse_origin(text)
    assert str(origin) == text
    assert origin is not None
    assert origin.is_http == text.startswith("http")
