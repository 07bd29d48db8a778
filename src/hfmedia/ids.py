"""Unique ids of jobs and generations that sort by creation time."""

from __future__ import annotations

import time
import uuid


def new_id() -> str:
    """Return a new id: milliseconds since 1970 in 11 hexadecimal digits, then 9 random ones."""
    return f"{time.time_ns() // 1_000_000:011x}{uuid.uuid4().hex[:9]}"
