"""The ledgers under test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hfmedia.ledger import Ledger, MemoryLedger, SqliteLedger
from tests.engine.conftest import script

__all__ = ["script"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger may lie; its folder is not there yet."""
    return tmp_path / "home" / "ledger.sqlite3"


@pytest.fixture(params=["memory", "sqlite"])
async def ledger(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Ledger]:
    """An empty ledger of each kind."""
    one: Ledger = MemoryLedger() if request.param == "memory" else SqliteLedger(path)
    yield one
    await one.aclose()


@pytest.fixture
async def disk(path: Path) -> AsyncIterator[SqliteLedger]:
    """An empty ledger on disk."""
    one = SqliteLedger(path)
    yield one
    await one.aclose()
