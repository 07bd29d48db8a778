"""Media: one generated file and its metadata, the result type of the public API.

The file on disk is authoritative; the metadata was measured from it or reported by the provider.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct, field

from ..core.errors import StorageError
from ..core.protocol import Cost
from .sanitize import redact_text, to_plain_json

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_INLINE_BYTES = 16 * 1024 * 1024  # bytes; a notebook with larger embedded files is slow to open
CHUNK_SIZE = 1024 * 1024  # bytes copied at once
NOTEBOOK_MIMES = frozenset({"image/png", "image/jpeg"})  # types that every notebook displays natively


class Media(Struct, frozen=True, kw_only=True):
    """One generated image or video. It is also path-like: pass it to ``open``, Pillow or ``shutil``.

    Attributes:
        path: path of the file.
        mime: MIME type detected from its content.
        width, height: actual size in pixels; None where the format does not have it.
        bytes: size in bytes.
        sha256: digest of the file, in hex.
        provider, model, task, prompt: of the request.
        seed: seed of the generation; None when the provider reported none.
        cost: as reported by the provider; None means unknown, not free.
        job_id: ID of its job.
        index: index among the outputs of a request, from 0.
        warnings: a sentence for each parameter that was dropped, rounded or replaced.
        parameters: the parameters as they were sent.
        attempts: a sentence for each provider that rejected the request before.
        source: URL it was downloaded from, without the query; None for inline media.
        nsfw: whether the provider marked it as not safe for work.
        timings: the provider's own timings, in seconds.
        created: time it was stored, in unix seconds.
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
        """Image or video, from the MIME type."""
        return "video" if self.mime.startswith("video/") else "image"

    @property
    def data(self) -> builtins.bytes:
        """Bytes of the file, read on each access. Raises StorageError when the file is gone."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise self._storage_error(f"cannot read {self.path}", error) from error

    def image(self) -> Image:
        """Load the image with Pillow. Raises StorageError for a video, or when the file is gone or unreadable."""
        from PIL import Image as Pillow

        if self.kind == "video":
            raise StorageError(
                f"{self.path} is a video; open it with a video library, or read .data", job_id=self.job_id
            )
        try:
            with Pillow.open(self.path) as picture:
                picture.load()
                return picture.copy()
        except OSError as error:
            raise self._storage_error(f"cannot open {self.path} as an image", error) from error

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Copy the file to a path, or into a directory under its own name, and return the new path.

        The copy is atomic and replaces an existing file; missing directories are created. Raises StorageError when it
        cannot be written.
        """
        from .atomic_file import open_atomic

        target = Path(path)
        if target.is_dir() or os.fspath(path).endswith(("/", os.sep)):
            target = target / self.path.name
        try:
            if target.exists() and target.samefile(self.path):
                return target
            temp_file = open_atomic(target, self.job_id)
            try:
                with self.path.open("rb") as original:
                    while chunk := original.read(CHUNK_SIZE):
                        temp_file.write(chunk)
                return temp_file.commit_replace(target)
            finally:
                temp_file.discard()
        except OSError as error:
            raise self._storage_error(f"cannot copy {self.path} to {target}", error) from error

    def to_dict(self) -> dict[str, Any]:
        """Return all metadata as plain JSON data without secrets, as in the sidecar and in ``--json``."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__struct_fields__}
        created_at = datetime.fromtimestamp(self.created, UTC).isoformat(timespec="seconds")
        redacted = {name: [redact_text(text) for text in fields[name]] for name in ("warnings", "attempts")}
        data: dict[str, Any] = to_plain_json({**fields, **redacted, "created": created_at.replace("+00:00", "Z")})
        return {**data, "prompt": self.prompt}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Media:
        """Build a Media from the data of ``to_dict``. Raises ValueError when it does not fit."""
        created_at = datetime.fromisoformat(str(data["created"])).timestamp()
        fields = {name: value for name, value in data.items() if name in cls.__struct_fields__}
        try:
            return msgspec.convert({**fields, "created": created_at}, cls, dec_hook=lambda kind, value: kind(value))
        except msgspec.ValidationError as error:
            raise ValueError(f"this is not the metadata of a media file: {error}") from error

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        size = f" {self.width}x{self.height}" if self.width else ""
        maker = f" by {self.provider}" if self.provider else ""
        return f"<Media {self.kind}{size}{maker}: {self.path}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Notebook representation: the image itself, a video player, or a line of text."""
        from base64 import b64encode

        bundle = {"text/plain": repr(self)}
        if not self.path.exists():
            return bundle
        if self.mime in NOTEBOOK_MIMES and self.bytes <= MAX_INLINE_BYTES:
            return {**bundle, self.mime: b64encode(self.data).decode("ascii")}
        return {**bundle, "text/html": self._html()}

    def _repr_html_(self) -> str | None:
        """Notebook HTML; None for images shown natively, so that they are not embedded twice."""
        return self._repr_mimebundle_().get("text/html")

    def _html(self) -> str:
        from base64 import b64encode
        from html import escape

        name = escape(self.prompt or self.path.name)
        if self.bytes > MAX_INLINE_BYTES:
            return f'<a href="{escape(self.path.absolute().as_uri())}">{name}</a>'
        source = f"data:{escape(self.mime)};base64,{b64encode(self.data).decode('ascii')}"
        if self.kind == "video":
            return f'<video controls loop src="{source}" title="{name}"></video>'
        return f'<img src="{source}" alt="{name}">'

    def _storage_error(self, message: str, error: OSError) -> StorageError:
        reason = "the file no longer exists" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        return StorageError(f"{message}: {reason}", job_id=self.job_id)
