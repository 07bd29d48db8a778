"""HTTP responses on the wire, intact or broken by a connection fault.

Independent of what the response contains.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from typing import TYPE_CHECKING

from .messages import SandboxResponse

if TYPE_CHECKING:
    from aiohttp import web

    from .faults import Fault
    from .state import SandboxState

HTML_PAGE = b"<!DOCTYPE html><html><head><title>Sandbox</title></head><body><h1>Bad gateway</h1></body></html>"
MEGABYTE = 2**20
SERVER_HEADER = {"Server": "hfmedia-sandbox"}


def to_web_response(response: SandboxResponse) -> web.Response:
    """Convert to an aiohttp response."""
    from aiohttp import web

    headers = {**SERVER_HEADER, "Content-Type": response.media_type, **response.headers}
    return web.Response(status=response.status, body=response.body, headers=headers)


async def faulty_response(
    request: web.Request, response: SandboxResponse, fault: Fault, state: SandboxState
) -> web.StreamResponse:
    """Send a response as a connection fault leaves it."""
    match fault.kind:
        case "disconnect" | "reset":
            drop_connection(request, reset=fault.kind == "reset")
            return to_web_response(response)  # never delivered: the connection is closed
        case "hang":
            await state.closing.wait()
            return to_web_response(response)
        case "slow":
            await state.sleep(fault.number("seconds", 2))
            return to_web_response(response)
        case "truncated-json":
            return to_web_response(
                SandboxResponse(
                    response.status, response.body[: len(response.body) // 2], response.media_type, response.headers
                )
            )
        case "truncated":
            return await truncated_response(request, response, len(response.body) // 2)
        case "html":
            return to_web_response(SandboxResponse(200, HTML_PAGE, "text/html; charset=utf-8"))
        case "empty":
            return to_web_response(SandboxResponse(200, b""))
        case "null":
            return to_web_response(SandboxResponse(200, b"null"))
        case "huge":
            return await _huge_response(request, fault.integer("megabytes", 64))
        case "gzip-bomb":
            body = await asyncio.to_thread(_gzip_bomb, fault.integer("megabytes", 256))
            return to_web_response(SandboxResponse(200, body, "application/json", {"Content-Encoding": "gzip"}))
        case "wrong-content-type":
            return to_web_response(
                SandboxResponse(response.status, response.body, fault.text("type", "text/html"), response.headers)
            )
        case _:
            return to_web_response(response)


def drop_connection(request: web.Request, *, reset: bool) -> None:
    """Close the connection now, with a TCP reset if `reset`."""
    transport = request.transport
    if transport is None:
        return
    raw_socket = transport.get_extra_info("socket")
    if reset and raw_socket is not None:
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort() if reset else transport.close()


async def truncated_response(request: web.Request, response: SandboxResponse, offset: int) -> web.StreamResponse:
    """Send the first `offset` bytes under the full Content-Length, then close the connection."""
    from aiohttp import web

    headers = {
        **SERVER_HEADER,
        "Content-Type": response.media_type,
        **response.headers,
        "Content-Length": str(len(response.body)),
    }
    stream = web.StreamResponse(status=response.status, headers=headers)
    await stream.prepare(request)
    await stream.write(response.body[:offset])
    drop_connection(request, reset=False)
    return stream


async def throttled_response(
    request: web.Request, response: SandboxResponse, rate: float, state: SandboxState
) -> web.StreamResponse:
    """Send the body chunked at `rate` bytes per second, without a Content-Length."""
    from aiohttp import web

    headers = {**SERVER_HEADER, "Content-Type": response.media_type, **response.headers}
    stream = web.StreamResponse(status=response.status, headers=headers)
    stream.enable_chunked_encoding()
    await stream.prepare(request)
    chunk_size = max(1, int(rate / 20))
    for start in range(0, len(response.body), chunk_size):
        if state.closing.is_set():
            break
        await stream.write(response.body[start : start + chunk_size])
        await state.sleep(chunk_size / rate)
    await stream.write_eof()
    return stream


async def _huge_response(request: web.Request, megabytes: int) -> web.StreamResponse:
    from aiohttp import web

    response = web.StreamResponse(headers={**SERVER_HEADER, "Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        for _ in range(megabytes):
            await response.write(b" " * MEGABYTE)
        await response.write_eof()
    except ConnectionError:  # the client gave up, which is the purpose of this fault
        pass
    return response


def _gzip_bomb(megabytes: int) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(MEGABYTE)
    return b"".join([compressor.compress(zeros) for _ in range(megabytes)] + [compressor.flush()])
