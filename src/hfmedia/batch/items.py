"""Keys: what makes a line of a batch the same job as yesterday's, and what makes it another one.

Pure. A key is a digest of the folder, of everything the line asks for, and of how many lines asked the same before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from hfmedia.core.request import MAX_SEED

from .columns import Line

KEY_PREFIX = "batch-"
DRAWN_SEED_LIMIT = 2**31  # seeds that are drawn here are below this; every model takes them


class BatchItem(Struct, frozen=True, kw_only=True):
    """One output to be made: the line it comes from, its idempotency key, and the wish as the client takes it.

    ``copy`` counts from 0 among the outputs that one line asks for; ``output`` is the file's name inside the folder,
    None where the store makes one.
    """

    line: int
    copy_index: int
    key: str
    options: dict[str, Any]
    output: str | None = None


def fingerprint(line: Line, *, folder: str, namespace: str = "", image_digest: str | None = None) -> bytes:
    """The digest of all that a line asks for (but how often), with the folder in which its results shall lie.

    ``image`` is the digest of the input image's bytes where it is a file; its name counts, the path to it does not.
    ``realm`` keeps apart what shares a folder and nothing else: a simulated world, for one.
    """
    options = {name: value for name, value in line.options.items() if value is not None}
    if image_digest is not None:
        options["image"] = [image_digest, str(line.options["image"]).replace("\\", "/").rpartition("/")[2]]
    identity = {"folder": folder, "realm": namespace, "request": options, "key": line.key}
    return hashlib.sha256(msgspec.json.encode(identity, order="deterministic")).digest()


def item_key(line_digest: bytes, ordinal: int) -> str:
    """The idempotency key of the output that is the ``ordinal``-th (from 0) to ask for the same."""
    return KEY_PREFIX + hashlib.sha256(line_digest + b"#%d" % ordinal).hexdigest()[:40]


def make_item(line: Line, copy_index: int, line_digest: bytes, ordinal: int) -> BatchItem:
    """One output of a line. Of several, each has its own seed, so that no two are the same picture.

    A seed that the line gives counts up; where it gives none, the first may have any, and each further one has a seed
    drawn from its key, which is the same whenever the batch is started again.
    """
    key = item_key(line_digest, ordinal)
    options = {name: value for name, value in line.options.items() if name != "output"}
    if (seed := options.get("seed")) is not None:
        options["seed"] = (seed + copy_index) % (MAX_SEED + 1)
    elif ordinal:
        options["seed"] = int(key[-12:], 16) % DRAWN_SEED_LIMIT
    return BatchItem(
        line=line.number, copy_index=copy_index, key=key, options=options, output=_numbered_output(line, copy_index)
    )


def output_names(line: Line) -> list[str]:
    """The names of the files that a line asks for by name, in the order of its outputs."""
    return [name for copy_index in range(line.n) if (name := _numbered_output(line, copy_index))]


def _numbered_output(line: Line, copy_index: int) -> str | None:
    """``fox.png``, or of several ``fox-1.png``, ``fox-2.png``, …"""
    name: str | None = line.options.get("output")
    if name is None or line.n == 1:
        return name
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}-{copy_index + 1}{path.suffix}"))


def describe_options(options: Mapping[str, Any]) -> str:
    """A wish in a few words, for a person."""
    return str(options.get("prompt") or options.get("image") or options.get("task") or "")[:60]
