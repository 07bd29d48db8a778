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

from hfmedia.core.answers import Handle, Output, Route
from hfmedia.core.job import Accepted, Created, Fact, Made, Routed, Sending, Stored, fold
from hfmedia.core.request import Request
from hfmedia.ledger import SqliteLedger
from hfmedia.ledger.rows import entry, job_columns

WISH = Request(task="text-to-image", model="bench/image", prompt="a red kite over the harbour, early light", seed=7)
ROUTE = Route(
    provider="fal-ai",
    provider_id="bench/image",
    model="bench/image",
    task="text-to-image",
    base_url="https://router.huggingface.co/fal-ai",
    credential="HF_TOKEN",
)
FACTS = 6
NEW = 200  # jobs lived through at each length


def life(job: str) -> list[Fact]:
    """Everything that happens to a job that goes well."""
    media = {"files": [{"path": f"/media/{job}.png", "sha256": "0" * 64, "parameters": {"seed": 7}}]}
    return [
        Created(job=job, at=1.0, request=WISH, key=job),
        Routed(job=job, at=1.0, route=ROUTE, request=WISH),
        Sending(job=job, at=1.0, attempt=1),
        Accepted(job=job, at=1.0, handle=Handle("h")),
        Made(job=job, at=3.0, outputs=(Output(url="https://cdn.example/1.png"),), seed=7),
        Stored(job=job, at=3.0, media=media),
    ]


def fill(path: Path, first: int, jobs: int) -> None:
    """Adds jobs of the past, as the ledger itself would have written them, in one transaction."""
    facts = [structs.replace(fact, job="past") for fact in life("past")]
    rows = [(entry(fact).kind, entry(fact).body) for fact in facts]
    columns = {**job_columns(fold(facts)), "seq": 0, "key": None}
    connection = sqlite3.connect(path)
    names = [f"past{number:08}" for number in range(first, first + jobs)]
    connection.executemany(
        "INSERT INTO facts (job, at, kind, body) VALUES (?, 1.0, ?, ?)",
        ((name, kind, body.replace("past", name)) for name in names for kind, body in rows),
    )
    (last,) = connection.execute("SELECT max(seq) FROM facts").fetchone()
    seqs = range(last - jobs * FACTS + 1, last + 1, FACTS)
    connection.executemany(
        f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})",
        (
            {**columns, "seq": seq, "id": name, "key": name, "body": columns["body"].replace("past", name)}
            for seq, name in zip(seqs, names, strict=True)
        ),
    )
    connection.commit()
    connection.close()


async def lived(path: Path, name: str) -> dict[str, float]:
    """Milliseconds of CPU for each job, of those that happen side by side, and for two ways of looking."""
    ledger = SqliteLedger(path)

    async def one(job: str) -> None:
        for fact in life(job):
            await ledger.append(fact)

    await one(f"{name}-warm")
    taken: dict[str, float] = {}
    cpu = time.process_time()
    await asyncio.gather(*(one(f"{name}-{number}") for number in range(NEW)))
    taken["job"] = (time.process_time() - cpu) / NEW * 1000
    cpu = time.process_time()
    for number in range(NEW):
        await ledger.find(f"{name}-{number}")
    taken["find"] = (time.process_time() - cpu) / NEW * 1000
    cpu = time.process_time()
    assert len([job async for job in ledger.jobs(newest_first=True, limit=100)]) == 100
    taken["latest"] = (time.process_time() - cpu) * 1000
    await ledger.aclose()
    return taken


async def main() -> None:
    """Length by length, in one ledger."""
    path, there, found = Path(mkdtemp(dir=os.environ["BENCH_FOLDER"]), "ledger.sqlite3"), 0, {}
    for events in map(int, sys.argv[1:]):
        jobs = events // FACTS - there
        if jobs > 0:
            fill(path, there, jobs)
            there += jobs
        found[str(events)] = await lived(path, f"new{events}")
    print(json.dumps({"growth": found}))


if __name__ == "__main__":
    asyncio.run(main())
