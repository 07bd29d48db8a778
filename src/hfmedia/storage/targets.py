"""Output targets: where a file is to be written, and whether it can be, checked before anything is billed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from ..core.errors import InvalidRequestError, StorageError
from ..core.ports import OutputTarget
from ..core.text import truncated_repr


def check_writable(target: OutputTarget) -> None:
    """Raise StorageError when no file can be written there; creates nothing and runs before anything is sent."""
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
    """Resolve an output path: a file, or a folder if it is one or ends with a slash; ``folder`` by default.

    Raises InvalidRequestError when it is not a path.
    """
    if output is None:
        return OutputTarget(folder=folder, name_hint=name_hint, created_at=created_at)
    try:
        text = os.fspath(output)
        path = Path(text).expanduser()
    except (TypeError, RuntimeError) as error:  # not a path, or the home of an unknown user
        raise InvalidRequestError(f"output is {truncated_repr(output)}, which is not a path: {error}") from None
    if text.endswith(("/", os.sep)) or _is_folder(path):
        return OutputTarget(folder=path, name_hint=name_hint, created_at=created_at)
    return OutputTarget(folder=path.parent, file=path, name_hint=name_hint, created_at=created_at)


def _is_folder(path: Path) -> bool:
    """Return whether a folder exists; a disk error is reported later, when the target is checked."""
    with suppress(OSError):
        return path.is_dir()
    return False
