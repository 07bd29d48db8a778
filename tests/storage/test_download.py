"""Downloads over real sockets: they go on where they broke off, begin again where they must, and end."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hfmedia.core.errors import (
    DownloadError,
    RequestNotSentError,
    ResponseLostError,
    ResultExpiredError,
    UnsafeUrlError,
)
from hfmedia.core.ports import MediaFetcher, ResponseStream
from hfmedia.core.retry import DOWNLOAD_RETRIES
from hfmedia.storage import FileStorage

from .conftest import DATE, FakeCdn, StorageHarness
from .samples import noise, sample

DATA = noise(200_000)
LONGER = noise(260_000)
EQUAL = DATA[:30_000] + bytes(8) + DATA[30_008:]  # another picture, of the same length


def ranges(cdn: FakeCdn) -> list[str | None]:
    """Which Range each request asked for."""
    return [asked.get("range") for asked in cdn.requests]


async def test_a_download_arrives_whole_with_its_digest(cdn: FakeCdn, keeping: StorageHarness) -> None:
    """The file has the served bytes, counted, hashed and measured; the source has no query."""
    cdn.data = DATA
    kept = await keeping.keep(cdn.url)
    assert kept.path.read_bytes() == DATA
    assert (kept.bytes, kept.sha256) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    assert (kept.mime, kept.attempts, kept.source) == ("image/png", 1, cdn.url.partition("?")[0])
    assert keeping.progress[-1] == (len(DATA), len(DATA))
    assert keeping.files() == [kept.path.name]
    assert "range" not in cdn.requests[0]


@pytest.mark.parametrize(
    ("headers", "proof"),
    [
        ({"ETag": '"one"', "Last-Modified": DATE}, '"one"'),
        ({"ETag": '"one"'}, '"one"'),
        ({"ETag": 'W/"one"', "Last-Modified": DATE}, DATE),
        ({"Last-Modified": DATE}, DATE),
    ],
)
async def test_a_broken_download_goes_on_where_it_stopped(
    cdn: FakeCdn, keeping: StorageHarness, headers: dict[str, str], proof: str
) -> None:
    """The rest alone is asked for, on condition that the file is still the same."""
    cdn.data, cdn.headers, cdn.plan = DATA, headers, [("cut", 50_000), ("cut", 70_000)]
    kept = await keeping.keep(cdn.url)
    assert kept.path.read_bytes() == DATA
    assert kept.sha256 == hashlib.sha256(DATA).hexdigest()
    assert (kept.attempts, len(keeping.waits)) == (3, 2)
    assert ranges(cdn) == [None, "bytes=50000-", "bytes=120000-"]
    assert [asked.get("if-range") for asked in cdn.requests] == [None, proof, proof]


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({"ranges": False}, [None, "bytes=50000-"]),
        ({"headers": {}}, [None, None]),
        ({"headers": {"ETag": 'W/"weak"'}}, [None, None]),
    ],
)
async def test_without_ranges_or_a_proof_it_begins_again(
    cdn: FakeCdn, keeping: StorageHarness, change: dict[str, Any], asked: list[str | None]
) -> None:
    """A server that knows no Range, or says nothing that proves a file the same, sends it all again."""
    cdn.data, cdn.plan = DATA, [("cut", 50_000)]
    for name, value in change.items():
        setattr(cdn, name, value)
    kept = await keeping.keep(cdn.url)
    assert kept.path.read_bytes() == DATA
    assert kept.sha256 == hashlib.sha256(DATA).hexdigest()
    assert ranges(cdn) == asked


@pytest.mark.parametrize("changed", [LONGER, EQUAL], ids=["longer", "same length"])
@pytest.mark.parametrize("believes", [True, False], ids=["If-Range honoured", "If-Range ignored"])
async def test_a_file_that_changed_is_never_glued_to_its_old_half(
    cdn: FakeCdn, keeping: StorageHarness, believes: bool, changed: bytes
) -> None:
    """Even where the server ignores If-Range, the halves of two files do not become one."""
    cdn.data, cdn.validates_if_range, cdn.plan = DATA, believes, [("cut", 50_000), ("change", changed)]
    kept = await keeping.keep(cdn.url)
    assert kept.path.read_bytes() == changed
    assert kept.sha256 == hashlib.sha256(changed).hexdigest()


@pytest.mark.parametrize(
    "lie",
    [
        f"bytes 0-{len(DATA) - 1}/{len(DATA)}",
        f"bytes 50001-{len(DATA) - 1}/{len(DATA)}",
        f"bytes 50000-{len(DATA) - 1}/{len(DATA) + 7}",
        f"bytes */{len(DATA)}",
        "rubbish",
        "",
    ],
)
async def test_a_206_that_does_not_fit_is_not_believed(cdn: FakeCdn, keeping: StorageHarness, lie: str) -> None:
    """A part from another place, or of a file of another length, begins the download again."""
    cdn.data, cdn.plan = DATA, [("cut", 50_000), ("lie", lie)]
    kept = await keeping.keep(cdn.url)
    assert kept.path.read_bytes() == DATA
    assert ranges(cdn) == [None, "bytes=50000-", None]


async def test_the_length_that_a_206_tells_is_held_to(cdn: FakeCdn, keeping: StorageHarness) -> None:
    """A partial response reveals an unknown length; a response that ends earlier is incomplete."""
    cdn.data, cdn.chunked, cdn.plan = DATA, True, [("cut", 50_000), ("short", 60_000)]
    kept = await keeping.keep(cdn.url)
    assert kept.path.read_bytes() == DATA
    assert ranges(cdn) == [None, "bytes=50000-", "bytes=110000-"]


async def test_a_cut_at_the_very_end_of_a_file_of_unknown_length_is_found_whole(
    cdn: FakeCdn, keeping: StorageHarness
) -> None:
    """416 with the length that we have already means that nothing is missing."""
    cdn.data, cdn.chunked, cdn.plan = DATA, True, [("cut", len(DATA))]
    kept = await keeping.keep(cdn.url)
    assert kept.path.read_bytes() == DATA
    assert ranges(cdn) == [None, f"bytes={len(DATA)}-"]


async def test_416_for_a_file_that_shrank_begins_again(cdn: FakeCdn, keeping: StorageHarness) -> None:
    """Where there is no such range any more, the download starts over."""
    small = sample("png")
    cdn.data, cdn.validates_if_range, cdn.plan = DATA, False, [("cut", 50_000), ("change", small)]
    kept = await keeping.keep(cdn.url)
    assert kept.path.read_bytes() == small


async def test_a_redirect_is_followed_on_every_try(cdn: FakeCdn, keeping: StorageHarness) -> None:
    """The address that was given is asked each time, so a fresh signature behind it counts."""
    cdn.data, cdn.plan = DATA, [("cut", 40_000)]
    kept = await keeping.keep(cdn.url.replace("file.bin", "moved"))
    assert kept.path.read_bytes() == DATA
    assert ranges(cdn) == [None, "bytes=40000-"]


async def test_a_slow_server_is_waited_for(cdn: FakeCdn, keeping: StorageHarness) -> None:
    """Bytes that trickle in are bytes."""
    data = sample("jpeg")

    async def trickle(url: str, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
        for at in range(0, len(data), 200):
            await asyncio.sleep(0.001)
            yield data[at : at + 200]

    keeping.fetch = fake(trickle)
    kept = await keeping.keep(cdn.url)
    assert kept.path.read_bytes() == data


@pytest.mark.parametrize("status", [403, 404, 410])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "after a break"])
async def test_a_result_that_is_gone_is_expired(cdn: FakeCdn, keeping: StorageHarness, status: int, late: bool) -> None:
    """The status of an expired signed URL is reported as such, and not retried."""
    cdn.data, cdn.plan = DATA, [*([("cut", 9_000)] if late else []), status]
    with pytest.raises(ResultExpiredError, match="expired or was deleted") as caught:
        await keeping.keep(cdn.url)
    assert caught.value.status == status
    assert len(cdn.requests) == 1 + late
    assert keeping.files() == []


@pytest.mark.parametrize(
    ("status", "later", "waits"),
    [
        (429, {"Retry-After": "7"}, 7.0),
        (503, {"Retry-After": "2"}, 2.0),
        (503, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        (408, {}, None),
        (500, {}, None),
        (502, {}, None),
        (522, {}, None),
    ],
)
async def test_a_busy_server_is_asked_again_when_it_says(
    cdn: FakeCdn, keeping: StorageHarness, status: int, later: dict[str, str], waits: float | None
) -> None:
    """429 and 5xx are tried again, after Retry-After where one is given."""
    cdn.data, cdn.plan, cdn.error_headers = DATA, [status], later
    kept = await keeping.keep(cdn.url)
    assert kept.attempts == 2
    assert len(keeping.waits) == 1
    assert keeping.waits[0] == waits if waits is not None else 0.3 < keeping.waits[0] < 0.7


@pytest.mark.parametrize("status", [204, 400, 401, 405, 418, 451])
async def test_another_refusal_ends_the_download_at_once(cdn: FakeCdn, keeping: StorageHarness, status: int) -> None:
    """An error that a retry would not change is raised at once."""
    cdn.data, cdn.plan = DATA, [status]
    with pytest.raises(DownloadError, match=str(status)):
        await keeping.keep(cdn.url)
    assert len(cdn.requests) == 1
    assert keeping.files() == []


@pytest.mark.parametrize("step", [("cut", 1_000), 503], ids=["broken", "busy"])
async def test_a_download_that_never_arrives_gives_up(cdn: FakeCdn, keeping: StorageHarness, step: Any) -> None:
    """Retries end; the error says how much arrived, and has no signature."""
    cdn.data, cdn.plan = DATA, [step] * 50
    with pytest.raises(DownloadError, match=f"after {DOWNLOAD_RETRIES + 1} attempts") as caught:
        await keeping.keep(cdn.url)
    assert len(cdn.requests) == DOWNLOAD_RETRIES + 1
    assert caught.value.retryable
    assert "secret" not in str(caught.value)
    assert keeping.files() == []


async def test_a_server_that_is_not_there_is_tried_again(keeping: StorageHarness) -> None:
    """No connection is like a break: later, perhaps."""
    with pytest.raises(DownloadError, match="connection refused"):
        await keeping.keep("http://127.0.0.1:1/a.png")
    assert len(keeping.waits) == DOWNLOAD_RETRIES


@pytest.mark.parametrize("error_type", [RequestNotSentError, ResponseLostError, DownloadError])
async def test_transport_errors_are_retried(keeping: StorageHarness, error_type: type[Exception]) -> None:
    """Whatever the transport calls it, the next try may help."""
    calls: list[int] = []

    async def once(url: str, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
        calls.append(1)
        if len(calls) == 1:
            raise error_type("the line went dead")
        yield sample("png")

    keeping.fetch = fake(once)
    assert (await keeping.keep("https://cdn.example/a")).attempts == 2


async def test_an_unsafe_address_is_not_tried_again(keeping: StorageHarness) -> None:
    """A refusal of the guard is final, and leaves nothing."""

    async def unsafe(url: str, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
        raise UnsafeUrlError("it leads into a private network")
        yield b""

    keeping.fetch = fake(unsafe)
    with pytest.raises(UnsafeUrlError):
        await keeping.keep("https://cdn.example/a")
    assert keeping.waits == []
    assert keeping.files() == []


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "unannounced"])
async def test_a_file_over_the_limit_is_refused(cdn: FakeCdn, keeping: StorageHarness, chunked: bool) -> None:
    """An endless body ends at the limit, and one that announces itself before the first byte."""
    cdn.data, cdn.chunked = DATA, chunked
    keeping.store = FileStorage(keeping.folder, max_bytes=100_000)
    with pytest.raises(DownloadError, match="limit of 100,000"):
        await keeping.keep(cdn.url)
    assert len(cdn.requests) == 1
    assert max((done for done, _ in keeping.progress), default=0) <= 100_000
    assert keeping.files() == []


@pytest.mark.parametrize("url", ["", "ftp://cdn.example/a.png", "file:///etc/passwd", "/a.png", "javascript:1"])
async def test_what_is_no_address_on_the_web_is_refused(keeping: StorageHarness, url: str) -> None:
    """Only http and https are ever fetched."""
    with pytest.raises(DownloadError, match="neither data nor an http"):
        await keeping.keep(url)


def fake(body: Any, status: int = 200) -> MediaFetcher:
    """A fetch whose replies have that body, without sockets."""

    class RecordedReply:
        def __init__(self, url: str, headers: Mapping[str, str]) -> None:
            self.status, self.url = status, url
            self.headers: dict[str, str] = {}
            self._asked = headers

        def chunks(self) -> AsyncGenerator[bytes]:
            return body(self.url, self._asked)  # type: ignore[no-any-return]

    @asynccontextmanager
    async def opened(url: str, *, headers: Mapping[str, str]) -> AsyncGenerator[ResponseStream]:
        yield RecordedReply(url, headers)

    return opened
