"""FileStorage: streams media to a temporary file next to its target, probes the bytes, then renames it.

A file is complete or absent at any moment, and no existing file is overwritten. The event loop only writes small
chunks; opening, probing, syncing and renaming run in a thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from ..aio import run_in_thread
from ..core.errors import DownloadError
from ..core.http import display_url
from ..core.ports import MediaFetcher, OutputTarget, StoredFile
from ..core.protocol import Output
from .atomic_file import remove_stale_parts, replace_file
from .data_uri import iter_bytes, iter_data_uri
from .download import ResumableDownload
from .filenames import default_filename, numbered, sidecar_path
from .probe.sniff import probe
from .sanitize import to_plain_json
from .targets import check_writable
from .write_buffer import WriteBuffer

MAX_FILE_BYTES = 4 * 1024**3  # bytes of one file: over an hour of video at 8 Mbit/s
WRITABLE_CACHE_SECONDS = 30.0  # seconds; a folder that becomes unwritable meanwhile costs a download, not the job
SIDECAR_MARKER_FIELDS = frozenset({"job_id", "sha256"})  # keys by which a JSON file is recognized as a sidecar
MAX_NAMES_CHECKED = 100  # names searched for the file of a job that was killed after the rename


class FileStorage:
    """A folder of media files of at most ``max_bytes`` each (implements core.ports.MediaStorage).

    ``sleep`` waits between the attempts of a download.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = MAX_FILE_BYTES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.folder = folder
        self._max_bytes, self._sleep = max_bytes, sleep
        self._cleaned_folders: set[Path] = set()
        self._writable_checked_at: dict[Path, float] = {}

    def __repr__(self) -> str:
        return f"FileStorage({str(self.folder)!r})"

    async def save(
        self,
        output: Output,
        target: OutputTarget,
        *,
        output_kind: Literal["image", "video"],
        fetch: MediaFetcher,
        progress: Callable[[int, int | None], None],
        build_sidecar: Callable[[StoredFile], Mapping[str, Any]] | None = None,
    ) -> StoredFile:
        """Save an output under its target name, or the next free one (``fox-2.png``).

        ``build_sidecar`` is called in a thread, and its result written as with ``write_sidecar``. A job that was killed
        after both files were written gets the same file again. When cancelled or failed, nothing is left behind.

        Raises:
            DownloadError: the download is incomplete, or not media of the requested kind.
            ResultExpiredError: the provider no longer has the file.
            StorageError: the disk or the target rejects it.
            UnsafeUrlError: its URL leads into a private network.
        """
        url = output.url or ""
        is_inline = output.data is not None or url[:5].lower() == "data:"
        if not is_inline and url.partition(":")[0].lower() not in ("http", "https"):
            raise DownloadError("the result has neither data nor an http(s) URL")
        target_path = target.file or target.folder / default_filename(
            datetime.fromtimestamp(target.created_at), target.name_hint, ".part"
        )
        await self.remove_stale_parts_once(target_path.parent)
        buffer = WriteBuffer(target_path, target.job_id)
        attempts = 1
        try:
            if not is_inline:
                if not self._recently_writable(target):  # a disk error is raised now, not after the download
                    await run_in_thread(buffer.flush)
                download = ResumableDownload(
                    url, buffer, fetch, max_bytes=self._max_bytes, progress=progress, sleep=self._sleep
                )  # fmt: skip
                await download.run()
                attempts = download.attempts
            save_request = _SaveRequest(
                buffer,
                target_path,
                output_kind,
                target,
                None if is_inline else display_url(url),
                attempts,
                build_sidecar,
            )
            write_inline = partial(_write_inline, buffer, output, self._max_bytes) if is_inline else None
            stored, _ = await run_in_thread(partial(_finish, save_request, write_inline), undo=_remove_saved)
        except GeneratorExit:  # the loop has ended, and its threads with it
            buffer.discard()
            raise
        except BaseException:
            await run_in_thread(buffer.discard)
            raise
        if is_inline:
            progress(stored.bytes, stored.bytes)
        return stored

    async def ensure_writable(self, target: OutputTarget) -> None:
        """Raise StorageError when no file can be written to the target, before anything is billed.

        The result for a folder is cached for 30 seconds.
        """
        if not self._recently_writable(target):
            await run_in_thread(partial(check_writable, target))
            self._writable_checked_at[target.folder] = time.monotonic()

    def _recently_writable(self, target: OutputTarget) -> bool:
        """Return whether the folder was writable a moment ago; an explicit file is always checked."""
        checked_at = self._writable_checked_at.get(target.folder)
        return target.file is None and checked_at is not None and time.monotonic() - checked_at < WRITABLE_CACHE_SECONDS

    async def remove_stale_parts_once(self, folder: Path) -> None:
        """Remove temporary files of killed processes from a folder, the first time that this storage uses it."""
        if folder not in self._cleaned_folders:
            self._cleaned_folders.add(folder)
            await run_in_thread(partial(remove_stale_parts, folder))

    async def write_sidecar(self, stored: StoredFile, metadata: Mapping[str, Any]) -> Path:
        """Write the metadata as JSON next to the file, ``fox.png.json`` for ``fox.png``, atomically.

        An earlier sidecar of that name is replaced; any other JSON file is left alone, and another name used. Raises
        StorageError when the disk rejects it.
        """
        return await run_in_thread(partial(_write_sidecar, stored.path, metadata))


class _SaveRequest(NamedTuple):
    """Arguments for the thread that completes a file."""

    buffer: WriteBuffer
    target_path: Path
    output_kind: Literal["image", "video"]
    target: OutputTarget
    source: str | None
    attempts: int
    build_sidecar: Callable[[StoredFile], Mapping[str, Any]] | None


def _write_inline(buffer: WriteBuffer, output: Output, max_bytes: int) -> None:
    """Write inline data of a response."""
    temp_file = buffer.flush()
    for chunk in iter_bytes(output.data) if output.data is not None else iter_data_uri(output.url or ""):
        if temp_file.size + len(chunk) > max_bytes:
            raise DownloadError(f"the result has more bytes than the limit of {max_bytes:,}")
        temp_file.write(chunk)


def _finish(save_request: _SaveRequest, write_inline: Callable[[], None] | None) -> tuple[StoredFile, Path | None]:
    """Probe the bytes, sync them, and rename the file, with its suffix unless the target is explicit.

    Then write the sidecar; return the file and the sidecar's path.
    """
    if write_inline is not None:
        write_inline()
    temp_file, target = save_request.buffer.flush(), save_request.target
    info = probe(temp_file.file, save_request.output_kind)
    target_path = (
        save_request.target_path if target.file is not None else save_request.target_path.with_suffix(info.suffix)
    )
    path = _find_existing(target_path, target.job_id, temp_file.sha256)
    if path is None:
        path = temp_file.commit_new(target_path)
    else:
        temp_file.discard()
    stored = StoredFile(
        path=path,
        mime=info.mime,
        bytes=temp_file.size,
        sha256=temp_file.sha256,
        width=info.width,
        height=info.height,
        source=save_request.source,
        attempts=save_request.attempts,
    )
    return stored, _write_sidecar(
        path, save_request.build_sidecar(stored)
    ) if save_request.build_sidecar is not None else None


def _find_existing(target_path: Path, job_id: str, sha256: str) -> Path | None:
    """Return the file that the same job renamed before it was killed, if it has these bytes."""
    for number in range(1, MAX_NAMES_CHECKED if job_id else 1):
        path = target_path.with_name(numbered(target_path.name, number))
        if not path.is_file():
            break
        sidecar = _read_sidecar(path)
        if sidecar.get("job_id") == job_id and sidecar.get("sha256") == sha256:
            with suppress(OSError), path.open("rb") as file:
                return path if hashlib.file_digest(file, "sha256").hexdigest() == sha256 else None
    return None


def _read_sidecar(path: Path) -> dict[str, Any]:
    """Read a file's sidecar; empty when there is none."""
    try:
        return msgspec.json.decode(sidecar_path(path).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def _remove_saved(saved: tuple[StoredFile, Path | None]) -> None:
    stored, sidecar = saved
    for path in (stored.path, sidecar):
        if path is not None:
            path.unlink(missing_ok=True)


def _write_sidecar(path: Path, metadata: Mapping[str, Any]) -> Path:
    text = msgspec.json.format(msgspec.json.encode(to_plain_json(metadata)), indent=2)
    sidecar = sidecar_path(path)
    if not _is_own_sidecar(sidecar):
        sidecar = path.with_name(path.name + ".hfmedia.json")
    replace_file(sidecar, text + b"\n", copy_mode_from=path, job_id=str(metadata.get("job_id") or ""))
    return sidecar


def _is_own_sidecar(path: Path) -> bool:
    """Return whether a path is free or has a sidecar written by hfmedia."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return content.keys() >= SIDECAR_MARKER_FIELDS
    except FileNotFoundError:
        return True
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return False
