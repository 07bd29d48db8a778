"""Golden files: JSON that users and programs rely on, compared name by name and value by value.

What differs from run to run (ids, times, paths, addresses, digests, durations, sizes of drawn files) is replaced by a
placeholder. A deliberate change is written by running the tests once with ``HFMEDIA_UPDATE_GOLDEN=1``.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

UPDATE = bool(os.environ.get("HFMEDIA_UPDATE_GOLDEN"))  # read here: tests run without HFMEDIA_ variables
GOLDEN = Path(__file__).resolve().parent.parent / "data" / "golden"
TIMES = frozenset({"created", "created_at", "updated_at", "submitted_at", "completed_at", "timestamp", "age", "at"})
NUMBERS = frozenset({
    "bytes", "received", "total", "progress", "day_resets_at", "month_resets_at", "last_error_at", "cooldown_seconds",
})  # fmt: skip
PLACEHOLDERS = (
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z"), "<time>"),
    (re.compile(r"https?://127\.0\.0\.1:\d+/[^\s\"]*"), "<url>"),
    (re.compile(r"(?<![:/\w])/[^\s\"]*/([^/\s\"]+)"), r"<folder>/\1"),
    (re.compile(r"\b\d{8}-\d{6}-"), "<time>-"),
    (re.compile(r"batch-[0-9a-f]{40}"), "<item key>"),
    (re.compile(r"\b[0-9a-f]{20}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b"), "<uuid>"),
    (re.compile(r"\b[0-9a-f]{32,64}\b"), "<digest>"),
)


def normalized(value: Any, name: str = "") -> Any:
    """Return the value with a placeholder for whatever differs from run to run."""
    match value:
        case dict():
            if name == "timings":
                return dict.fromkeys(sorted(value), "<seconds>")
            return {key: normalized(item, key) for key, item in value.items()}
        case list():
            return [normalized(item, name) for item in value]
        case bool() | None:
            return value
        case int() | float():
            return "<time>" if name in TIMES else "<number>" if name in NUMBERS else value
        case str():
            for pattern, placeholder in PLACEHOLDERS:
                value = pattern.sub(placeholder, value)
            return value
        case _:
            return value


def assert_golden(name: str, value: Any) -> None:
    """Fail unless the value is, placeholders aside, what the golden file of that name holds."""
    assert_golden_text(f"{name}.json", json.dumps(normalized(value), indent=2, ensure_ascii=False) + "\n")


def assert_golden_text(name: str, text: str) -> None:
    """Fail unless the text is exactly that of the golden file."""
    file = GOLDEN / name
    if UPDATE:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), (
        f"{file.name} differs; HFMEDIA_UPDATE_GOLDEN=1 writes a deliberate change"
    )
