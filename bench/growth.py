"""Cost of a job as the ledger grows: fills a ledger with past jobs and runs new ones at each length.

``growth.py ENTRIES …`` prints one JSON object: CPU milliseconds for a job of six entries, for a lookup by key and for
the latest 100 jobs, by the number of entries already in the ledger.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from msgspec import structs

from hfmedia.core.job import (
    AcceptedEntry,
    CompletedEntry,
    CreatedEntry,
    LedgerEntry,
    RoutedEntry,
    StoredEntry,
    SubmittingEntry,
    replay,
)
from hfmedia.core.protocol import JobHandle, Output, Route
from hfmedia.core.request import GenerationRequest
from hfmedia.ledger import SqliteLedger
from hfmedia.ledger.serialization import encode_entry, job_columns
from hfmedia.ledger.writer import INSERT_ENTRY, INSERT_JOB

REQUEST = GenerationRequest(
    task="text-to-image", model="bench/image", prompt="a red kite over the harbor, early light", seed=7
)
ROUTE = Route(
    provider="fal-ai",
    provider_id="bench/image",
    model="bench/image",
    task="text-to-image",
    base_url="https://router.huggingface.co/fal-ai",
    credential="HF_TOKEN",
)
ENTRIES_PER_JOB = 6
JOBS_PER_LENGTH = 200  # new jobs at each length


def job_entries(job_id: str) -> list[LedgerEntry]:
    """Return the entries of a successful job."""
    media = {"files": [{"path": f"/media/{job_id}.png", "sha256": "0" * 64, "parameters": {"seed": 7}}]}
    return [
        CreatedEntry(job_id=job_id, timestamp=1.0, request=REQUEST, idempotency_key=job_id),
        RoutedEntry(job_id=job_id, timestamp=1.0, route=ROUTE, request=REQUEST),
        SubmittingEntry(job_id=job_id, timestamp=1.0, attempt=1),
        AcceptedEntry(job_id=job_id, timestamp=1.0, handle=JobHandle("h")),
        CompletedEntry(job_id=job_id, timestamp=3.0, outputs=(Output(url="https://cdn.example/1.png"),), seed=7),
        StoredEntry(job_id=job_id, timestamp=3.0, media=media),
    ]


def insert_past_jobs(path: Path, first: int, jobs: int) -> None:
    """Insert past jobs, as the ledger itself would write them, in one transaction."""
    entries = [structs.replace(entry, job_id="past") for entry in job_entries("past")]
    rows = [(encode_entry(entry).kind, encode_entry(entry).body) for entry in entries]
    columns = job_columns(replay(entries))
    connection = sqlite3.connect(path)
    names = [f"past{number:08}" for number in range(first, first + jobs)]
    connection.executemany(
        INSERT_ENTRY, ((name, 1.0, kind, body.replace("past", name)) for name in names for kind, body in rows)
    )
    (last_seq,) = connection.execute("SELECT last_insert_rowid()").fetchone()
    seqs = range(last_seq - jobs * ENTRIES_PER_JOB + 1, last_seq + 1, ENTRIES_PER_JOB)
    connection.executemany(
        INSERT_JOB,
        (
            {**columns, "seq": seq, "id": name, "idempotency_key": name, "body": columns["body"].replace("past", name)}
            for seq, name in zip(seqs, names, strict=True)
        ),
    )
    connection.commit()
    connection.close()


async def measure_length(path: Path, prefix: str) -> dict[str, float]:
    """Measure CPU milliseconds per concurrent job, per lookup by key, and for the latest 100."""
    ledger = SqliteLedger(path)

    async def run_job(job_id: str) -> None:
        for entry in job_entries(job_id):
            await ledger.append(entry)

    await run_job(f"{prefix}-warm")
    timings: dict[str, float] = {}
    cpu = time.process_time()
    await asyncio.gather(*(run_job(f"{prefix}-{number}") for number in range(JOBS_PER_LENGTH)))
    timings["job"] = (time.process_time() - cpu) / JOBS_PER_LENGTH * 1000
    cpu = time.process_time()
    for number in range(JOBS_PER_LENGTH):
        await ledger.find_by_key(f"{prefix}-{number}")
    timings["find"] = (time.process_time() - cpu) / JOBS_PER_LENGTH * 1000
    cpu = time.process_time()
    assert len([job async for job in ledger.iter_jobs(newest_first=True, limit=100)]) == 100
    timings["latest"] = (time.process_time() - cpu) * 1000
    await ledger.aclose()
    return timings


async def main() -> None:
    """Measure each length in one growing ledger."""
    path, past_jobs, timings_by_length = Path(mkdtemp(dir=os.environ["BENCH_FOLDER"]), "ledger.sqlite3"), 0, {}
    for entries in map(int, sys.argv[1:]):
        jobs = entries // ENTRIES_PER_JOB - past_jobs
        if jobs > 0:
            insert_past_jobs(path, past_jobs, jobs)
            past_jobs += jobs
        timings_by_length[str(entries)] = await measure_length(path, f"new{entries}")
    print(json.dumps({"growth": timings_by_length}))


if __name__ == "__main__":
    asyncio.run(main())
