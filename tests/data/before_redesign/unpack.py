"""Puts what the version before the redesign wrote where a test can open it."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Literal

HERE = Path(__file__).resolve().parent
ROOT = "/tmp/hfmedia-fixture"  # below it lies every path that the databases, sidecars and golden files hold


def unpack(name: Literal["home", "batch", "gateway"], folder: Path) -> Path:
    """A copy of one of the three in a new folder, its databases unpacked. Nothing in the files is changed."""
    target = folder / name
    shutil.copytree(HERE / name, target)
    for path in target.rglob("*.sqlite3.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    return target
