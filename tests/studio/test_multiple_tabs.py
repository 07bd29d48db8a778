"""Several pages of one user show the same jobs in the same order, whatever arrives first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.support.gateway import RunningGateway

from .actions import submit_prompt
from .conftest import Opened, expect, until

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

pytestmark = pytest.mark.asyncio(loop_scope="session")
ORDER = "[...document.querySelectorAll('.card')].map((one) => one.dataset.id)"
LISTED = "fetch('v1/jobs').then((answer) => answer.json()).then(({data}) => data.map((job) => job.id))"


async def same_order(page: Page) -> None:
    """Waits until the cards are in the order in which the gateway lists their jobs."""
    listed = await page.evaluate(LISTED)
    assert len(listed) > 1
    await until(page, f"JSON.stringify({ORDER}) === '{str(listed).replace(' ', '').replace(chr(39), chr(34))}'")


async def test_changes_on_one_page_appear_on_the_other(gateway: RunningGateway, opened: Opened) -> None:
    """Generated, deleted, restored to its place; and what happened while the other page was disconnected."""
    one = await opened(gateway)
    other = await opened(gateway, context=one.context)
    await submit_prompt(one, "shared", count=3)
    for page in (one, other):
        await expect(page.locator(".card[data-status=done]")).to_have_count(3)
        await same_order(page)
    await one.locator(".tile").nth(1).click()
    await one.locator("#lightbox").get_by_role("button", name="Delete").click()
    await one.locator(".toast").last.dispatch_event("mouseenter")  # who points at it keeps it
    await one.keyboard.press("Escape")
    await expect(other.locator(".card")).to_have_count(2)
    await other.locator(".tile").first.click()
    await one.locator(".tile").first.focus()
    await one.keyboard.press("Control+z")
    await expect(other.locator(".card")).to_have_count(3)
    await same_order(one)
    await same_order(other)
    assert await other.locator("#lightbox").is_visible()
    await other.close()
    deaf = await opened(gateway, context=one.context, path="/studio/favicon.svg")
    await deaf.route("**/v1/events", lambda route: route.abort())
    await deaf.goto(gateway.url)
    await deaf.locator(".tile").first.click()
    gone = await deaf.locator(".card").first.get_attribute("data-id")
    async with aiohttp.ClientSession() as http, http.delete(f"{gateway.api}/jobs/{gone}") as answer:
        assert answer.status == 200
    await expect(one.locator(".card")).to_have_count(2)
    assert await deaf.locator(".card").count() == 3
    await deaf.unroute("**/v1/events")
    await deaf.evaluate("dispatchEvent(new Event('online'))")
    await expect(deaf.locator(".card")).to_have_count(2)
    await expect(deaf.locator("#lightbox")).to_be_hidden()


async def test_late_lists_change_no_order_and_bring_nothing_back(gateway: RunningGateway, opened: Opened) -> None:
    """The list's first page arrives after the stream's events, and contains a job that was deleted meanwhile."""
    page = await opened(gateway)
    for prompt in ("oldest", "middle"):
        await submit_prompt(page, prompt)
        await page.get_by_role("button", name=f"Image: {prompt}").wait_for()
    late = await opened(gateway, context=page.context, path="/studio/favicon.svg")
    release = asyncio.Event()

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        await release.wait()
        await route.fulfill(response=answer)

    await late.route("**/v1/jobs?*", hold)
    await late.goto(gateway.url)
    await until(late, "document.querySelectorAll('#filters button').length > 0")
    await submit_prompt(late, "newest", count=2)
    await expect(late.locator(".card[data-status=done]")).to_have_count(2)
    await page.get_by_role("button", name="Image: middle").click()
    await page.locator("#lightbox").get_by_role("button", name="Delete").click()
    await expect(page.locator(".card")).to_have_count(3)
    release.set()
    await until(late, "!document.querySelector('#grid').hasAttribute('aria-busy')")
    await expect(late.locator(".card")).to_have_count(3)
    await same_order(late)
