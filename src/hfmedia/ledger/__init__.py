"""The ledger: every fact of every job, appended and never changed. A job is what its facts add up to."""

from __future__ import annotations

from .memory import Ledger, MemoryLedger

__all__ = ["Ledger", "MemoryLedger"]
