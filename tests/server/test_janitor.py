"""The janitor: what is old or deleted goes, whole; everything else stays, whatever else goes wrong."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from hfmedia.core.errors import StorageError
from hfmedia.core.job import Job
from hfmedia.core.request import GenerationRequest, InputImage
from hfmedia.server.config import Config
from hfmedia.server.db.api_keys import KeyLimits
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.generations import Generation, GenerationSpec
from hfmedia.server.media import janitor as module
from hfmedia.server.media.janitor import UNDELETE_GRACE_PERIOD, Janitor, SweepResult, sweep
from hfmedia.server.media.renditions import Renditions
from hfmedia.storage import Media
from hfmedia.storage.filenames import sidecar_path

NOW = 1_800_000_000.0
DAY = 86_400.0
Make = Callable[..., Any]


class Yard:
    """A gateway as the janitor sees it: a real database, real files, and jobs as the ledger has them."""

    def __init__(self, home: Path, days: float = 30.0) -> None:
        self.home, self.jobs = home, dict[str, list[Job]]()
        self.config = Config(media_retention_days=days)
        self.database = GatewayDatabase(home / "book.sqlite3", clock=lambda: NOW)
        self.renditions = Renditions(home / "renditions")
        self.input_store = SimpleNamespace(folder=home / "inputs")
        self.runner = SimpleNamespace(jobs_of=self._jobs_of)

    async def _jobs_of(self, order: Generation) -> list[Job]:
        return self.jobs[order.id]

    def order(
        self, name: str, *, age: float = 0.0, state: Any = "stored", inputs: str | None = None, **body: Any
    ) -> Generation:
        """An order of one output, so many seconds old, with its files."""
        image = InputImage(sha256=inputs, mime="image/png") if inputs else None
        ask = GenerationSpec(prompt=name, task="text-to-image", image=image)
        order = Generation(id=name, caller_id="k", kind="image", created_at=NOW - age, n=1, api="images", spec=ask)
        self.database.reserve(order, KeyLimits(), now=NOW - age)
        if state in ("stored", "failed", "cancelled"):
            self.database.settle_charges(name, charged_usd=None, images=1, videos=0)
        for index, at in body.get("deleted", {}).items():
            self.database.mark_deleted(name, index, at)
        media = {"files": [self.media(name).to_dict()]} if state == "stored" else None
        payload = GenerationRequest(task="text-to-image", model="org/name")
        self.jobs[name] = [
            Job(id=f"job-{name}", request=payload, state=state, idempotency_key=order.job_key(0), media=media)
        ]
        if inputs:
            self.put(self.input_store.folder / inputs, age)
        return order

    def media(self, name: str) -> Media:
        """A file with its facts and a rendition."""
        data = name.encode() * 9
        import hashlib

        digest = hashlib.sha256(data).hexdigest()
        path = self.put(self.home / "media" / f"{name}.png", 0, data)
        media = Media(path=path, mime="image/png", bytes=len(data), sha256=digest, job_id=f"job-{name}", created=NOW)
        import json

        sidecar_path(path).write_text(json.dumps(media.to_dict()))
        self.put(self.renditions.folder / f"{digest}.t.webp", 0)
        return media

    def put(self, path: Path, age: float, data: bytes = b"x") -> Path:
        """A file of that age."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (NOW - age, NOW - age))
        return path

    def left(self) -> set[str]:
        """The prompts whose files are there, each whole: the file, its facts and its rendition."""
        names = {path.stem for path in (self.home / "media").glob("*.png")}
        assert len(list((self.home / "media").iterdir())) == 2 * len(names), "no facts without a file"
        assert len(list(self.renditions.folder.glob("*"))) == len(names), "no renditions without a file"
        return names

    def known(self) -> set[str]:
        """The orders in the book."""
        return {order.id for order in self.database.generations(None, limit=None)}

    async def sweep(self, now: float = NOW) -> SweepResult:
        """One sweep."""
        return await sweep(self, now)  # type: ignore[arg-type]


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    """Results are kept for thirty days."""
    made = Yard(tmp_path)
    yield made
    made.database.close()


async def test_what_is_old_goes_and_what_is_young_stays(yard: Yard) -> None:
    """Files, facts, renditions and inputs go together, and the order is forgotten."""
    yard.order("old", age=31 * DAY, inputs="aa")
    yard.order("young", age=29 * DAY, inputs="bb")
    assert await yard.sweep() == SweepResult(outputs=1, inputs=1, generations=1)
    assert yard.left() == yard.known() == {"young"}
    assert [path.name for path in yard.input_store.folder.iterdir()] == ["bb"]
    assert await yard.sweep() == SweepResult()


async def test_an_owner_has_an_hour_to_change_their_mind(yard: Yard) -> None:
    """What was deleted goes after the grace, with its input; its order stays in the book as deleted."""
    yard.order("fresh", age=DAY, deleted={0: NOW - UNDELETE_GRACE_PERIOD + 60}, inputs="aa")
    yard.order("gone", age=DAY, deleted={0: NOW - UNDELETE_GRACE_PERIOD - 60}, inputs="bb")
    assert await yard.sweep() == SweepResult(outputs=1, inputs=1)
    assert yard.left() == {"fresh"} and yard.known() == {"fresh", "gone"}
    assert await yard.sweep(NOW + UNDELETE_GRACE_PERIOD) == SweepResult(outputs=1, inputs=1)
    assert yard.left() == set()


async def test_what_is_brought_back_while_it_sweeps_stays(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The orders were read a moment ago: their owner may have been quicker."""
    order = yard.order("saved", age=DAY, deleted={0: NOW - UNDELETE_GRACE_PERIOD - 60})
    read = yard.database.generations

    def late(*given: Any, **more: Any) -> list[Generation]:
        found = read(*given, **more)
        yard.database.mark_deleted(order.id, 0, None)
        return found

    monkeypatch.setattr(yard.database, "generations", late)
    assert await yard.sweep() == SweepResult()
    assert yard.left() == {"saved"}


@pytest.mark.parametrize("state", ["created", "routed", "submitting", "in_doubt", "running", "completed"])
async def test_a_job_that_has_not_ended_keeps_everything(yard: Yard, state: str) -> None:
    """However old it is, and even if it was deleted: its input may be needed, and it may still bring its media."""
    yard.order("open", age=99 * DAY, state=state, inputs="aa", deleted={0: NOW - DAY})
    assert await yard.sweep() == SweepResult()
    assert yard.known() == {"open"} and (yard.input_store.folder / "aa").exists()


async def test_for_ever_means_for_ever(tmp_path: Path) -> None:
    """With media_days 0 only what was deleted goes."""
    yard = Yard(tmp_path, days=0)
    yard.order("old", age=9999 * DAY)
    yard.order("deleted", age=DAY, deleted={0: NOW - DAY})
    assert await yard.sweep() == SweepResult(outputs=1)
    assert yard.left() == {"old"} and yard.known() == {"old", "deleted"}
    yard.database.close()


async def test_an_input_that_another_generation_needs_stays(yard: Yard) -> None:
    """The same picture, sent twice, is kept once; the younger order still has it."""
    yard.order("old", age=31 * DAY, inputs="aa")
    yard.order("young", age=DAY, inputs="aa")
    os.utime(yard.input_store.folder / "aa", (NOW - 31 * DAY, NOW - 31 * DAY))
    await yard.sweep()
    assert (yard.input_store.folder / "aa").exists()


async def test_a_name_that_belongs_to_something_else_by_now_stays(yard: Yard) -> None:
    """Its owner moved the file away, and another one has its name: neither that nor its facts are touched."""
    yard.order("old", age=31 * DAY)
    path = yard.home / "media" / "old.png"
    path.write_bytes(b"another file")
    sidecar_path(path).write_text('{"job_id": "other", "sha256": "00"}')
    assert (await yard.sweep()).outputs == 0
    assert path.read_bytes() == b"another file" and sidecar_path(path).exists()


async def test_a_file_without_its_facts_is_known_by_its_bytes(yard: Yard) -> None:
    """The facts may be gone; the digest tells that it is ours."""
    yard.order("old", age=31 * DAY)
    path = yard.home / "media" / "old.png"
    sidecar_path(path).unlink()
    assert (await yard.sweep()).outputs == 1
    assert not path.exists()


async def test_files_that_are_missing_already_stop_nothing(yard: Yard) -> None:
    """Somebody tidied up by hand."""
    yard.order("first", age=32 * DAY)
    yard.order("second", age=31 * DAY)
    for path in (yard.home / "media").glob("first*"):
        path.unlink()
    assert await yard.sweep() == SweepResult(outputs=1, generations=2)
    assert yard.left() == set()


async def test_a_file_that_would_not_go_is_tried_again(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its order, and every younger one, is remembered until it is gone; the others' files go all the same."""
    for name, age in (("a", 33), ("b", 32), ("c", 31)):
        yard.order(name, age=age * DAY)
    real = module._remove_media

    def stubborn(media: Media) -> bool:
        if media.path.stem == "b":
            raise PermissionError(13, "it is locked")
        return real(media)

    monkeypatch.setattr(module, "_remove_media", stubborn)
    assert await yard.sweep() == SweepResult(outputs=2, generations=1, errors=1)
    assert yard.known() == {"b", "c"}
    monkeypatch.setattr(module, "_remove_media", real)
    assert await yard.sweep() == SweepResult(outputs=1, generations=2)
    assert yard.left() == set()


async def test_unreadable_data_names_no_file(yard: Yard) -> None:
    """A ledger of another day is no reason to remove what it seems to name."""
    yard.order("old", age=31 * DAY)
    broken = structs.replace(yard.jobs["old"][0], media={"files": [{"path": str(yard.home / "book.sqlite3")}]})
    yard.jobs["old"] = [broken]
    await yard.sweep()
    assert (yard.home / "book.sqlite3").exists()


async def test_many_orders_are_read_in_pages(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is missed at the seams."""
    monkeypatch.setattr("hfmedia.server.db.generations.PAGE_SIZE", 3)
    for number in range(7):
        yard.order(f"o{number}", age=(40 - number) * DAY)
    assert (await yard.sweep()).generations == 7


async def test_it_sweeps_periodically_through_errors_until_it_is_closed(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is logged, and the next sweep continues."""
    times: list[float] = []
    enough = asyncio.Event()

    async def swept(gateway: Any, now: float) -> SweepResult:
        times.append(now)
        if len(times) == 1:
            raise StorageError("the disk is full")
        if len(times) == 3:
            enough.set()
        return SweepResult()

    monkeypatch.setattr(module, "sweep", swept)
    janitor = Janitor(yard, initial_delay=0.0, interval=0.001)  # type: ignore[arg-type]
    janitor.start()
    async with asyncio.timeout(10):
        await enough.wait()
    await janitor.close()
    await janitor.close()
    assert "the disk is full" in caplog.text
    count = len(times)
    await asyncio.sleep(0.01)
    assert 3 <= count == len(times)
