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

from hfmedia.core.request import LARGEST_SEED

from .lines import Line

PREFIX = "batch-"
DRAWN = 2**31  # seeds that are drawn here are below this; every model takes them


class Order(Struct, frozen=True, kw_only=True):
    """One output to be made: the line it comes from, its idempotency key, and the wish as the client takes it.

    ``copy`` counts from 0 among the outputs that one line asks for; ``output`` is the file's name inside the folder,
    None where the store makes one.
    """

    line: int
    copy: int
    key: str
    wish: dict[str, Any]
    output: str | None = None


def fingerprint(line: Line, *, folder: str, realm: str = "", image: str | None = None) -> bytes:
    """The digest of all that a line asks for (but how often), with the folder in which its results shall lie.

    ``image`` is the digest of the input image's bytes where it is a file; its name counts, the path to it does not.
    ``realm`` keeps apart what shares a folder and nothing else: a simulated world, for one.
    """
    told = {name: value for name, value in line.wish.items() if value is not None}
    if image is not None:
        told["image"] = [image, str(line.wish["image"]).replace("\\", "/").rpartition("/")[2]]
    whole = {"folder": folder, "realm": realm, "request": told, "key": line.name}
    return hashlib.sha256(msgspec.json.encode(whole, order="deterministic")).digest()


def key_of(print_: bytes, ordinal: int) -> str:
    """The idempotency key of the output that is the ``ordinal``-th (from 0) to ask for the same."""
    return PREFIX + hashlib.sha256(print_ + b"#%d" % ordinal).hexdigest()[:40]


def order_of(line: Line, copy: int, print_: bytes, ordinal: int) -> Order:
    """One output of a line. Of several, each has its own seed, so that no two are the same picture.

    A seed that the line gives counts up; where it gives none, the first may have any, and each further one has a seed
    drawn from its key, which is the same whenever the batch is started again.
    """
    key = key_of(print_, ordinal)
    wish = {name: value for name, value in line.wish.items() if name != "output"}
    if (seed := wish.get("seed")) is not None:
        wish["seed"] = (seed + copy) % (LARGEST_SEED + 1)
    elif ordinal:
        wish["seed"] = int(key[-12:], 16) % DRAWN
    return Order(line=line.number, copy=copy, key=key, wish=wish, output=_numbered(line, copy))


def outputs_of(line: Line) -> list[str]:
    """The names of the files that a line asks for by name, in the order of its outputs."""
    return [name for copy in range(line.n) if (name := _numbered(line, copy))]


def _numbered(line: Line, copy: int) -> str | None:
    """``fox.png``, or of several ``fox-1.png``, ``fox-2.png``, …"""
    name: str | None = line.wish.get("output")
    if name is None or line.n == 1:
        return name
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}-{copy + 1}{path.suffix}"))


def shown_wish(wish: Mapping[str, Any]) -> str:
    """A wish in a few words, for a person."""
    return str(wish.get("prompt") or wish.get("image") or wish.get("task") or "")[:60]
