"""Input images of generations, stored next to the database so that a generation can run after a restart.

A file is named by its digest, so the same image is stored once.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from msgspec import structs

from hfmedia.core.errors import InvalidRequestError, StorageError
from hfmedia.core.request import InputImage
from hfmedia.files.atomic import write_atomic


class InputStore:
    """A folder of input images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, image: InputImage) -> None:
        """Write the image's bytes atomically; a URL is not stored. Raises StorageError if the disk fails."""
        if image.data is None:
            return
        path = self._path(image)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.exists():
                os.utime(path)  # in use again: the janitor counts its age from now
                return
            write_atomic(path, image.data)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StorageError(f"the input image cannot be stored: {reason}; nothing was sent") from error

    def load(self, image: InputImage) -> InputImage:
        """Return the image with its bytes; raise InvalidRequestError if the file was deleted."""
        if image.data is not None or image.url is not None:
            return image
        try:
            data = self._path(image).read_bytes()
        except OSError:
            raise InvalidRequestError("the input image of this job is no longer stored; submit it again") from None
        return structs.replace(image, data=data)

    def _path(self, image: InputImage) -> Path:
        digest = image.sha256 or hashlib.sha256(image.data or b"").hexdigest()
        return self.folder / digest
