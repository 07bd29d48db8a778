"""Through proxies: names are resolved there, a proxy's own refusal is unsent, and it hears no password but its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import pytest

from hfmedia.core.credentials import Credential, Secret
from hfmedia.core.errors import RequestNotSentError, ResponseLostError, UnsafeUrlError
from hfmedia.core.http import post_json
from hfmedia.transport import Transport, TransportLimits

from .servers import HttpProxy, ReceivedRequest, SocksProxy, answering, http_response, names, serve

BASIC = "Basic dXNlcjpwQHNz"  # user:p@ss
QUICK = TransportLimits(connect=1, response_head=1, submit_response_head=1)


def key(base_url: str) -> Credential:
    return Credential(secret=Secret("hf_secretsecret"), base_url=base_url)


async def get_bytes(wire: Transport, url: str) -> bytes:
    async with wire.fetch(url) as body:
        return b"".join([chunk async for chunk in body.chunks()])


async def test_plain_http_goes_to_an_http_proxy_in_absolute_form() -> None:
    """It learns the proxy's own password, and resolves the name; the server never sees that password."""
    seen: list[ReceivedRequest] = []
    async with (
        serve(answering(http_response(b"ok"), seen=seen)) as port,
        serve(HttpProxy(port, opens=BASIC)) as at,
        Transport(proxy=f"http://user:p%40ss@127.0.0.1:{at}", resolve=names()) as wire,
    ):
        request = post_json("http://api.example/buy", {"prompt": "fox"})
        reply = await wire.send(request, credential=key("http://api.example"))
    assert reply.body == b"ok"
    assert seen[0].headers["authorization"] == "Bearer hf_secretsecret"


async def test_https_goes_through_a_tunnel_that_sees_no_credential(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """CONNECT with the proxy's password; TLS, the request and the token inside."""
    seen: list[ReceivedRequest] = []
    async with serve(answering(http_response(b"ok"), seen=seen), tls=server_tls) as port:
        proxy = HttpProxy(port, opens=BASIC)
        async with serve(proxy) as at:
            given = f"http://user:p%40ss@127.0.0.1:{at}"
            async with Transport(proxy=given, tls=client_tls, resolve=names()) as wire:
                request = post_json("https://cdn.example/buy", {})
                replies = [await wire.send(request, credential=key("https://cdn.example")) for _ in range(2)]
                assert await get_bytes(wire, "https://cdn.example/a.png") == b"ok"
    assert [reply.body for reply in replies] == [b"ok", b"ok"]
    assert [(request.method, request.target) for request in proxy.seen] == [("CONNECT", "cdn.example:443")] * 2
    assert all("authorization" not in request.headers for request in proxy.seen)
    assert [request.headers.get("authorization") for request in seen] == ["Bearer hf_secretsecret"] * 2 + [None]
    assert all("proxy-authorization" not in request.headers for request in seen)


@pytest.mark.parametrize("opens", [None, ("user", "p@ss")])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_socks_resolves_names_at_the_proxy(scheme: str, opens: tuple[str, str] | None) -> None:
    """With and without a password, for requests and downloads."""
    async with serve(answering(http_response(b"ok"))) as port:
        proxy = SocksProxy(port, opens)
        async with serve(proxy) as at:
            password = "user:p%40ss@" if opens else ""
            async with Transport(proxy=f"{scheme}://{password}127.0.0.1:{at}", resolve=names()) as wire:
                reply = await wire.send(post_json("http://api.example/buy", {}), credential=None)
                assert reply.body == b"ok"
                assert await get_bytes(wire, "http://cdn.example:8080/a") == b"ok"
    assert proxy.asked == [("api.example", 80), ("cdn.example", 8080)]


async def test_downloads_tell_a_proxy_no_credential() -> None:
    """In absolute form it reads every header: there is none to be had."""
    proxy = HttpProxy(0)
    async with serve(answering(http_response(b"ok"))) as proxy.to, serve(proxy) as at:
        environ = {"HTTP_PROXY": f"http://127.0.0.1:{at}"}
        async with Transport(environ=environ, resolve=names()) as wire:
            assert await get_bytes(wire, "http://cdn.example/a.png?x=1") == b"ok"
    assert proxy.seen[0].target == "http://cdn.example/a.png?x=1"
    assert not {"authorization", "proxy-authorization", "cookie"} & set(proxy.seen[0].headers)


async def test_no_proxy_goes_directly() -> None:
    """NO_PROXY exempts a host; nothing else does, not even loopback."""
    proxy = HttpProxy(0)
    async with serve(answering(http_response(b"ok"))) as proxy.to, serve(proxy) as at:
        environ = {"HTTP_PROXY": f"http://127.0.0.1:{at}", "NO_PROXY": "localhost"}
        async with Transport(environ=environ) as wire:
            for host in ("127.0.0.1", "localhost"):
                await wire.send(post_json(f"http://{host}:{proxy.to}/", {}), credential=None)
    assert [request.headers["host"] for request in proxy.seen] == [f"127.0.0.1:{proxy.to}"]


async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def rude(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


REFUSALS = [
    ("http", HttpProxy(0, opens="Basic other"), "https://api.example/", "refused to connect.*407"),
    ("http", HttpProxy(0, opens="Basic other"), "http://api.example/", "rejected its user name or password"),
    ("http", HttpProxy(0, refuses="403 Forbidden"), "https://api.example/", "refused to connect.*403"),
    ("http", HttpProxy(0, refuses="502 Bad Gateway"), "https://api.example/", "refused to connect.*502"),
    ("http", silent, "https://api.example/", "could not connect.*through the proxy"),
    ("http", rude, "https://api.example/", "through the proxy"),
    ("https", silent, "https://api.example/", "could not connect.*through the proxy"),
    ("socks5", SocksProxy(0, ("other", "one")), "http://api.example/", "through the proxy"),
    ("socks5", silent, "https://api.example/", "through the proxy"),
    ("socks5", rude, "http://api.example/", "through the proxy"),
    ("socks4", rude, "http://api.example/", "through the proxy"),
]


@pytest.mark.parametrize(("scheme", "proxy", "url", "says"), REFUSALS)
async def test_a_proxy_that_lets_nothing_through_means_unsent(
    scheme: str, proxy: HttpProxy, url: str, says: str
) -> None:
    """Refused, silent or rude: the request, the token and the money stay here. Its password is not shown."""
    async with serve(proxy) as at, Transport(proxy=f"{scheme}://user:hunter2@127.0.0.1:{at}", limits=QUICK) as wire:
        with pytest.raises(RequestNotSentError, match=says) as caught:
            await asyncio.wait_for(wire.send(post_json(url, {}), credential=key(url)), 5)
        with pytest.raises(RequestNotSentError, match=says):
            await asyncio.wait_for(get_bytes(wire, url), 5)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https", "socks4", "socks5"])
async def test_a_proxy_that_is_not_there_means_unsent(scheme: str) -> None:
    """It is named, since it is what must be looked at."""
    async with serve(silent) as port:
        pass
    async with Transport(proxy=f"{scheme}://user:hunter2@127.0.0.1:{port}", limits=QUICK) as wire:
        with pytest.raises(RequestNotSentError, match=rf"{scheme}://127\.0\.0\.1:{port}"):
            await wire.send(post_json("http://api.example/", {}), credential=None)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_certificate_is_checked_through_a_tunnel_too(scheme: str, server_tls: ssl.SSLContext) -> None:
    """A proxy cannot read along with a certificate of its own making."""
    async with serve(answering(http_response(b"ok")), tls=server_tls) as port:
        proxy = HttpProxy(port) if scheme == "http" else SocksProxy(port)
        async with serve(proxy) as at, Transport(proxy=f"{scheme}://127.0.0.1:{at}", limits=QUICK) as wire:
            with pytest.raises(RequestNotSentError, match=r"certificate of cdn\.example"):
                await wire.send(post_json("https://cdn.example/", {}), credential=None)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_after_the_tunnel_a_lost_answer_is_lost(
    scheme: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """Being behind a proxy makes no purchase undone."""
    async with serve(answering(b""), tls=server_tls) as port:
        proxy = HttpProxy(port) if scheme == "http" else SocksProxy(port)
        async with (
            serve(proxy) as at,
            Transport(proxy=f"{scheme}://127.0.0.1:{at}", tls=client_tls, limits=QUICK) as wire,
        ):
            with pytest.raises(ResponseLostError):
                await wire.send(post_json("https://cdn.example/", {}), credential=None)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://localhost/", "http://169.254.169.254/", "http://metadata.google.internal/",
     "http://printer/", "http://2130706433/", "http://[::1]/"],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_is_not_asked_for_what_is_private_by_its_spelling(scheme: str, url: str) -> None:
    """It would reach its own network for us."""
    proxy = HttpProxy(0) if scheme == "http" else SocksProxy(0)
    async with serve(proxy) as at, Transport(proxy=f"{scheme}://127.0.0.1:{at}") as wire:
        with pytest.raises(UnsafeUrlError):
            await get_bytes(wire, url)
    assert not (proxy.seen if isinstance(proxy, HttpProxy) else proxy.asked)


async def test_the_environment_given_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a mapping of one's own, os.environ and ~/.netrc have no say."""
    seen: list[ReceivedRequest] = []
    async with serve(answering(http_response(b"ok"), seen=seen)) as port:
        nowhere: Mapping[str, str] = {"HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}
        for name, value in nowhere.items():
            monkeypatch.setenv(name, value)
        async with Transport(environ={}) as wire:
            await wire.send(post_json(f"http://127.0.0.1:{port}/", {}), credential=None)
        async with Transport() as wire:
            with pytest.raises(RequestNotSentError, match=r"proxy http://127\.0\.0\.1:1"):
                await wire.send(post_json(f"http://127.0.0.1:{port}/", {}), credential=None)
    assert "authorization" not in seen[0].headers
