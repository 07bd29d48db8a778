"""The media of real exchanges, where the recordings are at hand: real files pass, a cut one does not."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfmedia.core.errors import DownloadError

from .conftest import StorageHarness

ROOT = Path(__file__).parents[2].parent / "shared" / "recordings"
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="the recordings are not part of this checkout")


def strings(value: Any) -> Iterator[str]:
    """Every text anywhere in some JSON."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(item)


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("router-fal-ai.2.png", "image/png"),
        ("router-replicate.2.png", "image/png"),
        ("router-hf-inference.1.jpg", "image/jpeg"),
    ],
)
async def test_a_recorded_file_is_whole_and_what_its_bytes_say(keeping: StorageHarness, name: str, mime: str) -> None:
    """Whatever the reply called it; one byte less, and it is no picture any more."""
    data = (ROOT / name).read_bytes()
    kept = await keeping.keep(data)
    assert (kept.mime, kept.bytes) == (mime, len(data))
    assert kept.width
    assert kept.height
    with pytest.raises(DownloadError, match="broken"):
        await keeping.keep(data[:-1])


async def test_a_recorded_data_uri_is_kept(keeping: StorageHarness) -> None:
    """fal-ai's sync_mode: the image comes inline."""
    recording = json.loads((ROOT / "fal-ai-image-data-uri.json").read_text())
    uri = next(text for text in strings(recording) if text.startswith("data:"))
    kept = await keeping.keep(uri)
    assert (kept.mime, kept.width, kept.height) == ("image/jpeg", 1024, 768)


async def test_recorded_base64_is_kept_when_it_is_whole(keeping: StorageHarness) -> None:
    """together through the router: a whole picture."""
    assert (await keeping.keep(_longest("router-together.json"))).mime == "image/jpeg"


async def test_recorded_base64_that_was_cut_is_refused(keeping: StorageHarness) -> None:
    """together directly: its recorder cut the image, and that is no picture."""
    with pytest.raises(DownloadError, match="a JPEG image, but broken"):
        await keeping.keep(_longest("together-image-b64.json"))
    assert keeping.files() == []


def _longest(name: str) -> bytes:
    text = max(strings(json.loads((ROOT / name).read_text())), key=len)
    return b64decode(text + "=" * (-len(text) % 4))
