"""The index and its folder: lines whole or absent, and a folder that is known again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hfmedia.batch.index import OutputFolder, ResultsIndex, existing_media_path, failure_line, result_line
from hfmedia.batch.items import BatchItem
from hfmedia.core.errors import InvalidRequestError, RequestRejectedError, StorageError
from hfmedia.core.protocol import Cost
from hfmedia.storage import Media

ORDER = BatchItem(line=3, copy_index=0, key="batch-1", options={"prompt": "a", "model": "a/b"})


def test_a_result_is_told_from_the_folder(tmp_path: Path) -> None:
    """So that the folder can be moved; nothing but what a reader wants is in it."""
    media = Media(path=tmp_path / "a" / "fox.png", mime="image/png", cost=Cost(0.5), job_id="j", prompt="a", seed=7)
    line = result_line(ORDER, media, tmp_path)
    assert line["path"] == "a/fox.png"
    assert (line["line"], line["key"], line["job_id"], line["seed"]) == (3, "batch-1", "j", 7)
    assert line["cost"] == {"amount": 0.5, "unit": "USD"}


def test_a_failure_is_told_with_its_words() -> None:
    """And with the model that was asked for, where the error does not know it."""
    line = failure_line(ORDER, RequestRejectedError("no", provider="fal-ai", job_id="j"))
    assert line == {
        "line": 3, "key": "batch-1", "job_id": "j", "provider": "fal-ai", "model": "a/b",
        "error": "RefusedError", "message": "no",
    }  # fmt: skip


def test_an_index_is_made_beside_the_old_one_and_takes_its_place(tmp_path: Path) -> None:
    """Until then the old one stays as it was; afterwards lines are added to the new one."""
    (tmp_path / "index.jsonl").write_text('{"key": "old"}\n{"key": "torn')
    index = ResultsIndex(tmp_path)
    assert list(index.read_previous()) == [{"key": "old"}]
    index.start_rewrite()
    index.append({"key": "new"}, {"key": "newer"})
    assert (tmp_path / "index.jsonl").read_text().startswith('{"key": "old"}')
    index.commit()
    index.append({"key": "newest"})
    index.close()
    told = [json.loads(line)["key"] for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    assert told == ["new", "newer", "newest"]
    assert [path.name for path in tmp_path.iterdir()] == ["index.jsonl"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """As a StoreError, which ends the batch in order."""
    (tmp_path / ".index.jsonl.part").symlink_to("/dev/full")
    index = ResultsIndex(tmp_path)
    index.start_rewrite()
    with pytest.raises(StorageError, match="no space left"):
        index.append({"key": "new"})
    index.close()


@pytest.mark.parametrize("path", [None, 7, "gone.png", "a\0b", "."])
def test_an_index_line_without_a_file_that_is_there_tells_of_nothing(path: object, tmp_path: Path) -> None:
    """So that what was removed is made again."""
    assert existing_media_path({"path": path}, tmp_path) is None


def test_a_folder_that_is_gone_or_replaced_is_told(tmp_path: Path) -> None:
    """A disk that is unmounted leaves another, empty folder in its place."""
    folder = OutputFolder(tmp_path / "new" / "out")
    folder.ensure_present()
    folder.path.rename(tmp_path / "moved")
    with pytest.raises(StorageError, match=r"out is gone; nothing new is begun\. Bring it back"):
        folder.ensure_present()
    folder.path.mkdir()
    with pytest.raises(StorageError, match="is gone"):
        folder.ensure_present()
    folder.close()


@pytest.mark.skipif(os.name != "posix", reason="folders are locked on POSIX")
def test_a_folder_belongs_to_one_batch_at_a_time(tmp_path: Path) -> None:
    """The second is told; once the first is done it may begin."""
    folder = OutputFolder(tmp_path)
    with pytest.raises(InvalidRequestError, match="another batch works in"):
        OutputFolder(tmp_path)
    folder.close()
    OutputFolder(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """With what the disk says."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        OutputFolder(tmp_path / "file" / "out")


@pytest.mark.skipif(os.name != "posix", reason="half files are locked on POSIX")
def test_half_files_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path: Path) -> None:
    """What is not ours stays as well."""
    import fcntl

    dead, living = tmp_path / f".fox.{'0a' * 10}.part", tmp_path / f".fox.{'1b' * 10}-2.part"
    others = [tmp_path / "fox.part", tmp_path / ".film.part", tmp_path / ".fox.jpg"]
    for path in (dead, living, *others):
        path.write_bytes(b"half")
    folder = OutputFolder(tmp_path)
    with living.open("rb+") as held:
        fcntl.flock(held.fileno(), fcntl.LOCK_EX)
        folder.remove_stale_parts()
    folder.close()
    assert sorted(tmp_path.iterdir()) == sorted([living, *others])
