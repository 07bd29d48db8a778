"""Leftovers of killed processes: removed where they are certainly hfmedia's; a completed file is found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hfmedia.storage import FileStorage
from hfmedia.storage.atomic_file import open_atomic

from .conftest import StorageHarness
from .samples import image

PNG = image("png")
JOB, OTHER = "1a2055048dbae0125c10", "1a20550476660e6b887d"
FACTS = {"job_id": JOB, "sha256": ""}


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        (f".fox.{OTHER}.part", False),
        (f".fox.png.{OTHER}-2.part", False),
        (".fox.part", True),
        (".fox.job1.part", True),
        (f"fox.{OTHER}.part", True),
        (f".fox.{OTHER}.part.txt", True),
        ("fox.png", True),
    ],
)
async def test_a_folder_is_swept_when_it_is_first_written_to(keeping: StorageHarness, name: str, stays: bool) -> None:
    """Only of what bears the id of a job in a temporary name; whatever else people keep there is theirs."""
    keeping.folder.mkdir()
    (keeping.folder / name).write_bytes(b"half")
    await keeping.keep(PNG, file=keeping.folder / "wolf.png")
    assert (name in keeping.files()) == stays


async def test_a_file_being_written_is_not_removed(keeping: StorageHarness) -> None:
    """A file that is held belongs to a process that lives."""
    held = open_atomic(keeping.folder / "fox.png", OTHER)
    await keeping.keep(PNG, file=keeping.folder / "wolf.png")
    assert held.path.exists()
    held.discard()


async def test_a_job_that_has_its_file_and_its_facts_gets_that_file_again(keeping: StorageHarness) -> None:
    """Killed before the ledger knew, it does not lie there twice; another store is another process."""
    place: dict[str, Any] = {"file": keeping.folder / "fox.png", "job_id": JOB}
    for _ in range(2):
        kept = await keeping.keep(PNG, **place)
        await keeping.store.write_sidecar(kept, FACTS | {"sha256": kept.sha256})
        keeping.store = FileStorage(keeping.folder)
        assert kept.path.name == "fox.png"
    assert keeping.files() == ["fox.png", "fox.png.json"]


@pytest.mark.parametrize("facts", [{"job_id": OTHER}, {"sha256": "0" * 64}, None], ids=["other job", "other", "none"])
async def test_a_file_that_is_not_this_jobs_is_left_alone(
    keeping: StorageHarness, facts: dict[str, str] | None
) -> None:
    """The same bytes of another job, or without a sidecar, are another file."""
    first = await keeping.keep(PNG, file=keeping.folder / "fox.png", job_id=JOB)
    if facts is not None:
        sidecar = FACTS | {"sha256": first.sha256} | facts
        _write(Path(f"{first.path}.json"), json.dumps(sidecar))
    second = await keeping.keep(PNG, file=keeping.folder / "fox.png", job_id=JOB)
    assert second.path.name == "fox-2.png"


async def test_a_file_that_was_changed_since_is_left_alone(keeping: StorageHarness) -> None:
    """Its facts tell of bytes that are no longer there."""
    first = await keeping.keep(PNG, file=keeping.folder / "fox.png", job_id=JOB)
    await keeping.store.write_sidecar(first, FACTS | {"sha256": first.sha256})
    first.path.write_bytes(PNG + b"painted over")
    second = await keeping.keep(PNG, file=keeping.folder / "fox.png", job_id=JOB)
    assert second.path.name == "fox-2.png"


def _write(path: Path, text: str) -> None:
    path.write_text(text)
