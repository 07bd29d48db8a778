"""A sandbox in its own thread, so that a blocked calling thread does not block the simulation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import hfmedia
from hfmedia.sandbox import Sandbox
from hfmedia.sync import BlockingPortal


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A fast simulation, to which this process's environment points; the shared client is closed at the end."""
    with BlockingPortal() as portal:
        running = portal.call(Sandbox(port=0, speed=50).__aenter__)
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running
        hfmedia.close()
        portal.call(lambda: running.__aexit__(None, None, None))
