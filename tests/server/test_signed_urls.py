"""Names of files: what was signed is read again, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfmedia.server.media.signed_urls import SignedName, UrlSigner, digest_prefix_of
from hfmedia.server.media.variants import THUMBNAIL_SPEC, VariantSpec, parse_variant, suffix_for, variant_name
from hfmedia.storage import Media

LINKS = UrlSigner(b"s" * 32)
JOB = "0123456789abcdef0123"
MEDIA = Media(path=Path("/x/fox.png"), mime="image/png", sha256="ab" * 32, job_id=JOB)


def test_a_verified_name_has_the_parts_that_were_signed() -> None:
    """Job, file and variant come back, with and without a suffix."""
    assert LINKS.verify(LINKS.sign(JOB, "0a1b", "webp-80", ".webp")) == SignedName(JOB, "0a1b", "webp-80")
    assert LINKS.verify(LINKS.sign(JOB, "0a1b")) == SignedName(JOB, "0a1b", "o")
    assert LINKS.verify(LINKS.name_for(MEDIA)) == SignedName(JOB, digest_prefix_of(MEDIA), "o")
    assert LINKS.name_for(MEDIA).endswith(".png") and LINKS.name_for(MEDIA, "t").endswith(".webp")


def test_a_name_is_safe_in_urls_and_headers() -> None:
    """Only characters that no URL and no header needs to escape, and few enough for a file system."""
    name = LINKS.name_for(MEDIA, "jpeg-100")
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    assert len(name) < 128


def test_the_signature_has_at_least_128_bits() -> None:
    """24 characters of base64 are 144 bits."""
    assert len(LINKS.name_for(MEDIA).split(".")[3]) * 6 >= 128


def test_any_other_character_makes_it_no_name() -> None:
    """Each character of a name, changed, is refused; so is a name cut short or made longer."""
    name = LINKS.name_for(MEDIA)
    for at, char in enumerate(name):
        other = "b" if char != "b" else "c"
        assert LINKS.verify(name[:at] + other + name[at + 1 :]) is None, at
    assert all(LINKS.verify(name[:end]) is None for end in range(len(name)))
    assert LINKS.verify(name + "x") is None and LINKS.verify(name + "\n") is None


def test_another_secret_reads_nothing() -> None:
    """What one gateway gave out is nothing to another one."""
    assert UrlSigner(b"t" * 32).verify(LINKS.name_for(MEDIA)) is None


def test_the_secret_is_in_no_repr() -> None:
    """A log that shows the object shows no secret."""
    assert "s" * 8 not in repr(LINKS)


@pytest.mark.parametrize(
    "name", ["", ".", "....", "../../etc/passwd", f"{JOB}.0.o", f"{JOB}.0.o.{'A' * 24}.png", "é" * 9]
)
def test_an_unsigned_name_is_invalid(name: str) -> None:
    """Paths, fragments and guesses are None, never an error."""
    assert LINKS.verify(name) is None


@given(st.text(max_size=120))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever is asked for, it is read as nothing."""
    assert LINKS.verify(text) is None


def test_illegal_parts_are_not_signed() -> None:
    """A dot or a slash inside a part would make it ambiguous."""
    for parts in (("a.b", "00", "o"), ("a/b", "00", "o"), (JOB, "xx", "o"), (JOB, "00", "O o")):
        with pytest.raises(ValueError, match="not a valid name"):
            LINKS.sign(*parts)


@pytest.mark.parametrize(
    ("variant", "recipe"),
    [
        ("o", None),
        ("t", THUMBNAIL_SPEC),
        ("png", VariantSpec("png")),
        ("webp-0", VariantSpec("webp", 0)),
        ("jpeg-100", VariantSpec("jpeg", 100)),
        ("jpeg-101", None),
        ("png-50", None),
        ("tiff", None),
        ("webp-", None),
        ("webp-80-1", None),
    ],
)
def test_a_variant_is_a_recipe_or_nothing(variant: str, recipe: VariantSpec | None) -> None:
    """Only names that we make ourselves are understood."""
    assert parse_variant(variant) == recipe


def test_a_variant_has_one_name() -> None:
    """A format without a quality ignores it, so that the same bytes are not made twice."""
    assert variant_name("webp", 80) == "webp-80"
    assert variant_name("png", 80) == "png" and variant_name("gif", 3) == "gif"
    assert suffix_for(MEDIA, "jpeg") == ".jpg"
    with pytest.raises(ValueError, match="101"):
        variant_name("jpeg", 101)
    with pytest.raises(ValueError, match="variant"):
        suffix_for(MEDIA, "tiff")
