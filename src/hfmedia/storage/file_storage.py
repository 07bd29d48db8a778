"""The store: streams media to a temporary file beside its place, looks at its bytes, and only then gives it its name.

A file is whole or absent, at any moment, and nothing that was there before is overwritten. The event loop only ever
writes small pieces; opening, looking, syncing and naming happen in a thread.
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

MAX_FILE_BYTES = 4 * 1024**3  # of one file: over an hour of video at 8 Mbit/s
WRITABLE_CACHE_SECONDS = 30.0  # seconds; a place that breaks meanwhile costs a download, not the job
SIDECAR_MARKER_FIELDS = frozenset({"job_id", "sha256"})  # by these we know a JSON file as one that we wrote
MAX_NAMES_CHECKED = 100  # for the file of a job that was killed after it had named it


class FileStorage:
    """A folder of media; ``most_bytes`` bounds each file. It keeps what a provider made (core.ports.Keeper).

    ``sleep`` waits, in seconds, between the tries of a download.
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
        return f"Store({str(self.folder)!r})"

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
        """The output as a whole file at its place, or at the next free name there (``fox-2.png``).

        With ``facts`` (called in a thread), what they tell is written beside it, as ``describe`` does. A job that was
        killed when it had its file and its facts gets that file again. Cancelled or failed, it leaves nothing behind.

        Raises:
            DownloadError: it did not arrive whole, or it is no media of the sort asked for.
            ExpiredError: it is no longer where the provider said.
            StoreError: the disk or the place refuses it.
            UnsafeAddressError: its address leads into a private network.
        """
        url = output.url or ""
        is_inline = output.data is not None or url[:5].lower() == "data:"
        if not is_inline and url.partition(":")[0].lower() not in ("http", "https"):
            raise DownloadError("the result has neither bytes nor an address on the web")
        target_path = target.file or target.folder / default_filename(
            datetime.fromtimestamp(target.created_at), target.name_hint, ".part"
        )
        await self.remove_stale_parts_once(target_path.parent)
        buffer = WriteBuffer(target_path, target.job_id)
        attempts = 1
        try:
            if not is_inline:
                if not self._recently_writable(target):  # then told now, not after the download
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
        except GeneratorExit:  # the loop is gone, and its threads with it
            buffer.discard()
            raise
        except BaseException:
            await run_in_thread(buffer.discard)
            raise
        if is_inline:
            progress(stored.bytes, stored.bytes)
        return stored

    async def ensure_writable(self, target: OutputTarget) -> None:
        """StoreError when no file could be written there, to be known before anything is paid.

        A folder that was fine is not tried again for a while.
        """
        if not self._recently_writable(target):
            await run_in_thread(partial(check_writable, target))
            self._writable_checked_at[target.folder] = time.monotonic()

    def _recently_writable(self, target: OutputTarget) -> bool:
        """Whether files of our own naming could be written there a moment ago."""
        checked_at = self._writable_checked_at.get(target.folder)
        return target.file is None and checked_at is not None and time.monotonic() - checked_at < WRITABLE_CACHE_SECONDS

    async def remove_stale_parts_once(self, folder: Path) -> None:
        """Removes what killed processes left half done in a folder, when this store first hears of that folder."""
        if folder not in self._cleaned_folders:
            self._cleaned_folders.add(folder)
            await run_in_thread(partial(remove_stale_parts, folder))

    async def write_sidecar(self, stored: StoredFile, metadata: Mapping[str, Any]) -> Path:
        """Writes the facts as JSON beside the file, ``fox.png.json`` for ``fox.png``; whole or absent, too.

        Facts of an earlier file of that name are replaced; a JSON file that is not ours is left alone. StoreError
        when the disk refuses it.
        """
        return await run_in_thread(partial(_write_sidecar, stored.path, metadata))


class _SaveRequest(NamedTuple):
    """What the thread needs to make a file of what was taken in."""

    buffer: WriteBuffer
    target_path: Path
    output_kind: Literal["image", "video"]
    target: OutputTarget
    source: str | None
    attempts: int
    build_sidecar: Callable[[StoredFile], Mapping[str, Any]] | None


def _write_inline(buffer: WriteBuffer, output: Output, max_bytes: int) -> None:
    """Takes what came inside a reply."""
    temp_file = buffer.flush()
    for chunk in iter_bytes(output.data) if output.data is not None else iter_data_uri(output.url or ""):
        if temp_file.size + len(chunk) > max_bytes:
            raise DownloadError(f"the result has more bytes than the limit of {max_bytes:,}")
        temp_file.write(chunk)


def _finish(save_request: _SaveRequest, write_inline: Callable[[], None] | None) -> tuple[StoredFile, Path | None]:
    """Looks at the bytes, puts them onto the disk, and gives the file its name, with a suffix unless it was chosen.

    Then writes its facts beside it, and tells where those lie.
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
    """The file that this very job named before it was killed, if it has these bytes."""
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
    """The facts beside a file; none where there is no JSON file of ours."""
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
    """Whether that name is free, or has facts that we wrote."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return content.keys() >= SIDECAR_MARKER_FIELDS
    except FileNotFoundError:
        return True
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return False
