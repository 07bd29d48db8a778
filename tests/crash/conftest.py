"""A town for each test of the crash harness: a home of its own, in a world that they share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .scenario import CrashScenario, SharedSandbox

if sys.platform == "win32":  # nothing forks there, and nothing is killed by a signal
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def ground() -> Iterator[SharedSandbox]:
    """A world and a forge for all of them."""
    ground = SharedSandbox()
    yield ground
    ground.close()


@pytest.fixture
def town(ground: SharedSandbox, tmp_path: Path) -> CrashScenario:
    """An empty home in a world where nothing was asked yet."""
    return CrashScenario(ground, tmp_path / "home")
