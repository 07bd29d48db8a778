"""The store: streams media to a temporary file beside its place, looks at its bytes, and only then gives it its name.

A file is whole or absent, at any moment; nothing that was there before is overwritten.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import tempfile
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast
from urllib.parse import unquote_to_bytes, urlsplit

from ..core.answers import Output
from ..core.errors import DownloadError, StoreError
from ..core.ports import Fetch, Kept, Place
from .download import Download
from .kinds import Kind, inspect
from .names import made_name, numbered, part_name

MOST_BYTES = 4 * 1024**3  # of one file: an hour of video at 8 Mbit/s
MOST_NAMES = 100_000  # tried before something else must be wrong
OFTEN = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "this is not allowed here",
    errno.EPERM: "this is not allowed here",
    errno.EROFS: "the disk is read-only",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EISDIR: "there is a folder of that name",
    errno.EFBIG: "the file would be too large for this disk",
}


class Store:
    """A folder of media. ``most_bytes`` bounds each file.

    ``sleep`` waits between the tries of a download.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_bytes: int = MOST_BYTES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.folder = folder
        self._most, self._sleep = most_bytes, sleep

    async def keep(
        self,
        output: Output,
        place: Place,
        *,
        makes: Literal["image", "video"],
        fetch: Fetch,
        progress: Callable[[int, int | None], None],
    ) -> Kept:
        """The output as a whole file at its place.

        Raises:
            DownloadError: it did not arrive whole, or it is no media of the sort asked for.
            ExpiredError: it is no longer where the provider said.
            StoreError: the disk or the place refuses it.
            UnsafeAddressError: its address leads into a private network.
        """
        async with _part(place) as (file, path):
            if output.data is not None or (output.url or "")[:5].lower() == "data:":
                sha256 = await asyncio.to_thread(_write_inline, output, file, self._most)
                source, tries = None, 1
            else:
                url = output.url or ""
                download = Download(
                    url, file, fetch, most_bytes=self._most, progress=progress, sleep=self._sleep
                )  # fmt: skip
                await download.run()
                sha256, source, tries = download.sha256, _plain(url), download.tries
            kind, size, name = await asyncio.to_thread(_finish, file, path, place, makes)
        return Kept(
            path=name,
            mime=kind.mime,
            bytes=size,
            sha256=sha256,
            width=kind.width,
            height=kind.height,
            source=source,
            tries=tries,
        )

    async def describe(self, kept: Kept, facts: Mapping[str, Any]) -> Path:
        """Writes the facts as JSON beside the file, ``fox.png.json`` for ``fox.png``; whole or absent, too."""
        return await asyncio.to_thread(_describe, kept.path, dict(facts))


@asynccontextmanager
async def _part(place: Place) -> AsyncGenerator[tuple[BinaryIO, Path]]:
    """A temporary file beside the place, gone afterwards unless it was given its name."""
    folder = place.file.parent if place.file else place.folder
    file, path = await asyncio.to_thread(_open_part, folder, place)
    try:
        yield file, path
    finally:
        with suppress(OSError):  # closing flushes, and a full disk has been told already
            file.close()
        with suppress(FileNotFoundError):
            path.unlink()


def _open_part(folder: Path, place: Place) -> tuple[BinaryIO, Path]:
    stem = place.file.stem if place.file else place.words or "media"
    try:
        if place.file is not None and place.file.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, MOST_NAMES):
            path = folder / part_name(stem.replace("/", "-").replace("\0", "-"), place.job_id or "media", number)
            with suppress(FileExistsError):
                return cast("BinaryIO", path.open("xb+", buffering=0)), path
    except (OSError, ValueError) as error:
        raise _trouble(place.file or folder, error) from error
    raise StoreError(f"no temporary file could be made in {folder}")


def _write_inline(output: Output, file: BinaryIO, most: int) -> str:
    """Writes media that came inside a reply; its digest in hex."""
    import hashlib

    data = output.data if output.data is not None else _from_data_uri(output.url or "")
    if len(data) > most:
        raise DownloadError(f"the result has {len(data):,} bytes, more than the limit of {most:,}")
    try:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise StoreError(f"the media could not be written: {_reason(error)}") from error
    return hashlib.sha256(data).hexdigest()


def _from_data_uri(uri: str) -> bytes:
    head, comma, text = uri.partition(",")
    if not comma:
        raise DownloadError("the result is a data: URI without data")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(text)
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError) as error:
        raise DownloadError(f"the result is a data: URI whose base64 is broken: {error}") from None


def _finish(file: BinaryIO, path: Path, place: Place, makes: Literal["image", "video"]) -> tuple[Kind, int, Path]:
    """Looks at the bytes, puts them onto the disk, and gives the file its name."""
    kind = inspect(file, makes)
    try:
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
        if place.file is not None:
            name, folder = place.file.name, place.file.parent
        else:
            when = datetime.fromtimestamp(place.at)  # a name for a person: in the person's own time
            name, folder = made_name(when, place.words, kind.suffix), place.folder
        return kind, size, _named(path, folder, name)
    except OSError as error:
        raise _trouble(place.file or place.folder, error) from error


def _named(part: Path, folder: Path, name: str) -> Path:
    """Gives the file the first free name; atomic, and never over another file."""
    for number in range(1, MOST_NAMES):
        path = folder / numbered(name, number)
        try:
            os.link(part, path)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            # a file system without links (FAT, some shares): claim the name, then move over the claim
            with suppress(FileExistsError):
                path.open("xb").close()
                part.replace(path)
                return path
            continue
        return path
    raise StoreError(f"no free name for {name} in {folder}")


def _describe(path: Path, facts: dict[str, Any]) -> Path:
    beside = path.with_name(path.name + ".json")
    text = json.dumps(facts, indent=2, ensure_ascii=False, default=str)
    try:
        handle, part = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text + "\n")
                file.flush()
                os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            Path(part).replace(beside)
        finally:
            Path(part).unlink(missing_ok=True)
    except OSError as error:
        raise _trouble(beside, error) from error
    return beside


def _plain(url: str) -> str:
    """A URL without its query: that may hold a signature, which is a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _reason(error: OSError) -> str:
    return OFTEN.get(error.errno or 0) or (error.strerror or str(error)).lower()


def _trouble(where: Path, error: OSError | ValueError) -> StoreError:
    reason = _reason(error) if isinstance(error, OSError) else str(error)
    return StoreError(f"{where} cannot be written: {reason}. Choose another place, or make room there.")
