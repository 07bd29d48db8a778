"""Answers on the wire, whole or broken to order: what a fault of the connection looks like to a client.

Nothing here knows what is being answered.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from typing import TYPE_CHECKING

from .service import Answer

if TYPE_CHECKING:
    from aiohttp import web

    from .faults import Fault
    from .world import World

HTML = b"<!DOCTYPE html><html><head><title>Sandbox</title></head><body><h1>Bad gateway</h1></body></html>"
MEGABYTE = 2**20
SERVER = {"Server": "hfmedia-sandbox"}


def reply(answer: Answer) -> web.Response:
    """A whole answer."""
    from aiohttp import web

    headers = {**SERVER, "Content-Type": answer.type, **answer.headers}
    return web.Response(status=answer.status, body=answer.body, headers=headers)


async def broken(request: web.Request, answer: Answer, fault: Fault, world: World) -> web.StreamResponse:
    """An answer as a fault of the connection leaves it."""
    match fault.kind:
        case "disconnect" | "reset":
            hang_up(request, reset=fault.kind == "reset")
            return reply(answer)  # nobody is there to read it
        case "hang":
            await world.closing.wait()
            return reply(answer)
        case "slow":
            await world.sleep(fault.number("seconds", 2))
            return reply(answer)
        case "half":
            return reply(Answer(answer.status, answer.body[: len(answer.body) // 2], answer.type, answer.headers))
        case "cut":
            return await cut(request, answer, len(answer.body) // 2)
        case "garbage":
            return reply(Answer(200, HTML, "text/html; charset=utf-8"))
        case "empty":
            return reply(Answer(200, b""))
        case "null":
            return reply(Answer(200, b"null"))
        case "huge":
            return await _huge(request, fault.whole("megabytes", 64))
        case "bomb":
            body = await asyncio.to_thread(_bomb, fault.whole("megabytes", 256))
            return reply(Answer(200, body, "application/json", {"Content-Encoding": "gzip"}))
        case "wrong-type":
            return reply(Answer(answer.status, answer.body, fault.text("type", "text/html"), answer.headers))
        case _:
            return reply(answer)


def hang_up(request: web.Request, *, reset: bool) -> None:
    """Close the connection now; with a TCP reset if asked."""
    transport = request.transport
    if transport is None:
        return
    found = transport.get_extra_info("socket")
    if reset and found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort() if reset else transport.close()


async def cut(request: web.Request, answer: Answer, at: int) -> web.StreamResponse:
    """The first `at` bytes of a body that promised to be whole, then the end of the connection."""
    from aiohttp import web

    headers = {**SERVER, "Content-Type": answer.type, **answer.headers, "Content-Length": str(len(answer.body))}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    await response.write(answer.body[:at])
    hang_up(request, reset=False)
    return response


async def slowly(request: web.Request, answer: Answer, rate: float, world: World) -> web.StreamResponse:
    """The body in chunks at so many bytes a second, without telling its length."""
    from aiohttp import web

    headers = {**SERVER, "Content-Type": answer.type, **answer.headers}
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    piece = max(1, int(rate / 20))
    for start in range(0, len(answer.body), piece):
        if world.closing.is_set():
            break
        await response.write(answer.body[start : start + piece])
        await world.sleep(piece / rate)
    await response.write_eof()
    return response


async def _huge(request: web.Request, megabytes: int) -> web.StreamResponse:
    from aiohttp import web

    response = web.StreamResponse(headers={**SERVER, "Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        for _ in range(megabytes):
            await response.write(b" " * MEGABYTE)
        await response.write_eof()
    except ConnectionError:  # the client has had enough, which is what this is for
        pass
    return response


def _bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(MEGABYTE)
    return b"".join([packer.compress(zeros) for _ in range(megabytes)] + [packer.flush()])
