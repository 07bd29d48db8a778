"""Under a path prefix, through a real reverse proxy that strips the prefix or keeps it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from tests.support.gateway import RunningGateway, Serve

from .actions import add_key, submit_prompt
from .conftest import Opened, expect, until

pytestmark = pytest.mark.asyncio(loop_scope="session")
HOPS = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


@asynccontextmanager
async def proxy(served: RunningGateway, *, strip: bool) -> AsyncIterator[str]:
    """The URL of a gateway under /hf, behind a proxy that forwards everything unchanged."""
    async with aiohttp.ClientSession(auto_decompress=False) as http:

        async def pass_on(request: web.Request) -> web.StreamResponse:
            path = request.raw_path.removeprefix("/hf") if strip else request.raw_path
            sent = {name: value for name, value in request.headers.items() if name.lower() not in HOPS}
            sent |= {"X-Forwarded-Host": request.host, "X-Forwarded-Proto": "http", "X-Forwarded-Prefix": "/hf"}
            body = await request.read()
            async with http.request(
                request.method, served.url + path, data=body, headers=sent, allow_redirects=False
            ) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOPS}
                made = web.StreamResponse(status=answer.status, headers=kept)
                await made.prepare(request)
                async for piece in answer.content.iter_any():
                    await made.write(piece)
                return made

        app = web.Application()
        app.router.add_route("*", "/hf{path:.*}", pass_on)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/hf"
        finally:
            await runner.cleanup()


@pytest.mark.parametrize("strip", [True, False])
async def test_everything_works_under_a_prefix(serve: Serve, opened: Opened, strip: bool) -> None:
    """Page, modules, icons, key dialog, pictures and the stream; nothing is requested outside the prefix."""
    served = serve(trusted_proxies=("127.0.0.1",))
    key = add_key(served)
    async with proxy(served, strip=strip) as base:
        page = await opened(served, path="/studio/favicon.svg")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(f"{base}/")
        await page.locator("#auth-dialog").get_by_label("API key").fill(key)
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Your images and videos will appear here")).to_be_visible()
        await submit_prompt(page, "behind a proxy")
        tile = page.get_by_role("button", name="Image: behind a proxy")
        await tile.wait_for()
        await until(page, "[...document.querySelectorAll('.tile img')].some((one) => one.naturalWidth > 0)")
        await tile.click()
        await until(page, "[...document.querySelectorAll('#lightbox img')].some((one) => one.naturalWidth > 0)")
        async with page.expect_download():
            await page.locator("#lightbox").get_by_role("link", name="Download").click()
        await page.keyboard.press("Escape")
        assert await page.locator("#offline").is_hidden()
        drawn = "document.querySelector('.brand svg').getBBox().width > 0"
        await until(page, drawn)
        docs = await page.goto(f"{base}/docs")
        assert docs is not None
        assert docs.status == 200
        assert [one for one in asked if not one.startswith((f"{base}/", "blob:", "data:"))] == []
        if strip:  # with a proxy that keeps the prefix, the gateway says where nothing is
            await page.goto(base)
            await tile.wait_for()
            await until(page, drawn)
        await page.close()
