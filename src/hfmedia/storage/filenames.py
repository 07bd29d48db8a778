"""File names out of prompts: ``20261122-194605-a-red-fox-in-the-snow.png``.

Pure. A made name is legal on Windows, macOS and Linux, whatever the prompt; letters of other scripts are kept.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime
from pathlib import Path, PurePath

MAX_SLUG_BYTES = 60  # bytes of UTF-8: about ten words, and far from the 255 that file systems allow a name
MAX_PART_BYTES = 60  # bytes of either half of a temporary file's name

# What Unicode does not take apart, though every reader of Latin script would.
TRANSLITERATIONS = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "ł": "l", "ŋ": "ng",
    "þ": "th", "ŧ": "t", "ə": "e",
}  # fmt: skip
DROPPED_CHARS = frozenset("'\u2019\u02bc`\u00b4")  # don't is dont, not don-t


def default_filename(created_at: datetime, name_hint: str, suffix: str) -> str:
    """A name of the local time, the words and a suffix such as ``.png``; the time alone where no word is left."""
    slugged = slug(name_hint)
    return f"{created_at:%Y%m%d-%H%M%S}{'-' if slugged else ''}{slugged}{suffix}"


def slug(text: str, max_bytes: int = MAX_SLUG_BYTES) -> str:
    """The letters and digits of a text in lower case, words joined by ``-``, at most ``most`` bytes of UTF-8.

    Accents fall off where plain ASCII is left; other letters stay as they are, with the marks that belong to them.
    """
    normalized = "".join(
        _slug_char(char) for char in unicodedata.normalize("NFC", text.strip()[: max_bytes * 8].lower())
    )
    joined = ""
    for word in filter(None, map(_strip_leading_marks, normalized.split("-"))):
        candidate = f"{joined}-{word}" if joined else word
        if len(candidate.encode()) > max_bytes:
            return joined or truncate_bytes(word, max_bytes)
        joined = candidate
    return joined


def numbered(name: str, number: int) -> str:
    """The name for the ``number``-th file that wants it: ``fox.png``, ``fox-2.png``, ``fox-3.png``."""
    path = PurePath(name)
    return name if number < 2 else f"{path.stem}-{number}{path.suffix}"


def indexed_path(path: Path | None, index: int, n: int) -> Path | None:
    """Return the path of one of n outputs: ``fox.png`` becomes ``fox-1.png``, ``fox-2.png``, …"""
    if path is None or n == 1:
        return path
    return path.with_name(f"{path.stem}-{index + 1}{path.suffix}")


def sidecar_path(path: Path) -> Path:
    """Where the facts of a file lie: ``fox.png.json`` beside ``fox.png``."""
    return path.with_name(path.name + ".json")


def partial_name(stem: str, job_id: str, number: int) -> str:
    """The name of the temporary file that becomes ``stem``: hidden, and telling whose it is."""
    safe_job_id = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "-" for char in job_id)
    suffix = f"-{number}" if number > 1 else ""
    return (
        f".{truncate_bytes(stem, MAX_PART_BYTES)}.{truncate_bytes(safe_job_id, MAX_PART_BYTES) or 'file'}{suffix}.part"
    )


def truncate_bytes(text: str, max_bytes: int) -> str:
    """At most ``most`` bytes of UTF-8 of a text, no letter torn in two."""
    return text.encode(errors="ignore")[:max_bytes].decode(errors="ignore")


def _slug_char(char: str) -> str:
    """One character of a prompt as it may stand in a name: itself, its ASCII letters, nothing, or a ``-``."""
    if char in DROPPED_CHARS:
        return ""
    if char in TRANSLITERATIONS:
        return TRANSLITERATIONS[char]
    decomposed = unicodedata.normalize("NFKD", char)
    folded = "".join(part for part in decomposed if not unicodedata.combining(part))
    if folded.isascii() and folded.isalnum():
        return folded.lower()
    category = unicodedata.category(char)
    if category == "Cf":  # joiners carry no letter, and bidi overrides would turn the name around
        return ""
    return char if char.isalnum() or category in ("Mn", "Mc") else "-"


def _strip_leading_marks(word: str) -> str:
    """The word without the marks at its front, which would hang on the letter before it."""
    while word and unicodedata.category(word[0]) in ("Mn", "Mc"):
        word = word[1:]
    return word
