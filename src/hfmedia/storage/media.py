"""Media: one finished file and what is known of it. This is what users hold in their hands.

The file on the disk is the truth; everything else here was measured, or told by the provider.
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

MAX_INLINE_BYTES = 16 * 1024 * 1024  # bytes; a notebook that carries more inside itself becomes slow to open
CHUNK_SIZE = 1024 * 1024  # bytes copied at once
NOTEBOOK_MIMES = frozenset({"image/png", "image/jpeg"})  # what every notebook shows by itself


class Media(Struct, frozen=True, kw_only=True):
    """One finished image or video. Wherever a path is wanted (``open``, Pillow, ``shutil``), it is one.

    Attributes:
        path: where the file lies.
        mime: what its bytes are, whatever a header or a name said.
        width, height: its real size in pixels; None where the format hides it.
        bytes: its length.
        sha256: the digest of its bytes, in hex.
        provider, model, task, prompt: who made it, with what, for what.
        seed: the seed it was made with; None when nobody told one.
        cost: what the provider reported; None is unknown, never nothing.
        job_id: the job that made it.
        index: which of several outputs it is, from 0.
        warnings: a sentence for whatever was dropped, rounded or replaced on the way.
        parameters: what was asked for, as it was sent.
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
            raise self._storage_error(f"cannot read {self.path}", error) from error

    def image(self) -> Image:
        """The picture as a Pillow image, loaded; a copy in memory. StoreError for a video, or when the file is gone."""
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
            raise self._storage_error(f"cannot open {self.path} as a picture", error) from error

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Copies the file there and tells where. A directory keeps the name; a file of that name is replaced.

        The copy is whole or absent; missing directories are made. StoreError when it cannot be written.
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
        """Everything known, as plain JSON data without secrets: what lies beside the file, what ``--json`` prints."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__struct_fields__}
        created_at = datetime.fromtimestamp(self.created, UTC).isoformat(timespec="seconds")
        redacted = {name: [redact_text(text) for text in fields[name]] for name in ("warnings", "attempts")}
        data: dict[str, Any] = to_plain_json({**fields, **redacted, "created": created_at.replace("+00:00", "Z")})
        return {**data, "prompt": self.prompt}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Media:
        """The Media that these facts tell of, as ``facts()`` told them; ValueError when they are no such facts."""
        created_at = datetime.fromisoformat(str(data["created"])).timestamp()
        fields = {name: value for name, value in data.items() if name in cls.__struct_fields__}
        try:
            return msgspec.convert({**fields, "created": created_at}, cls, dec_hook=lambda kind, value: kind(value))
        except msgspec.ValidationError as error:
            raise ValueError(f"these are no facts of media: {error}") from error

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        size = f" {self.width}x{self.height}" if self.width else ""
        maker = f" by {self.provider}" if self.provider else ""
        return f"<Media {self.kind}{size}{maker}: {self.path}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What a notebook shows: a picture as itself, a video in a player, and a line of text elsewhere."""
        from base64 import b64encode

        bundle = {"text/plain": repr(self)}
        if not self.path.exists():
            return bundle
        if self.mime in NOTEBOOK_MIMES and self.bytes <= MAX_INLINE_BYTES:
            return {**bundle, self.mime: b64encode(self.data).decode("ascii")}
        return {**bundle, "text/html": self._html()}

    def _repr_html_(self) -> str | None:
        """The same as HTML; None where the picture is shown as itself, so that a notebook does not carry it twice."""
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
        reason = "it is no longer there" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        return StorageError(f"{message}: {reason}", job_id=self.job_id)
