"""File names out of prompts: ``20261122-194605-a-red-fox-in-the-snow.png``.

Pure. A made name is legal on Windows, macOS and Linux, whatever the prompt; letters of other scripts are kept.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime
from pathlib import Path, PurePath

LONGEST_SLUG = 60  # bytes of UTF-8: about ten words, and far from the 255 that file systems allow a name
LONGEST_PART = 60  # bytes of either half of a temporary file's name

# What Unicode does not take apart, though every reader of Latin script would.
SPELT = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "ł": "l", "ŋ": "ng",
    "þ": "th", "ŧ": "t", "ə": "e",
}  # fmt: skip
SILENT = frozenset("'\u2019\u02bc`\u00b4")  # don't is dont, not don-t


def made_name(when: datetime, words: str, suffix: str) -> str:
    """A name of the local time, the words and a suffix such as ``.png``; the time alone where no word is left."""
    told = slug(words)
    return f"{when:%Y%m%d-%H%M%S}{'-' if told else ''}{told}{suffix}"


def slug(text: str, most: int = LONGEST_SLUG) -> str:
    """The letters and digits of a text in lower case, words joined by ``-``, at most ``most`` bytes of UTF-8.

    Accents fall off where plain ASCII is left; other letters stay as they are, with the marks that belong to them.
    """
    plain = "".join(_plain(char) for char in unicodedata.normalize("NFC", text.strip()[: most * 8].lower()))
    joined = ""
    for word in filter(None, map(_headed, plain.split("-"))):
        longer = f"{joined}-{word}" if joined else word
        if len(longer.encode()) > most:
            return joined or cut(word, most)
        joined = longer
    return joined


def numbered(name: str, number: int) -> str:
    """The name for the ``number``-th file that wants it: ``fox.png``, ``fox-2.png``, ``fox-3.png``."""
    path = PurePath(name)
    return name if number < 2 else f"{path.stem}-{number}{path.suffix}"


def sidecar_of(path: Path) -> Path:
    """Where the facts of a file lie: ``fox.png.json`` beside ``fox.png``."""
    return path.with_name(path.name + ".json")


def part_name(stem: str, job_id: str, number: int) -> str:
    """The name of the temporary file that becomes ``stem``: hidden, and telling whose it is."""
    owner = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "-" for char in job_id)
    tail = f"-{number}" if number > 1 else ""
    return f".{cut(stem, LONGEST_PART)}.{cut(owner, LONGEST_PART) or 'file'}{tail}.part"


def cut(text: str, most: int) -> str:
    """At most ``most`` bytes of UTF-8 of a text, no letter torn in two."""
    return text.encode(errors="ignore")[:most].decode(errors="ignore")


def _plain(char: str) -> str:
    """One character of a prompt as it may stand in a name: itself, its ASCII letters, nothing, or a ``-``."""
    if char in SILENT:
        return ""
    if char in SPELT:
        return SPELT[char]
    apart = unicodedata.normalize("NFKD", char)
    folded = "".join(part for part in apart if not unicodedata.combining(part))
    if folded.isascii() and folded.isalnum():
        return folded.lower()
    category = unicodedata.category(char)
    if category == "Cf":  # joiners carry no letter, and bidi overrides would turn the name around
        return ""
    return char if char.isalnum() or category in ("Mn", "Mc") else "-"


def _headed(word: str) -> str:
    """The word without the marks at its front, which would hang on the letter before it."""
    while word and unicodedata.category(word[0]) in ("Mn", "Mc"):
        word = word[1:]
    return word
