"""Thousands of finished jobs in a gateway's home, each a copy of one that was really made, but for its name and age."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import structs

from hfmedia.core.job import CreatedEntry, LedgerEntry, StoredEntry
from hfmedia.ledger import SqliteLedger
from hfmedia.server.db.api_keys import KeyLimits
from hfmedia.server.db.generations import Generation, parse_job_key
from tests.server.conftest import RunningGateway

OUTPUTS = 20  # of each order
CONCURRENCY = 25  # orders whose facts are appended side by side, so that they share commits
AGE_STEP = 60.0  # seconds between two of them


async def add_copies(running_gateway: RunningGateway, job_id: str, count: int) -> None:
    """Writes ``count`` older copies of a job, through the ledger's and the book's own doors; their file is shared."""
    ledger = SqliteLedger(running_gateway.gateway.client.settings.home / "ledger.sqlite3")
    entries, job = await ledger.entries(job_id), await ledger.get(job_id)
    job_ref = parse_job_key(job.idempotency_key) if job else None
    first = running_gateway.gateway.database.generation(job_ref[0]) if job_ref else None
    assert first is not None, "it was not made here"
    generations = [_older_generation(first, number) for number in range(count // OUTPUTS)]
    for begin in range(0, len(generations), CONCURRENCY):
        copies = [
            _copy_entries(entries, order, k)
            for order in generations[begin : begin + CONCURRENCY]
            for k in range(OUTPUTS)
        ]
        await asyncio.gather(*(ledger.append(*one) for one in copies))
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
    for fact in entries:
        changes: dict[str, Any] = {"job": f"{generation.id}-{index}", "at": generation.created_at}
        if isinstance(fact, CreatedEntry):
            request = structs.replace(fact.request, prompt=generation.spec.prompt)
            changes |= {"key": generation.job_key(index), "request": request}
        if isinstance(fact, StoredEntry):
            files = [{**one, "job_id": changes["job"]} for one in fact.media["files"]]
            changes["media"] = {**fact.media, "files": files}
        copied.append(structs.replace(fact, **changes))
    return copied
