"""Places: where a file shall lie, and whether it can be written there, found out before anything is paid for."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from ..core.errors import InvalidRequestError, StorageError
from ..core.ports import OutputTarget
from ..core.text import truncated_repr


def check_writable(target: OutputTarget) -> None:
    """StoreError when no file could be written there. It is known before anything is paid, and nothing is created."""
    path = (target.file or target.folder / "media").absolute()
    try:
        with TemporaryFile(dir=next(parent for parent in path.parents if _exists(parent))):
            pass
        _exists(path)
    except (OSError, ValueError) as error:
        reason = ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
        raise StorageError(f"{target.file or target.folder} cannot be written ({reason}); nothing was sent") from error


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def resolve_target(
    output: str | os.PathLike[str] | None, folder: Path, *, name_hint: str, created_at: float
) -> OutputTarget:
    """The place that a user names: a file, or a folder when it is one or ends in a slash; ``folder`` if none is named.

    InvalidRequestError when it is no path at all.
    """
    if output is None:
        return OutputTarget(folder=folder, name_hint=name_hint, created_at=created_at)
    try:
        text = os.fspath(output)
        path = Path(text).expanduser()
    except (TypeError, RuntimeError) as error:  # no path at all, or the home of a user that is not there
        raise InvalidRequestError(f"output is {truncated_repr(output)}, which is no path: {error}") from None
    if text.endswith(("/", os.sep)) or _is_folder(path):
        return OutputTarget(folder=path, name_hint=name_hint, created_at=created_at)
    return OutputTarget(folder=path.parent, file=path, name_hint=name_hint, created_at=created_at)


def _is_folder(path: Path) -> bool:
    """Whether a folder is there already; what the disk refuses to say is said when the place is tried."""
    with suppress(OSError):
        return path.is_dir()
    return False
