"""Fixtures for all tests: a clean environment, a sandbox on loopback and the variables of its clients."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hfmedia.sandbox import Sandbox
from tests.studio.browser_report import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]  # here, because the main process of a parallel run loads only this file
VARIABLE_PREFIXES = (
    "HF_",
    "HFMEDIA_",
    "HUGGING",
    "FAL_KEY",
    "REPLICATE_",
    "TOGETHER_",
    "NOVITA_",
    "NSCALE_",
    "WAVESPEED_",
    "ZAI_",
)
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # set by a shell's "&", and inherited by child processes
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Files and folders whose tests are marked; `make test-fast` leaves them out. Single tests use @pytest.mark.slow.
CRASH = ("crash/",)
SLOW = (
    # start a process of the command or of the gateway in nearly every test
    "cli/test_batch.py", "cli/test_examples.py", "cli/test_interrupt.py", "cli/test_jobs_processes.py",
    "cli/test_sandbox_command.py", "cli/test_terminal.py", "client/test_detach.py", "ledger/test_failures.py",
    "ledger/test_processes.py", "server/test_openai_node.py", "server/test_readme.py", "server/test_restart.py",
    "server/test_serve.py", "server/test_serve_stop.py", "test_concurrency.py", "test_docs.py", "test_typing.py",
    "test_wheel.py",
    # render videos, or wait for them
    "sandbox/clients/test_art.py", "server/test_openai_videos.py", "server/test_renditions.py", "server/test_videos.py",
    # run every combination, or hundreds of generated cases
    "batch/test_with_sandbox.py", "cli/test_jobs.py", "ledger/test_state_machine.py",
    "providers/test_arbitrary_responses.py", "server/test_images_stream.py", "server/test_jobs_api.py",
    "server/test_openai_python.py", "server/test_openapi.py", "test_bad_input.py", "test_counters.py",
    "server/test_bad_clients.py", "server/test_generation_service.py", "server/test_images.py",
    "server/test_observability.py", "sandbox/clients/test_huggingface_hub.py", "cli/test_generate.py",
    "transport/test_error_classification.py", "transport/test_secrets.py", "transport/test_proxied.py",
    "compat/test_huggingface.py",
    "test_fault_matrix.py", "test_provider_task_matrix.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the file that they are in; tests/studio marks those that use a browser."""
    root = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(root).as_posix()
        if path.startswith(CRASH):
            item.add_marker(pytest.mark.crash)
        if path.startswith(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Hide the developer's own tokens, proxies and files from every test."""
    for name in list(os.environ):
        if name.startswith(VARIABLE_PREFIXES) or name.lower() in PROXY_VARIABLES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HFMEDIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    yield


@pytest.fixture
async def world() -> AsyncIterator[Sandbox]:
    """A simulated Hub, router, providers and CDN, at high speed."""
    async with Sandbox(port=0, speed=50) as sandbox:
        yield sandbox


@pytest.fixture
def environ(world: Sandbox, tmp_path: Path) -> dict[str, str]:
    """The environment of a client of that sandbox."""
    return {**os.environ, **world.environment, "HFMEDIA_HOME": str(tmp_path / "home")}
