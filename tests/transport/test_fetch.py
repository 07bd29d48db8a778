"""Downloads: no credential, no private address by any way, every byte bounded, and always an end."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import Awaitable, Callable, Sequence

import pytest

from hfmedia.core.errors import DownloadError, RequestNotSentError, ResponseLostError, UnsafeUrlError
from hfmedia.core.ports import MediaFetcher
from hfmedia.transport import Transport, TransportLimits

from .servers import ReceivedRequest, answering, http_response, names, read_request, serve

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HOME = ["127.0.0.1"]
PICTURE = bytes(range(256)) * 4000


def transport(port: int = 0, **options: object) -> Transport:
    """A transport for which cdn.example is this machine, and trusted on this port."""
    known: dict[str, object] = {"resolve": names(cdn_example=HOME), "trusted_hosts": [f"cdn.example:{port or 1}"]}
    return Transport(environ={}, **(known | options))  # type: ignore[arg-type]


async def drain(wire: Transport, url: str, **headers: str) -> bytes:
    """The whole body."""
    async with wire.fetch(url, headers=headers) as body:
        return b"".join([chunk async for chunk in body.chunks()])


async def test_a_download_arrives_whole_in_bounded_pieces() -> None:
    """A megabyte, asked for as it lies, without any credential, from the very URL that was given."""
    seen: list[ReceivedRequest] = []
    handler = answering(http_response(PICTURE, headers={"Content-Type": "image/png", "ETag": '"a"'}), seen=seen)
    async with serve(handler) as port, transport(port) as wire:
        fetch: MediaFetcher = wire.fetch
        url = f"http://cdn.example:{port}/a%7Eb.png?Signature=x%2By%3D"
        async with fetch(url, headers={"Range": "bytes=0-", "If-Range": '"a"'}) as body:
            chunks = [chunk async for chunk in body.chunks()]
            assert (body.status, body.url, body.headers["etag"]) == (200, url, '"a"')
    assert b"".join(chunks) == PICTURE
    assert max(map(len, chunks)) <= 256 * 1024
    assert seen[0].target == "/a%7Eb.png?Signature=x%2By%3D"
    assert set(seen[0].headers) == {"host", "accept", "accept-encoding", "user-agent", "range", "if-range"}
    assert seen[0].headers["accept-encoding"] == "identity"


async def test_connections_are_used_again_once_a_body_is_read_and_closed_when_it_is_not() -> None:
    """A body left unread is not read behind your back, and leaves nothing open."""
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answering(http_response(PICTURE))(reader, writer)

    async with serve(handler) as port, transport(port) as wire:
        for _ in range(3):
            assert await drain(wire, f"http://cdn.example:{port}/") == PICTURE
        assert connections == 1
        async with wire.fetch(f"http://cdn.example:{port}/") as body:
            async for _chunk in body.chunks():
                break
        assert await drain(wire, f"http://cdn.example:{port}/") == PICTURE
    assert connections == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed_with_the_headers_that_ask_for_a_part(status: int) -> None:
    """Relative and absolute, and the body tells where it came from in the end."""
    seen: list[ReceivedRequest] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            seen.append(request)
            onward = {"/a": "b?x=%2F", "/b?x=%2F": f"http://cdn.example:{port}/c d"}.get(request.target)
            if onward:
                writer.write(http_response(b"", f"{status} Elsewhere", {"Location": onward}))
            else:
                writer.write(http_response(b"here"))

    async with (
        serve(handler) as port,
        transport(port) as wire,
        wire.fetch(f"http://cdn.example:{port}/a", headers={"Range": "bytes=5-"}) as body,
    ):
        assert [chunk async for chunk in body.chunks()] == [b"here"]
        assert body.url == f"http://cdn.example:{port}/c%20d"
    assert [request.headers["range"] for request in seen] == ["bytes=5-"] * 3


async def test_a_redirect_loop_comes_to_an_end() -> None:
    """Five hops, and then an error."""
    seen: list[ReceivedRequest] = []
    async with (
        serve(answering(http_response(b"", "302 Found", {"Location": "/"}), seen=seen)) as port,
        transport(port) as wire,
    ):
        with pytest.raises(ResponseLostError, match="redirects more than 5 times"):
            await drain(wire, f"http://cdn.example:{port}/")
    assert len(seen) == 6


async def test_a_redirect_without_a_target_is_handed_on() -> None:
    """It is a body like any other; the store will not take it for a picture."""
    async with (
        serve(answering(http_response(b"", "302 Found"))) as port,
        transport(port) as wire,
        wire.fetch(f"http://cdn.example:{port}/") as body,
    ):
        assert body.status == 302


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://2130706433:{port}/",
        "http://localhost:{port}/",
        "http://rebound.example/",
        "//127.0.0.1:{port}/",
        "http://cdn.example:22/",
        "http://user:pw@cdn.example:{port}/",
        "file:///etc/passwd",
        "gopher://cdn.example:{port}/",
        "http://[::1",
        "http://cdn.example:{port}\\@127.0.0.1/",
    ],
)
async def test_a_redirect_into_a_private_network_is_refused(location: str) -> None:
    """Every hop is checked like the first one, and nothing is asked there."""
    seen: list[ReceivedRequest] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await read_request(reader))
            writer.write(http_response(b"", "302 Found", {"Location": location.format(port=port)}))

    resolve = names(cdn_example=HOME, rebound_example=["10.0.0.1"])
    async with serve(handler) as port, transport(port, resolve=resolve) as wire:
        with pytest.raises(UnsafeUrlError):
            await drain(wire, f"http://cdn.example:{port}/")
    assert len(seen) == 1


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["::1"], ["10.0.0.1"], ["169.254.169.254"], ["fd00:ec2::254"], ["93.184.216.34", "127.0.0.1"],
     ["127.0.0.1", "93.184.216.34"], ["::ffff:127.0.0.1"], ["100.100.100.200"], ["0.0.0.0"]],
)  # fmt: skip
async def test_a_name_that_resolves_to_a_private_address_is_refused(addresses: Sequence[str]) -> None:
    """Also when a public one stands beside it; no connection is made."""
    connections = 0

    async def handler(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1

    async with serve(handler) as port, transport(resolve=names(evil_example=addresses)) as wire:
        with pytest.raises(UnsafeUrlError, match=r"evil\.example.*HFMEDIA_TRUSTED_HOSTS"):
            await drain(wire, f"http://evil.example:{port}/secret?token=abcdefghijkl")
    assert connections == 0


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to() -> None:
    """A name that changes its mind between two questions is asked once, and refused as soon as it turns."""
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    asked = 0

    async def flipping(host: str, port: int) -> Sequence[str]:
        nonlocal asked
        asked += 1
        return answers[min(asked, 2) - 1]

    async with (
        serve(answering(http_response(b"here"))) as port,
        Transport(environ={}, resolve=flipping, trusted_hosts=[f"cdn.example:{port}"]) as wire,
    ):
        assert await drain(wire, f"http://cdn.example:{port}/") == b"here"
        assert asked == 1
        with pytest.raises(UnsafeUrlError):
            await drain(wire, "http://cdn.example/")
    assert asked == 2


async def test_many_downloads_from_a_private_name_are_all_refused() -> None:
    """Those that share one DNS question too, and none leaves an unretrieved exception behind."""

    async def slow(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(0.05)
        return ["10.0.0.1"]

    async with transport(resolve=slow) as wire:
        tries = [drain(wire, "http://evil.example/") for _ in range(5)]
        errors = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(error) for error in errors] == [UnsafeUrlError] * 5


@pytest.mark.parametrize("trusted", [True, False])
async def test_https_does_not_fall_back_to_http(
    trusted: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """Unless the host is trusted."""
    async with serve(answering(http_response(b"plain"))) as plain:
        redirect = answering(http_response(b"", "302 Found", {"Location": f"http://plain.example:{plain}/"}))
        async with serve(redirect, tls=server_tls) as port:
            hosts = [f"cdn.example:{port}", *([f"plain.example:{plain}"] if trusted else [])]
            resolve = names(cdn_example=HOME, plain_example=HOME)
            async with transport(trusted_hosts=hosts, resolve=resolve, tls=client_tls) as wire:
                if trusted:
                    assert await drain(wire, f"https://cdn.example:{port}/") == b"plain"
                else:
                    with pytest.raises(UnsafeUrlError, match="from https to http"):
                        await drain(wire, f"https://cdn.example:{port}/")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


def sending(data: bytes, hang: bool) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(data)
        await writer.drain()
        if hang:
            await asyncio.sleep(30)

    return handler


GZIPPED = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("handler", "arrived", "says", "again"),
    [
        (sending(HEAD + b"x" * 10, hang=False), 10, "was interrupted", True),
        (sending(HEAD + b"x" * 10, hang=True), 10, "stopped sending", True),
        (answering(http_response(b"x" * 2001)), 0, "more than the limit of 2,000 bytes", False),
        (sending(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2001, hang=False), 0, "more than the limit of 2,000 bytes", False),
        (
            answering(http_response(gzip.compress(bytes(10**7)), headers=GZIPPED)),
            0,
            "more than the limit of 2,000 bytes",
            False,
        ),
        (answering(http_response(b"not gzip", headers=GZIPPED)), 0, "corrupt compressed body", True),
        (answering(http_response(gzip.compress(b"x" * 99)[:-8], headers=GZIPPED)), 99, "corrupt compressed body", True),
        (answering(http_response(b"x", headers={"Content-Encoding": "br"})), 0, "unsupported encoding", True),
        (answering(http_response(b"x", "206 Partial Content", GZIPPED)), 0, "part of a compressed file", True),
    ],
)
async def test_a_broken_download_is_a_download_error(handler: Handler, arrived: int, says: str, again: bool) -> None:
    """What came before it was handed on; it tells the host, and whether trying again makes sense."""
    limits = TransportLimits(download_idle=1.0, max_media_bytes=2000)  # it has arrived by then, on any machine
    got = b""
    async with (
        serve(handler) as port,
        transport(port, limits=limits) as wire,
        wire.fetch(f"http://cdn.example:{port}/?token=abcdefgh") as body,
    ):
        with pytest.raises(DownloadError, match=says) as caught:
            async for chunk in body.chunks():
                got += chunk
    assert len(got) == arrived
    assert caught.value.retryable is again
    assert "cdn.example" in str(caught.value)
    assert "token" not in str(caught.value)
    assert caught.value.__context__ is None


async def test_a_download_that_comes_compressed_is_inflated_and_its_headers_do_not_mislead() -> None:
    """Some stores keep gzip and ignore what was asked; length and tag then speak of other bytes."""
    reply = http_response(gzip.compress(PICTURE), headers={**GZIPPED, "ETag": '"z"', "Content-Type": "image/png"})
    async with (
        serve(answering(reply)) as port,
        transport(port) as wire,
        wire.fetch(f"http://cdn.example:{port}/") as body,
    ):
        assert dict(body.headers) == {"content-type": "image/png"}
        assert b"".join([chunk async for chunk in body.chunks()]) == PICTURE


async def test_a_slow_reader_is_waited_for() -> None:
    """The bound on silence is about the server, never about the code that writes the file."""
    async with (
        serve(answering(http_response(PICTURE * 4))) as port,
        transport(port, limits=TransportLimits(download_idle=1.0)) as wire,
        wire.fetch(f"http://cdn.example:{port}/") as body,
    ):
        total, slept = 0, False
        async for chunk in body.chunks():
            total += len(chunk)
            if not slept:
                await asyncio.sleep(1.5)
                slept = True
    assert total == len(PICTURE) * 4


async def test_an_error_of_the_reader_is_its_own() -> None:
    """The transport does not dress up what happens inside of the block."""
    async with serve(answering(http_response(PICTURE))) as port, transport(port) as wire:
        with pytest.raises(KeyError):
            async with wire.fetch(f"http://cdn.example:{port}/"):
                raise KeyError("mine")


async def test_a_download_that_cannot_begin_is_unsent_or_lost() -> None:
    """As for send."""
    async with serve(sending(b"", hang=False)) as port, transport(port) as wire:
        with pytest.raises(ResponseLostError, match=r"cdn\.example"):
            await drain(wire, f"http://cdn.example:{port}/")
    async with transport(port) as wire:
        with pytest.raises(RequestNotSentError, match=r"cdn\.example"):
            await drain(wire, f"http://cdn.example:{port}/")
    async with transport(resolve=names()) as wire:
        with pytest.raises(RequestNotSentError, match="could not be resolved"):
            await drain(wire, "http://gone.example/")


async def test_headers_with_a_secret_are_a_mistake() -> None:
    """A download never carries one."""
    async with transport() as wire:
        with pytest.raises(ValueError, match="Authorization"):
            await drain(wire, "http://cdn.example/", Authorization="Bearer x")


async def test_closing_ends_a_download() -> None:
    """With an error, at once."""
    async with serve(sending(HEAD + b"x", hang=True)) as port:
        wire = transport(port)
        async with wire.fetch(f"http://cdn.example:{port}/") as body:
            chunks = body.chunks()
            assert await anext(chunks) == b"x"
            await wire.aclose()
            with pytest.raises(DownloadError):
                await asyncio.wait_for(anext(chunks), 5)
