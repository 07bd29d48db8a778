"""Places: whether a file can be written somewhere, found out before anything is paid for."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from ..core.errors import StoreError
from ..core.ports import Place


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
