"""File names from prompts: ``20261122-194605-a-red-fox-in-the-snow.png``.

Pure. Generated names are valid on Windows, macOS and Linux, whatever the prompt; letters of other scripts are kept.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime
from pathlib import Path, PurePath

MAX_SLUG_BYTES = 60  # bytes of UTF-8: about ten words, and far from the 255 that file systems allow a name
MAX_PART_BYTES = 60  # bytes of each half of a temporary file's name

# Letters that Unicode does not decompose, with their usual Latin spelling.
TRANSLITERATIONS = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "ł": "l", "ŋ": "ng",
    "þ": "th", "ŧ": "t", "ə": "e",
}  # fmt: skip
DROPPED_CHARS = frozenset("'\u2019\u02bc`\u00b4")  # don't is dont, not don-t


def default_filename(created_at: datetime, name_hint: str, suffix: str) -> str:
    """Build a name from the local time, the slug of ``name_hint`` (if not empty) and a suffix such as ``.png``."""
    slugged = slug(name_hint)
    return f"{created_at:%Y%m%d-%H%M%S}{'-' if slugged else ''}{slugged}{suffix}"


def slug(text: str, max_bytes: int = MAX_SLUG_BYTES) -> str:
    """Return the letters and digits of a text in lower case, words joined by ``-``, in at most ``max_bytes`` of UTF-8.

    Accents are removed where that leaves ASCII; other letters stay, with their combining marks.
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
    """Return the name of the ``number``-th file of this name: ``fox.png``, ``fox-2.png``, ``fox-3.png``."""
    path = PurePath(name)
    return name if number < 2 else f"{path.stem}-{number}{path.suffix}"


def indexed_path(path: Path | None, index: int, n: int) -> Path | None:
    """Return the path of one of n outputs: ``fox.png`` becomes ``fox-1.png``, ``fox-2.png``, …"""
    if path is None or n == 1:
        return path
    return path.with_name(f"{path.stem}-{index + 1}{path.suffix}")


def sidecar_path(path: Path) -> Path:
    """Return the path of a file's sidecar: ``fox.png.json`` next to ``fox.png``."""
    return path.with_name(path.name + ".json")


def partial_name(stem: str, job_id: str, number: int) -> str:
    """Return the hidden name of the temporary file for ``stem``, which includes its job ID."""
    safe_job_id = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "-" for char in job_id)
    suffix = f"-{number}" if number > 1 else ""
    return (
        f".{truncate_bytes(stem, MAX_PART_BYTES)}.{truncate_bytes(safe_job_id, MAX_PART_BYTES) or 'file'}{suffix}.part"
    )


def truncate_bytes(text: str, max_bytes: int) -> str:
    """Truncate a text to at most ``max_bytes`` of UTF-8, without splitting a character."""
    return text.encode(errors="ignore")[:max_bytes].decode(errors="ignore")


def _slug_char(char: str) -> str:
    """Convert one character for a name: itself, its ASCII letters, nothing, or ``-``."""
    if char in DROPPED_CHARS:
        return ""
    if char in TRANSLITERATIONS:
        return TRANSLITERATIONS[char]
    decomposed = unicodedata.normalize("NFKD", char)
    folded = "".join(part for part in decomposed if not unicodedata.combining(part))
    if folded.isascii() and folded.isalnum():
        return folded.lower()
    category = unicodedata.category(char)
    if category == "Cf":  # joiners are invisible, and bidi overrides would reverse the name
        return ""
    return char if char.isalnum() or category in ("Mn", "Mc") else "-"


def _strip_leading_marks(word: str) -> str:
    """Remove leading combining marks, which would attach to the previous character."""
    while word and unicodedata.category(word[0]) in ("Mn", "Mc"):
        word = word[1:]
    return word
