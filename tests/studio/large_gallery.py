"""Thousands of completed jobs in a gateway's home, each a copy of a real one with another ID and age."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import structs

from hfmedia.core.job import CreatedEntry, LedgerEntry, StoredEntry
from hfmedia.ledger import SqliteLedger
from hfmedia.server.db.api_keys import KeyLimits
from hfmedia.server.db.generations import Generation, parse_job_key
from tests.support.gateway import RunningGateway

OUTPUTS = 20  # per generation
CONCURRENCY = 25  # generations whose entries are appended in parallel, so that they share commits
AGE_STEP = 60.0  # seconds between two generations


async def add_copies(running_gateway: RunningGateway, job_id: str, count: int) -> None:
    """Adds ``count`` older copies of a job to the ledger and the gateway's database; they share its file."""
    ledger = SqliteLedger(running_gateway.gateway.client.settings.home / "ledger.sqlite3")
    entries, job = await ledger.entries(job_id), await ledger.get(job_id)
    job_ref = parse_job_key(job.idempotency_key) if job else None
    first = running_gateway.gateway.database.generation(job_ref[0]) if job_ref else None
    assert first is not None, "not a job of this gateway"
    generations = [_older_generation(first, number) for number in range(count // OUTPUTS)]
    for start in range(0, len(generations), CONCURRENCY):
        copies = [
            _copy_entries(entries, generation, index)
            for generation in generations[start : start + CONCURRENCY]
            for index in range(OUTPUTS)
        ]
        await asyncio.gather(*(ledger.append(*copy) for copy in copies))
    await asyncio.to_thread(_reserve_all, running_gateway, generations)
    await ledger.aclose()


def _reserve_all(running_gateway: RunningGateway, generations: list[Generation]) -> None:
    for generation in generations:
        running_gateway.gateway.database.reserve(generation, KeyLimits(), now=generation.created_at)
        running_gateway.gateway.database.settle_charges(generation.id, charged_usd=0.0, images=OUTPUTS, videos=0)


def _older_generation(generation: Generation, number: int) -> Generation:
    created_at = generation.created_at - (number + 1) * AGE_STEP
    spec = structs.replace(generation.spec, prompt=f"picture {number}", n=OUTPUTS)
    generation_id = f"{int(created_at * 1000):011x}{number:09x}"
    return structs.replace(
        generation,
        id=generation_id,
        created_at=created_at,
        n=OUTPUTS,
        spec=spec,
        reserved_usd=0.0,
        is_settled=False,
        idempotency_key=None,
    )


def _copy_entries(entries: list[LedgerEntry], generation: Generation, index: int) -> list[LedgerEntry]:
    copied: list[LedgerEntry] = []
    for entry in entries:
        changes: dict[str, Any] = {"job_id": f"{generation.id}-{index}", "timestamp": generation.created_at}
        if isinstance(entry, CreatedEntry):
            request = structs.replace(entry.request, prompt=generation.spec.prompt)
            changes |= {"idempotency_key": generation.job_key(index), "request": request}
        if isinstance(entry, StoredEntry):
            files = [{**file, "job_id": changes["job_id"]} for file in entry.media["files"]]
            changes["media"] = {**entry.media, "files": files}
        copied.append(structs.replace(entry, **changes))
    return copied
