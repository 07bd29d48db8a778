"""Atomic replacement: the previous file or the complete new one, and nothing left behind on failure."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from hfmedia.files.atomic import atomic_writer, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """A reader that has the old file open keeps it; the name leads to the new one, readable by its owner alone."""
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.json"]
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_file_is_incomplete_under_a_hidden_name_only(tmp_path: Path) -> None:
    """Until the block ends."""
    with atomic_writer(tmp_path / "a.png", suffix=".part") as file:
        file.write(b"half")
        (name,) = names(tmp_path)
        assert name.startswith(".")
        assert name.endswith(".part")
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_previous_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    """Whatever kind of error it is."""
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail() -> None:
        with atomic_writer(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert (names(tmp_path), path.read_bytes()) == (["a"], b"old")


@pytest.mark.parametrize(("durable", "expected"), [(True, ["fsync", "replace"]), (False, ["replace"])])
def test_the_bytes_are_on_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool, expected: list[str]
) -> None:
    """A cache that can fetch again skips the sync."""
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(fd: int) -> None:
        calls.append("fsync")
        fsync(fd)

    def recorded_replace(self: Path, target: Path) -> Path:
        calls.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    write_atomic(tmp_path / "a", b"data", durable=durable)
    assert calls == expected
