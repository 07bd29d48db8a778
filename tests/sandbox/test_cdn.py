"""The simulated CDN: parts of a file by Range, proofs by If-Range, and a memory for whoever shows it a credential."""

from __future__ import annotations

import pytest

from hfmedia.sandbox import Sandbox

from .conftest import PlainHttp, ReceivedResponse
from .provider_requests import all_strings, is_media, submit


@pytest.fixture
async def whole(world: Sandbox, ask: PlainHttp) -> tuple[str, ReceivedResponse]:
    """A medium's address, and the whole of it."""
    said = (await submit(ask, world, "together", "text-to-image")).json
    (url,) = [text for text in all_strings(said) if is_media(world, text)]
    return url, await ask("GET", url)


async def test_a_medium_comes_whole_with_its_length_and_mark(whole: tuple[str, ReceivedResponse]) -> None:
    """Type, length, ETag and Last-Modified stand beside it."""
    _, heard = whole
    assert (heard.status, heard.type, heard.headers["Accept-Ranges"]) == (200, "image/jpeg", "bytes")
    assert int(heard.headers["Content-Length"]) == len(heard.body) > 1000
    assert heard.headers["ETag"].startswith('"')
    assert heard.headers["Last-Modified"].endswith("GMT")


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-", slice(0, None)),
        ("bytes=100-", slice(100, None)),
        ("bytes=100-199", slice(100, 200)),
        ("bytes=0-0", slice(0, 1)),
        ("bytes=-10", slice(-10, None)),
        ("bytes=5-99999999", slice(5, None)),
    ],
)
async def test_a_part_is_served_with_its_place(
    ask: PlainHttp, whole: tuple[str, ReceivedResponse], asked: str, part: slice
) -> None:
    """206, and Content-Range says where it lies (RFC 9110, 14)."""
    url, heard = whole
    got = await ask("GET", url, headers={"Range": asked})
    size = len(heard.body)
    start, stop, _ = part.indices(size)
    assert (got.status, got.body) == (206, heard.body[part])
    assert got.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
    assert got.headers["ETag"] == heard.headers["ETag"]


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=20-10"])
async def test_a_part_beyond_the_end_is_416(ask: PlainHttp, whole: tuple[str, ReceivedResponse], asked: str) -> None:
    """It tells the length that there is."""
    url, heard = whole
    got = await ask("GET", url, headers={"Range": asked})
    assert (got.status, got.headers["Content-Range"]) == (416, f"bytes */{len(heard.body)}")


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=a-b", "bytes=0-1,3-4", "items=0-1", ""])
async def test_a_range_that_makes_no_sense_is_ignored(
    ask: PlainHttp, whole: tuple[str, ReceivedResponse], asked: str
) -> None:
    """All of it, as HTTP allows."""
    url, heard = whole
    got = await ask("GET", url, headers={"Range": asked})
    assert (got.status, got.body) == (200, heard.body)


@pytest.mark.parametrize(
    ("proof", "status"), [("ETag", 206), ("Last-Modified", 206), ('"another"', 200), ("Mon, 01 Jan 2024 1:00 GMT", 200)]
)
async def test_if_range_is_honoured(
    ask: PlainHttp, whole: tuple[str, ReceivedResponse], proof: str, status: int
) -> None:
    """A part of the same file, else the whole of the other."""
    url, heard = whole
    shown = heard.headers.get(proof, proof)
    got = await ask("GET", url, headers={"Range": "bytes=10-", "If-Range": shown})
    assert (got.status, got.body) == (status, heard.body[10:] if status == 206 else heard.body)


async def test_head_tells_without_the_body(ask: PlainHttp, whole: tuple[str, ReceivedResponse]) -> None:
    """The same length and mark."""
    url, heard = whole
    got = await ask("HEAD", url)
    assert (got.status, got.body, got.headers["Content-Length"]) == (200, b"", str(len(heard.body)))
    assert got.headers["ETag"] == heard.headers["ETag"]


@pytest.mark.parametrize("name", ["none.png", "", "../../etc/passwd", "%2e%2e/x", "a/b"])
async def test_what_was_never_promised_is_404(world: Sandbox, ask: PlainHttp, name: str) -> None:
    """However it is spelt."""
    assert (await ask("GET", f"{world.url}/cdn/{name}")).status == 404


async def test_a_credential_shown_to_the_cdn_is_a_leak_and_refused(
    world: Sandbox, ask: PlainHttp, whole: tuple[str, ReceivedResponse]
) -> None:
    """400, and remembered with what was asked; without one nothing is."""
    url, _ = whole
    assert world.leaks == []
    got = await ask("GET", url, headers={"Authorization": f"Bearer {world.token}"})
    assert got.status == 400
    assert [leak.path for leak in world.leaks] == [url.removeprefix(world.url)]
    assert (await ask("GET", f"{world.url}/sandbox/state")).json["leaks"] == 1
    world.clear()
    assert world.leaks == []


async def test_a_medium_is_the_same_however_often_it_is_fetched(
    ask: PlainHttp, whole: tuple[str, ReceivedResponse]
) -> None:
    """It is drawn from a recipe, and recipes do not change."""
    url, heard = whole
    assert {(await ask("GET", url)).body for _ in range(3)} == {heard.body}


async def test_a_redirect_of_one_hop_leads_to_the_medium(
    world: Sandbox, ask: PlainHttp, whole: tuple[str, ReceivedResponse]
) -> None:
    """``to=same`` once; ``to=loop`` for ever."""
    url, _ = whole
    world.fault("cdn", "cdn-redirect", to="same")
    hop = await ask("GET", url)
    assert (hop.status, (await ask("GET", hop.headers["Location"])).status) == (302, 200)
    world.fault("cdn", "cdn-redirect", to="loop", times=None)
    for _ in range(3):
        hop = await ask("GET", url)
        assert (hop.status, hop.headers["Location"]) == (302, url)
