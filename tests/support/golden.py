"""Golden files: the exact text of what is persisted or sent, so that every change of it is deliberate."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "data" / "golden"


def check_golden(name: str, text: str) -> None:
    """Compare a text with ``tests/data/golden/NAME``; with UPDATE_GOLDEN=1 in the environment, write it instead."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{name} changed; if that is intended, run with UPDATE_GOLDEN=1"
