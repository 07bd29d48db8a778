"""A sandbox in its own thread, so that a blocked calling thread does not block the simulation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import hfmedia
from hfmedia.sandbox import Sandbox
from hfmedia.sync import BlockingPortal


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A fast simulation, to which this process's environment points; the shared client is closed at the end."""
    with BlockingPortal() as portal:
        sandbox = portal.call(Sandbox(port=0, speed=50).__aenter__)
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        yield sandbox
        hfmedia.close()
        portal.call(lambda: sandbox.__aexit__(None, None, None))
