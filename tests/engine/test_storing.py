"""Storing the outputs of a completed job."""

from __future__ import annotations

import asyncio

import pytest

from hfmedia.core.job import Job, LedgerEntry, StoredEntry
from hfmedia.engine import MediaReady

from .conftest import DONE, EngineHarness, ScriptedProviders, route


async def test_a_job_cancelled_while_its_last_entry_is_written_is_delivered(
    scene: EngineHarness, script: ScriptedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger finishes a cancelled write, so the file is there and its caller gets it."""
    script.script("one", DONE)
    append = scene.engine.deps.ledger.append

    async def cancelled_append(*entries: LedgerEntry) -> Job:
        job = await append(*entries)
        if isinstance(entries[-1], StoredEntry):
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return job

    monkeypatch.setattr(scene.engine.deps.ledger, "append", cancelled_append)
    events = await scene.run(route("one"))
    assert isinstance(events[-1], MediaReady)
    assert (await scene.job()).state == "stored"
