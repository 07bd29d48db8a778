"""The page never submits a request twice, unless the user submits it twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gateway import RunningGateway

from .actions import give_file, submit_prompt
from .conftest import Opened, expect, until

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

pytestmark = pytest.mark.asyncio(loop_scope="session")
SENT = "!document.querySelector('#request-form').hasAttribute('aria-busy')"


class Wire:
    """A proxy between page and gateway: requests pass, and their responses are replaced as the test requires."""

    def __init__(self, page: Page) -> None:
        self.page, self.keys, self.fates = page, list[str](), list[Any]()
        self.held: asyncio.Event | None = None

    async def begin(self) -> Wire:
        """Stands between from now on."""
        await self.page.route("**/v1/jobs", self._pass)
        return self

    async def _pass(self, route: Route) -> None:
        if route.request.method != "POST":
            return await route.continue_()
        self.keys.append(route.request.headers["idempotency-key"])
        fate = self.fates.pop(0) if self.fates else None
        if fate == "refused":
            return await route.abort("connectionrefused")
        answer = await route.fetch()
        if self.held:
            await self.held.wait()
        if fate == "broken":
            return await route.abort("connectionreset")
        if fate:
            return await route.fulfill(status=fate, json={"error": {"message": "a proxy's words", "code": None}})
        return await route.fulfill(response=answer)


async def made(page: Page, count: int) -> None:
    """Waits until that many pictures are shown."""
    await until(page, f"document.querySelectorAll('.card[data-status=done]').length === {count}")
    await until(page, SENT)


async def press(page: Page, *, later: bool = True) -> None:
    """Presses Generate, later than any echo of the previous press, and waits for the result."""
    await asyncio.sleep(0.75 if later else 0)
    await page.locator("#generate").click()
    await until(page, SENT)


async def test_a_request_whose_response_was_lost_is_resent_under_the_same_key(
    lasting: RunningGateway, opened: Opened
) -> None:
    """However the response was lost, and after a reload as well; the next request is a new one."""
    before = lasting.submissions
    page = await opened(lasting)
    wire = await Wire(page).begin()
    wire.fates = ["refused", "broken", 500, 502, 504, 429, 409, "reload"]
    await page.get_by_label("Prompt", exact=True).fill("a request with bad luck")
    for fate in list(wire.fates):
        if fate == "reload":
            wire.fates.clear()
            await page.reload()
        await press(page, later=False)
        assert await page.locator("#form-error").is_visible() == (fate != "reload")
    await made(page, 1)
    assert (len(wire.keys), len(set(wire.keys)), lasting.submissions) == (8, 1, before + 1)
    await press(page)
    await made(page, 2)
    assert (len(set(wire.keys)), lasting.submissions) == (2, before + 2)


async def test_echoing_presses_are_one_request_and_intended_presses_two(
    lasting: RunningGateway, opened: Opened
) -> None:
    """A double click, a key pressed twice or held down; then the same request again, on purpose."""
    page = await opened(lasting)
    wire = await Wire(page).begin()
    await page.get_by_label("Prompt", exact=True).fill("an echo")
    await page.evaluate(
        "() => { const at = performance.now(); window.passed = 0; performance.now = () => at + window.passed; }"
    )
    await page.locator("#generate").dblclick(delay=10)
    await until(page, SENT)
    await page.evaluate("window.passed = 600")
    await page.keyboard.press("Control+Enter")
    await until(page, SENT)
    await page.evaluate("window.passed = 1200")
    await page.keyboard.down("Control")
    for _ in range(5):
        await page.keyboard.down("Enter")
    await page.keyboard.up("Enter")
    await page.keyboard.up("Control")
    await page.locator("#n").press("Enter")
    await until(page, SENT)
    assert len(wire.keys) == 1
    await page.evaluate("window.passed = 2000")
    await press(page, later=False)
    assert len(set(wire.keys)) == 2


async def test_two_requests_at_once_keep_their_keys(lasting: RunningGateway, opened: Opened) -> None:
    """One of them fails while the other is pending; resent, it is still the same request."""
    page = await opened(lasting)
    await submit_prompt(page, "the one")
    tile = page.get_by_role("button", name="Image: the one")
    await tile.wait_for()
    wire = await Wire(page).begin()
    wire.held = asyncio.Event()
    wire.fates = ["broken", None]
    await page.get_by_label("Prompt", exact=True).fill("the other")
    await page.locator("#generate").click()
    await tile.click()
    await page.locator("#lightbox").get_by_role("button", name="Run again").click()
    async with asyncio.timeout(10):
        while len(wire.keys) < 2:  # noqa: ASYNC110 - the browser says nothing else
            await asyncio.sleep(0.02)
    wire.held.set()
    await page.locator("#form-error").wait_for()
    await expect(page.locator(".card").filter(has_text="the other")).to_have_count(1)
    await press(page)
    assert wire.keys[0] == wire.keys[2] != wire.keys[1]
    await expect(page.locator(".toast")).to_contain_text("nothing was submitted twice")


async def test_vary_again_takes_another_seed(lasting: RunningGateway, opened: Opened) -> None:
    """Requesting another picture does not generate the same one again."""
    page = await opened(lasting)
    await page.get_by_label("Seed", exact=True).fill("41")
    await submit_prompt(page, "a variable fox")
    tile = page.get_by_role("button", name="Image: a variable fox")
    for count in (1, 2, 3):
        await expect(tile).to_have_count(count)
        if count < 3:
            await tile.last.click()
            await page.locator("#lightbox").get_by_role("button", name="Vary").click()
    seeds = await page.evaluate(
        "fetch('v1/jobs?search=variable').then((answer) => answer.json()).then(({data}) => data.map((job) => job.seed))"
    )
    assert seeds == [43, 42, 41]


async def test_vary_whose_response_was_lost_is_resent_under_the_same_key(
    lasting: RunningGateway, opened: Opened
) -> None:
    """Whether the picture arrived through the stream, or the page was reloaded: it is generated once."""
    before = lasting.submissions
    page = await opened(lasting)
    await page.get_by_label("Seed", exact=True).fill("41")
    await submit_prompt(page, "an unlucky fox")
    tile = page.get_by_role("button", name="Image: an unlucky fox")
    vary = page.locator("#lightbox").get_by_role("button", name="Vary")
    await expect(tile).to_have_count(1)
    wire = await Wire(page).begin()
    for fate in (502, "broken", None):
        wire.fates = [fate]
        await tile.last.click()
        await vary.click()
        if fate:
            await page.locator(".toast.danger").wait_for()
        else:
            await expect(page.locator(".toast")).to_contain_text("nothing was submitted twice")
        await expect(tile).to_have_count(2)
        await page.reload()
        await expect(tile).to_have_count(2)
    assert (len(wire.keys), len(set(wire.keys)), lasting.submissions) == (3, 1, before + 2)
    await tile.last.click()
    await vary.click()
    await expect(tile).to_have_count(3)
    assert lasting.submissions == before + 3


async def test_requests_differ_by_the_bytes_of_their_image(lasting: RunningGateway, opened: Opened) -> None:
    """The same prompt for another image is another request, even if the first got no response."""
    page = await opened(lasting)
    wire = await Wire(page).begin()
    wire.fates = ["refused"] * 3
    for width in (96, 97, 96):
        await give_file(page, "drop", width=width)
        await until(page, f"document.querySelector('#input-image-thumbnail').naturalWidth === {width}")
        await page.get_by_label("Prompt", exact=True).fill("as a watercolour")
        await press(page, later=False)
        await page.locator("#remove-image").click()
    assert wire.keys[0] == wire.keys[2] != wire.keys[1]
