"""Running a batch: a few at a time, one failure ends nothing, and each way to stop stops."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hfmedia.batch import Batch, BatchEvent
from hfmedia.core.errors import (
    HfmediaError,
    InDoubtError,
    InsufficientCreditError,
    InvalidRequestError,
    RequestRejectedError,
    StorageError,
)
from hfmedia.core.protocol import Cost
from hfmedia.engine import JobFailed, MediaReady


def rows(n: int) -> list[dict[str, Any]]:
    """So many lines, each another."""
    return [{"prompt": f"fox {number}"} for number in range(n)]


async def through(batch: Batch) -> list[BatchEvent]:
    """Everything that a batch tells."""
    async with batch:
        return [one async for one in batch.run()]


async def until(so: Callable[[], bool]) -> None:
    """Waits until something is so, ten seconds at most."""
    for _ in range(1000):
        if so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass in time")


def index(folder: Path) -> list[dict[str, Any]]:
    """What the index says."""
    return [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]


async def test_everything_comes_and_no_more_than_so_many_at_once(stand: Any, tmp_path: Path) -> None:
    """Each output ends once, in the index too."""
    stand.pause = 0.02
    batch = Batch(stand, rows(100), tmp_path / "out", concurrency=5)
    heard = await through(batch)
    assert stand.most_at_once == 5
    assert sorted(ask["prompt"] for ask in stand.asked) == sorted(row["prompt"] for row in rows(100))
    assert sum(isinstance(one.event, MediaReady) for one in heard) == 100
    told = index(tmp_path / "out")
    assert sorted(line["line"] for line in told) == list(range(1, 101))
    assert all((tmp_path / "out" / line["path"]).is_file() for line in told)
    assert (batch.stop_reason, batch.fatal_error, batch.stats.done) == (None, None, 100)


async def test_the_client_is_told_the_whole_wish(stand: Any, tmp_path: Path) -> None:
    """With the key, and with the place inside the folder."""
    line = {"prompt": "a", "steps": 4, "strength": 0.5, "output": "sub/a.png"}
    batch = Batch(stand, [line], tmp_path, defaults={"model": "a/b:p", "task": "text-to-image", "strength": 1})
    (heard, *_) = await through(batch)
    assert stand.asked == [{
        "prompt": "a", "model": "a/b:p", "task": "text-to-image", "num_inference_steps": 4,
        "extra_body": {"strength": 0.5}, "output": f"{tmp_path}/sub/a.png", "idempotency_key": heard.item.key,
    }]  # fmt: skip


async def test_one_failure_never_ends_the_rest(stand: Any, tmp_path: Path) -> None:
    """Whether it is told as an event, raised, or a defect; the index says why."""
    stand.endings = {
        "fox 1": RequestRejectedError("no such thing"),
        "fox 3": InvalidRequestError("raised before anything was sent"),
        "fox 5": ZeroDivisionError("a defect"),
        "fox 7": InDoubtError("nobody knows"),
    }
    batch = Batch(stand, rows(20), tmp_path, concurrency=3)
    heard = await through(batch)
    failed = {one.item.options["prompt"]: one.event.error for one in heard if isinstance(one.event, JobFailed)}
    assert failed.keys() == stand.endings.keys()
    assert "ZeroDivisionError" in failed["fox 5"].message
    assert (batch.stats.done, batch.stats.failed, batch.stats.in_doubt) == (16, 4, 1)
    assert {line["line"]: line["error"] for line in index(tmp_path) if "error" in line} == {
        2: "RefusedError", 4: "InvalidRequestError", 6: "HfmediaError", 8: "InDoubtError",
    }  # fmt: skip


async def test_it_stops_at_a_number_of_failures(stand: Any, tmp_path: Path) -> None:
    """What is under way ends."""
    stand.endings = {f"fox {number}": RequestRejectedError("no") for number in range(100)}
    batch = Batch(stand, rows(100), tmp_path, concurrency=2, max_failures=5)
    await through(batch)
    assert batch.stop_reason == "failures"
    assert 5 <= batch.stats.failed <= 6
    assert len(stand.asked) == batch.stats.failed


async def test_it_stops_at_a_cost_in_dollars_alone(stand: Any, tmp_path: Path) -> None:
    """Other units and unknown costs are told, and not counted."""
    stand.cost = Cost(0.5)
    stand.endings = {"fox 0": Cost(100, "fal-units")}
    batch = Batch(stand, rows(100), tmp_path, concurrency=2, max_cost=3)
    await through(batch)
    assert batch.stop_reason == "cost"
    assert 3 <= batch.stats.reported_usd <= 3.5
    assert len(stand.asked) <= 9


async def test_it_stops_when_nothing_gets_through_any_more(stand: Any, tmp_path: Path) -> None:
    """Ninety thousand refusals for want of credit help nobody."""
    stand.endings = {f"fox {number}": InsufficientCreditError("no credit") for number in range(10, 200)}
    batch = Batch(stand, rows(200), tmp_path, concurrency=4)
    await through(batch)
    assert batch.stop_reason == "hopeless"
    assert batch.stats.newly_done == 10
    assert 20 <= batch.stats.failed <= 24


async def test_a_folder_that_vanishes_ends_it(stand: Any, tmp_path: Path) -> None:
    """With a clear error; nothing more is begun, and brought back it goes on."""
    folder = tmp_path / "out"
    stand.endings = {"fox 10": lambda: shutil.move(folder, tmp_path / "away")}
    batch = Batch(stand, rows(100), folder, concurrency=2)
    await through(batch)
    assert isinstance(batch.fatal_error, StorageError)
    assert "is gone" in batch.fatal_error.message
    assert len(stand.asked) <= 13


TROUBLES: list[tuple[OSError, bool]] = [
    (OSError(28, "No space left on device"), True),
    (OSError(30, "Read-only file system"), True),
    (OSError(21, "Is a directory"), False),
    (OSError(36, "File name too long"), False),
]


@pytest.mark.parametrize(("cause", "ends"), TROUBLES)
async def test_a_full_disk_ends_it_and_a_bad_name_does_not(
    cause: OSError, ends: bool, stand: Any, tmp_path: Path
) -> None:
    """What is the disk's trouble is every line's."""
    error = StorageError("cannot write")
    error.__cause__ = cause
    stand.endings = {"fox 3": error}
    batch = Batch(stand, rows(50), tmp_path, concurrency=2)
    await through(batch)
    assert (batch.fatal_error is error) == ends
    assert len(stand.asked) == 50 if not ends else len(stand.asked) <= 7


async def test_stopping_lets_what_is_under_way_end(stand: Any, tmp_path: Path) -> None:
    """Nothing new is begun, and all that began is there."""
    stand.gate = asyncio.Event()
    batch = Batch(stand, rows(50), tmp_path, concurrency=4)

    async def stop() -> int:
        await until(lambda: stand.waiting == 4)
        await asyncio.sleep(0.05)  # until each was told to be accepted
        batch.stop()
        under_way = await asyncio.wait_for(batch.wait_until_safe_to_exit(), 5)
        stand.gate.set()
        return under_way

    stopping = asyncio.create_task(stop())
    await through(batch)
    assert await stopping == 4
    assert (batch.stop_reason, len(stand.asked), batch.stats.newly_done) == ("stopped", 4, 4)


async def test_closing_the_run_ends_everything(stand: Any, tmp_path: Path) -> None:
    """Nothing is left behind: no task, no lock on the folder."""
    stand.gate = asyncio.Event()
    async with Batch(stand, rows(50), tmp_path, concurrency=4) as batch:
        told = batch.run()
        await anext(told)
        await told.aclose()
    assert stand.at_once == 0
    stand.gate.set()
    assert sum(isinstance(one.event, MediaReady) for one in await through(Batch(stand, rows(2), tmp_path))) == 2


async def test_a_slow_reader_slows_the_batch(stand: Any, tmp_path: Path) -> None:
    """Events wait in a bounded queue; results do not pile up in memory."""
    async with Batch(stand, rows(2000), tmp_path, concurrency=4) as batch:
        told = batch.run()
        await anext(told)
        await until(lambda: len(stand.asked) >= 100)
        await asyncio.sleep(0.3)
        assert 100 <= len(stand.asked) < 400
        await told.aclose()


async def test_what_the_ledger_lost_is_known_from_the_index(stand: Any, tmp_path: Path) -> None:
    """A lost ledger buys nothing again while the files are there; what was removed is made again."""
    stand.cost = Cost(1.0)
    await through(Batch(stand, rows(5), tmp_path))
    gone = index(tmp_path)[2]
    (tmp_path / gone["path"]).unlink()
    before = len(stand.asked)
    batch = Batch(stand, rows(5), tmp_path)
    await through(batch)
    assert [ask["prompt"] for ask in stand.asked[before:]] == [f"fox {gone['line'] - 1}"]
    assert (batch.stats.previously_done, batch.stats.newly_done, batch.stats.reported_usd) == (4, 1, 5.0)
    assert sorted(line["line"] for line in index(tmp_path)) == [1, 2, 3, 4, 5]


async def test_two_sheets_share_a_folder_and_its_index(stand: Any, tmp_path: Path) -> None:
    """Neither forgets the other's results."""
    await through(Batch(stand, rows(3), tmp_path))
    await through(Batch(stand, [{"prompt": "a whale"}], tmp_path))
    assert len(index(tmp_path)) == 4
    assert len({line["key"] for line in index(tmp_path)}) == 4


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"concurrency": 0}, "concurrency is 0"),
    ({"concurrency": 1001}, "concurrency is 1001"),
    ({"max_failures": 0}, "max_failures is 0"),
    ({"max_cost": float("nan")}, "max_cost is nan"),
    ({"defaults": {"size": "big"}}, "size 'big'"),
    ({"defaults": {"task": "poem"}}, "unknown task"),
    ({"defaults": {"n": 1000}}, "n is 1000"),
    ({"defaults": {"output": "a.png"}}, "output belongs to one line"),
]


@pytest.mark.parametrize(("options", "words"), WRONG)
async def test_what_cannot_be_meant_is_refused_at_the_door(
    options: dict[str, Any], words: str, stand: Any, tmp_path: Path
) -> None:
    """Before the sheet is read."""
    with pytest.raises(InvalidRequestError) as caught:
        Batch(stand, rows(1), tmp_path, **options)
    assert words in caught.value.message


async def test_a_defect_of_ours_is_told(stand: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As trouble, and not by silence."""
    batch = Batch(stand, rows(3), tmp_path)

    async def broken(*given: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(batch, "_next", broken)
    await through(batch)
    assert isinstance(batch.fatal_error, HfmediaError)
    assert "ZeroDivisionError" in batch.fatal_error.message
