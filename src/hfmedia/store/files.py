"""The store: streams media to a temporary file beside its place, looks at its bytes, and only then gives it its name.

A file is whole or absent, at any moment, and nothing that was there before is overwritten. The event loop only ever
writes small pieces; opening, looking, syncing and naming happen in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from ..core.answers import Output
from ..core.errors import DownloadError
from ..core.ports import Fetch, Kept, Place
from .download import Download, plain_url
from .facts import plain
from .inline import pieces_of_bytes, pieces_of_uri
from .kinds import Kind, inspect
from .names import made_name, sidecar_of
from .part import Part, open_part, write_whole

T = TypeVar("T")
MOST_BYTES = 4 * 1024**3  # of one file: over an hour of video at 8 Mbit/s
SMALL = 256 * 1024  # bytes written and hashed on the event loop itself, in about half a millisecond
OWN_FACTS = frozenset({"job_id", "sha256"})  # by these we know a JSON file as one that we wrote


class Store:
    """A folder of media; ``most_bytes`` bounds each file. It keeps what a provider made (core.ports.Keeper).

    ``sleep`` waits, in seconds, between the tries of a download.
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

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r})"

    async def keep(
        self,
        output: Output,
        place: Place,
        *,
        makes: Literal["image", "video"],
        fetch: Fetch,
        progress: Callable[[int, int | None], None],
    ) -> Kept:
        """The output as a whole file at its place, or at the next free name there (``fox-2.png``).

        Cancelled or failed, it leaves nothing behind.

        Raises:
            DownloadError: it did not arrive whole, or it is no media of the sort asked for.
            ExpiredError: it is no longer where the provider said.
            StoreError: the disk or the place refuses it.
            UnsafeAddressError: its address leads into a private network.
        """
        url = output.url or ""
        inline = output.data is not None or url[:5].lower() == "data:"
        if not inline and url.partition(":")[0].lower() not in ("http", "https"):
            raise DownloadError("the result has neither bytes nor an address on the web")
        target = place.file or place.folder / made_name(datetime.fromtimestamp(place.at), place.words, "")
        part = await in_thread(partial(open_part, target, place.job_id), undo=Part.discard)
        tries = 1
        try:
            if not inline:
                download = Download(
                    url, _Tap(part), fetch, most_bytes=self._most, progress=progress, sleep=self._sleep
                )  # fmt: skip
                await download.run()
                tries = download.tries
            finish = partial(_finish, part, target, makes, named=place.file is not None)
            if inline:
                finish = partial(_pour_in, part, output, self._most, finish)
            kind, path = await in_thread(finish, undo=_remove)
        except GeneratorExit:  # the loop is gone, and its threads with it
            part.discard()
            raise
        except BaseException:
            await in_thread(part.discard)
            raise
        if inline:
            progress(part.size, part.size)
        return Kept(
            path=path,
            mime=kind.mime,
            bytes=part.size,
            sha256=part.sha256,
            width=kind.width,
            height=kind.height,
            source=None if inline else plain_url(url),
            tries=tries,
        )

    async def describe(self, kept: Kept, facts: Mapping[str, Any]) -> Path:
        """Writes the facts as JSON beside the file, ``fox.png.json`` for ``fox.png``; whole or absent, too.

        Facts of an earlier file of that name are replaced; a JSON file that is not ours is left alone. StoreError
        when the disk refuses it.
        """
        return await in_thread(partial(_describe, kept.path, facts))


class _Tap:
    """The temporary file as a download fills it: small pieces at once, large ones in a thread."""

    def __init__(self, part: Part) -> None:
        self._part = part

    @property
    def size(self) -> int:
        return self._part.size

    async def write(self, data: bytes) -> None:
        if len(data) <= SMALL:
            self._part.write(data)
        else:
            await in_thread(partial(self._part.write, data))

    async def begin_again(self) -> None:
        await in_thread(self._part.begin_again)


async def in_thread(work: Callable[[], T], *, undo: Callable[[T], None] | None = None) -> T:
    """What ``work`` returns, done in a thread. Cancelled, it waits for the thread, then undoes what that has done.

    Without that wait a thread could still write to a file that is closed and removed already.
    """
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({future})
        if future.exception() is None and undo is not None:
            undo(future.result())
        raise


def _pour_in(
    part: Part, output: Output, most: int, finish: Callable[[], tuple[Kind, Path]]
) -> tuple[Kind, Path]:  # fmt: skip
    """Writes what came inside a reply, then finishes."""
    for piece in pieces_of_bytes(output.data) if output.data is not None else pieces_of_uri(output.url or ""):
        if part.size + len(piece) > most:
            raise DownloadError(f"the result has more bytes than the limit of {most:,}")
        part.write(piece)
    return finish()


def _finish(part: Part, target: Path, makes: Literal["image", "video"], *, named: bool) -> tuple[Kind, Path]:
    """Looks at the bytes, puts them onto the disk, and gives the file its name, with a suffix unless it was chosen."""
    kind = inspect(part.file, makes)
    return kind, part.settle(target if named else target.with_name(target.name + kind.suffix))


def _remove(done: tuple[Kind, Path]) -> None:
    done[1].unlink(missing_ok=True)


def _describe(path: Path, facts: Mapping[str, Any]) -> Path:
    text = msgspec.json.format(msgspec.json.encode(plain(facts)), indent=2)
    beside = sidecar_of(path)
    if not _is_ours(beside):
        beside = path.with_name(path.name + ".hfmedia.json")
    write_whole(beside, text + b"\n", like=path)
    return beside


def _is_ours(path: Path) -> bool:
    """Whether that name is free, or has facts that we wrote."""
    try:
        facts = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return facts.keys() >= OWN_FACTS
    except FileNotFoundError:
        return True
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return False
