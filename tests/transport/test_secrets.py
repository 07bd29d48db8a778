"""Secrets that must never appear: tokens, proxy passwords and signatures, in logs, errors, their causes and reprs."""

from __future__ import annotations

import asyncio
import logging
import ssl
import traceback
from collections.abc import Awaitable, Callable

import pytest

from hfmedia.core.credentials import Credential, Secret
from hfmedia.core.http import post_json
from hfmedia.transport import Transport, TransportLimits

from .servers import HttpProxy, SocksProxy, answering, http_response, names, serve

TOKEN, PASSWORD, SIGNATURE = "hf_TopSecretToken", "hunter2hunter2", "SigSigSigSigSig"
BASIC = "dXNlcjpodW50ZXIyaHVudGVyMg=="  # user:hunter2hunter2, as Basic has it
SECRETS = (TOKEN, PASSWORD, SIGNATURE, BASIC)
QUICK = TransportLimits(connect=1, response_head=1, submit_response_head=1, download_idle=1, body_idle=1)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def everything(error: BaseException) -> str:
    """All that an error says, and all that its causes and contexts say, suppressed or not."""
    said = ["".join(traceback.format_exception(error))]
    chain: list[BaseException | None] = [error]
    while chain:
        if (link := chain.pop()) is not None:
            said += [str(link), repr(link), repr(link.args), repr(vars(link))]
            chain += [link.__cause__, link.__context__]
    return "\n".join(said)


async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def rude(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


SERVERS: dict[str, Handler] = {
    "answers": answering(http_response(b"{}")),
    "redirects inside": answering(
        http_response(b"", "302 Found", {"Location": f"http://10.0.0.1/?Signature={SIGNATURE}"})
    ),
    "redirects badly": answering(http_response(b"", "302 Found", {"Location": f"http://[::1/?Signature={SIGNATURE}"})),
    "breaks off": answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nabc"),
    "is silent": silent,
    "is rude": rude,
    "is not HTTP": answering(b"what?\r\n\r\n"),
}
PROXIES: dict[str, Handler | None] = {
    "none": None,
    "http": HttpProxy(0, opens=f"Basic {BASIC}"),
    "http refusing": HttpProxy(0, opens="Basic other"),
    "http failing": HttpProxy(0, refuses="502 Bad Gateway"),
    "socks5": SocksProxy(0, ("user", PASSWORD)),
    "socks5 refusing": SocksProxy(0, ("user", "other")),
    "socks5 rude": rude,
}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("server", SERVERS)
async def test_no_secret_shows_whatever_happens(
    server: str, proxy: str, scheme: str, caplog: pytest.LogCaptureFixture, server_tls: ssl.SSLContext
) -> None:
    """Every kind of request and every error of it, with debug logging."""
    caplog.set_level(logging.DEBUG)
    host, said = "cdn.example", []
    handler = PROXIES[proxy]
    tls = server_tls if scheme == "https" else None  # self-signed, so that https always fails in its own way
    async with serve(SERVERS[server], tls=tls) as port, serve(handler or silent) as at:
        if isinstance(handler, HttpProxy | SocksProxy):
            handler.to = port
        given = f"{proxy.split()[0]}://user:{PASSWORD}@127.0.0.1:{at}" if handler else ""
        base = f"{scheme}://{host}:{port}"
        url = f"{base}/buy/a.png?X-Amz-Signature={SIGNATURE}"
        options = {"resolve": names(cdn_example=["127.0.0.1"]), "trusted_hosts": [f"{host}:{port}"]}
        async with Transport(proxy=given, limits=QUICK, **options) as wire:  # type: ignore[arg-type]
            credential = Credential(secret=Secret(TOKEN), base_url=base)
            try:
                reply = await wire.send(post_json(url, {"prompt": "fox"}), credential=credential)
                said.append(repr(reply))
            except Exception as error:
                said.append(everything(error))
            try:
                async with wire.fetch(url) as body:
                    said.append(repr(body))
                    async for _ in body.chunks():
                        pass
            except Exception as error:
                said.append(everything(error))
            said.append(repr(wire))
    said += [record.getMessage() for record in caplog.records]
    said += ["".join(traceback.format_exception(*record.exc_info)) for record in caplog.records if record.exc_info]
    assert any(record.name == "hfmedia.transport" for record in caplog.records)
    for text in said:
        assert not [secret for secret in SECRETS if secret in text], text


async def test_the_log_has_a_line_for_each_exchange(caplog: pytest.LogCaptureFixture) -> None:
    """At debug level: the request and its outcome."""
    caplog.set_level(logging.DEBUG, "hfmedia.transport")
    async with serve(answering(http_response(b"{}"))) as port, Transport(environ={}) as wire:
        await wire.send(post_json(f"http://127.0.0.1:{port}/buy", {}), credential=None)
    assert [record.getMessage() for record in caplog.records] == [
        f"HttpRequest(POST http://127.0.0.1:{port}/buy {{'Content-Type': 'application/json'}} 2 bytes)"
        " -> HttpResponse(200  2 bytes)"
    ]
