"""What the tests share: a sandbox on loopback and a client of it, in a home of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hfmedia.sandbox import Sandbox
from tests.studio.browser_report import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]  # here, since a parallel run's main process loads only this file
OURS = ("HF_", "HFMEDIA_", "HUGGING", "FAL_KEY", "REPLICATE_", "TOGETHER_", "NOVITA_", "NSCALE_", "WAVESPEED_", "ZAI_")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # a shell's "&" does that, and every process begun here would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No test sees the tester's own tokens, proxies or files."""
    for name in list(os.environ):
        if name.startswith(OURS) or name.lower() in PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HFMEDIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    yield


@pytest.fixture
async def world() -> AsyncIterator[Sandbox]:
    """A simulated Hub, router, providers and CDN, in a hurry."""
    async with Sandbox(port=0, speed=50) as sandbox:
        yield sandbox


@pytest.fixture
def environ(world: Sandbox, tmp_path: Path) -> dict[str, str]:
    """The environment in which a client lives in that world."""
    return {**os.environ, **world.environment, "HFMEDIA_HOME": str(tmp_path / "home")}
