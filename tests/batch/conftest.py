"""A fake client for batches: its ledger is real, its media are empty files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from hfmedia.client import MediaClient
from hfmedia.core.errors import HfmediaError
from hfmedia.core.protocol import Cost
from hfmedia.engine import Accepted, Event, JobFailed, MediaReady, Started, Submitting
from hfmedia.ledger import MemoryLedger
from hfmedia.sandbox import Sandbox
from hfmedia.storage import Media


def write_empty_image(target: str, job: str) -> Path:
    """An empty image at an output target."""
    path = Path(f"{target}{job}.png" if target.endswith("/") else target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


class FakeClient:
    """Replaces a client: each prompt ends as ``endings`` says, else with a file."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.endings: dict[str, HfmediaError | Exception | Cost | Callable[[], None]] = {}
        self.cost: Cost | None = None
        self.calls: list[dict[str, Any]] = []
        self.active = self.max_active = self.waiting = 0
        self.gate: asyncio.Event | None = None
        self.pause = 0.0

    async def generate(self, prompt: str, **options: Any) -> AsyncIterator[Event]:
        """One output."""
        self.calls.append({"prompt": prompt, **options})
        job = f"{len(self.calls):020x}"
        self.active += 1
        self.max_active = max(self.max_active, self.active)
        try:
            yield Started(job_id=job, model="a/b")
            yield Submitting(job_id=job, provider="p")
            await asyncio.sleep(self.pause)
            yield Accepted(job_id=job, provider="p", provider_job_id="1")
            if self.gate is not None:
                self.waiting += 1
                await self.gate.wait()
            ending = self.endings.get(prompt)
            if callable(ending):
                ending()
            if isinstance(ending, HfmediaError):
                yield JobFailed(job_id=job, error=ending)
                return
            if isinstance(ending, Exception):
                raise ending
            path = write_empty_image(options["output"], job)
            cost = ending if isinstance(ending, Cost) else self.cost
            yield MediaReady(job_id=job, media=Media(path=path, mime="image/png", cost=cost, job_id=job))
        finally:
            self.active -= 1


@pytest.fixture
def fake_client() -> Any:
    """Typed as Any, because a batch expects a MediaClient."""
    return FakeClient()


@pytest.fixture
async def client(world: Sandbox, environ: dict[str, str]) -> AsyncIterator[MediaClient]:
    """A real client against the sandbox."""
    async with MediaClient(environ=environ) as client:
        yield client
