"""Names out of prompts: readable, and legal everywhere."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hfmedia.storage.filenames import MAX_SLUG_BYTES, default_filename, numbered, partial_name, sidecar_path, slug

WHEN = datetime(2026, 11, 22, 19, 46, 5)
FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in range(32)} | {"\x7f"}
RESERVED = {"con", "prn", "aux", "nul", "clock$", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))}


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red fox in the snow", "20261122-194605-a-red-fox-in-the-snow.png"),
        ("A Red Fox, in the SNOW!!", "20261122-194605-a-red-fox-in-the-snow.png"),
        ("", "20261122-194605.png"),
        ("...", "20261122-194605.png"),
        ("Ärger über die Straße", "20261122-194605-arger-uber-die-strasse.png"),
        ("ŁÓDŹ, smørrebrød & œuvre", "20261122-194605-lodz-smorrebrod-oeuvre.png"),
        ("don't stop", "20261122-194605-dont-stop.png"),
        ("../../etc/passwd", "20261122-194605-etc-passwd.png"),
        ("C:\\Windows\\con", "20261122-194605-c-windows-con.png"),
        ("full\uff0fwidth \uff21\uff22", "20261122-194605-full-width-ab.png"),
        ("gnp.\u202exe a fox", "20261122-194605-gnp-xe-a-fox.png"),
        ("a snow\u00adman", "20261122-194605-a-snowman.png"),
        ("two\nlines\tand\0nul", "20261122-194605-two-lines-and-nul.png"),
        ("雪の中の狐", "20261122-194605-雪の中の狐.png"),
        ("Лиса в снегу", "20261122-194605-лиса-в-снегу.png"),
        ("हिन्दी में", "20261122-194605-हिन्दी-में.png"),
        ("🦊🦊🦊", "20261122-194605.png"),
    ],
)
def test_a_prompt_becomes_a_readable_name(prompt: str, name: str) -> None:
    """Words stay words, accents fall off, other scripts stay, and nothing else does."""
    assert default_filename(WHEN, prompt, ".png") == name


def test_a_long_prompt_is_cut_between_words() -> None:
    """No word is torn, unless it is longer than the whole name."""
    shortened = slug("a very long sentence about a fox that goes on and on and on and on until it stops")
    assert shortened == "a-very-long-sentence-about-a-fox-that-goes-on-and-on-and-on"
    assert slug("x" * 500) == "x" * MAX_SLUG_BYTES


@given(st.text(max_size=400))
@example("\u0301\u0301 a")
@example("\ud800")
@example("a\u200d\u202e/\u2028b")
@example("ﷺ" * 30)
@example("İİİ")
def test_any_prompt_gives_a_name_that_is_legal_everywhere(prompt: str) -> None:
    """Windows, macOS and Linux take it, and it survives being normalised."""
    name = default_filename(WHEN, prompt, ".png")
    assert not set(name) & FORBIDDEN
    assert name.isprintable()
    assert name[0].isalnum()
    assert name.removesuffix(".png")[-1] not in ". "
    assert name.partition(".")[0].lower() not in RESERVED
    assert len(slug(prompt).encode("utf-8")) <= MAX_SLUG_BYTES
    assert len(name.encode("utf-16-le")) // 2 < 128
    assert not any(unicodedata.category(char) in ("Cf", "Cc", "Cs", "Co", "Cn", "Zl", "Zp") for char in name)
    assert name == name.lower()
    assert Path(name).name == name


@given(st.text(max_size=100), st.text(max_size=80), st.integers(1, 99))
def test_a_temporary_name_is_legal_whatever_its_file_is_called(stem: str, job_id: str, number: int) -> None:
    """Hidden, short enough, and no path of its own."""
    made = partial_name(stem.replace("/", "").replace("\0", ""), job_id, number)
    assert made.startswith(".")
    assert made.endswith(".part")
    assert "/" not in made
    assert len(made.encode()) < 160


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("fox.png", 1, "fox.png"),
        ("fox.png", 2, "fox-2.png"),
        ("fox", 3, "fox-3"),
        ("a.b.png", 2, "a.b-2.png"),
        (".fox", 2, ".fox-2"),
    ],
)
def test_the_next_name_has_a_number(name: str, number: int, expected: str) -> None:
    """Before the suffix, where a person looks for it."""
    assert numbered(name, number) == expected


def test_facts_lie_beside_their_file() -> None:
    """The name of the file, and .json."""
    assert sidecar_path(Path("out/fox.png")) == Path("out/fox.png.json")
