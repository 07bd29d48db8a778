"""Places: where a file shall lie, and whether it can be written there, found out before anything is paid for."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from ..core.errors import InvalidRequestError, StoreError
from ..core.ports import Place
from ..core.sizes import shown


def check_writable(place: Place) -> None:
    """StoreError when no file could be written there. It is known before anything is paid, and nothing is created."""
    wanted = (place.file or place.folder / "media").absolute()
    try:
        with TemporaryFile(dir=next(there for there in wanted.parents if _is_there(there))):
            pass
        _is_there(wanted)
    except (OSError, ValueError) as error:
        reason = ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
        raise StoreError(f"{place.file or place.folder} cannot be written ({reason}); nothing was sent") from error


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def place_at(output: str | os.PathLike[str] | None, folder: Path, *, words: str, at: float) -> Place:
    """The place that a user names: a file, or a folder when it is one or ends in a slash; ``folder`` if none is named.

    InvalidRequestError when it is no path at all.
    """
    if output is None:
        return Place(folder=folder, words=words, at=at)
    try:
        text = os.fspath(output)
        path = Path(text).expanduser()
    except (TypeError, RuntimeError) as error:  # no path at all, or the home of a user that is not there
        raise InvalidRequestError(f"output is {shown(output)}, which is no path: {error}") from None
    if text.endswith(("/", os.sep)) or _is_folder(path):
        return Place(folder=path, words=words, at=at)
    return Place(folder=path.parent, file=path, words=words, at=at)


def _is_folder(path: Path) -> bool:
    """Whether a folder is there already; what the disk refuses to say is said when the place is tried."""
    with suppress(OSError):
        return path.is_dir()
    return False
