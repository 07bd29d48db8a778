"""The index and its folder: lines complete or absent, and a lock on the folder."""

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

ITEM = BatchItem(line=3, copy_index=0, key="batch-1", options={"prompt": "a", "model": "a/b"})


def test_a_result_s_path_is_relative_to_the_folder(tmp_path: Path) -> None:
    """So that the folder can be moved."""
    media = Media(path=tmp_path / "a" / "fox.png", mime="image/png", cost=Cost(0.5), job_id="j", prompt="a", seed=7)
    line = result_line(ITEM, media, tmp_path)
    assert line["path"] == "a/fox.png"
    assert (line["line"], line["key"], line["job_id"], line["seed"]) == (3, "batch-1", "j", 7)
    assert line["cost"] == {"amount": 0.5, "unit": "USD"}


def test_a_failure_has_its_message() -> None:
    """And the requested model, where the error does not name one."""
    line = failure_line(ITEM, RequestRejectedError("no", provider="fal-ai", job_id="j"))
    assert line == {
        "line": 3, "key": "batch-1", "job_id": "j", "provider": "fal-ai", "model": "a/b",
        "error": "RequestRejectedError", "message": "no",
    }  # fmt: skip


def test_a_new_index_replaces_the_previous_one_on_commit(tmp_path: Path) -> None:
    """Until then the previous one is unchanged; afterwards lines are appended to the new one."""
    (tmp_path / "index.jsonl").write_text('{"key": "old"}\n{"key": "torn')
    index = ResultsIndex(tmp_path)
    assert list(index.read_previous()) == [{"key": "old"}]
    index.start_rewrite()
    index.append({"key": "new"}, {"key": "newer"})
    assert (tmp_path / "index.jsonl").read_text().startswith('{"key": "old"}')
    index.commit()
    index.append({"key": "newest"})
    index.close()
    keys = [json.loads(line)["key"] for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    assert keys == ["new", "newer", "newest"]
    assert [path.name for path in tmp_path.iterdir()] == ["index.jsonl"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    """It ends the batch in order."""
    (tmp_path / ".index.jsonl.part").symlink_to("/dev/full")
    index = ResultsIndex(tmp_path)
    index.start_rewrite()
    with pytest.raises(StorageError, match="no space left"):
        index.append({"key": "new"})
    index.close()


@pytest.mark.parametrize("path", [None, 7, "gone.png", "a\0b", "."])
def test_an_index_line_without_an_existing_file_has_no_path(path: object, tmp_path: Path) -> None:
    """So that a deleted result is generated again."""
    assert existing_media_path({"path": path}, tmp_path) is None


def test_a_folder_that_is_gone_or_replaced_is_an_error(tmp_path: Path) -> None:
    """An unmounted disk leaves another, empty folder in its place."""
    folder = OutputFolder(tmp_path / "new" / "out")
    folder.ensure_present()
    folder.path.rename(tmp_path / "moved")
    with pytest.raises(StorageError, match="out is gone, so nothing new is started; restore it"):
        folder.ensure_present()
    folder.path.mkdir()
    with pytest.raises(StorageError, match="is gone"):
        folder.ensure_present()
    folder.close()


@pytest.mark.skipif(os.name != "posix", reason="folders are locked on POSIX")
def test_a_folder_belongs_to_one_batch_at_a_time(tmp_path: Path) -> None:
    """The second is rejected until the first has ended."""
    folder = OutputFolder(tmp_path)
    with pytest.raises(InvalidRequestError, match="another batch is running in"):
        OutputFolder(tmp_path)
    folder.close()
    OutputFolder(tmp_path).close()


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    """With the reason of the operating system."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        OutputFolder(tmp_path / "file" / "out")


@pytest.mark.skipif(os.name != "posix", reason="incomplete files are locked on POSIX")
def test_incomplete_files_of_dead_processes_are_deleted_and_those_of_live_ones_stay(tmp_path: Path) -> None:
    """Other files stay as well."""
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
