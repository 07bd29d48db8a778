"""The ledger: every fact of every job, appended and never changed. A job is what its facts add up to.

The one on disk is imported when it is first named: who keeps jobs in memory needs no database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import IdempotencyKeyInUseError, Ledger
from .memory import MemoryLedger

if TYPE_CHECKING:
    from .sqlite import SqliteLedger

__all__ = ["IdempotencyKeyInUseError", "Ledger", "MemoryLedger", "SqliteLedger"]


def __getattr__(name: str) -> Any:
    if name == "SqliteLedger":
        from .sqlite import SqliteLedger

        return SqliteLedger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
