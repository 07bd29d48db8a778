"""The studio in a real browser, in front of a real gateway on the sandbox. A page that complains fails its test.

Debian's Chromium is driven by Playwright. Where one of them is missing the tests are skipped, and say which. Its
headless shell, the same engine without the browser's own windows, takes less than half the time: where it is there, it
is taken, and a first visit is made in the whole browser as well.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.server.conftest import RunningGateway, beside, gateway, lasting, serve, shared

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

__all__ = ["RunningGateway", "beside", "gateway", "lasting", "serve", "shared"]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
SHELL = shutil.which("chromium-headless-shell") or CHROMIUM
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = Path(__file__).parent / "node" / "node_modules" / "axe-core" / "axe.min.js"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
EXPECT_TIMEOUT_MS = 15_000  # milliseconds that an expectation may take; the machine may be busy
EXPECTED = "Failed to load resource"  # the browser's own line for each answer that is an error


async def wait_until(page: Page, script: str) -> None:
    """Waits until a script is true on the page. (Playwright's own way evaluates text, which the policy forbids.)"""
    deadline = time.monotonic() + EXPECT_TIMEOUT_MS / 1000
    while not await page.evaluate(script):
        assert time.monotonic() < deadline, f"never true: {script}"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def launched(program: str) -> AsyncIterator[Browser]:
    """A browser that runs for a while."""
    api = pytest.importorskip("playwright.async_api", reason="the studio's tests need: pip install playwright")
    if not shutil.which(program):
        pytest.skip("the studio's tests need Debian's Chromium: apt-get install chromium")
    api.expect.set_options(timeout=EXPECT_TIMEOUT_MS)
    async with api.async_playwright() as playwright:
        made = await playwright.chromium.launch(executable_path=program, args=QUIET)
        yield made
        await made.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests."""
    async with launched(SHELL) as made:
        yield made


Opened = Callable[..., Awaitable["Page"]]


@pytest_asyncio.fixture(loop_scope="session")
async def opened(browser: Browser) -> AsyncIterator[Opened]:
    """Opens the studio of a gateway in a browser context of its own; the same `context` again is the same person."""
    contexts: list[Any] = []
    complaints: list[str] = []

    async def open_page(served: RunningGateway, *, context: Any = None, path: str = "/", **kept: Any) -> Page:
        if context is None:
            context = await browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **kept})
            context.set_default_timeout(EXPECT_TIMEOUT_MS)
            contexts.append(context)
        page: Page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on(
            "console",
            lambda told: complaints.append(told.text) if told.type == "error" and EXPECTED not in told.text else None,
        )
        await page.goto(served.url + path)
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert not complaints


@pytest.fixture
def accessible() -> Callable[[Page], Awaitable[None]]:
    """Fails for each violation of WCAG 2.2 AA that axe-core finds on a page as it stands."""
    if not AXE.is_file():
        pytest.skip("axe-core is missing: npm ci --prefix tests/studio/node")
    source = AXE.read_text()

    async def check(page: Page) -> None:
        await page.evaluate(source)
        found = await page.evaluate(
            "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", WCAG
        )
        told = [
            {
                "rule": one["id"],
                "help": one["help"],
                "where": [[node["html"][:200], node["failureSummary"][:300]] for node in one["nodes"][:3]],
            }
            for one in found["violations"]
        ]
        assert not told, json.dumps(told, indent=1)

    return check
