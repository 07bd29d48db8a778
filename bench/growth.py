"""What a job costs as the ledger grows: fills one with past jobs, and lives through new ones at each length.

``growth.py EVENTS …`` prints one JSON object: milliseconds of CPU for a job of six facts and for finding one by its
key, and for the latest hundred, by the number of events that were there before.
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

REQUEST = GenerationRequest(
    task="text-to-image", model="bench/image", prompt="a red kite over the harbour, early light", seed=7
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
JOBS_PER_LENGTH = 200  # jobs lived through at each length


def job_entries(job_id: str) -> list[LedgerEntry]:
    """Everything that happens to a job that goes well."""
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
    """Adds jobs of the past, as the ledger itself would have written them, in one transaction."""
    entries = [structs.replace(fact, job_id="past") for fact in job_entries("past")]
    rows = [(encode_entry(fact).kind, encode_entry(fact).body) for fact in entries]
    columns = {**job_columns(replay(entries)), "seq": 0, "idempotency_key": None}
    connection = sqlite3.connect(path)
    names = [f"past{number:08}" for number in range(first, first + jobs)]
    connection.executemany(
        "INSERT INTO entries (job_id, timestamp, kind, body) VALUES (?, 1.0, ?, ?)",
        ((name, kind, body.replace("past", name)) for name in names for kind, body in rows),
    )
    (last_seq,) = connection.execute("SELECT max(seq) FROM entries").fetchone()
    seqs = range(last_seq - jobs * ENTRIES_PER_JOB + 1, last_seq + 1, ENTRIES_PER_JOB)
    connection.executemany(
        f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})",
        (
            {**columns, "seq": seq, "id": name, "idempotency_key": name, "body": columns["body"].replace("past", name)}
            for seq, name in zip(seqs, names, strict=True)
        ),
    )
    connection.commit()
    connection.close()


async def measure_length(path: Path, prefix: str) -> dict[str, float]:
    """Milliseconds of CPU for each job, of those that happen side by side, and for two ways of looking."""
    ledger = SqliteLedger(path)

    async def run_job(job_id: str) -> None:
        for ledger_entry in job_entries(job_id):
            await ledger.append(ledger_entry)

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
    """Length by length, in one ledger."""
    path, jobs_before, timings_by_length = Path(mkdtemp(dir=os.environ["BENCH_FOLDER"]), "ledger.sqlite3"), 0, {}
    for events in map(int, sys.argv[1:]):
        jobs = events // ENTRIES_PER_JOB - jobs_before
        if jobs > 0:
            insert_past_jobs(path, jobs_before, jobs)
            jobs_before += jobs
        timings_by_length[str(events)] = await measure_length(path, f"new{events}")
    print(json.dumps({"growth": timings_by_length}))


if __name__ == "__main__":
    asyncio.run(main())
