"""The simulated CDN: Range and If-Range requests, and the record of leaked credentials."""

from __future__ import annotations

import pytest

from hfmedia.sandbox import Sandbox

from .conftest import PlainHttp, ReceivedResponse
from .provider_requests import all_strings, is_media, submit


@pytest.fixture
async def whole(sandbox: Sandbox, http: PlainHttp) -> tuple[str, ReceivedResponse]:
    """The URL of a media file, and its full response."""
    payload = (await submit(http, sandbox, "together", "text-to-image")).json
    (url,) = [text for text in all_strings(payload) if is_media(sandbox, text)]
    return url, await http("GET", url)


async def test_a_media_file_is_served_with_length_and_etag(whole: tuple[str, ReceivedResponse]) -> None:
    """Its headers contain type, length, ETag and Last-Modified."""
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
async def test_a_range_is_served_with_its_position(
    http: PlainHttp, whole: tuple[str, ReceivedResponse], asked: str, part: slice
) -> None:
    """206 with Content-Range (RFC 9110, section 14)."""
    url, response = whole
    got = await http("GET", url, headers={"Range": asked})
    size = len(response.body)
    start, stop, _ = part.indices(size)
    assert (got.status, got.body) == (206, response.body[part])
    assert got.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
    assert got.headers["ETag"] == response.headers["ETag"]


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=20-10"])
async def test_a_range_beyond_the_end_is_416(http: PlainHttp, whole: tuple[str, ReceivedResponse], asked: str) -> None:
    """Content-Range contains the actual length."""
    url, response = whole
    got = await http("GET", url, headers={"Range": asked})
    assert (got.status, got.headers["Content-Range"]) == (416, f"bytes */{len(response.body)}")


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=a-b", "bytes=0-1,3-4", "items=0-1", ""])
async def test_an_invalid_range_is_ignored(http: PlainHttp, whole: tuple[str, ReceivedResponse], asked: str) -> None:
    """The full file, as HTTP allows."""
    url, response = whole
    got = await http("GET", url, headers={"Range": asked})
    assert (got.status, got.body) == (200, response.body)


@pytest.mark.parametrize(
    ("proof", "status"), [("ETag", 206), ("Last-Modified", 206), ('"another"', 200), ("Mon, 01 Jan 2024 1:00 GMT", 200)]
)
async def test_if_range_is_honored(
    http: PlainHttp, whole: tuple[str, ReceivedResponse], proof: str, status: int
) -> None:
    """A range of the same file, otherwise the full current one."""
    url, response = whole
    validator = response.headers.get(proof, proof)
    got = await http("GET", url, headers={"Range": "bytes=10-", "If-Range": validator})
    assert (got.status, got.body) == (status, response.body[10:] if status == 206 else response.body)


async def test_head_returns_the_headers_without_the_body(http: PlainHttp, whole: tuple[str, ReceivedResponse]) -> None:
    """The same length and ETag."""
    url, response = whole
    got = await http("HEAD", url)
    assert (got.status, got.body, got.headers["Content-Length"]) == (200, b"", str(len(response.body)))
    assert got.headers["ETag"] == response.headers["ETag"]


@pytest.mark.parametrize("name", ["none.png", "", "../../etc/passwd", "%2e%2e/x", "a/b"])
async def test_an_unknown_media_file_is_404(sandbox: Sandbox, http: PlainHttp, name: str) -> None:
    """Whatever its path looks like."""
    assert (await http("GET", f"{sandbox.url}/cdn/{name}")).status == 404


async def test_a_credential_sent_to_the_cdn_is_rejected_and_recorded_as_a_leak(
    sandbox: Sandbox, http: PlainHttp, whole: tuple[str, ReceivedResponse]
) -> None:
    """400, and recorded with its path; requests without a credential are not."""
    url, _ = whole
    assert sandbox.leaks == []
    got = await http("GET", url, headers={"Authorization": f"Bearer {sandbox.token}"})
    assert got.status == 400
    assert [leak.path for leak in sandbox.leaks] == [url.removeprefix(sandbox.url)]
    assert (await http("GET", f"{sandbox.url}/sandbox/state")).json["leaks"] == 1
    sandbox.clear()
    assert sandbox.leaks == []


async def test_a_media_file_is_the_same_on_every_fetch(http: PlainHttp, whole: tuple[str, ReceivedResponse]) -> None:
    """The same spec renders the same bytes."""
    url, response = whole
    assert {(await http("GET", url)).body for _ in range(3)} == {response.body}


async def test_a_redirect_of_one_hop_leads_to_the_media_file(
    sandbox: Sandbox, http: PlainHttp, whole: tuple[str, ReceivedResponse]
) -> None:
    """``to=same`` once; ``to=loop`` endlessly."""
    url, _ = whole
    sandbox.fault("cdn", "cdn-redirect", to="same")
    hop = await http("GET", url)
    assert (hop.status, (await http("GET", hop.headers["Location"])).status) == (302, 200)
    sandbox.fault("cdn", "cdn-redirect", to="loop", times=None)
    for _ in range(3):
        hop = await http("GET", url)
        assert (hop.status, hop.headers["Location"]) == (302, url)
