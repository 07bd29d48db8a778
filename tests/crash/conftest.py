"""A scenario for each crash test: a home of its own, and a sandbox that the tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .scenario import CrashScenario, SharedSandbox

if sys.platform == "win32":  # no fork and no SIGKILL there
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[SharedSandbox]:
    """The sandbox and the process forker, shared by all tests."""
    shared_sandbox = SharedSandbox()
    yield shared_sandbox
    shared_sandbox.close()


@pytest.fixture
def scenario(shared_sandbox: SharedSandbox, tmp_path: Path) -> CrashScenario:
    """An empty home, and a sandbox without requests."""
    return CrashScenario(shared_sandbox, tmp_path / "home")
