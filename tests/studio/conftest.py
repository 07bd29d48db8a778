"""The studio in a real browser, in front of a real gateway on the sandbox. A page that logs an error fails its test.

Playwright drives Debian's Chromium. Its headless shell, the same engine without the browser's own windows, takes less
than half the time: it is used where it is installed, and one test uses the whole browser. Where a part is missing the
tests are skipped and the run's summary says so; with ``CI=true`` they fail instead.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.server.conftest import beside, gateway, lasting, serve, shared
from tests.support.gateway import RunningGateway

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

try:
    from playwright.async_api import async_playwright, expect
except ImportError:
    async_playwright = expect = None  # type: ignore[assignment]

__all__ = ["RunningGateway", "beside", "expect", "gateway", "lasting", "serve", "shared"]
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
TIMEOUT = 15_000  # milliseconds that an expectation may take; the machine may be busy
EXPECTED = "Failed to load resource"  # the browser's own line for each response that is an error
BROWSER_FIXTURES = {"browser", "opened"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that use a browser."""
    for item in items:
        if BROWSER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.browser)


def require_browser(program: str) -> None:
    """Skips the test, or fails it in CI, where Playwright or Chromium is missing."""
    if async_playwright is None:
        reason = "no Playwright found: pip install playwright"
    elif not shutil.which(program):
        reason = "no Chromium found: apt-get install chromium"
    else:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


async def until(page: Page, script: str) -> None:
    """Waits until a script is true on the page. (Playwright's own way evaluates text, which the CSP forbids.)"""
    deadline = time.monotonic() + TIMEOUT / 1000
    while not await page.evaluate(script):
        assert time.monotonic() < deadline, f"never true: {script}"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def launched(program: str) -> AsyncIterator[Browser]:
    """A browser that runs for a while."""
    require_browser(program)
    expect.set_options(timeout=TIMEOUT)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests."""
    async with launched(SHELL) as launched_browser:
        yield launched_browser


Opened = Callable[..., Awaitable["Page"]]


@pytest_asyncio.fixture(loop_scope="session")
async def opened(browser: Browser) -> AsyncIterator[Opened]:
    """Opens the studio of a gateway in a new browser context; the same `context` again is the same user."""
    contexts: list[Any] = []
    errors: list[str] = []

    async def open_page(served: RunningGateway, *, context: Any = None, path: str = "/", **options: Any) -> Page:
        if context is None:
            context = await browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
            context.set_default_timeout(TIMEOUT)
            contexts.append(context)
        page: Page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(f"error: {error}"))
        page.on(
            "console",
            lambda line: errors.append(line.text) if line.type == "error" and EXPECTED not in line.text else None,
        )
        await page.goto(served.url + path)
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert not errors


@pytest.fixture
def accessible() -> Callable[[Page], Awaitable[None]]:
    """Fails for each violation of WCAG 2.2 AA that axe-core finds on a page in its current state."""
    if not AXE.is_file():
        pytest.skip("axe-core is missing: npm ci --prefix tests/studio/node")
    source = AXE.read_text()

    async def check(page: Page) -> None:
        await page.evaluate(source)
        result = await page.evaluate(
            "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", WCAG
        )
        violations = [
            {
                "rule": one["id"],
                "help": one["help"],
                "where": [[node["html"][:200], node["failureSummary"][:300]] for node in one["nodes"][:3]],
            }
            for one in result["violations"]
        ]
        assert not violations, json.dumps(violations, indent=1)

    return check
