"""Index of a batch: ``index.jsonl`` in its folder, one line per result; and the lock on that folder.

A line is appended completely or not at all. Each run rebuilds the index, so that however the last run ended, it is
correct; lines about other inputs in the same folder stay as long as their files exist.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from hfmedia.core.credentials import redact
from hfmedia.core.errors import HfmediaError, InvalidRequestError, StorageError
from hfmedia.files.locks import try_advisory_lock
from hfmedia.storage import Media
from hfmedia.storage.atomic_file import remove_stale_parts

from .columns import INDEX_NAME
from .items import BatchItem

PARTIAL_INDEX_NAME = f".{INDEX_NAME}.part"
RESULT_FIELDS = (
    "job_id", "path", "mime", "width", "height", "bytes", "provider", "model", "task", "prompt", "seed", "cost",
    "warnings",
)  # fmt: skip


def result_line(item: BatchItem, media: Media, folder: Path) -> dict[str, Any]:
    """Return the index line of a result; its path is relative to the folder, so that the folder can be moved."""
    media_fields = media.to_dict()
    path = Path(media_fields["path"])
    with suppress(ValueError):
        media_fields["path"] = path.absolute().relative_to(folder).as_posix()
    return {"line": item.line, "key": item.key, **{name: media_fields[name] for name in RESULT_FIELDS}}


def failure_line(item: BatchItem, error: HfmediaError) -> dict[str, Any]:
    """Return the index line of a failed output."""
    job_fields = {"job_id": error.job_id, "provider": error.provider, "model": error.model or item.options.get("model")}
    error_fields = {"error": type(error).__name__, "message": redact(error.message)}
    return {"line": item.line, "key": item.key, **job_fields, **error_fields}


def existing_media_path(line: Mapping[str, Any], folder: Path) -> Path | None:
    """Return the path of an index line's result, None when it has none or the file does not exist."""
    path = line.get("path")
    if not isinstance(path, str):
        return None
    media_path = folder / path
    try:
        return media_path if media_path.is_file() else None
    except (OSError, ValueError):
        return None


class OutputFolder:
    """The folder of a running batch: locked against a second batch, and checked for being replaced.

    Raises InvalidRequestError when another batch has it, StorageError when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_RDONLY) if sys.platform != "win32" else None
        except (OSError, ValueError) as error:
            raise _write_error(self.path, error) from error
        self._lock()

    def ensure_present(self) -> None:
        """Raise StorageError when the folder does not exist any more, or was replaced by another one."""
        try:
            folder_stat = self.path.stat()
            is_same = self._handle is None or os.path.samestat(folder_stat, os.fstat(self._handle))
        except OSError:
            is_same = False
        if not is_same:
            raise StorageError(
                f"the folder {self.path} is gone, so nothing new is started; restore it and run the command again"
            )

    def remove_stale_parts(self) -> None:
        """Delete incomplete files of killed processes; a file that is still being written is locked, and stays."""
        remove_stale_parts(self.path, recursive=True)

    def close(self) -> None:
        """Release the lock."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _lock(self) -> None:
        # None: some network shares have no locks; each job is still run by one process at a time
        if self._handle is not None and try_advisory_lock(self._handle) is False:
            self.close()
            message = f"another batch is running in {self.path}; wait until it ends, or choose another folder"
            raise InvalidRequestError(message)


class ResultsIndex:
    """The index file. Every method blocks; for one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / INDEX_NAME
        self._file: BinaryIO | None = None

    def read_previous(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of an earlier run's index, without lines that a power failure truncated."""
        try:
            with self.path.open("rb") as file:
                for line in file:
                    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
                        yield msgspec.json.decode(line, type=dict[str, Any])
        except FileNotFoundError:
            return
        except OSError as error:
            raise _write_error(self.path, error) from error

    def start_rewrite(self) -> None:
        """Open a new index next to the previous one; ``commit`` replaces it."""
        try:
            self._file = (self.folder / PARTIAL_INDEX_NAME).open("wb", buffering=0)
        except OSError as error:
            raise _write_error(self.path, error) from error

    def commit(self) -> None:
        """Replace the previous index by the new one."""
        try:  # not files.atomic: the file stays open for more lines after the rename
            if self._file is not None:
                os.fsync(self._file.fileno())
            (self.folder / PARTIAL_INDEX_NAME).replace(self.path)
        except OSError as error:
            raise _write_error(self.path, error) from error

    def append(self, *lines: Mapping[str, Any]) -> None:
        """Append lines, all of them or none; StorageError when they cannot be written."""
        if self._file is None or not lines:
            return
        data = b"".join(msgspec.json.encode(line, enc_hook=str) + b"\n" for line in lines)
        end = self._file.tell()
        try:
            written = self._file.write(data)
            if written != len(data):
                raise OSError(28, "No space left on device")
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(end)
                self._file.seek(end)
            raise _write_error(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _write_error(path: Path, error: OSError | ValueError) -> StorageError:
    reason = ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
    return StorageError(f"{path} cannot be written: {reason}")
