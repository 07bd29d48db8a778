"""The simulated CDN: parts of a file by Range, proofs by If-Range, and a memory for whoever shows it a credential."""

from __future__ import annotations

import pytest

from hfmedia.sandbox import Sandbox

from .conftest import PlainHttp, ReceivedResponse
from .provider_requests import all_strings, is_media, submit


@pytest.fixture
async def whole(sandbox: Sandbox, http: PlainHttp) -> tuple[str, ReceivedResponse]:
    """A medium's address, and the whole of it."""
    said = (await submit(http, sandbox, "together", "text-to-image")).json
    (url,) = [text for text in all_strings(said) if is_media(sandbox, text)]
    return url, await http("GET", url)


async def test_a_medium_comes_whole_with_its_length_and_mark(whole: tuple[str, ReceivedResponse]) -> None:
    """Type, length, ETag and Last-Modified stand beside it."""
    _, response = whole
    assert (response.status, response.type, response.headers["Accept-Ranges"]) == (200, "image/jpeg", "bytes")
    assert int(response.headers["Content-Length"]) == len(response.body) > 1000
    assert response.headers["ETag"].startswith('"')
    assert response.headers["Last-Modified"].endswith("GMT")


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
    http: PlainHttp, whole: tuple[str, ReceivedResponse], asked: str, part: slice
) -> None:
    """206, and Content-Range says where it lies (RFC 9110, 14)."""
    url, response = whole
    got = await http("GET", url, headers={"Range": asked})
    size = len(response.body)
    start, stop, _ = part.indices(size)
    assert (got.status, got.body) == (206, response.body[part])
    assert got.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
    assert got.headers["ETag"] == response.headers["ETag"]


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=20-10"])
async def test_a_part_beyond_the_end_is_416(http: PlainHttp, whole: tuple[str, ReceivedResponse], asked: str) -> None:
    """It tells the length that there is."""
    url, response = whole
    got = await http("GET", url, headers={"Range": asked})
    assert (got.status, got.headers["Content-Range"]) == (416, f"bytes */{len(response.body)}")


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=a-b", "bytes=0-1,3-4", "items=0-1", ""])
async def test_a_range_that_makes_no_sense_is_ignored(
    http: PlainHttp, whole: tuple[str, ReceivedResponse], asked: str
) -> None:
    """All of it, as HTTP allows."""
    url, response = whole
    got = await http("GET", url, headers={"Range": asked})
    assert (got.status, got.body) == (200, response.body)


@pytest.mark.parametrize(
    ("proof", "status"), [("ETag", 206), ("Last-Modified", 206), ('"another"', 200), ("Mon, 01 Jan 2024 1:00 GMT", 200)]
)
async def test_if_range_is_honoured(
    http: PlainHttp, whole: tuple[str, ReceivedResponse], proof: str, status: int
) -> None:
    """A part of the same file, else the whole of the other."""
    url, response = whole
    shown = response.headers.get(proof, proof)
    got = await http("GET", url, headers={"Range": "bytes=10-", "If-Range": shown})
    assert (got.status, got.body) == (status, response.body[10:] if status == 206 else response.body)


async def test_head_tells_without_the_body(http: PlainHttp, whole: tuple[str, ReceivedResponse]) -> None:
    """The same length and mark."""
    url, response = whole
    got = await http("HEAD", url)
    assert (got.status, got.body, got.headers["Content-Length"]) == (200, b"", str(len(response.body)))
    assert got.headers["ETag"] == response.headers["ETag"]


@pytest.mark.parametrize("name", ["none.png", "", "../../etc/passwd", "%2e%2e/x", "a/b"])
async def test_what_was_never_promised_is_404(sandbox: Sandbox, http: PlainHttp, name: str) -> None:
    """However it is spelt."""
    assert (await http("GET", f"{sandbox.url}/cdn/{name}")).status == 404


async def test_a_credential_shown_to_the_cdn_is_a_leak_and_refused(
    sandbox: Sandbox, http: PlainHttp, whole: tuple[str, ReceivedResponse]
) -> None:
    """400, and remembered with what was asked; without one nothing is."""
    url, _ = whole
    assert sandbox.leaks == []
    got = await http("GET", url, headers={"Authorization": f"Bearer {sandbox.token}"})
    assert got.status == 400
    assert [leak.path for leak in sandbox.leaks] == [url.removeprefix(sandbox.url)]
    assert (await http("GET", f"{sandbox.url}/sandbox/state")).json["leaks"] == 1
    sandbox.clear()
    assert sandbox.leaks == []


async def test_a_medium_is_the_same_however_often_it_is_fetched(
    http: PlainHttp, whole: tuple[str, ReceivedResponse]
) -> None:
    """It is drawn from a recipe, and recipes do not change."""
    url, response = whole
    assert {(await http("GET", url)).body for _ in range(3)} == {response.body}


async def test_a_redirect_of_one_hop_leads_to_the_medium(
    sandbox: Sandbox, http: PlainHttp, whole: tuple[str, ReceivedResponse]
) -> None:
    """``to=same`` once; ``to=loop`` for ever."""
    url, _ = whole
    sandbox.fault("cdn", "cdn-redirect", to="same")
    hop = await http("GET", url)
    assert (hop.status, (await http("GET", hop.headers["Location"])).status) == (302, 200)
    sandbox.fault("cdn", "cdn-redirect", to="loop", times=None)
    for _ in range(3):
        hop = await http("GET", url)
        assert (hop.status, hop.headers["Location"]) == (302, url)
