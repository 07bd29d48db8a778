"""Behind a proxy: which headers are believed, how prefixes work, and that nothing hostile gets into a URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from starlette.datastructures import Headers

from hfmedia.server.middleware.proxy_headers import apply_forwarded, is_trusted
from tests.support.gateway import RunningGateway, Serve
from tests.support.models import FLUX

NETWORKS = tuple(ip_network(network) for network in ("127.0.0.1", "10.0.0.0/8", "::1"))
LOOPBACK = "127.0.0.1"

TRUST = [
    ("127.0.0.1", True),
    ("10.1.2.3", True),
    ("::ffff:10.1.2.3", True),
    ("::1", True),
    ("[::1]", True),
    ("11.0.0.1", False),
    ("", False),
    (None, False),
    ("localhost", False),
]


@pytest.mark.parametrize(("address", "trusted"), TRUST)
def test_a_proxy_is_trusted_by_its_address(address: str | None, trusted: bool) -> None:
    """An equivalent address of the other IP version counts too; a host name does not."""
    assert is_trusted(NETWORKS, address) is trusted


FORWARDED: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({"x-forwarded-proto": "https"}, {"scheme": "https"}),
    ({"x-forwarded-proto": "http, https"}, {"scheme": "https"}),
    ({"x-forwarded-proto": "javascript"}, {}),
    ({"x-forwarded-for": "1.2.3.4, 10.0.0.7"}, {"client": ("1.2.3.4", 0)}),
    ({"x-forwarded-for": "6.6.6.6, 1.2.3.4"}, {"client": ("1.2.3.4", 0)}),
    ({"x-forwarded-for": "<script>"}, {}),
    ({"x-forwarded-host": "media.example.org"}, {"headers": [(b"host", b"media.example.org")]}),
    ({"x-forwarded-host": 'a.example"onload=x'}, {}),
    ({"x-forwarded-host": "a b"}, {}),
    ({"x-forwarded-host": "x" * 10_000}, {}),
    ({"x-forwarded-prefix": "/hf"}, {"root_path": "/hf", "path": "/hf/v1/models", "raw_path": b"/hf/v1/models"}),
    ({"x-forwarded-prefix": "/v1"}, {"root_path": "/v1"}),
    ({"x-forwarded-prefix": "//evil.example"}, {}),
    ({"x-forwarded-prefix": "/a/../b"}, {}),
    ({"forwarded": 'proto=https;host="a.example:8443"'},
     {"scheme": "https", "headers": [(b"host", b"a.example:8443")]}),
    ({"forwarded": 'for=6.6.6.6;host=evil.example, for="[2001:db8::1]:44";proto=https'},
     {"scheme": "https", "client": ("2001:db8::1", 0)}),
    ({"forwarded": "for=1.2.3.4;by=x, for=10.0.0.7"}, {"client": ("1.2.3.4", 0)}),
    ({"forwarded": "for=unknown"}, {}),
    ({"forwarded": 'host="a b";proto=file'}, {}),
    ({"forwarded": "host=evil.example;proto=http", "x-forwarded-proto": "https"}, {"scheme": "https"}),
    ({"x-forwarded-host": "a.example:65536"}, {}),
    ({"x-forwarded-host": "a.example\r\nset-cookie: b=c"}, {}),
    ({"x-forwarded-for": "1.2.3.4:5678"}, {"client": ("1.2.3.4", 0)}),
    ({"x-forwarded-for": "2001:db8::1"}, {"client": ("2001:db8::1", 0)}),
    ({"x-forwarded-for": "10.0.0.7, 127.0.0.1"}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "expected"), FORWARDED)
def test_valid_headers_of_a_trusted_proxy_are_applied(headers: dict[str, str], expected: dict[str, Any]) -> None:
    """Those of the nearest proxy, the only trusted one; hostile values change nothing."""
    scope: dict[str, Any] = {"type": "http", "path": "/v1/models", "raw_path": b"/v1/models", "headers": []}
    assert apply_forwarded(Headers(headers), scope, NETWORKS) == expected


def test_the_last_of_several_headers_counts() -> None:
    """A proxy may append its own header to those of a client."""
    lines = [("proto", "http"), ("proto", "https"), ("host", "evil.example"), ("host", "a.example"),
             ("prefix", "/evil"), ("prefix", "/hf"), ("for", "6.6.6.6"), ("for", "1.2.3.4")]  # fmt: skip
    raw = [(f"x-forwarded-{name}".encode(), value.encode()) for name, value in lines]
    scope: dict[str, Any] = {"type": "http", "path": "/docs", "raw_path": b"/docs", "headers": []}
    changes = apply_forwarded(Headers(raw=raw), scope, NETWORKS)
    assert (changes["scheme"], changes["root_path"], changes["client"]) == ("https", "/hf", ("1.2.3.4", 0))
    assert changes["headers"] == [(b"host", b"a.example")]


async def url_of(http: aiohttp.ClientSession, base: str, **headers: str) -> str:
    """Generate an image and return its URL."""
    body = {"prompt": "a fox", "model": f"{FLUX}:together", "response_format": "url"}
    async with http.post(f"{base}/v1/images/generations", json=body, headers=headers) as answer:
        data = await answer.json()
        assert answer.status == 200, data
        url: str = data["data"][0]["url"]
        return url


SPOOFED = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/x"}


async def test_headers_of_untrusted_clients_are_ignored(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """URLs keep the address of the request."""
    assert (await url_of(http, gateway.url, **SPOOFED)).startswith(f"{gateway.url}/media/")


async def test_the_public_url_overrides_all_headers(serve: Serve, http: aiohttp.ClientSession) -> None:
    """Even those of a trusted proxy."""
    gateway = serve(public_url="https://media.example.org/hf", trusted_proxies=(LOOPBACK,))
    headers = {**SPOOFED, "X-Forwarded-Host": "media.example.org"}
    assert (await url_of(http, gateway.url, **headers)).startswith("https://media.example.org/hf/media/")
    async with http.get(f"{gateway.api}/models", headers=SPOOFED) as answer:
        assert answer.status == 403  # not its own host: possibly DNS rebinding by a page of another site


Proxy = Callable[..., Awaitable[str]]


@pytest.fixture
async def proxy(http: aiohttp.ClientSession) -> AsyncIterator[Proxy]:
    """A reverse proxy under the prefix /hf, which it strips or leaves."""
    runners: list[web.AppRunner] = []

    async def start(gateway: RunningGateway, *, strip: bool) -> str:
        async def forward(request: web.Request) -> web.StreamResponse:
            path = request.raw_path.removeprefix("/hf") if strip else request.raw_path
            headers = {
                name: request.headers[name] for name in ("Content-Type", "Authorization") if name in request.headers
            }
            headers |= {"X-Forwarded-Host": request.host, "X-Forwarded-Proto": "http", "X-Forwarded-Prefix": "/hf"}
            body = await request.read()
            async with http.request(request.method, gateway.url + path, data=body, headers=headers) as answer:
                kept_headers = {"Content-Type": answer.headers.get("Content-Type", "")}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept_headers)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        return f"http://127.0.0.1:{port}/hf"

    yield start
    await asyncio.gather(*(runner.cleanup() for runner in runners))


@pytest.mark.parametrize("strip", [True, False])
async def test_urls_work_through_a_real_proxy(
    serve: Serve, proxy: Proxy, http: aiohttp.ClientSession, strip: bool
) -> None:
    """Whether it strips its prefix or leaves it."""
    gateway = serve(trusted_proxies=(LOOPBACK,))
    base = await proxy(gateway, strip=strip)
    url = await url_of(http, base)
    assert url.startswith(f"{base}/media/")
    async with http.get(url) as answer:
        assert answer.status == 200
        assert answer.content_type.startswith("image/")
    async with http.get(f"{base}/docs") as answer:
        assert answer.status == 200


async def test_a_prefix_can_be_configured(serve: Serve, http: aiohttp.ClientSession) -> None:
    """For a proxy that leaves it and sets no header."""
    gateway = serve(root_path="/hf")
    url = await url_of(http, f"{gateway.url}/hf")
    assert url.startswith(f"{gateway.url}/hf/media/")
    async with http.get(url) as answer:
        assert answer.status == 200
