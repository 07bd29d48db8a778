"""Media inside replies: bytes, and data: URIs in every spelling."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfmedia.core.errors import DownloadError
from hfmedia.storage import FileStorage
from hfmedia.storage.data_uri import CHUNK_SIZE, iter_bytes, iter_data_uri

from .conftest import StorageHarness
from .samples import noise, sample

PNG = sample("png")


def read(uri: str) -> bytes:
    """All that a data: URI holds."""
    return b"".join(iter_data_uri(uri))


@given(st.binary(max_size=300), st.sampled_from(["", "image/png", "text/plain;charset=utf-8", "IMAGE/PNG;a=b"]))
def test_a_data_uri_gives_back_what_went_in(data: bytes, mime: str) -> None:
    """Base64 or percent-encoded, whatever type it claims."""
    assert read(f"data:{mime};base64,{b64encode(data).decode()}") == data
    assert read(f"data:{mime},{quote_from_bytes(data)}") == data


@pytest.mark.parametrize(
    "length", [CHUNK_SIZE * 3 // 4 - 1, CHUNK_SIZE * 3 // 4, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE + 2]
)
@pytest.mark.parametrize(
    "spelling",
    [
        lambda text: text,
        lambda text: text.rstrip("="),
        lambda text: "\n".join(text[at : at + 76] for at in range(0, len(text), 76)),
        lambda text: text.replace("+", "-").replace("/", "_"),
        lambda text: text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    ],
    ids=["plain", "unpadded", "lines", "url-safe", "escaped"],
)
def test_pieces_join_without_a_seam(length: int, spelling: object) -> None:
    """Wherever a piece ends, no letter is lost."""
    data = (bytes(range(256)) * (length // 256 + 1))[:length]
    assert read("data:image/png;base64," + spelling(b64encode(data).decode())) == data  # type: ignore[operator]


@given(st.integers(0, 12))
@settings(deadline=None)
def test_an_escape_is_not_torn_at_the_end_of_a_piece(shift: int) -> None:
    """%41 at a seam is one letter."""
    assert read("data:," + "a" * (CHUNK_SIZE - shift) + "%41%42%43") == b"a" * (CHUNK_SIZE - shift) + b"ABC"


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png;base64",
        "data:" + "x" * 2_000 + ",",
        "data:;base64,AAAA*AAA",
        "data:;base64,A",
        "data:;base64,AA==AAAA",
        "data:;base64,AA==" + " " * CHUNK_SIZE + "AAAA",
        "data:;base64,\u00e4\u00f6\u00fc",
    ],
)
def test_a_broken_data_uri_is_a_download_error(uri: str) -> None:
    """Half-read base64 is not a picture."""
    with pytest.raises(DownloadError, match="data: URI"):
        read(uri)


async def test_a_data_uri_is_kept_by_its_bytes_not_its_claim(keeping: StorageHarness) -> None:
    """It says jpeg and is a PNG: a PNG is kept."""
    kept = await keeping.keep("DATA:image/jpeg;base64," + b64encode(PNG).decode())
    assert (kept.mime, kept.path.suffix, kept.path.read_bytes(), kept.source) == ("image/png", ".png", PNG, None)
    assert keeping.progress == [(len(PNG), len(PNG))]


@pytest.mark.parametrize(
    "uri", ["data:image/png;base64,", "data:image/png;base64,AAAA*", "data:text/html,<html>no</html>"]
)
async def test_a_data_uri_without_media_leaves_nothing(keeping: StorageHarness, uri: str) -> None:
    """Empty, broken or a page: an error, and no file."""
    with pytest.raises(DownloadError):
        await keeping.keep(uri)
    assert keeping.files() == []


@pytest.mark.parametrize("spelling", [bytes, lambda data: "data:;base64," + urlsafe_b64encode(data).decode()])
async def test_inline_media_have_the_same_limit(keeping: StorageHarness, spelling: object) -> None:
    """What is too large by URL is too large inline."""
    keeping.store = FileStorage(keeping.folder, max_bytes=50_000)
    with pytest.raises(DownloadError, match="limit of 50,000"):
        await keeping.keep(spelling(noise(90_000)))  # type: ignore[operator]
    assert keeping.files() == []


def test_bytes_are_cut_into_pieces_without_a_copy() -> None:
    """Every piece is a view of the same bytes."""
    data = bytes(CHUNK_SIZE * 2 + 5)
    pieces = list(iter_bytes(data))
    assert [len(piece) for piece in pieces] == [CHUNK_SIZE, CHUNK_SIZE, 5]
    assert all(piece.obj is data for piece in pieces)
    assert list(iter_bytes(b"")) == []
