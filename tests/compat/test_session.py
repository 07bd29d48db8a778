"""StreamSession: HTTP with the interface of g4f's session."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from hfmedia import InvalidRequestError, StreamSession
from hfmedia.compat.session import StreamResponse

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server that echoes requests as JSON with the type text/plain; ``/slow`` never responds."""
    never = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/slow":
            await never.wait()
        if request.path == "/lines":
            return web.Response(body=b"one\r\ntwo\nthree")
        echo = {"method": request.method, "path": request.path_qs, "headers": dict(request.headers)}
        return web.Response(body=aiohttp.payload.JsonPayload(echo)._value, content_type="text/plain")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    never.set()
    await runner.cleanup()


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_sends_its_request(url: str, method: str) -> None:
    """With the session's headers."""
    async with (
        StreamSession(headers={"X-Mine": "yes"}) as session,
        getattr(session, method)(f"{url}/a?b=1") as response,
    ):
        assert isinstance(response, StreamResponse)
        assert response.method == method.upper()
        if method != "head":
            echo = await response.json()
            assert (echo["method"], echo["path"], echo["headers"]["X-Mine"]) == (method.upper(), "/a?b=1", "yes")


async def test_a_response_is_read_by_line_or_chunk(url: str) -> None:
    """Lines without line breaks; with ``await`` as well as with ``async with``."""
    async with StreamSession() as session:
        async with session.get(f"{url}/lines") as response:
            assert [line async for line in response.iter_lines()] == [b"one", b"two", b"three"]
        response = await session.request("GET", f"{url}/lines")
        assert b"".join([chunk async for chunk in response.iter_content()]) == b"one\r\ntwo\nthree"


@pytest.mark.parametrize("timeout", [0.05, (5, 0.05), aiohttp.ClientTimeout(total=0.05)])
async def test_a_timeout_is_enforced(url: str, timeout: object) -> None:
    """In seconds, as a pair, or as aiohttp's own."""
    async with StreamSession(timeout=timeout) as session:  # type: ignore[arg-type]
        with pytest.raises(TimeoutError):
            await session.get(f"{url}/slow")


@pytest.mark.parametrize("timeout", [0, None])
async def test_zero_means_no_limit(url: str, timeout: int | None) -> None:
    """As everywhere in hfmedia."""
    async with StreamSession(timeout=timeout) as session:
        (await session.get(f"{url}/lines")).close()
        assert session._session is not None
        assert session._session.timeout.total is None


@pytest.mark.parametrize("argument", ["proxy", "proxies"])
async def test_a_proxy_is_used_with_its_credential(url: str, argument: str) -> None:
    """The request is sent to it, with the password in its own header."""
    address = url.replace("http://", "http://me:secret@")
    arguments = {"proxy": address} if argument == "proxy" else {"proxies": {"https": address}}
    async with StreamSession(**arguments) as session, session.get("http://elsewhere.example/x") as response:  # type: ignore[arg-type]
        seen = await response.json()
    assert seen["headers"]["Host"] == "elsewhere.example"
    assert seen["headers"]["Proxy-Authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()


async def test_an_invalid_proxy_is_rejected_without_showing_it() -> None:
    """Its password may be correct even if its scheme is wrong."""
    with pytest.raises(InvalidRequestError) as raised:
        StreamSession(proxy="banana://me:secret@host")
    assert "secret" not in str(raised.value)


async def test_a_session_can_be_created_without_a_loop_and_closed_unused() -> None:
    """It opens with its first request; closing is idempotent."""
    session = await asyncio.to_thread(StreamSession)
    assert session.closed
    await session.close()
    await session.close()
