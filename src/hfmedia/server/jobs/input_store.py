"""Input images of orders, kept beside the book, so that an order can be carried out after a restart.

A file has the name of its digest, so the same image is kept once.
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
        """Writes the image's bytes, whole or not at all; one that is a URL needs no keeping. StoreError: the disk."""
        if image.data is None:
            return
        path = self._path(image)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.exists():
                os.utime(path)  # it is needed again, so the janitor counts its age from now
                return
            write_atomic(path, image.data)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StorageError(f"the input image could not be kept: {reason}; nothing was sent") from error

    def load(self, image: InputImage) -> InputImage:
        """The image with its bytes again; InvalidRequestError when they are gone."""
        if image.data is not None or image.url is not None:
            return image
        try:
            data = self._path(image).read_bytes()
        except OSError:
            raise InvalidRequestError("the input image of this order is no longer kept; send it again") from None
        return structs.replace(image, data=data)

    def _path(self, image: InputImage) -> Path:
        digest = image.sha256 or hashlib.sha256(image.data or b"").hexdigest()
        return self.folder / digest
