"""Batch runs: limited concurrency, failures of single lines, and every way to stop."""

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
    """N different lines."""
    return [{"prompt": f"fox {number}"} for number in range(n)]


async def run_to_end(batch: Batch) -> list[BatchEvent]:
    """All events of a batch."""
    async with batch:
        return [event async for event in batch.run()]


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is met, at most ten seconds."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("condition not met before timeout")


def index(folder: Path) -> list[dict[str, Any]]:
    """The lines of the index."""
    return [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]


async def test_every_output_is_generated_with_limited_concurrency(fake_client: Any, tmp_path: Path) -> None:
    """Each output ends once, in the index too."""
    fake_client.pause = 0.02
    batch = Batch(fake_client, rows(100), tmp_path / "out", concurrency=5)
    events = await run_to_end(batch)
    assert fake_client.max_active == 5
    assert sorted(call["prompt"] for call in fake_client.calls) == sorted(row["prompt"] for row in rows(100))
    assert sum(isinstance(event.event, MediaReady) for event in events) == 100
    lines = index(tmp_path / "out")
    assert sorted(line["line"] for line in lines) == list(range(1, 101))
    assert all((tmp_path / "out" / line["path"]).is_file() for line in lines)
    assert (batch.stop_reason, batch.fatal_error, batch.stats.done) == (None, None, 100)


async def test_the_client_receives_all_options(fake_client: Any, tmp_path: Path) -> None:
    """With the key and the path inside the folder."""
    line = {"prompt": "a", "steps": 4, "strength": 0.5, "shift": 2, "output": "sub/a.png"}
    defaults = {"model": "a/b:p", "task": "text-to-image", "strength": 1, "shift": 1}
    batch = Batch(fake_client, [line], tmp_path, defaults=defaults)
    (first, *_) = await run_to_end(batch)
    assert fake_client.calls == [{
        "prompt": "a", "model": "a/b:p", "task": "text-to-image", "num_inference_steps": 4,
        "strength": 0.5, "extra_body": {"shift": 2}, "output": f"{tmp_path}/sub/a.png",
        "idempotency_key": first.item.key,
    }]  # fmt: skip


async def test_one_failure_never_ends_the_rest(fake_client: Any, tmp_path: Path) -> None:
    """Whether it is an event, an exception or a bug; the index has the reason."""
    fake_client.endings = {
        "fox 1": RequestRejectedError("no such thing"),
        "fox 3": InvalidRequestError("raised before anything was sent"),
        "fox 5": ZeroDivisionError("a defect"),
        "fox 7": InDoubtError("unknown"),
    }
    batch = Batch(fake_client, rows(20), tmp_path, concurrency=3)
    events = await run_to_end(batch)
    failed = {event.item.options["prompt"]: event.event.error for event in events if isinstance(event.event, JobFailed)}
    assert failed.keys() == fake_client.endings.keys()
    assert "ZeroDivisionError" in failed["fox 5"].message
    assert (batch.stats.done, batch.stats.failed, batch.stats.in_doubt) == (16, 4, 1)
    assert {line["line"]: line["error"] for line in index(tmp_path) if "error" in line} == {
        2: "RequestRejectedError", 4: "InvalidRequestError", 6: "HfmediaError", 8: "InDoubtError",
    }  # fmt: skip


async def test_it_stops_at_a_number_of_failures(fake_client: Any, tmp_path: Path) -> None:
    """What is in progress finishes."""
    fake_client.endings = {f"fox {number}": RequestRejectedError("no") for number in range(100)}
    batch = Batch(fake_client, rows(100), tmp_path, concurrency=2, max_failures=5)
    await run_to_end(batch)
    assert batch.stop_reason == "failures"
    assert 5 <= batch.stats.failed <= 6
    assert len(fake_client.calls) == batch.stats.failed


async def test_it_stops_at_a_cost_in_dollars_alone(fake_client: Any, tmp_path: Path) -> None:
    """Other units and unknown costs do not count."""
    fake_client.cost = Cost(0.5)
    fake_client.endings = {"fox 0": Cost(100, "fal-units")}
    batch = Batch(fake_client, rows(100), tmp_path, concurrency=2, max_cost=3)
    await run_to_end(batch)
    assert batch.stop_reason == "cost"
    assert 3 <= batch.stats.reported_usd <= 3.5
    assert len(fake_client.calls) <= 9


async def test_it_stops_after_repeated_fatal_errors(fake_client: Any, tmp_path: Path) -> None:
    """Ninety thousand failures for lack of credit are of no use."""
    fake_client.endings = {f"fox {number}": InsufficientCreditError("no credit") for number in range(10, 200)}
    batch = Batch(fake_client, rows(200), tmp_path, concurrency=4)
    await run_to_end(batch)
    assert batch.stop_reason == "repeated_auth_failures"
    assert batch.stats.newly_done == 10
    assert 20 <= batch.stats.failed <= 24


async def test_a_folder_that_vanishes_ends_it(fake_client: Any, tmp_path: Path) -> None:
    """With a clear error; nothing new is started."""
    folder = tmp_path / "out"
    fake_client.endings = {"fox 10": lambda: shutil.move(folder, tmp_path / "away")}
    batch = Batch(fake_client, rows(100), folder, concurrency=2)
    await run_to_end(batch)
    assert isinstance(batch.fatal_error, StorageError)
    assert "is gone" in batch.fatal_error.message
    assert len(fake_client.calls) <= 13


STORAGE_ERRORS: list[tuple[OSError, bool]] = [
    (OSError(28, "No space left on device"), True),
    (OSError(30, "Read-only file system"), True),
    (OSError(21, "Is a directory"), False),
    (OSError(36, "File name too long"), False),
]


@pytest.mark.parametrize(("cause", "ends"), STORAGE_ERRORS)
async def test_a_full_disk_ends_it_and_a_bad_name_does_not(
    cause: OSError, ends: bool, fake_client: Any, tmp_path: Path
) -> None:
    """An error of the disk concerns every line."""
    error = StorageError("cannot write")
    error.__cause__ = cause
    fake_client.endings = {"fox 3": error}
    batch = Batch(fake_client, rows(50), tmp_path, concurrency=2)
    await run_to_end(batch)
    assert (batch.fatal_error is error) == ends
    assert len(fake_client.calls) == 50 if not ends else len(fake_client.calls) <= 7


async def test_stopping_lets_outputs_in_progress_finish(fake_client: Any, tmp_path: Path) -> None:
    """Nothing new is started, and everything that was started is done."""
    fake_client.gate = asyncio.Event()
    batch = Batch(fake_client, rows(50), tmp_path, concurrency=4)

    async def stop() -> int:
        await wait_until(lambda: fake_client.waiting == 4)
        await asyncio.sleep(0.05)  # until each has its event
        batch.stop()
        active = await asyncio.wait_for(batch.wait_until_safe_to_exit(), 5)
        fake_client.gate.set()
        return active

    stopping = asyncio.create_task(stop())
    await run_to_end(batch)
    assert await stopping == 4
    assert (batch.stop_reason, len(fake_client.calls), batch.stats.newly_done) == ("stopped", 4, 4)


async def test_closing_the_run_ends_everything(fake_client: Any, tmp_path: Path) -> None:
    """No task and no lock on the folder remain."""
    fake_client.gate = asyncio.Event()
    async with Batch(fake_client, rows(50), tmp_path, concurrency=4) as batch:
        events = batch.run()
        await anext(events)
        await events.aclose()
    assert fake_client.active == 0
    fake_client.gate.set()
    assert (
        sum(isinstance(event.event, MediaReady) for event in await run_to_end(Batch(fake_client, rows(2), tmp_path)))
        == 2
    )


async def test_a_slow_reader_slows_the_batch(fake_client: Any, tmp_path: Path) -> None:
    """Events wait in a bounded queue; results do not pile up in memory."""
    async with Batch(fake_client, rows(2000), tmp_path, concurrency=4) as batch:
        events = batch.run()
        await anext(events)
        await wait_until(lambda: len(fake_client.calls) >= 100)
        await asyncio.sleep(0.3)
        assert 100 <= len(fake_client.calls) < 400
        await events.aclose()


async def test_what_the_ledger_lost_is_known_from_the_index(fake_client: Any, tmp_path: Path) -> None:
    """With a lost ledger, existing files are not generated again; deleted ones are."""
    fake_client.cost = Cost(1.0)
    await run_to_end(Batch(fake_client, rows(5), tmp_path))
    deleted = index(tmp_path)[2]
    (tmp_path / deleted["path"]).unlink()
    before = len(fake_client.calls)
    batch = Batch(fake_client, rows(5), tmp_path)
    await run_to_end(batch)
    assert [call["prompt"] for call in fake_client.calls[before:]] == [f"fox {deleted['line'] - 1}"]
    assert (batch.stats.previously_done, batch.stats.newly_done, batch.stats.reported_usd) == (4, 1, 5.0)
    assert sorted(line["line"] for line in index(tmp_path)) == [1, 2, 3, 4, 5]


async def test_two_inputs_share_a_folder_and_its_index(fake_client: Any, tmp_path: Path) -> None:
    """Each keeps the results of the other."""
    await run_to_end(Batch(fake_client, rows(3), tmp_path))
    await run_to_end(Batch(fake_client, [{"prompt": "a whale"}], tmp_path))
    assert len(index(tmp_path)) == 4
    assert len({line["key"] for line in index(tmp_path)}) == 4


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"concurrency": 0}, "concurrency is 0"),
    ({"concurrency": 1001}, "concurrency is 1001"),
    ({"max_failures": 0}, "max_failures is 0"),
    ({"max_cost": float("nan")}, "max_cost is nan"),
    ({"defaults": {"size": "big"}}, "size 'big'"),
    ({"defaults": {"task": "poem"}}, "unknown task"),
    ({"defaults": {"n": 1000}}, "n is 1000"),
    ({"defaults": {"output": "a.png"}}, "output belongs to one line"),
]


@pytest.mark.parametrize(("options", "text"), INVALID)
async def test_an_invalid_argument_is_rejected(
    options: dict[str, Any], text: str, fake_client: Any, tmp_path: Path
) -> None:
    """Before the input is read."""
    with pytest.raises(InvalidRequestError) as caught:
        Batch(fake_client, rows(1), tmp_path, **options)
    assert text in caught.value.message


async def test_an_internal_error_is_reported(fake_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the fatal error of the batch."""
    batch = Batch(fake_client, rows(3), tmp_path)

    async def broken(*args: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(batch, "_next_item", broken)
    await run_to_end(batch)
    assert isinstance(batch.fatal_error, HfmediaError)
    assert "ZeroDivisionError" in batch.fatal_error.message
