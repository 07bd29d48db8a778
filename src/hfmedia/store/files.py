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

from ..core.answers import Output
from ..core.errors import DownloadError
from ..core.ports import Fetch, Kept, Place
from .download import Download, plain_url
from .facts import plain
from .inline import pieces_of_bytes, pieces_of_uri
from .intake import Intake, in_thread
from .kinds import inspect
from .names import made_name, numbered, sidecar_of
from .part import sweep, write_whole
from .places import check_writable

MOST_BYTES = 4 * 1024**3  # of one file: over an hour of video at 8 Mbit/s
STAYS_FINE = 30.0  # seconds; a place that breaks meanwhile costs a download, not the job
OWN_FACTS = frozenset({"job_id", "sha256"})  # by these we know a JSON file as one that we wrote
NAMES_LOOKED_AT = 100  # for the file of a job that was killed after it had named it


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
        self._swept: set[Path] = set()
        self._fine: dict[Path, float] = {}

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
        facts: Callable[[Kept], Mapping[str, Any]] | None = None,
    ) -> Kept:
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
        inline = output.data is not None or url[:5].lower() == "data:"
        if not inline and url.partition(":")[0].lower() not in ("http", "https"):
            raise DownloadError("the result has neither bytes nor an address on the web")
        target = place.file or place.folder / made_name(datetime.fromtimestamp(place.at), place.words, ".part")
        await self.tidy(target.parent)
        intake = Intake(target, place.job_id)
        tries = 1
        try:
            if not inline:
                if not self._known_good(place):  # then told now, not after the download
                    await in_thread(intake.land)
                download = Download(
                    url, intake, fetch, most_bytes=self._most, progress=progress, sleep=self._sleep
                )  # fmt: skip
                await download.run()
                tries = download.tries
            deed = _Deed(intake, target, makes, place, None if inline else plain_url(url), tries, facts)
            pour = partial(_pour_in, intake, output, self._most) if inline else None
            kept, _ = await in_thread(partial(_finish, deed, pour), undo=_remove)
        except GeneratorExit:  # the loop is gone, and its threads with it
            intake.discard()
            raise
        except BaseException:
            await in_thread(intake.discard)
            raise
        if inline:
            progress(kept.bytes, kept.bytes)
        return kept

    async def check(self, place: Place) -> None:
        """StoreError when no file could be written there, to be known before anything is paid.

        A folder that was fine is not tried again for a while.
        """
        if not self._known_good(place):
            await in_thread(partial(check_writable, place))
            self._fine[place.folder] = time.monotonic()

    def _known_good(self, place: Place) -> bool:
        """Whether files of our own naming could be written there a moment ago."""
        tried = self._fine.get(place.folder)
        return place.file is None and tried is not None and time.monotonic() - tried < STAYS_FINE

    async def tidy(self, folder: Path) -> None:
        """Removes what killed processes left half done in a folder, when this store first hears of that folder."""
        if folder not in self._swept:
            self._swept.add(folder)
            await in_thread(partial(sweep, folder))

    async def describe(self, kept: Kept, facts: Mapping[str, Any]) -> Path:
        """Writes the facts as JSON beside the file, ``fox.png.json`` for ``fox.png``; whole or absent, too.

        Facts of an earlier file of that name are replaced; a JSON file that is not ours is left alone. StoreError
        when the disk refuses it.
        """
        return await in_thread(partial(_describe, kept.path, facts))


class _Deed(NamedTuple):
    """What the thread needs to make a file of what was taken in."""

    intake: Intake
    target: Path
    makes: Literal["image", "video"]
    place: Place
    source: str | None
    tries: int
    facts: Callable[[Kept], Mapping[str, Any]] | None


def _pour_in(intake: Intake, output: Output, most: int) -> None:
    """Takes what came inside a reply."""
    part = intake.land()
    for piece in pieces_of_bytes(output.data) if output.data is not None else pieces_of_uri(output.url or ""):
        if part.size + len(piece) > most:
            raise DownloadError(f"the result has more bytes than the limit of {most:,}")
        part.write(piece)


def _finish(deed: _Deed, pour: Callable[[], None] | None) -> tuple[Kept, Path | None]:
    """Looks at the bytes, puts them onto the disk, and gives the file its name, with a suffix unless it was chosen.

    Then writes its facts beside it, and tells where those lie.
    """
    if pour is not None:
        pour()
    part, place = deed.intake.land(), deed.place
    kind = inspect(part.file, deed.makes)
    target = deed.target if place.file is not None else deed.target.with_suffix(kind.suffix)
    path = _already(target, place.job_id, part.sha256)
    if path is None:
        path = part.settle(target)
    else:
        part.discard()
    kept = Kept(
        path=path,
        mime=kind.mime,
        bytes=part.size,
        sha256=part.sha256,
        width=kind.width,
        height=kind.height,
        source=deed.source,
        tries=deed.tries,
    )
    return kept, _describe(path, deed.facts(kept)) if deed.facts is not None else None


def _already(target: Path, job_id: str, sha256: str) -> Path | None:
    """The file that this very job named before it was killed, if it has these bytes."""
    for number in range(1, NAMES_LOOKED_AT if job_id else 1):
        path = target.with_name(numbered(target.name, number))
        if not path.is_file():
            break
        facts = _facts_of(path)
        if facts.get("job_id") == job_id and facts.get("sha256") == sha256:
            with suppress(OSError), path.open("rb") as file:
                return path if hashlib.file_digest(file, "sha256").hexdigest() == sha256 else None
    return None


def _facts_of(path: Path) -> dict[str, Any]:
    """The facts beside a file; none where there is no JSON file of ours."""
    try:
        return msgspec.json.decode(sidecar_of(path).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def _remove(done: tuple[Kept, Path | None]) -> None:
    kept, beside = done
    for path in (kept.path, beside):
        if path is not None:
            path.unlink(missing_ok=True)


def _describe(path: Path, facts: Mapping[str, Any]) -> Path:
    text = msgspec.json.format(msgspec.json.encode(plain(facts)), indent=2)
    beside = sidecar_of(path)
    if not _is_ours(beside):
        beside = path.with_name(path.name + ".hfmedia.json")
    write_whole(beside, text + b"\n", like=path, job_id=str(facts.get("job_id") or ""))
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
