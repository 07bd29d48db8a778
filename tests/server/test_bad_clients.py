"""Clients that are slow, many, gone or hostile: the others are served, no job is lost, and nothing leaks."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import aiohttp
import pytest
import uvicorn

from hfmedia.server.http.header_timeout import HeaderTimeoutProtocol
from tests.support.gateway import RunningGateway
from tests.support.gateway_jobs import asked, bearer, key_for
from tests.support.models import FLUX

MANY = 300
PATIENCE = 20.0  # seconds; gross bounds alone
WISH = {"prompt": "a fox", "model": f"{FLUX}:together"}
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def opened(stack: AsyncExitStack, port: int, said: bytes = b"") -> Connection:
    """A bare connection, on which this was said; it is closed at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def close() -> None:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    stack.push_async_callback(close)
    writer.write(said)
    await writer.drain()
    return reader, writer


async def until(true: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Waits for something to become true."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = true()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.02)


def posted(body: bytes, *, key: str = "", length: int | None = None, path: str = "/v1/images/generations") -> bytes:
    """A request that makes something, as bytes."""
    named = f"Idempotency-Key: {key}\r\n" if key else ""
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{named}"
    return f"{head}Content-Length: {size}\r\n\r\n".encode() + body


# -- slow and many ----------------------------------------------------------------------------------------------------


async def test_slow_clients_hold_nobody_up(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """A hundred that send half a head, a hundred that send half a body: everybody else is served meanwhile."""
    async with AsyncExitStack() as stack:
        for _ in range(100):
            await opened(stack, gateway.port, b"GET /healthz HTTP/1.1\r\nHost: local")
            await opened(stack, gateway.port, posted(b'{"prompt": ', length=1000))
        status, told = await asked(http, "POST", f"{gateway.api}/images/generations", json=WISH)
        assert status == 200, told
        assert len(gateway.server.server_state.connections) >= 200
    await until(lambda: len(gateway.server.server_state.connections) <= 1)  # the one that was served may be kept
    assert gateway.submissions == 1


async def test_hundreds_of_connections_are_served(gateway: RunningGateway) -> None:
    """All at once, and again on the same connections."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as many:
        for _ in range(2):
            found = await asyncio.gather(*(asked(many, "GET", f"{gateway.url}/healthz") for _ in range(MANY)))
            assert {status for status, _ in found} == {200}
        assert len(gateway.server.server_state.connections) > 50
    await until(lambda: not gateway.server.server_state.connections)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server with the command's own kind of connections, and little patience; one of its answers takes longer."""
    monkeypatch.setattr(HeaderTimeoutProtocol, "seconds", 0.3)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            await asyncio.sleep(2 * HeaderTimeoutProtocol.header_timeout)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    settings = uvicorn.Config(
        app, port=0, http=HeaderTimeoutProtocol, ws="none", lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.005)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("before", [b"", HEAD], ids=["at first", "after a request"])
@pytest.mark.parametrize("said", [b"", b"GET / HT"], ids=["nothing", "half"])
async def test_a_head_that_does_not_arrive_ends_the_connection(impatient: int, before: bytes, said: bytes) -> None:
    """Whoever says nothing, or half of it, is let go; one that is idle after a request has the time of keep-alive."""
    async with AsyncExitStack() as stack:
        reader, writer = await opened(stack, impatient, before)
        if before:
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.write(said)
        if before and not said:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.8)
        else:
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""


async def test_an_answer_may_take_longer_than_a_head(impatient: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit ends with the head."""
    monkeypatch.setattr(
        HeaderTimeoutProtocol, "seconds", 1.0
    )  # a head that is said at once is there by then, on any machine
    async with AsyncExitStack() as stack:
        reader, _ = await opened(stack, impatient, HEAD.replace(b"/", b"/slow", 1))
        assert (await asyncio.wait_for(reader.readuntil(b"ok"), PATIENCE)).startswith(b"HTTP/1.1 200")


async def test_a_head_that_comes_in_pieces_is_a_head(impatient: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it comes in time."""
    monkeypatch.setattr(HeaderTimeoutProtocol, "seconds", PATIENCE)
    async with AsyncExitStack() as stack:
        reader, writer = await opened(stack, impatient, b"GET / HTTP/1.1\r\n")
        await asyncio.sleep(0.05)  # else they may come as one
        writer.write(b"Host: localhost\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"ok"), PATIENCE)).startswith(b"HTTP/1.1 200")


# -- gone -------------------------------------------------------------------------------------------------------------


async def test_what_was_asked_for_by_clients_that_are_gone_is_there(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """Twenty ask and hang up. Each picture is found by its idempotency key, and was bought once."""
    body = json.dumps(WISH).encode()
    names = [f"gone-{number}" for number in range(20)]
    async with AsyncExitStack() as stack:
        for name in names:
            await opened(stack, gateway.port, posted(body, key=name))
        await until(lambda: gateway.gateway.service.active_count() + gateway.submissions >= len(names))

    async def found(name: str) -> str:
        headers = {"Idempotency-Key": name}
        status, told = await asked(http, "POST", f"{gateway.api}/images/generations", json=WISH, headers=headers)
        assert status == 200, told
        return str(told["data"][0]["job_id"])

    ids = await asyncio.gather(*(found(name) for name in names))
    assert len(set(ids)) == len(names)
    assert gateway.submissions == len(names)
    assert gateway.gateway.service.active_count() == 0


async def test_whoever_leaves_in_the_middle_of_a_request_asked_for_nothing(gateway: RunningGateway) -> None:
    """Half a body is no wish: nothing is made, and nothing is kept of it."""
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await opened(stack, gateway.port, posted(json.dumps(WISH).encode(), length=5000))
    await until(lambda: not gateway.server.server_state.connections)
    await until(lambda: not gateway.server.server_state.tasks)
    assert gateway.submissions == 0
    assert gateway.gateway.database.generations(None, limit=5) == []


async def test_listeners_that_are_gone_are_forgotten(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Thirty follow all jobs and hang up; their streams end."""
    follow = b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with AsyncExitStack() as stack:
        for _ in range(30):
            reader, _ = await opened(stack, gateway.port, follow)
            assert b"200" in await asyncio.wait_for(reader.readline(), PATIENCE)
        assert len(gateway.server.server_state.tasks) >= 30
    await until(lambda: not gateway.server.server_state.tasks)
    assert (await asked(http, "GET", f"{gateway.url}/healthz"))[0] == 200


# -- hostile ----------------------------------------------------------------------------------------------------------

HOSTILE: list[bytes] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GARBAGE\r\n\r\n",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(20_000)) + b"\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: a b\"<x>\r\nConnection: close\r\n\r\n",
    b"GET /v1/mo\x00dels HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /v1/models/%00%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /v1/jobs/%ff%fe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}   ",
    b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"DELETE /v1/models/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"BREW /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: \xff\xfe\r\nConnection: close\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\r\n b\r\nConnection: close\r\n\r\n",
]  # fmt: skip


async def test_what_is_no_request_is_refused_and_nothing_else_happens(
    gateway: RunningGateway, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """A status of the client's own fault, or the connection is closed; no crash, no traceback, nothing injected."""
    caplog.set_level(logging.WARNING)

    async def answer(said: bytes) -> bytes:
        async with AsyncExitStack() as stack:
            with suppress(OSError):
                reader, writer = await opened(stack, gateway.port, said)
                if writer.can_write_eof():
                    writer.write_eof()
                return await asyncio.wait_for(reader.read(), PATIENCE)
        return b""

    for said in HOSTILE:
        told = await answer(said)
        assert told == b"" or told.startswith(b"HTTP/1.1 4"), (said[:80], told[:200])
        assert told == b"" or json.loads(told.partition(b"\r\n\r\n")[2])["error"]["code"], (said[:80], told)
        assert b"set-cookie" not in told.partition(b"\r\n\r\n")[0].lower(), said
    assert [record for record in caplog.records if record.exc_info] == []
    assert (await asked(http, "GET", f"{gateway.url}/healthz"))[0] == 200
    assert gateway.submissions == 0


@pytest.mark.parametrize("host", ['evil.example"><script>', "a b", "evil.example\tx", "evil.example:99999", "é"])
async def test_no_hostile_host_gets_into_an_address(gateway: RunningGateway, host: str) -> None:
    """Whoever has a key may ask at any name; what is no name is not used in addresses that are given out."""
    key = key_for(gateway, "web")
    body = json.dumps({**WISH, "response_format": "url"}).encode()
    head = f"Host: {host}\r\nConnection: close\r\nAuthorization: {bearer(key)['Authorization']}\r\n"
    said = posted(body).replace(b"Host: localhost\r\n", head.encode("latin-1"))
    async with AsyncExitStack() as stack:
        reader, _ = await opened(stack, gateway.port, said)
        told = await asyncio.wait_for(reader.read(), PATIENCE)
    if told.startswith(b"HTTP/1.1 200"):
        assert json.loads(told.partition(b"\r\n\r\n")[2])["data"][0]["url"].startswith(f"{gateway.url}/media/")
    else:
        assert told.startswith(b"HTTP/1.1 400")
        assert gateway.submissions == 0
