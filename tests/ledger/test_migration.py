"""Ledgers that the version before the redesign wrote: every job opens, lists, shows its history and can be resumed."""

from __future__ import annotations

import asyncio
import copy
import json
import sqlite3
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hfmedia.client import MediaClient
from hfmedia.core.errors import InDoubtError, StorageError
from hfmedia.core.job import CreatedEntry, Job, RoutedEntry, SubmittingEntry, entry_tag, replay
from hfmedia.engine import Engine
from hfmedia.ledger import SqliteLedger
from hfmedia.ledger.migrations import FAILURE_KINDS, JOB_STATES, LEDGER_SCHEMA
from hfmedia.ledger.process_locks import ProcessLocks
from hfmedia.sandbox import Sandbox
from hfmedia.sqlite import apply_migration
from tests.data.before_redesign.unpack import HERE, unpack
from tests.engine.conftest import DONE, EngineHarness, ScriptedProviders
from tests.support.golden import assert_golden_text

from .builders import ENDINGS, FULL_ENTRIES, created_entry, job_entries

HOMES = ("home", "batch", "gateway")
RECORDED = json.loads((HERE / "ids.json").read_text())
# What the old command printed of each job; the plain output is for people.
SHOWN = {
    file.stem: json.loads(file.read_text())["stdout"][0]
    for file in sorted((HERE / "golden" / "cli").glob("jobs-show-*.json"))
    if file.stem != "jobs-show-plain"
}


def old_jobs(name: str) -> list[dict[str, Any]]:
    """The jobs of a ledger as they were recorded when it was written."""
    jobs = RECORDED[name]
    return list(jobs["jobs"] if isinstance(jobs, dict) else jobs)


def rows(path: Path, sql: str, *values: Any) -> list[Any]:
    """The rows that another program reads."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql, values).fetchall()


def old_ledger(name: str, tmp_path: Path) -> Path:
    """A copy of one of the old ledgers."""
    root = unpack(name, tmp_path)  # type: ignore[arg-type]
    return root / "home" / "ledger.sqlite3" if name == "batch" else root / "ledger.sqlite3"


def move_old_ledger(home: Path) -> None:
    """Put an old ledger into a new home."""
    home.mkdir()
    old_ledger("home", home / "old").rename(home / "ledger.sqlite3")


@pytest.mark.parametrize("name", HOMES)
async def test_every_job_of_an_old_ledger_opens_with_the_same_entries(name: str, tmp_path: Path) -> None:
    """Order, times, keys, routes, costs and errors; the stored job is what its entries add up to."""
    path = old_ledger(name, tmp_path)
    before = rows(path, "SELECT seq, job, at, kind FROM facts ORDER BY seq")
    ledger = SqliteLedger(path)
    listed = {job.id: job async for job in ledger.iter_jobs()}
    recorded = old_jobs(name)
    assert sorted(listed) == sorted(job["id"] for job in recorded)
    for old in recorded:
        job = listed[old["id"]]
        assert job.state == JOB_STATES[old["state"]]
        assert (job.request.task, job.request.prompt) == (old["task"], old["prompt"])
        assert (job.route.provider if job.route else None) == old["provider"]
        assert job.idempotency_key == old["key"]
        assert await ledger.get(job.id) == job
        assert old["key"] is None or await ledger.find_by_key(old["key"]) == job
        entries = await ledger.entries(job.id)
        assert [entry_tag(entry) for entry in entries] == old["facts"]
        assert replay(entries) == job
    await ledger.aclose()
    assert rows(path, "SELECT seq, job_id, timestamp, kind FROM entries ORDER BY seq") == before
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("name", SHOWN)
async def test_an_old_job_is_shown_as_it_was(name: str, tmp_path: Path) -> None:
    """Every value that the old command printed of the job and of its history."""
    golden = copy.deepcopy(SHOWN[name])
    ledger = SqliteLedger(old_ledger("home", tmp_path))
    job = await ledger.get(golden["job_id"])
    assert job is not None
    entries = await ledger.entries(job.id)
    await ledger.aclose()
    if name == "jobs-show-sending-orphan":  # it was in doubt by the time it was shown
        golden["events"].pop()
    else:
        assert (job.state, job.error) == (JOB_STATES[golden["state"]], golden["error"])
    assert [entry_tag(entry) for entry in entries] == [event["event"] for event in golden["events"]]
    assert (job.attempts, job.seed or (job.provider_request or job.request).seed) == (
        golden["attempts"],
        golden["seed"],
    )
    assert list(job.rejections) == golden["refusals"]
    assert list(job.warnings) == golden["warnings"]
    assert job.timings == golden["timings"]
    assert (job.handle.id if job.handle else None) == golden["provider_job"]
    assert (job.cost and {"amount": job.cost.amount, "unit": job.cost.unit}) == golden["cost"]
    assert (job.route and job.route.credential) == golden["key_name"]
    paths = [media["path"] for media in (job.media or {}).get("files", ())]
    assert paths == [media["path"] for media in golden["files"]]


async def test_old_bodies_take_the_new_field_names_and_values(tmp_path: Path) -> None:
    """In the rows themselves; what a user wrote is not touched."""
    path = old_ledger("home", tmp_path)
    before = {seq: json.loads(body) for seq, body in rows(path, "SELECT seq, body FROM facts")}
    ledger = SqliteLedger(path)
    assert await ledger.get("unknown") is None
    await ledger.aclose()
    names = {"job": "job_id", "at": "timestamp", "key": "idempotency_key", "choice": "requested_model",
             "folder": "output_folder", "file": "output_file", "reached": "provider_confirmed"}  # fmt: skip
    for seq, body in rows(path, "SELECT seq, body FROM entries"):
        old = before.pop(seq)
        if old["fact"] in ("refused", "failed"):
            old["kind"] = FAILURE_KINDS[old["kind"]]
        if old["fact"] == "accepted" and "path" in old["handle"]:
            old["handle"]["job_path"] = old["handle"].pop("path")
        assert json.loads(body) == {names.get(name, name): value for name, value in old.items()}
    assert not before
    bodies = " ".join(body for (body,) in rows(path, "SELECT body FROM jobs"))
    assert '"submitted_at":' in bodies
    assert '"job_path":' in bodies
    assert '"sent_request":' not in bodies


@pytest.mark.parametrize("name", HOMES)
async def test_people_can_read_an_old_ledger(name: str, tmp_path: Path) -> None:
    """Both views have every row; those of stored jobs name the file."""
    path = old_ledger(name, tmp_path)
    ledger = SqliteLedger(path)
    stored = {job.id: job async for job in ledger.iter_jobs(states=["stored"])}
    await ledger.aclose()
    history = rows(path, "SELECT job_id, kind, description FROM history")
    assert len(history) == rows(path, "SELECT count(*) FROM entries")[0][0]
    assert all(description for _, _, description in history)
    overview = dict(rows(path, "SELECT id, file FROM overview"))
    assert len(overview) == len(old_jobs(name))
    for job_id, job in stored.items():
        assert job.media is not None
        file = job.media["files"][0]["path"]
        assert overview[job_id] == file
        assert (job_id, "stored", file) in history
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        rows(path, "UPDATE entries SET timestamp = 0")


async def test_an_old_and_a_new_file_have_the_same_schema(tmp_path: Path, path: Path) -> None:
    """The schema is kept in a golden file, so that a change of it is deliberate."""
    old = old_ledger("home", tmp_path)
    schemas: list[str] = []
    for file in (old, path):
        ledger = SqliteLedger(file)
        assert await ledger.get("unknown") is None
        await ledger.aclose()
        statements = rows(file, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
        meta = rows(file, "SELECT name, value FROM meta") + rows(file, "PRAGMA application_id")
        schemas.append("".join(f"{sql};\n" for (sql,) in statements) + f"-- meta and application_id: {meta}\n")
    assert schemas[0] == schemas[1]
    assert_golden_text("ledger.schema.sql", schemas[1])


async def test_what_is_written_of_a_job_is_what_the_golden_file_says(path: Path) -> None:
    """Every entry type with every field, and the job; a change of these bodies needs a migration."""
    ledger = SqliteLedger(path)
    for entry in FULL_ENTRIES:
        await ledger.append(entry)
    for number, ending in enumerate(ENDINGS):
        fields = {name: getattr(ending, name) for name in ending.__struct_fields__}
        job_id = f"e{number}"
        await ledger.append(created_entry(job_id, idempotency_key=f"key-{number}", requested_model="a/b:fastest",
                                          output_folder="/media", output_file="/media/a.png"))  # fmt: skip
        await ledger.append(type(ending)(**{**fields, "job_id": job_id}))
    await ledger.aclose()
    bodies = rows(path, "SELECT body FROM entries ORDER BY seq") + rows(path, "SELECT body FROM jobs ORDER BY seq")
    assert_golden_text("ledger.bodies.jsonl", "".join(f"{body}\n" for (body,) in bodies))


@pytest.mark.parametrize(
    ("table", "body", "reason"),
    [
        ("facts", "{", "truncated"),
        ("facts", "[]", "not a JSON object"),
        ("facts", '{"fact":"created","job":"a","at":1}', "'request' is missing"),
        ("facts", '{"fact":"painted","job":"a","at":1}', "'painted'"),
        ("facts", '{"fact":"refused","job":"a","at":1,"kind":"tired","message":"no"}', "'tired'"),
        ("jobs", '{"id":"a"}', "'request' is missing"),
        ("jobs", '{"id":"a","request":{},"state":"asleep"}', "'asleep'"),
    ],
)
async def test_an_old_ledger_with_a_body_that_cannot_be_read_is_left_unchanged(
    tmp_path: Path, table: str, body: str, reason: str
) -> None:
    """Reading and writing fail with a sentence that names the row."""
    path = old_ledger("home", tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TRIGGER facts_stay")
        connection.execute(f"UPDATE {table} SET body = ? WHERE seq = (SELECT max(seq) FROM {table})", (body,))
    before = path.read_bytes()
    ledger = SqliteLedger(path)
    for operation in (ledger.get("a"), ledger.append(created_entry("a"))):
        with pytest.raises(StorageError, match=reason) as caught:
            await operation
        assert "upgraded from version 3" in str(caught.value)
        assert str(path) in str(caught.value)
    await ledger.aclose()
    assert path.read_bytes() == before


async def test_a_migration_needs_little_memory(tmp_path: Path) -> None:
    """However many entries there are; nothing is lost."""
    path = tmp_path / "ledger.sqlite3"
    old_ledger("home", tmp_path / "old").rename(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
            INSERT INTO facts (job, at, kind, body)
            SELECT 'j' || i, at, kind, body FROM facts, n WHERE seq = (SELECT min(seq) FROM facts)"""
        )
    (expected,) = rows(path, "SELECT count(*), max(seq) FROM facts")
    ledger = SqliteLedger(path)
    tracemalloc.start()
    try:
        assert await ledger.get("unknown") is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await ledger.aclose()
    assert rows(path, "SELECT count(*), max(seq) FROM entries") == [expected]
    assert peak < 2_000_000


async def test_processes_that_open_an_old_ledger_together_migrate_it_once(tmp_path: Path) -> None:
    """The others wait, and find it done."""
    path = old_ledger("home", tmp_path)
    ledgers = [SqliteLedger(path) for _ in range(4)]
    job_id = old_jobs("home")[0]["id"]
    found = await asyncio.gather(*(ledger.get(job_id) for ledger in ledgers))
    assert found == [found[0]] * 4
    assert found[0] is not None
    await asyncio.gather(*(ledger.aclose() for ledger in ledgers))


async def _old_jobs_in_state(engine: Engine, state: str) -> list[Job]:
    return [job async for job in engine.deps.ledger.iter_jobs(states=[state])]  # type: ignore[list-item]


async def test_old_jobs_are_resumed_without_paying_again(tmp_path: Path, script: ScriptedProviders) -> None:
    """Running ones are polled, completed ones downloaded; one that was being sent is in doubt."""
    path = old_ledger("home", tmp_path)
    ledger = SqliteLedger(path)
    harness = EngineHarness(script, ledger=ledger)
    running = await _old_jobs_in_state(harness.engine, "running")
    completed = [job for job in await _old_jobs_in_state(harness.engine, "completed") if job.outputs[0].url]
    (submitting,) = await _old_jobs_in_state(harness.engine, "submitting")
    assert running
    assert completed
    for job in (*running, *completed):
        assert job.route is not None
        script.script(job.route.provider, DONE)
        events = await harness.resume(job.id)
        assert type(events[-1]).__name__ == "MediaReady", events
        assert await ledger.get(job.id) == replay(await ledger.entries(job.id))
        assert (await harness.engine.get_job(job.id)).state == "stored"
        assert script.call_count(job.route.provider, "submit") == 0
    (failed,) = await harness.resume(submitting.id)
    assert isinstance(failed.error, InDoubtError)  # type: ignore[attr-defined]
    await ledger.aclose()


async def test_an_old_job_that_was_never_sent_runs_in_the_sandbox(
    tmp_path: Path, world: Sandbox, environ: dict[str, str]
) -> None:
    """With its idempotency key, which still finds it afterwards."""
    home = Path(environ["HFMEDIA_HOME"])
    move_old_ledger(home)
    async with MediaClient(environ=environ) as client:
        (job,) = [job async for job in client.ledger.iter_jobs(states=["created"])]
        media = await client.resume(job.id, output=tmp_path / "out.png")
        assert media.path.parent == tmp_path
        assert media.path.exists()
        stored = await client.ledger.find_by_key("asked once")
        assert stored is not None
        assert (stored.id, stored.state) == (job.id, "stored")
        tags = [type(entry) for entry in await client.ledger.entries(job.id)]
        assert tags[:3] == [CreatedEntry, RoutedEntry, SubmittingEntry]


async def test_the_views_name_the_file_that_the_engine_stored(environ: dict[str, str]) -> None:
    """A real run, since the engine decides the shape of the media that the views read."""
    async with MediaClient(environ=environ) as client:
        media = await client.text_to_image("a red fox", model="black-forest-labs/FLUX.1-schnell", width=256, height=256)
    path = Path(environ["HFMEDIA_HOME"]) / "ledger.sqlite3"
    assert rows(path, "SELECT file FROM overview WHERE id = ?", media.job_id) == [(str(media.path),)]
    assert rows(path, "SELECT description FROM history WHERE kind = 'stored'") == [(str(media.path),)]


@pytest.mark.parametrize("version", range(len(LEDGER_SCHEMA.migrations)))
async def test_a_ledger_of_an_earlier_version_is_brought_up_to_date(path: Path, version: int) -> None:
    """From every version there was, with what was in it."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
        old.execute("INSERT INTO meta VALUES ('version', ?)", (version,))
        old.execute(f"PRAGMA application_id = {LEDGER_SCHEMA.application_id}")
        for migration in LEDGER_SCHEMA.migrations[:version]:
            apply_migration(migration, old)
        if version:
            old.execute(
                "INSERT INTO facts VALUES (7, 'old', 1.5, 'created', "
                """'{"fact":"created","job":"old","at":1.5,"request":{"task":"text-to-image","model":"a/b"}}')"""
            )
            job = '{"id":"old","request":{"task":"text-to-image","model":"a/b"},"created":1.5}'
            old.execute(
                "INSERT INTO jobs (seq, id, key, state, ended, created, updated, task, model, attempts, body) "
                "VALUES (7, 'old', 'k', 'new', 0, 1.5, 1.5, 'text-to-image', 'a/b', 0, ?)",
                (job,),
            )
    ledger = SqliteLedger(path)
    for entry in job_entries("young"):
        await ledger.append(entry)
    if version:
        assert [entry.timestamp for entry in await ledger.entries("old")] == [1.5]
        assert await ledger.find_by_key("k") == await ledger.get("old")
        assert await ledger.claim("old")
    assert [job.id async for job in ledger.iter_jobs()] == ["old", "young"][not version :]
    await ledger.aclose()
    assert rows(path, "SELECT value FROM meta WHERE name = 'version'") == [(len(LEDGER_SCHEMA.migrations),)]
    assert len(rows(path, "SELECT * FROM history")) == 6 + bool(version)


def test_a_ledger_whose_old_process_runs_jobs_is_left_unchanged(tmp_path: Path) -> None:
    """That process could not record a result in the new tables, and a paid job would be lost."""
    path = old_ledger("home", tmp_path)
    locks = ProcessLocks(path)
    owner = locks.acquire_owner_id()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("REPLACE INTO claims (job, owner) SELECT id, ? FROM jobs WHERE state = 'running'", (owner,))
    before = rows(path, "SELECT * FROM facts ORDER BY seq")

    async def open_ledger() -> None:
        ledger = SqliteLedger(path)
        try:
            assert [job async for job in ledger.iter_jobs()]
        finally:
            await ledger.aclose()

    with pytest.raises(StorageError, match=r"process \d+ of an earlier version is running jobs; stop it"):
        asyncio.run(open_ledger())
    assert rows(path, "SELECT * FROM facts ORDER BY seq") == before
    locks.release()
    asyncio.run(open_ledger())  # once it has ended
