"""Not sent or no response: decided by what was written, never by an exception's name, since it may be billed."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

import pytest

from hfmedia.core.errors import RequestNotSentError, ResponseLostError
from hfmedia.core.http import HttpRequest, get, post_json
from hfmedia.transport import Transport, TransportLimits

from .servers import ReceivedRequest, answering, http_response, names, read_request, serve

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
QUICK = TransportLimits(
    connect=1, response_head=1, submit_response_head=1, body_idle=1, body=2
)  # whatever arrives at all has arrived by then


def buy(port: int, host: str = "127.0.0.1", scheme: str = "http") -> HttpRequest:
    return post_json(f"{scheme}://{host}:{port}/buy?token=tokentokentoken", {"prompt": "fox"})


def transport(limits: TransportLimits = QUICK, **options: object) -> Transport:
    return Transport(environ={}, limits=limits, **options)  # type: ignore[arg-type]


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection with RST rather than FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def after(first: bytes, then: str) -> Handler:
    """Reads the request, writes ``first``, and then hangs, closes or resets."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(first)
        await writer.drain()
        if then == "hang":
            await asyncio.sleep(30)
        if then == "reset":
            await asyncio.sleep(0.05)
            reset(writer)

    return handler


def hanging(read: asyncio.Event) -> Handler:
    """Reads the request, sets the event, and sends no response."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        read.set()
        await asyncio.sleep(30)

    return handler


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A slow loris: a byte now and then, for ever."""
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def deaf(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Takes the connection and reads nothing."""
    await asyncio.sleep(30)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LOST: list[tuple[str, Handler, str]] = [
    ("closes without a word", after(b"", "close"), "closed the connection"),
    ("resets without a word", after(b"", "reset"), "was lost before"),
    ("never answers", after(b"", "hang"), "did not respond to the request"),
    ("reads nothing", deaf, "did not respond to the request"),
    ("closes within the head", after(b"HTTP/1.1 200 OK\r\nContent-", "close"), "closed the connection|not HTTP"),
    ("closes within the body", after(HEAD + b"12345", "close"), "was interrupted"),
    ("resets within the body", after(HEAD + b"12345", "reset"), "was lost before|was interrupted"),
    ("hangs within the body", after(HEAD + b"12345", "hang"), "stopped sending"),
    ("closes within a chunk", after(CHUNKED + b"ff\r\nab", "close"), "was interrupted"),
    ("drips", drip, "stopped sending"),
    ("is not HTTP", after(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "hang"), "not HTTP"),
    ("has a huge header", after(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "hang"), "too large a header"),
    ("has too bad a chunk", after(CHUNKED + b"zz\r\n", "hang"), "was interrupted|not HTTP"),
]  # fmt: skip


@pytest.mark.parametrize(("handler", "says"), [row[1:] for row in LOST], ids=[row[0] for row in LOST])
async def test_after_the_first_byte_every_error_is_a_lost_response(handler: Handler, says: str) -> None:
    """The server may have read the request, so it must not be sent again."""
    async with serve(handler) as port, transport() as wire:
        with pytest.raises(ResponseLostError, match=says) as caught:
            await asyncio.wait_for(wire.send(buy(port), credential=None), 20)
    assert "127.0.0.1" in str(caught.value)
    assert "token" not in str(caught.value)


async def closed_port() -> int:
    """A closed port."""
    async with serve(deaf) as port:
        return port


async def test_a_refused_connection_is_unsent() -> None:
    """The port is closed."""
    port = await closed_port()
    async with transport() as wire:
        with pytest.raises(RequestNotSentError, match=rf"could not connect to 127\.0\.0\.1:{port}.*refused"):
            await wire.send(buy(port), credential=None)


async def test_a_name_that_does_not_resolve_is_unsent() -> None:
    """DNS says no."""
    async with transport(resolve=names()) as wire:
        with pytest.raises(RequestNotSentError, match=r"api\.example.*could not be resolved"):
            await wire.send(buy(443, "api.example"), credential=None)


async def test_a_name_that_takes_for_ever_is_unsent() -> None:
    """DNS says nothing: the bound on connecting counts it in."""

    async def never(host: str, port: int) -> list[str]:
        await asyncio.sleep(30)
        return []

    async with transport(resolve=never) as wire:
        with pytest.raises(RequestNotSentError, match=r"api\.example.*within"):
            await wire.send(buy(443, "api.example"), credential=None)


async def test_a_connection_that_is_never_taken_is_unsent() -> None:
    """A full backlog swallows SYNs, as a firewall does."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        async with transport() as wire:
            with pytest.raises(RequestNotSentError, match="could not connect"):
                await wire.send(buy(port), credential=None)


async def test_an_unverified_certificate_is_unsent(server_tls: ssl.SSLContext) -> None:
    """Self-signed and not trusted: the request, with its credential, is not sent."""
    seen: list[ReceivedRequest] = []
    async with (
        serve(answering(http_response(), seen=seen), tls=server_tls) as port,
        transport(TransportLimits()) as wire,
    ):
        with pytest.raises(RequestNotSentError, match=r"certificate of localhost.*rejected.*self-signed"):
            await wire.send(buy(port, "localhost", "https"), credential=None)
    assert not seen


async def test_a_certificate_for_another_name_is_unsent(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """Trusted, but not for this host."""
    resolve = names(api_example=["127.0.0.1"])
    async with (
        serve(answering(http_response()), tls=server_tls) as port,
        transport(TransportLimits(), tls=client_tls, resolve=resolve) as wire,
    ):
        with pytest.raises(RequestNotSentError, match=r"certificate of api\.example.*rejected"):
            await wire.send(buy(port, "api.example", "https"), credential=None)


async def test_a_trusted_certificate_is_taken(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """The same server, once its certificate is trusted: so the refusals above were about the certificate."""
    async with (
        serve(answering(http_response(b"ok")), tls=server_tls) as port,
        transport(TransportLimits(), tls=client_tls) as wire,
    ):
        assert (await wire.send(buy(port, "localhost", "https"), credential=None)).body == b"ok"


@pytest.mark.parametrize("handler", [deaf, answering(http_response())], ids=["silent", "plain HTTP"])
async def test_a_tls_handshake_that_fails_is_unsent(handler: Handler) -> None:
    """A server without TLS has not received the request."""
    async with serve(handler) as port, transport() as wire:
        with pytest.raises(RequestNotSentError):
            await wire.send(buy(port, scheme="https"), credential=None)


@pytest.mark.parametrize(
    ("handler", "scheme", "error"),
    [(deaf, "https", RequestNotSentError), (deaf, "http", ResponseLostError), (drip, "http", ResponseLostError)],
    ids=["while connecting", "while waiting", "while reading"],
)
async def test_a_timeout_is_classified_by_the_stage_it_ends(
    handler: Handler, scheme: str, error: type[Exception]
) -> None:
    """The same timeout means unsent before the first byte, and lost after it."""
    async with serve(handler) as port, transport(TransportLimits()) as wire:
        with pytest.raises(error):
            # time enough to connect and to send, on any machine
            await asyncio.wait_for(wire.send(buy(port, scheme=scheme), credential=None, timeout=1), 10)


async def test_waiting_for_a_free_connection_is_unsent() -> None:
    """One connection allowed, and that one is taken."""
    taken = asyncio.Event()
    async with serve(hanging(taken)) as port, transport(TransportLimits(max_connections=1)) as wire:
        first = asyncio.create_task(wire.send(buy(port), credential=None, timeout=30))
        await asyncio.wait_for(taken.wait(), 10)
        with pytest.raises(RequestNotSentError, match="became free"):
            await wire.send(buy(port), credential=None, timeout=0.1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_hold_the_request_asks_for_is_waited_for() -> None:
    """A server that keeps the connection on purpose is not silent."""

    async def holding(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.5)
        writer.write(http_response(b"done"))

    async with serve(holding) as port, transport() as wire:
        request = post_json(f"http://127.0.0.1:{port}/", {}, server_wait=2)
        assert (await wire.send(request, credential=None)).body == b"done"


async def closing_after_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers once, promises to keep the connection, and closes it at the next request."""
    await read_request(reader)
    writer.write(http_response(b"first"))
    await read_request(reader)


@pytest.mark.parametrize(("keepalive", "lost"), [(60.0, True), (0.05, False)])
async def test_an_idle_connection_is_not_trusted_with_a_purchase_for_long(keepalive: float, lost: bool) -> None:
    """A server may be closing it at that very moment; a fresh connection leaves no doubt."""
    async with serve(closing_after_one) as port, transport(TransportLimits(submit_keepalive=keepalive)) as wire:
        await wire.send(buy(port), credential=None)
        await asyncio.sleep(0.15)
        if lost:
            with pytest.raises(ResponseLostError):
                await wire.send(buy(port), credential=None)
        else:
            assert (await wire.send(buy(port), credential=None)).body == b"first"


async def test_a_get_on_a_dead_connection_is_asked_again() -> None:
    """Asking is free, so aiohttp's own second try is welcome."""
    async with serve(closing_after_one) as port, transport() as wire:
        for _ in range(3):
            assert (await wire.send(get(f"http://127.0.0.1:{port}/"), credential=None)).body == b"first"


async def test_closing_ends_what_is_on_its_way() -> None:
    """As a lost answer, at once, and without leaving anything open."""
    sent = asyncio.Event()
    async with serve(hanging(sent)) as port:
        wire = transport(TransportLimits())
        sending = asyncio.create_task(wire.send(buy(port), credential=None))
        await asyncio.wait_for(sent.wait(), 10)
        await wire.aclose()
        with pytest.raises(ResponseLostError):
            await asyncio.wait_for(sending, 5)


async def test_cancelling_is_passed_on() -> None:
    """Cancellation is not replaced by another error."""
    sent = asyncio.Event()
    async with serve(hanging(sent)) as port, transport(TransportLimits()) as wire:
        sending = asyncio.create_task(wire.send(buy(port), credential=None))
        await asyncio.wait_for(sent.wait(), 10)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
