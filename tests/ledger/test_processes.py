"""Several processes on one ledger, and processes that are killed: nothing acknowledged is lost, nothing done twice."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from hfmedia.core.job import replay
from hfmedia.ledger import SqliteLedger

from .builders import created_entry
from .child_process import start_command

KILLS = 20


async def test_what_was_acknowledged_survives_every_kill(path: Path) -> None:
    """A child is killed in the middle of a stream of entries, again and again, and each time every entry is checked."""
    chance = random.Random(7)
    for turn in range(KILLS):
        with start_command("stream", path, f"r{turn}") as child:
            assert child.stdout is not None
            lines = [child.stdout.readline()]
            await asyncio.sleep(chance.random() * 0.15)
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        acknowledged = Counter[str]()
        for line in lines:
            if line.endswith("\n"):
                job, count = json.loads(line)
                acknowledged[job] = max(acknowledged[job], count)
        assert acknowledged
        ledger = SqliteLedger(path)
        for job, count in acknowledged.items():
            entries = await ledger.entries(job)
            assert len(entries) >= count
            assert await ledger.get(job) == replay(entries)
            assert await ledger.owner(job) is None
        await ledger.aclose()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("processes", [2, 4])
async def test_processes_that_compete_for_the_same_jobs_share_them(path: Path, processes: int) -> None:
    """Each job is created once, claimed by one and sent once; no process loses a job of its own."""
    jobs = 40
    children = [start_command("race", path, f"p{number}", jobs) for number in range(processes)]
    try:
        for child in children:
            assert child.stdout is not None
            assert json.loads(child.stdout.readline()) == "ready"
        for child in children:
            print(file=child.stdin, flush=True)
        reports = [json.loads(await asyncio.to_thread(child.stdout.readline)) for child in children if child.stdout]
        for number in range(jobs):
            actions = Counter(action for report in reports for action in report[number])
            assert actions == {"created": 1, "claimed": 1, "sent": 1}, (number, actions)
        ledger = SqliteLedger(path)
        owners = await ledger.claims()
        assert {int(owner.split("-")[0]) for owner in owners.values()} == {child.pid for child in children}
        assert len(owners) == jobs + processes * jobs
        for child in children:
            print(file=child.stdin, flush=True)
            assert child.wait(30) == 0
        assert await ledger.claims() == {}
        assert len([job async for job in ledger.iter_jobs()]) == jobs + processes * jobs
        await ledger.aclose()
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("killed", [True, False])
async def test_a_dead_process_owns_nothing(path: Path, killed: bool) -> None:
    """Killed, or exited without closing; while it is alive its job cannot be claimed, and afterwards by one only."""
    one, two = SqliteLedger(path), SqliteLedger(path)
    with start_command("carry", path, "a") as child:
        assert child.stdout is not None
        owner = json.loads(child.stdout.readline())
        assert owner.startswith(f"{child.pid}-")
        assert await one.owner("a") == owner
        assert [await one.claim("a"), await two.claim("a")] == [False, False]
        assert await one.claims() == {"a": owner}
        if killed:
            child.send_signal(signal.SIGKILL)
        else:
            print(file=child.stdin, flush=True)
        child.wait(30)
    assert await one.owner("a") is None
    assert await one.claims() == {}
    assert sorted(await asyncio.gather(one.claim("a"), two.claim("a"))) == [False, True]
    lock = path.with_name(f"{path.name}.owners") / f"{owner}.lock"
    assert not lock.exists()
    await one.aclose()
    await two.aclose()


async def test_what_dead_processes_leave_behind_is_removed(path: Path) -> None:
    """Their lock files are removed by the next process, and their claims do not keep old jobs from being pruned."""
    folder = path.with_name(f"{path.name}.owners")
    for number in range(3):
        with start_command("carry", path, f"j{number}") as child:
            assert child.stdout is not None
            child.stdout.readline()
            child.kill()
    assert len(list(folder.iterdir())) >= 1
    ledger = SqliteLedger(path)
    owner_id = await ledger.owner_id()
    assert [file.name for file in folder.iterdir()] == [f"{owner_id}.lock"]
    assert [await ledger.claim(f"j{number}") for number in range(3)] == [True] * 3
    await ledger.aclose()
    assert not folder.exists()


async def test_two_ledgers_in_one_process_are_two_owners(path: Path) -> None:
    """As two clients are; what one closes, the other may claim."""
    one, two = SqliteLedger(path), SqliteLedger(path)
    await one.append(created_entry("a"))
    assert not await two.claim("a")
    assert await two.owner("a") == await one.owner_id() != await two.owner_id()
    await two.release("a")
    assert await one.owner("a") == await one.owner_id()
    await one.aclose()
    assert await two.claim("a")
    await two.aclose()


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
async def test_a_forked_child_owns_nothing(path: Path) -> None:
    """It has to open its own ledger; the parent continues, and the parent's claims end with the parent alone."""
    ledger = SqliteLedger(path)
    with start_command("parent", path, "a") as parent:
        assert parent.stdout is not None
        report: dict[str, object] = {}
        for _ in range(2):
            report |= json.loads(parent.stdout.readline())
        messages = report["child"]
        assert isinstance(messages, list)
        assert len(messages) == 3
        assert all("forked" in message for message in messages), messages
        assert report["claimed"] is False
        assert report["own"] is True
        assert await ledger.owner("a") == report["parent"]
        parent.send_signal(signal.SIGKILL)
        parent.wait(30)
        assert await ledger.claim("a")  # though the child lives, as its own claim shows
        assert await ledger.owner("own") is not None
    await ledger.aclose()


@pytest.mark.parametrize("name", ["", "1", "../../etc/passwd", "1-" + "0" * 32, "1-" + "0" * 31 + "\n"])
async def test_an_unknown_owner_is_dead(disk: SqliteLedger, path: Path, name: str) -> None:
    """Whatever is in the table."""
    await disk.append(created_entry("a"))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE claims SET owner = ?", (name,))
    assert await disk.owner("a") is None
    assert await disk.claim("a")
