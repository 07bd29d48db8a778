"""What send sends, and what it makes of the answer: whole, inflated, bounded, in lower case."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib

import pytest

from hfmedia.core.credentials import Credential, Secret
from hfmedia.core.http import HttpRequest, get, post_json
from hfmedia.core.ports import HttpSender
from hfmedia.transport import BODY_OMITTED_HEADER, Transport, TransportLimits

from .servers import ReceivedRequest, answering, http_response, read_request, serve

SMALL = TransportLimits(max_json_bytes=1000)


def chunked(*pieces: bytes, headers: str = "") -> bytes:
    """A reply whose length is not announced."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{headers}\r\n".encode() + body + b"0\r\n\r\n"


def transport(**options: object) -> Transport:
    """A transport that knows no proxy."""
    return Transport(environ={}, **options)  # type: ignore[arg-type]


def key(port: int) -> Credential:
    return Credential(secret=Secret("hf_secretsecret"), base_url=f"http://127.0.0.1:{port}/fal-ai")


async def test_a_request_goes_out_as_it_was_written_with_its_credential_alone() -> None:
    """Method, target, body and headers; the Authorization header from the credential; no cookie, no surprise."""
    seen: list[ReceivedRequest] = []
    handler = answering(http_response(b"{}", headers={"Set-Cookie": "a=b", "X-Odd": "1"}), seen=seen)
    async with serve(handler) as port, transport(user_agent="tester/1") as wire:
        sender: HttpSender = wire
        request = post_json(f"http://127.0.0.1:{port}/fal-ai/x%7Ey?q=a%2Fb", {"prompt": "fox"})
        replies = [await sender.send(request, credential=key(port)) for _ in range(2)]
    for request_seen in seen:
        assert (request_seen.method, request_seen.target) == ("POST", "/fal-ai/x%7Ey?q=a%2Fb")
        assert request_seen.body == b'{"prompt":"fox"}'
        assert request_seen.headers == {
            "host": f"127.0.0.1:{port}",
            "authorization": "Bearer hf_secretsecret",
            "content-type": "application/json",
            "content-length": "16",
            "accept": "*/*",
            "accept-encoding": "gzip, deflate",
            "user-agent": "tester/1",
        }
    assert replies[0].headers == {"content-length": "2", "x-odd": "1"}
    assert replies[0].body == b"{}"


async def test_a_post_without_a_body_says_nothing_of_its_type() -> None:
    """A cancel, for instance: length 0, and no Content-Type made up."""
    seen: list[ReceivedRequest] = []
    async with serve(answering(http_response(), seen=seen)) as port, transport() as wire:
        request = HttpRequest(method="PUT", url=f"http://127.0.0.1:{port}/cancel")
        await wire.send(request, credential=None)
    assert "content-type" not in seen[0].headers
    assert "authorization" not in seen[0].headers
    assert seen[0].headers.get("content-length", "0") == "0"


async def test_a_large_body_goes_out_whole() -> None:
    """Three megabytes, as an input image in base64 is, with its Content-Length."""
    seen: list[ReceivedRequest] = []
    body = bytes(range(256)) * 12_000
    async with serve(answering(http_response(b"ok"), seen=seen)) as port, transport() as wire:
        request = HttpRequest(method="POST", url=f"http://127.0.0.1:{port}/", body=body)
        assert (await wire.send(request, credential=None)).body == b"ok"
    assert seen[0].body == body
    assert "transfer-encoding" not in seen[0].headers


async def test_an_answer_that_comes_before_the_upload_is_done_is_heard() -> None:
    """A front that refuses a large body by its length alone: refused, and not in doubt."""

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http_response(b"no", "413 Content Too Large", {"Connection": "close"}))
        while await reader.read(65536):
            pass

    async with serve(refusing) as port, transport() as wire:
        request = HttpRequest(method="POST", url=f"http://127.0.0.1:{port}/", body=bytes(20_000_000))
        assert (await wire.send(request, credential=None)).status == 413


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/other", "http://localhost:{port}/fal-ai", "https://127.0.0.1:{port}/fal-ai",
     "http://127.0.0.1:{port}/fal-ai/../replicate", "http://127.0.0.1:{port}/fal-aix"],
)  # fmt: skip
async def test_a_credential_never_goes_where_it_does_not_open(url: str) -> None:
    """Another path, host or scheme: a mistake of ours, and nothing is sent."""
    seen: list[ReceivedRequest] = []
    async with serve(answering(http_response(), seen=seen)) as port, transport() as wire:
        with pytest.raises(ValueError, match="must not be sent to") as caught:
            await wire.send(get(url.format(port=port)), credential=key(port))
    assert not seen
    assert "hf_secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://user:pw@127.0.0.1:{port}/", {}),
        ("ftp://127.0.0.1:{port}/", {}),
        ("/relative", {}),
        ("http://127.0.0.1:{port}/a b", {}),
        ("http://127.0.0.1:99999/", {}),
        ("http://127.0.0.1:{port}/", {"authorization": "Bearer x"}),
        ("http://127.0.0.1:{port}/", {"Cookie": "a=b"}),
        ("http://127.0.0.1:{port}/", {"X-Note": "a\r\nHost: b"}),
    ],
)
async def test_what_must_not_be_sent_is_a_value_error(url: str, headers: dict[str, str]) -> None:
    """Secrets outside of a Credential, smuggled lines, other schemes: nothing is sent."""
    seen: list[ReceivedRequest] = []
    async with serve(answering(http_response(), seen=seen)) as port, transport() as wire:
        with pytest.raises(ValueError):
            await wire.send(get(url.format(port=port), headers=headers), credential=None)
    assert not seen


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_redirect_is_an_answer_and_is_not_followed(status: str) -> None:
    """Else a credential or a purchase would travel on."""
    seen: list[ReceivedRequest] = []
    handler = answering(http_response(b"", status, {"Location": "/elsewhere"}), seen=seen)
    async with serve(handler) as port, transport() as wire:
        reply = await wire.send(post_json(f"http://127.0.0.1:{port}/", {}), credential=None)
    assert reply.status == int(status[:3])
    assert reply.headers["location"] == "/elsewhere"
    assert len(seen) == 1


def raw_deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


WORDS = b"a red fox in the snow " * 20
CODED = [
    ("gzip", gzip.compress(WORDS, mtime=0)),
    ("GZIP", gzip.compress(WORDS, mtime=0)),
    ("x-gzip", gzip.compress(WORDS[:100], mtime=0) + gzip.compress(WORDS[100:], mtime=0)),
    ("gzip", gzip.compress(WORDS, mtime=0) + b"\0" * 16),
    ("deflate", zlib.compress(WORDS)),
    ("deflate", raw_deflate(WORDS)),
    ("identity", WORDS),
]


@pytest.mark.parametrize(("encoding", "body"), CODED)
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_compressed_answer_is_inflated(encoding: str, body: bytes, size: int) -> None:
    """However it is cut into pieces; the header that spoke of it stays, as it came."""
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    reply = chunked(*pieces, headers=f"Content-Encoding: {encoding}\r\n")
    async with serve(answering(reply)) as port, transport(limits=SMALL) as wire:
        answered = await wire.send(get(f"http://127.0.0.1:{port}/"), credential=None)
    assert answered.body == WORDS
    assert BODY_OMITTED_HEADER not in answered.headers


BOMB = gzip.compress(bytes(64 * 1024 * 1024), mtime=0)


@pytest.mark.parametrize(
    ("reply", "cut"),
    [
        (http_response(b"x" * 1000), None),
        (http_response(b"x" * 1001), "limit"),
        (chunked(b"x" * 600, b"x" * 400), None),
        (chunked(b"x" * 600, b"x" * 401), "limit"),
        (http_response(BOMB, headers={"Content-Encoding": "gzip"}), "limit"),
        (chunked(gzip.compress(bytes(1001), mtime=0), headers="Content-Encoding: gzip\r\n"), "limit"),
        (chunked(gzip.compress(bytes(1000), mtime=0), headers="Content-Encoding: gzip\r\n"), None),
        (http_response(b"not gzip", headers={"Content-Encoding": "gzip"}), "encoding"),
        (http_response(gzip.compress(WORDS, mtime=0)[:-9], headers={"Content-Encoding": "gzip"}), "encoding"),
        (http_response(b"brotli?", headers={"Content-Encoding": "br"}), "encoding"),
        (http_response(b"", headers={"Content-Encoding": "gzip"}), None),
        (http_response(b"fine", headers={"X-Hfmedia-Cut": "limit"}), None),
    ],
)
async def test_a_body_that_cannot_be_had_leaves_the_status_standing(reply: bytes, cut: str | None) -> None:
    """Too large, or badly compressed: the request was answered all the same, so it is no lost answer."""
    async with serve(answering(reply)) as port, transport(limits=SMALL) as wire:
        answered = await wire.send(post_json(f"http://127.0.0.1:{port}/", {}), credential=None)
    assert answered.status == 200
    assert answered.headers.get(BODY_OMITTED_HEADER) == cut
    assert not (cut and answered.body)


async def test_a_gzip_bomb_within_the_limit_does_not_hold_up_the_loop() -> None:
    """64 MiB out of 64 KiB: everybody else still gets a turn every few milliseconds."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()  # this thread's work alone, whatever else the machine does
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)

    async with serve(answering(http_response(BOMB, headers={"Content-Encoding": "gzip"}))) as port, transport() as wire:
        watcher = asyncio.create_task(watch())
        reply = await wire.send(get(f"http://127.0.0.1:{port}/"), credential=None)
        watcher.cancel()
    assert len(reply.body) == 64 * 1024 * 1024
    assert longest < 0.25  # it takes some 5 ms a turn here; without turns, the whole inflation


async def test_header_names_are_lower_case_and_doubles_are_joined() -> None:
    """As two Link headers of the Hub may come; bytes that are no text do not poison the ledger."""
    raw = b"HTTP/1.1 200 OK\r\nLink: <a>\r\nLINK: <b>\r\nX-Odd: caf\xff\r\nContent-Length: 0\r\n\r\n"
    async with serve(answering(raw)) as port, transport() as wire:
        reply = await wire.send(get(f"http://127.0.0.1:{port}/"), credential=None)
    assert reply.headers["link"] == "<a>, <b>"
    reply.headers["x-odd"].encode()


async def test_a_long_header_is_taken_up_to_the_limit() -> None:
    """20 KiB of security policy are no reason to lose a paid answer."""
    raw = http_response(b"{}", headers={"Content-Security-Policy": "x" * 20_000})
    async with serve(answering(raw)) as port, transport() as wire:
        reply = await wire.send(post_json(f"http://127.0.0.1:{port}/", {}), credential=None)
    assert len(reply.headers["content-security-policy"]) == 20_000


async def test_a_hundred_sends_at_once_share_a_few_connections() -> None:
    """Pooled: as many connections as allowed, each used again and again, also for the next round."""
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            request = await read_request(reader)
            await asyncio.sleep(0.002)
            writer.write(http_response(request.target.encode()))

    async with serve(handler) as port, transport(limits=TransportLimits(max_connections=8)) as wire:
        for _ in range(2):
            sends = [wire.send(get(f"http://127.0.0.1:{port}/{n}"), credential=None) for n in range(100)]
            replies = await asyncio.gather(*sends)
            assert [reply.body for reply in replies] == [f"/{n}".encode() for n in range(100)]
    assert connections == 8


async def test_nothing_is_opened_before_it_is_needed_and_nothing_works_after_the_end() -> None:
    """Made without a loop, closed twice without harm, and then a clear error."""
    wire = await asyncio.to_thread(transport)
    await wire.aclose()
    await wire.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await wire.send(get("http://127.0.0.1:1/"), credential=None)
