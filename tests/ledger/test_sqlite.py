"""The ledger on disk: durable when it says so, shared commits, a free loop, bounded memory, a file for people."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hfmedia.core.errors import StorageError
from hfmedia.core.job import CompletedEntry, InvalidTransitionError, SubmittingEntry
from hfmedia.core.protocol import Cost, Output
from hfmedia.core.request import GenerationRequest, InputImage
from hfmedia.ledger import IdempotencyKeyInUseError, SqliteLedger
from hfmedia.ledger.migrations import LEDGER_SCHEMA
from hfmedia.ledger.serialization import MAX_ENTRY_BYTES
from hfmedia.sqlite import connect

from .builders import FULL_ENTRIES, created_entry, job_entries


def ask(path: Path, sql: str, *values: Any) -> list[Any]:
    """Run a statement as another program would, and return its rows."""
    with closing(sqlite3.connect(path)) as other, other:
        return other.execute(sql, values).fetchall()


async def test_what_was_appended_is_there_after_reopening(path: Path) -> None:
    """Entries, jobs and their order."""
    first = SqliteLedger(path)
    jobs = [[await first.append(entry) for entry in job_entries(name)][-1] for name in ("a", "b")]
    entries = await first.entries("a")
    await first.aclose()
    second = SqliteLedger(path)
    assert [job async for job in second.iter_jobs()] == jobs
    assert await second.entries("a") == entries
    await second.aclose()


async def test_a_commit_waits_for_the_disk(disk: SqliteLedger, path: Path) -> None:
    """The settings on which durability rests, as SQLite reports them."""
    await disk.append(created_entry("a"))
    with closing(connect(LEDGER_SCHEMA, path, 1.0)) as connection:
        pragmas = {name: connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "application_id")}  # fmt: skip
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "application_id": LEDGER_SCHEMA.application_id}


async def test_the_file_is_for_its_owner_alone(disk: SqliteLedger, path: Path) -> None:
    """So are its side files and the folders that were created for it."""
    await disk.append(created_entry("a"))
    files = [path, *path.parent.glob("ledger.sqlite3-*"), *path.parent.glob("*.owners/*.lock")]
    assert len(files) == 4
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, *path.parent.glob("*.owners"))} == {0o700}


async def test_closing_leaves_one_file(disk: SqliteLedger, path: Path) -> None:
    """Nothing else, when no other process uses it."""
    await disk.append(created_entry("a"))
    assert await disk.get("a")
    await disk.aclose()
    await disk.aclose()
    assert list(path.parent.iterdir()) == [path]


async def test_entries_appended_concurrently_share_commits(path: Path) -> None:
    """A hundred at once need a few; one after the other each has its own."""
    commits: list[int] = []
    ledger = SqliteLedger(path, on_commit=commits.append)
    await ledger.append(created_entry("first"))
    commits.clear()
    for number in range(5):
        await ledger.append(created_entry(f"alone{number}"))
    assert commits == [1] * 5
    commits.clear()

    async def live(job: str) -> None:
        for entry in job_entries(job):
            await ledger.append(entry)

    await asyncio.gather(*(live(f"j{number}") for number in range(100)))
    assert sum(commits) == 600
    assert len(commits) < 60
    await ledger.aclose()


async def test_each_item_of_a_shared_commit_gets_its_own_result(disk: SqliteLedger, path: Path) -> None:
    """What is impossible, taken, too large or damaged spoils nothing for the others."""
    await disk.append(created_entry("keyed", idempotency_key="k"))
    await disk.append(created_entry("damaged"))
    ask(path, "UPDATE jobs SET body = '{' WHERE id = 'damaged'")
    cases: list[tuple[Any, type[Exception] | None]] = [
        (created_entry("a"), None),
        (SubmittingEntry(job_id="a", timestamp=0.0, attempt=1), InvalidTransitionError),
        (SubmittingEntry(job_id="unknown", timestamp=0.0, attempt=1), InvalidTransitionError),
        (created_entry("b", idempotency_key="k"), IdempotencyKeyInUseError),
        (SubmittingEntry(job_id="damaged", timestamp=0.0, attempt=1), StorageError),
        (
            created_entry(
                "c", request=GenerationRequest(task="text-to-image", model="a/b", prompt="x" * MAX_ENTRY_BYTES)
            ),
            StorageError,
        ),
        (created_entry("a"), InvalidTransitionError),
        (created_entry("d"), None),
    ]
    results = await asyncio.gather(*(disk.append(entry) for entry, _ in cases), return_exceptions=True)
    for (_, error), result in zip(cases, results, strict=True):
        assert error is None or isinstance(result, error), result
        assert error is not None or not isinstance(result, BaseException), result
    assert ask(path, "SELECT job_id, count(*) FROM entries GROUP BY job_id ORDER BY job_id") == [
        ("a", 1), ("d", 1), ("damaged", 1), ("keyed", 1)]  # fmt: skip


async def test_an_item_that_sqlite_rejects_is_taken_out_of_the_batch(disk: SqliteLedger, path: Path) -> None:
    """One item of a batch fails half-way; it leaves no trace, and the others are written."""
    await disk.append(created_entry("first"))
    ask(path, "CREATE TRIGGER bad BEFORE INSERT ON jobs WHEN NEW.id = 'bad' BEGIN SELECT RAISE(ABORT, 'bad job'); END")
    names = ["a", "bad", "b", "c"]
    results = await asyncio.gather(*(disk.append(created_entry(name)) for name in names), return_exceptions=True)
    assert [isinstance(result, StorageError) for result in results] == [False, True, False, False]
    assert "bad job" in str(results[1])
    assert await disk.entries("bad") == []
    assert [job.id async for job in disk.iter_jobs()] == ["first", "a", "b", "c"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            created_entry(
                "a", request=GenerationRequest(task="image-to-image", model="a/b", image=InputImage(data=b"x"))
            ),
            "inline media",
        ),
        (CompletedEntry(job_id="a", timestamp=0.0, outputs=(Output(data=b"x"),)), "inline media"),
        (
            created_entry(
                "a",
                request=GenerationRequest(task="text-to-image", model="a/b", extra={"image": "x" * MAX_ENTRY_BYTES}),
            ),
            "URL",
        ),
        (CompletedEntry(job_id="a", timestamp=0.0, outputs=(), cost=Cost(float("nan"))), "JSON"),
        (created_entry("a", request=GenerationRequest(task="text-to-image", model="a/b", prompt="\ud800")), "JSON"),
        (
            created_entry("a", request=GenerationRequest(task="text-to-image", model="a/b", extra={"x": object()})),
            "JSON",
        ),
    ],
)
async def test_an_entry_that_cannot_be_kept_is_rejected(disk: SqliteLedger, entry: Any, message: str) -> None:
    """Media, what is too long, and what JSON cannot hold; nothing is written."""
    with pytest.raises(StorageError, match=message):
        await disk.append(entry)
    assert await disk.get("a") is None


async def test_a_cancelled_append_runs_to_its_end(disk: SqliteLedger, path: Path) -> None:
    """Cancelled thrice while another program holds the file, it ends as cancelled, but not before it is written."""
    await disk.append(created_entry("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        append = asyncio.create_task(disk.append(created_entry("b")))
        refused = asyncio.create_task(disk.append(created_entry("a")))
        for _ in range(3):
            await asyncio.sleep(0.02)
            append.cancel()
            refused.cancel()
        await asyncio.sleep(0.05)
        assert not append.done()
        assert not refused.done()
        other.execute("COMMIT")
    for task in (append, refused):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(await disk.entries("b")) == 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await disk.append(created_entry("c"))
    assert [job.id async for job in disk.iter_jobs()] in (["a", "b"], ["a", "b", "c"])


async def test_closing_waits_for_what_is_being_written(path: Path) -> None:
    """Everything that was started gets its result; later calls fail because the ledger is closed."""
    ledger = SqliteLedger(path)
    tasks = [asyncio.create_task(ledger.append(created_entry(f"j{number}"))) for number in range(50)]
    await asyncio.sleep(0)
    await asyncio.gather(ledger.aclose(), ledger.aclose())
    assert [(await task).id for task in tasks] == [f"j{number}" for number in range(50)]
    for operation in (ledger.append(created_entry("x")), ledger.get("x"), ledger.claim("x"), ledger.prune(0.0)):
        with pytest.raises(StorageError, match="closed"):
            await operation
    assert ask(path, "SELECT count(*) FROM entries") == [(50,)]


async def test_a_ledger_that_was_never_used_touches_nothing(path: Path) -> None:
    """No file, no thread; it can be closed all the same."""
    before = threading.active_count()
    ledger = SqliteLedger(path)
    assert str(path) in repr(ledger)
    await ledger.aclose()
    assert threading.active_count() == before
    assert not path.parent.exists()


async def test_a_ledger_that_is_garbage_collected_releases_everything(path: Path) -> None:
    """Its threads end and its claims are free, although it was never closed."""
    ledger = SqliteLedger(path)
    await ledger.append(created_entry("a"))
    assert await ledger.get("a")
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("hfmedia-ledger")]
    assert len(threads) == 2
    del ledger
    gc.collect()
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()
    other = SqliteLedger(path)
    assert await other.owner("a") is None
    await other.aclose()


def test_several_loops_share_a_ledger(path: Path) -> None:
    """One after the other and concurrently: each result reaches the loop that asked for it."""
    ledger = SqliteLedger(path)

    async def some(name: str) -> list[str]:
        made = await asyncio.gather(*(ledger.append(created_entry(f"{name}{number}")) for number in range(20)))
        return [job.id for job in made]

    ids: dict[str, list[str]] = {}
    threads = [threading.Thread(target=lambda name=name: ids.update({name: asyncio.run(some(name))})) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids == {name: [f"{name}{number}" for number in range(20)] for name in "abc"}
    asyncio.run(ledger.aclose())


def test_a_loop_that_is_gone_stops_no_other_loop(path: Path) -> None:
    """A process that ends without closing: its results are dropped, the entries stay, the next loop works."""
    ledger = SqliteLedger(path)
    loop = asyncio.new_event_loop()
    task = loop.create_task(ledger.append(created_entry("a")))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()

    async def after() -> list[str]:
        await ledger.append(created_entry("b"))
        await ledger.aclose()
        return []

    asyncio.run(after())
    assert ask(path, "SELECT id FROM jobs ORDER BY seq") == [("a",), ("b",)]
    task._log_destroy_pending = False  # type: ignore[attr-defined] # it was left behind on purpose


async def test_the_loop_is_free_while_ten_thousand_entries_are_written(disk: SqliteLedger) -> None:
    """A bystander is never kept waiting for long; the bound is gross, machines differ."""
    longest = 0.0
    done = False

    async def bystander() -> None:
        nonlocal longest
        while not done:
            then = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - then)

    async def line(number: int) -> None:
        for turn in range(17):
            for entry in job_entries(f"j{number}-{turn}"):
                await disk.append(entry)

    watching = asyncio.create_task(bystander())
    await asyncio.gather(*(line(number) for number in range(100)))
    done = True
    await watching
    assert longest < 0.5


async def test_fifty_thousand_jobs_are_listed_in_little_memory(disk: SqliteLedger, path: Path) -> None:
    """A page at a time, however many there are."""
    await disk.append(created_entry("j0"))
    ask(
        path,
        """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 49999)
        INSERT INTO jobs SELECT seq + i, 'j' || i, NULL, state, is_terminal, created_at, updated_at, task, model,
        provider, attempts, cost, unit, replace(body, '"j0"', '"j' || i || '"') FROM jobs, n WHERE id = 'j0'""",
    )
    count = 0
    tracemalloc.start()
    try:
        async for job in disk.iter_jobs():
            assert job.id == f"j{count}"
            count += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 50_000
    assert peak < 2_000_000


async def test_live_jobs_are_found_without_walking_the_ended_ones(disk: SqliteLedger, path: Path) -> None:
    """SQLite says itself that it takes the short index."""
    await disk.append(created_entry("a"))
    plan = ask(
        path, "EXPLAIN QUERY PLAN SELECT body FROM jobs WHERE seq BETWEEN 0 AND 9 AND state IN ('created')"
        " AND is_terminal = 0 ORDER BY seq LIMIT 5"
    )  # fmt: skip
    assert "unfinished_jobs" in plan[0][-1]
    assert len(plan) == 1


async def test_people_can_read_the_history(disk: SqliteLedger, path: Path) -> None:
    """Two views: history and overview; every entry type has a description."""
    for entry in FULL_ENTRIES:
        await disk.append(entry)
    history = ask(path, "SELECT kind, description FROM history")
    assert [kind for kind, _ in history] == [type(entry).__struct_config__.tag for entry in FULL_ENTRIES]
    assert all(description for _, description in history)
    assert dict(history)["made"] == "2 output(s), cost 0.125 fal-units"
    (row,) = ask(path, "SELECT id, state, provider, model, attempts, cost, unit, file FROM overview")
    assert row == ("j", "stored", "replicate", "a/b", 3, 0.125, "fal-units", "x.png")
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        ask(path, "UPDATE entries SET timestamp = 0")


def test_memory_alone_imports_no_database() -> None:
    """The database is imported with the ledger on disk only."""
    code = "import sys, hfmedia.ledger; print('sqlite3' in sys.modules); hfmedia.ledger.SqliteLedger"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout == "False\n"
