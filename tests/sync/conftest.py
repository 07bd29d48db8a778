"""A sandbox in a thread of its own, so that what blocks the calling thread does not block the simulated world."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import hfmedia
from hfmedia.sandbox import Sandbox
from hfmedia.sync import BlockingPortal


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A simulated world in a hurry; this process's own environment points at it. The doors are closed at the end."""
    with BlockingPortal() as portal:
        sandbox = portal.call(Sandbox(port=0, speed=50).__aenter__)
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        yield sandbox
        hfmedia.close()
        portal.call(lambda: sandbox.__aexit__(None, None, None))
