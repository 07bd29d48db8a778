"""The ledger: append-only entries, from which the state of every job is derived.

The ledger on disk is imported on first use: jobs that are kept in memory need no database.
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
