"""/media/…: files by signed name, with everything that browsers and download tools expect."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

import aiohttp
import pytest

from hfmedia.client import MediaClient
from hfmedia.server.media.signed_urls import stored_media
from hfmedia.storage import Media
from hfmedia.storage.filenames import default_filename
from tests.support.gateway import RunningGateway
from tests.support.models import FLUX

MODEL = f"{FLUX}:together"


class Drawn:
    """One finished picture of a gateway, and the address under which it is given out."""

    def __init__(self, gateway: RunningGateway, job_id: str, media: Media) -> None:
        self.gateway, self.job_id, self.media = gateway, job_id, media
        self.data = media.path.read_bytes()
        self.links = gateway.gateway.url_signer

    def url(self, variant: str = "o") -> str:
        """Where a variant of it is."""
        return f"{self.gateway.url}/media/{self.links.name_for(self.media, variant)}"


async def draw(gateway: RunningGateway, http: aiohttp.ClientSession, prompt: str = "a red fox") -> Drawn:
    """A picture, ordered through the gateway and waited for."""
    body = {"prompt": prompt, "model": MODEL, "task": "text-to-image", "width": 256, "height": 192}
    async with http.post(f"{gateway.api}/jobs", json=body) as answer:
        job = (await answer.json())["data"][0]
    async with http.get(f"{gateway.api}/jobs/{job['id']}/events") as answer:
        await answer.read()  # ends when the job does
    async with MediaClient(environ=gateway.environ) as client:
        known = await client.ledger.get(job["id"])
    assert known is not None and known.state == "stored"
    return Drawn(gateway, known.id, stored_media(known)[0])


@pytest.fixture
async def drawn(gateway: RunningGateway, http: aiohttp.ClientSession) -> Drawn:
    """A finished picture."""
    return await draw(gateway, http)


async def test_a_file_is_given_out_as_what_it_is(drawn: Drawn, http: aiohttp.ClientSession) -> None:
    """The bytes, their type, and every header that keeps a browser from taking it for something else."""
    async with http.get(drawn.url()) as answer:
        assert await answer.read() == drawn.data
        response = answer.headers
    assert response["content-type"] == drawn.media.mime
    assert response["x-content-type-options"] == "nosniff"
    assert response["content-security-policy"] == "sandbox; default-src 'none'"
    assert response["etag"] == f'"{hashlib.sha256(drawn.data).hexdigest()}"'
    assert "private" in response["cache-control"] and "immutable" in response["cache-control"]
    assert response["accept-ranges"] == "bytes" and int(response["content-length"]) == len(drawn.data)
    assert response["content-disposition"].startswith("inline; filename=")


async def test_head_has_everything_but_the_content(drawn: Drawn, http: aiohttp.ClientSession) -> None:
    """The same headers as GET."""
    async with http.head(drawn.url()) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert int(answer.headers["content-length"]) == len(drawn.data)


async def test_a_download_is_an_attachment_with_a_name_for_every_browser(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """The name in ASCII and in UTF-8; what would break out of a header is no longer in it."""
    drawn = await draw(gateway, http, 'ein Fuchs "im" Schnee\r\nx-evil: 1; 狐')
    async with http.get(drawn.url(), params={"download": "1"}) as answer:
        response = answer.headers["content-disposition"]
        assert "x-evil" not in answer.headers
    assert re.fullmatch(
        r"attachment; filename=\"[A-Za-z0-9._-]+\.(png|jpg)\"; filename\*=UTF-8''[A-Za-z0-9%._-]+", response
    )
    assert "%E7%8B%90" in response


RANGES = [
    ("bytes=0-9", 206, (0, 10)),
    ("bytes=10-", 206, (10, None)),
    ("bytes=-5", 206, (-5, None)),
    ("bytes=0-99999999", 206, (0, None)),
    ("BYTES=3-3", 206, (3, 4)),
    ("bytes=99999999-", 416, None),
    ("bytes=-0", 416, None),
    ("bytes=5-2", 200, (0, None)),
    ("bytes=0-1,3-4", 200, (0, None)),
    ("bytes=a-b", 200, (0, None)),
    ("pages=1-2", 200, (0, None)),
    ("bytes", 200, (0, None)),
    ("bytes=-", 200, (0, None)),
]


async def test_a_range_is_sent_refused_or_ignored(drawn: Drawn, http: aiohttp.ClientSession) -> None:
    """One range that the file has is sent; one beyond its end is 416; what is no single range means the whole file."""
    size = len(drawn.data)
    for asked, status, part in RANGES:
        async with http.get(drawn.url(), headers={"range": asked}) as answer:
            data = await answer.read()
            assert answer.status == status, asked
            if part is None:
                assert answer.headers["content-range"] == f"bytes */{size}"
                assert (await answer.json())["error"]["code"] == "invalid_range"
                continue
        begin, end, _ = slice(*part).indices(size)
        assert data == drawn.data[begin:end], asked
        if status == 206:
            assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}", asked


async def test_a_range_of_a_file_that_changed_is_the_whole_file(drawn: Drawn, http: aiohttp.ClientSession) -> None:
    """If-Range with its ETag sends the part; with another one, or a date, everything."""
    etag = f'"{drawn.media.sha256}"'
    for condition, status in (
        (etag, 206),
        ('"other"', 200),
        (f"W/{etag}", 200),
        ("Thu, 01 Jan 2026 00:00:00 GMT", 200),
    ):
        async with http.get(drawn.url(), headers={"range": "bytes=0-1", "if-range": condition}) as answer:
            assert answer.status == status, condition
    async with http.get(drawn.url(), headers={"range": "bytes=99999999-", "if-range": '"other"'}) as answer:
        assert answer.status == 200


async def test_what_a_browser_has_it_need_not_fetch_again(drawn: Drawn, http: aiohttp.ClientSession) -> None:
    """304 for the right ETag, alone, weak, or among others; a range does not matter then."""
    etag = f'"{drawn.media.sha256}"'
    for known, status in ((etag, 304), (f"W/{etag}", 304), (f'"a", {etag}', 304), ("*", 304), ('"a"', 200)):
        async with http.get(drawn.url(), headers={"if-none-match": known, "range": "bytes=0-"}) as answer:
            assert answer.status == (206 if status == 200 else 304), known
            assert answer.headers["etag"] == etag


async def test_variants_have_names_and_etags_of_their_own(drawn: Drawn, http: aiohttp.ClientSession) -> None:
    """A thumbnail and a transcoded picture, each with its own type."""
    etags = set[str]()
    for variant, mime in (
        ("t", "image/webp"),
        ("webp-80", "image/webp"),
        ("jpeg-5", "image/jpeg"),
        ("gif", "image/gif"),
    ):
        async with http.get(drawn.url(variant)) as answer:
            assert answer.headers["content-type"] == mime
            assert len(await answer.read()) == int(answer.headers["content-length"])
            etags.add(answer.headers["etag"])
    assert len(etags) == 4


async def test_only_signed_names_lead_anywhere(drawn: Drawn, http: aiohttp.ClientSession) -> None:
    """Guesses, paths and half names are 404 in OpenAI's shape, whatever they try."""
    name = drawn.url().rpartition("/")[2]
    job = drawn.job_id
    for wrong in (name[:-6], name + "x", f"{job}.0.o", "..%2f..%2fgateway.sqlite3", "%00", "a" * 300, "%0d%0ax-evil:1"):
        async with http.get(f"{drawn.gateway.url}/media/{wrong}", allow_redirects=False) as answer:
            assert answer.status in (400, 404), wrong
            assert (await answer.json())["error"]["message"]
            assert "x-evil" not in answer.headers


async def test_a_file_that_was_there_once_is_410(drawn: Drawn, http: aiohttp.ClientSession) -> None:
    """Deleted by its owner it is gone, undone it is back; removed from the disk it is gone."""
    job = f"{drawn.gateway.api}/jobs/{drawn.job_id}"
    for method, path, status in (("DELETE", job, 410), ("POST", f"{job}/restore", 200)):
        async with http.request(method, path) as answer:
            assert answer.status == 200
        async with http.get(drawn.url()) as answer:
            assert answer.status == status
    drawn.media.path.unlink()
    for variant in ("o", "t"):
        async with http.get(drawn.url(variant)) as answer:
            assert answer.status == 410
            assert answer.headers.get("cache-control") != "immutable"
            assert (await answer.json())["error"]["code"] == "gone"


async def test_a_job_that_is_none_of_the_gateways_is_not_served(drawn: Drawn, http: aiohttp.ClientSession) -> None:
    """Even with a right signature: its files are its owner's."""
    async with MediaClient(environ=drawn.gateway.environ) as client:
        own = await client.text_to_image("a boat", model=MODEL, width=256, height=192)
    async with http.get(f"{drawn.gateway.url}/media/{drawn.links.name_for(own)}") as answer:
        assert answer.status == 404


def test_names_of_files_fit_the_test() -> None:
    """What the store calls a file may hold letters of every script."""
    assert "狐" in default_filename(datetime(2026, 1, 1), "狐", ".png")
