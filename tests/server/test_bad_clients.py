"""Slow, numerous, disconnected and hostile clients: others are served, no job is lost, and nothing leaks."""

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
TIMEOUT = 20.0  # seconds; gross bounds alone
REQUEST = {"prompt": "a fox", "model": f"{FLUX}:together"}
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_connection(stack: AsyncExitStack, port: int, data: bytes = b"") -> Connection:
    """Open a plain connection and send data on it; the stack closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def close() -> None:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    stack.push_async_callback(close)
    writer.write(data)
    await writer.drain()
    return reader, writer


async def wait_until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            result = condition()
            if await result if isinstance(result, Awaitable) else result:
                return
            await asyncio.sleep(0.02)


def post_request(
    body: bytes, *, key: str = "", length: int | None = None, path: str = "/v1/images/generations"
) -> bytes:
    """Return a POST request as bytes."""
    key_header = f"Idempotency-Key: {key}\r\n" if key else ""
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{key_header}"
    return f"{head}Content-Length: {size}\r\n\r\n".encode() + body


# -- slow and many ----------------------------------------------------------------------------------------------------


async def test_slow_clients_do_not_delay_others(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """A hundred that send half a head and a hundred that send half a body: others are served meanwhile."""
    async with AsyncExitStack() as stack:
        for _ in range(100):
            await open_connection(stack, gateway.port, b"GET /healthz HTTP/1.1\r\nHost: local")
            await open_connection(stack, gateway.port, post_request(b'{"prompt": ', length=1000))
        status, response_body = await asked(http, "POST", f"{gateway.api}/images/generations", json=REQUEST)
        assert status == 200, response_body
        assert len(gateway.server.server_state.connections) >= 200
    await wait_until(
        lambda: len(gateway.server.server_state.connections) <= 1
    )  # the one that was served may be kept alive
    assert gateway.submissions == 1


async def test_hundreds_of_connections_are_served(gateway: RunningGateway) -> None:
    """All at once, and again on the same connections."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as many:
        for _ in range(2):
            responses = await asyncio.gather(*(asked(many, "GET", f"{gateway.url}/healthz") for _ in range(MANY)))
            assert {status for status, _ in responses} == {200}
        assert len(gateway.server.server_state.connections) > 50
    await wait_until(lambda: not gateway.server.server_state.connections)


@pytest.fixture
def short_timeout_port(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server with a short header timeout; one of its responses takes longer."""
    monkeypatch.setattr(HeaderTimeoutProtocol, "header_timeout", 0.3)

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
@pytest.mark.parametrize("data", [b"", b"GET / HT"], ids=["nothing", "half"])
async def test_a_head_that_does_not_arrive_ends_the_connection(
    short_timeout_port: int, before: bytes, data: bytes
) -> None:
    """With no head or half of one; an idle connection after a request has the keep-alive timeout instead."""
    async with AsyncExitStack() as stack:
        reader, writer = await open_connection(stack, short_timeout_port, before)
        if before:
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.write(data)
        if before and not data:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.8)
        else:
            assert await asyncio.wait_for(reader.read(), TIMEOUT) == b""


async def test_a_response_may_take_longer_than_a_head(short_timeout_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout ends with the head."""
    # long enough for a complete head to arrive on any machine
    monkeypatch.setattr(HeaderTimeoutProtocol, "header_timeout", 1.0)
    async with AsyncExitStack() as stack:
        reader, _ = await open_connection(stack, short_timeout_port, HEAD.replace(b"/", b"/slow", 1))
        assert (await asyncio.wait_for(reader.readuntil(b"ok"), TIMEOUT)).startswith(b"HTTP/1.1 200")


async def test_a_head_that_arrives_in_pieces_is_accepted(
    short_timeout_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it is complete in time."""
    monkeypatch.setattr(HeaderTimeoutProtocol, "header_timeout", TIMEOUT)
    async with AsyncExitStack() as stack:
        reader, writer = await open_connection(stack, short_timeout_port, b"GET / HTTP/1.1\r\n")
        await asyncio.sleep(0.05)  # otherwise both may arrive as one
        writer.write(b"Host: localhost\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"ok"), TIMEOUT)).startswith(b"HTTP/1.1 200")


# -- disconnected -----------------------------------------------------------------------------------------------------


async def test_requests_of_disconnected_clients_are_completed(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """Twenty send a request and disconnect. Each image is found by its idempotency key, and was submitted once."""
    body = json.dumps(REQUEST).encode()
    keys = [f"gone-{number}" for number in range(20)]
    async with AsyncExitStack() as stack:
        for key in keys:
            await open_connection(stack, gateway.port, post_request(body, key=key))
        await wait_until(lambda: gateway.gateway.runner.active_count() + gateway.submissions >= len(keys))

    async def repeat(key: str) -> str:
        headers = {"Idempotency-Key": key}
        status, response_body = await asked(
            http, "POST", f"{gateway.api}/images/generations", json=REQUEST, headers=headers
        )
        assert status == 200, response_body
        return str(response_body["data"][0]["job_id"])

    ids = await asyncio.gather(*(repeat(key) for key in keys))
    assert len(set(ids)) == len(keys)
    assert gateway.submissions == len(keys)
    assert gateway.gateway.runner.active_count() == 0


async def test_an_incomplete_request_starts_nothing(gateway: RunningGateway) -> None:
    """Half a body is not a request: nothing is generated and nothing stored."""
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await open_connection(stack, gateway.port, post_request(json.dumps(REQUEST).encode(), length=5000))
    await wait_until(lambda: not gateway.server.server_state.connections)
    await wait_until(lambda: not gateway.server.server_state.tasks)
    assert gateway.submissions == 0
    assert gateway.gateway.database.generations(None, limit=5) == []


async def test_subscriptions_of_disconnected_clients_end(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Thirty follow all jobs and disconnect; their streams end."""
    subscribe = b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with AsyncExitStack() as stack:
        for _ in range(30):
            reader, _ = await open_connection(stack, gateway.port, subscribe)
            assert b"200" in await asyncio.wait_for(reader.readline(), TIMEOUT)
        assert len(gateway.server.server_state.tasks) >= 30
    await wait_until(lambda: not gateway.server.server_state.tasks)
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


async def test_malformed_requests_are_rejected_without_side_effects(
    gateway: RunningGateway, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """A 4xx status, or the connection is closed; no crash, no traceback, nothing injected."""
    caplog.set_level(logging.WARNING)

    async def response_to(data: bytes) -> bytes:
        async with AsyncExitStack() as stack:
            with suppress(OSError):
                reader, writer = await open_connection(stack, gateway.port, data)
                if writer.can_write_eof():
                    writer.write_eof()
                return await asyncio.wait_for(reader.read(), TIMEOUT)
        return b""

    for data in HOSTILE:
        response = await response_to(data)
        assert response == b"" or response.startswith(b"HTTP/1.1 4"), (data[:80], response[:200])
        assert response == b"" or json.loads(response.partition(b"\r\n\r\n")[2])["error"]["code"], (data[:80], response)
        assert b"set-cookie" not in response.partition(b"\r\n\r\n")[0].lower(), data
    assert [record for record in caplog.records if record.exc_info] == []
    assert (await asked(http, "GET", f"{gateway.url}/healthz"))[0] == 200
    assert gateway.submissions == 0


@pytest.mark.parametrize("host", ['evil.example"><script>', "a b", "evil.example\tx", "evil.example:99999", "é"])
async def test_a_hostile_host_never_appears_in_a_url(gateway: RunningGateway, host: str) -> None:
    """A caller with a key can use any host name; one that is not valid is not used in returned URLs."""
    key = key_for(gateway, "web")
    body = json.dumps({**REQUEST, "response_format": "url"}).encode()
    head = f"Host: {host}\r\nConnection: close\r\nAuthorization: {bearer(key)['Authorization']}\r\n"
    data = post_request(body).replace(b"Host: localhost\r\n", head.encode("latin-1"))
    async with AsyncExitStack() as stack:
        reader, _ = await open_connection(stack, gateway.port, data)
        response = await asyncio.wait_for(reader.read(), TIMEOUT)
    if response.startswith(b"HTTP/1.1 200"):
        assert json.loads(response.partition(b"\r\n\r\n")[2])["data"][0]["url"].startswith(f"{gateway.url}/media/")
    else:
        assert response.startswith(b"HTTP/1.1 400")
        assert gateway.submissions == 0
