"""Small real servers on loopback: raw ones that misbehave, and two proxies that tell what they saw.

Each closes its connections when its block ends, so that a test leaves nothing open.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ReceivedRequest:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


async def read_request(reader: asyncio.StreamReader) -> ReceivedRequest:
    """The next request on a connection; IncompleteReadError at its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return ReceivedRequest(method, target, headers, body)


def http_response(body: bytes = b"", status: str = "200 OK", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole HTTP/1.1 reply."""
    lines = {"Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


@contextlib.asynccontextmanager
async def serve(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback that gives each connection to ``handler``; yields its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tuple(tasks), return_exceptions=True)
        await server.wait_closed()


def answering(*replies: bytes, seen: list[ReceivedRequest] | None = None) -> Handler:
    """Reads requests on a connection and gives the replies in turn, the last one for ever after."""
    left = list(replies)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            if seen is not None:
                seen.append(request)
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()

    return handler


def names(**table: Sequence[str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """A resolver that knows these names (underscores stand for dots) and no other."""
    known = {name.replace("_", "."): addresses for name, addresses in table.items()}

    async def resolve(host: str, port: int) -> Sequence[str]:
        if host not in known:
            raise OSError(-2, "Name or service not known")
        return known[host]

    return resolve


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof() if writer.can_write_eof() else writer.close()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, first: bytes = b"") -> None:
    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        up_writer.write(first)
        await asyncio.gather(_pipe(reader, up_writer), _pipe(up_reader, writer))
    finally:
        up_writer.close()


@dataclass
class HttpProxy:
    """CONNECT and absolute-form, both relayed to one loopback port whatever the name; wants ``opens`` if given."""

    to: int
    opens: str | None = None
    refuses: str | None = None
    seen: list[ReceivedRequest] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        self.seen.append(request)
        if self.refuses is not None:
            writer.write(http_response(b"", self.refuses, {"Connection": "close"}))
        elif self.opens is not None and request.headers.get("proxy-authorization") != self.opens:
            writer.write(http_response(b"", "407 Proxy Authentication Required", {"Connection": "close"}))
        elif request.method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _relay(reader, writer, self.to)
        else:
            path = "/" + request.target.split("://", 1)[1].partition("/")[2]
            head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items() if name != "connection")
            first = f"{request.method} {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode() + request.body
            await _relay(reader, writer, self.to, first)


@dataclass
class SocksProxy:
    """SOCKS5 by RFC 1928 and 1929, relayed to one loopback port whatever the name."""

    to: int
    opens: tuple[str, str] | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        writer.write(b"\x05\x02" if self.opens else b"\x05\x00")
        if self.opens:
            _, size = await reader.readexactly(2)
            user = (await reader.readexactly(size)).decode()
            (size,) = await reader.readexactly(1)
            password = (await reader.readexactly(size)).decode()
            granted = (user, password) == self.opens
            writer.write(b"\x01\x00" if granted else b"\x01\x01")
            if not granted:
                await writer.drain()
                return
        *_, kind = await reader.readexactly(4)
        if kind == 3:
            (size,) = await reader.readexactly(1)
            host = (await reader.readexactly(size)).decode()
        else:
            host = ".".join(str(part) for part in await reader.readexactly(4))
        self.asked.append((host, int.from_bytes(await reader.readexactly(2))))
        writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        await _relay(reader, writer, self.to)
