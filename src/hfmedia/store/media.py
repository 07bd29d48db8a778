"""Media: one finished file and what is known of it. This is what users hold in their hands.

The file on the disk is the truth; everything else here was told by the provider or measured.
"""

from __future__ import annotations

import builtins
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct, field

from ..core.answers import Cost
from ..core.errors import StoreError

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN_INLINE = 16 * 1024 * 1024  # bytes of a video that a notebook may carry inside itself


class Media(Struct, frozen=True, kw_only=True):
    """One finished image or video.

    Attributes:
        path: where the file lies.
        mime: what its bytes are, whatever a header or a name said.
        width, height: its real size in pixels; None where the format hides it.
        bytes: its length.
        sha256: the digest of its bytes, in hex.
        provider, model, task, prompt: who made it, with what, for what.
        seed: the seed it was made with; None when the provider did not tell.
        cost: what the provider reported; None is unknown, never nothing.
        job_id: the job that made it.
        index: which of several outputs it is, from 0.
        warnings: a sentence for whatever was dropped, rounded or replaced on the way.
        parameters: what was asked for, as the provider took it.
        attempts: a sentence for each provider that refused before.
        source: where it was fetched from, without the query; None for inline media.
        nsfw: whether the provider marked it as unsafe.
        timings: seconds, by what they were spent on.
        created: when it was stored, in unix seconds.
    """

    path: Path
    mime: str
    width: int | None = None
    height: int | None = None
    bytes: int = 0
    sha256: str = ""
    provider: str = ""
    model: str = ""
    task: str = ""
    prompt: str | None = None
    seed: int | None = None
    cost: Cost | None = None
    job_id: str = ""
    index: int = 0
    warnings: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    attempts: tuple[str, ...] = ()
    source: str | None = None
    nsfw: bool = False
    timings: dict[str, float] = field(default_factory=dict[str, float])
    created: float = 0.0

    @property
    def kind(self) -> Literal["image", "video"]:
        """What it is."""
        return "video" if self.mime.startswith("video/") else "image"

    @property
    def data(self) -> builtins.bytes:
        """The bytes of the file, read anew each time. StoreError when it is gone."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be read: {(error.strerror or '').lower()}", job_id=self.job_id
            ) from error

    def image(self) -> Image:
        """The picture as a Pillow image, loaded. StoreError for a video, or when the file is gone."""
        from PIL import Image as Pillow

        if self.kind == "video":
            raise StoreError(f"{self.path.name} is a video; .image() is for pictures", job_id=self.job_id)
        try:
            with Pillow.open(self.path) as picture:
                picture.load()
                return picture
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read: {error}", job_id=self.job_id) from error

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Copies the file there and tells where; a folder keeps the name, a file of that name is replaced.

        Whole or absent, as everything here. StoreError when it cannot be written.
        """
        target = Path(path).expanduser()
        if target.is_dir() or os.fspath(path).endswith(("/", os.sep)):
            target = target / self.path.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists() and target.samefile(self.path):
                return target
            handle, part = tempfile.mkstemp(prefix=".", suffix=".part", dir=target.parent)
            try:
                os.close(handle)
                shutil.copyfile(self.path, part)
                Path(part).chmod(self.path.stat().st_mode & 0o777)
                Path(part).replace(target)
            finally:
                Path(part).unlink(missing_ok=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StoreError(f"{target} cannot be written: {reason}", job_id=self.job_id) from error
        return target

    def facts(self) -> dict[str, Any]:
        """Everything known, as plain data: what lies beside the file, and what the command prints as JSON."""
        told: dict[str, Any] = msgspec.to_builtins(self, enc_hook=str)
        created = datetime.fromtimestamp(self.created, UTC).isoformat(timespec="seconds")
        return {**told, "path": str(self.path), "created": created}

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        size = f" {self.width}x{self.height}" if self.width else ""
        return f"<Media {self.kind}{size} by {self.provider} at {self.path}>"

    # -- in a notebook ------------------------------------------------------------------------------------------

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """A picture as itself, a video in a player; and a line of text for everything else."""
        shown: dict[str, Any] = {"text/plain": repr(self)}
        if self.mime in ("image/png", "image/jpeg"):
            shown[self.mime] = self.data
        else:
            shown["text/html"] = self._repr_html_()
        return shown

    def _repr_html_(self) -> str:
        from base64 import b64encode
        from html import escape

        name = escape(self.prompt or self.path.name, quote=True)
        if self.bytes > SHOWN_INLINE:
            return f'<a href="{escape(self.path.absolute().as_uri(), quote=True)}">{name}</a>'
        source = f"data:{self.mime};base64,{b64encode(self.data).decode('ascii')}"
        if self.kind == "video":
            return f'<video controls loop title="{name}" src="{source}"></video>'
        return f'<img alt="{name}" src="{source}">'
