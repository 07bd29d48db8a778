"""Batch items and their idempotency keys: which line is the same job as yesterday's, and which is another one.

Pure. A key is a digest of the folder, of all options of the line, and of the number of equal lines before it.
"""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from hfmedia.core.seeds import RANDOM_SEED_LIMIT, offset_seed

from .columns import Line

KEY_PREFIX = "batch-"


class BatchItem(Struct, frozen=True, kw_only=True):
    """One output to be generated.

    Attributes:
        line: the number of its line.
        copy_index: its position, from 0, among the outputs of that line.
        key: its idempotency key.
        options: keyword options of the client.
        output: the name of its file inside the folder; None where the storage chooses one.
    """

    line: int
    copy_index: int
    key: str
    options: dict[str, Any]
    output: str | None = None


def fingerprint(line: Line, *, folder: str, namespace: str = "", image_digest: str | None = None) -> bytes:
    """Return the digest of a line's options (without n) and of the folder of its results.

    Args:
        line: the line.
        folder: the real path of the folder.
        namespace: separates results that share a folder and nothing else, such as those of the sandbox.
        image_digest: of the input image's bytes where it is a file; its name counts, the path to it does not.
    """
    options = {name: value for name, value in line.keyed_options.items() if value is not None}
    if image_digest is not None:
        options["image"] = [image_digest, str(line.options["image"]).replace("\\", "/").rpartition("/")[2]]
    # These names are hashed, and keys are stored in ledgers: a changed name would buy every batch again.
    identity = {"folder": folder, "realm": namespace, "request": options, "key": line.key}
    return hashlib.sha256(msgspec.json.encode(identity, order="deterministic")).digest()


def item_key(line_digest: bytes, ordinal: int) -> str:
    """Return the idempotency key of output ``ordinal`` (from 0) among the outputs of equal lines."""
    return KEY_PREFIX + hashlib.sha256(line_digest + b"#%d" % ordinal).hexdigest()[:40]


def make_item(line: Line, copy_index: int, line_digest: bytes, ordinal: int) -> BatchItem:
    """Return one output of a line. Several outputs get distinct seeds, so that no two are the same image.

    A seed given by the line counts up. Without one, the first output has no seed and each further one derives its seed
    from its key, so that it is the same in every run of the batch.
    """
    key = item_key(line_digest, ordinal)
    options = {name: value for name, value in line.options.items() if name != "output"}
    if (seed := options.get("seed")) is not None:
        options["seed"] = offset_seed(seed, copy_index)
    elif ordinal:
        options["seed"] = int(key[-12:], 16) % RANDOM_SEED_LIMIT
    return BatchItem(
        line=line.number, copy_index=copy_index, key=key, options=options, output=_numbered_output(line, copy_index)
    )


def output_names(line: Line) -> list[str]:
    """Return the file names that a line sets for its outputs, in their order; empty where it sets none."""
    return [name for copy_index in range(line.n) if (name := _numbered_output(line, copy_index))]


def _numbered_output(line: Line, copy_index: int) -> str | None:
    """Return ``fox.png``, or of several ``fox-1.png``, ``fox-2.png``, …"""
    name: str | None = line.options.get("output")
    if name is None or line.n == 1:
        return name
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}-{copy_index + 1}{path.suffix}"))
