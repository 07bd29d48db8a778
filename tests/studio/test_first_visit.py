"""A first visit: the page opens, a prompt becomes a picture, a video is awaited."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.gateway import RunningGateway

from .actions import choose_model, submit_prompt
from .conftest import CHROMIUM, Opened, expect, launched, until

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="session")
MOST_BYTES = 100_000
AFTER_THE_FORM = ("submit", "model-picker", "gallery", "lightbox")  # loaded once the form is ready
MOST_SECONDS = 2.0  # a gross bound: 0.3 s on a quiet machine, and this one may be busy


async def test_the_first_visit_ends_with_an_image(gateway: RunningGateway, opened: Opened) -> None:
    """Only a prompt and the button are needed, and the resulting picture is really drawn."""
    page = await opened(gateway)
    await expect(page.get_by_text("Your images and videos will appear here")).to_be_visible()
    await expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    await page.keyboard.type("a red fox in the snow")
    await page.get_by_role("button", name=re.compile("Generate image")).click()
    tile = page.get_by_role("button", name="Image: a red fox in the snow")
    await expect(tile).to_be_visible()
    await until(page, "[...document.querySelectorAll('.tile img')].some((one) => one.naturalWidth > 0)")
    assert gateway.submissions == 1


@pytest.mark.browser
async def test_the_whole_browser_shows_the_same(gateway: RunningGateway) -> None:
    """The other tests may use the headless shell."""
    async with launched(CHROMIUM) as browser:
        page = await browser.new_page()
        await page.goto(gateway.url)
        await submit_prompt(page, "a red fox in the snow")
        await expect(page.get_by_role("button", name="Image: a red fox in the snow")).to_be_visible()
        await until(page, "[...document.querySelectorAll('.tile img')].some((one) => one.naturalWidth > 0)")


async def test_a_video_is_watched_to_its_end(gateway: RunningGateway, opened: Opened) -> None:
    """Its card appears at once, shows its progress, and becomes a video that plays in the lightbox."""
    gateway.fault("fal-ai", "cold", seconds=5000)
    page = await opened(gateway)
    await page.get_by_text("Video", exact=True).click()
    await submit_prompt(page, "waves at dawn")
    card = page.locator(".card")
    await expect(card).to_have_attribute("data-status", "open")
    await expect(card.locator(".job-stage")).to_contain_text("fal-ai")
    await expect(card.locator("progress")).to_be_visible()
    await gateway.finish_waiting_jobs()
    await expect(card).to_have_attribute("data-status", "done")
    await card.get_by_role("button", name="Video: waves at dawn").click()
    await until(page, "document.querySelector('#lightbox video').readyState >= 2")
    await expect(page.locator("#lightbox")).to_contain_text("Wan-AI/Wan2.2-T2V-A14B")


async def test_jobs_and_draft_survive_a_reload(gateway: RunningGateway, opened: Opened) -> None:
    """A job that runs when the page is reloaded still runs afterwards, and the draft is kept."""
    gateway.fault("fal-ai", "cold", seconds=5000)
    page = await opened(gateway)
    await submit_prompt(page, "a slow snail")
    await expect(page.locator(".card[data-status=open] .job-stage")).to_contain_text("fal-ai")
    await page.reload()
    await expect(page.get_by_label("Prompt", exact=True)).to_have_value("a slow snail")
    await expect(page.locator(".card")).to_have_count(1)
    await expect(page.locator(".card")).to_have_attribute("data-status", "open")
    await gateway.finish_waiting_jobs()
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)
    assert gateway.submissions == 1


async def test_the_first_load_is_light_and_quick(gateway: RunningGateway, opened: Opened) -> None:
    """Under 100 kB on the wire with nothing kept from before, every file from here, and there at once."""
    facts = """() => {
      const all = performance.getEntriesByType("resource").filter((one) => !one.name.includes("/v1/"));
      const [whole] = performance.getEntriesByType("navigation");
      return {sent: whole.transferSize + all.reduce((sum, one) => sum + one.transferSize, 0),
              loaded: whole.loadEventEnd / 1000,
              first: all.filter((one) => one.startTime < whole.loadEventStart).map((one) => one.name.split("/").at(-1)),
              foreign: all.filter((one) => !one.name.startsWith(location.origin)).length};
    }"""
    times: list[float] = []
    for _ in range(3):
        page = await opened(gateway)  # a context of its own, with an empty cache
        await until(page, "performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
        load = await page.evaluate(facts)
        times.append(load["loaded"])
        assert 10_000 < load["sent"] < MOST_BYTES
        assert load["foreign"] == 0
        assert "form.js" in load["first"]
        assert not {f"{part}.js" for part in AFTER_THE_FORM} & set(load["first"])
    assert min(times) < MOST_SECONDS, times


async def missing(page: Page, served: RunningGateway, *parts: str) -> None:
    """Opens the studio for the first time, without some of its files."""
    for part in parts:
        await page.route(f"**/studio/{part}.js*", lambda route: route.abort())
    await page.goto(served.url)


async def test_modules_that_failed_to_load_are_requested_again(gateway: RunningGateway, opened: Opened) -> None:
    """If the gateway is briefly unreachable right after the first load, the page retries without a reload."""
    page = await opened(gateway, path="/healthz")
    await missing(page, gateway, "submit", "model-picker", "preview")
    await submit_prompt(page, "a patient heron")
    await expect(page.locator("#form-error")).to_contain_text("The gateway is not responding")
    async with page.expect_event("requestfailed", lambda one: "/model-picker.js" in one.url):
        await page.locator("#pick-model").click()
    await expect(page.locator("#form-error")).to_contain_text("The gateway is not responding")
    await page.unroute_all()
    await choose_model(page, "FLUX.1-schnell")
    await submit_prompt(page, "a patient heron")
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)
    assert gateway.submissions == 1


async def test_a_page_without_its_gallery_says_so_and_keeps_what_was_written(
    gateway: RunningGateway, opened: Opened
) -> None:
    """An empty gallery would look as if nothing had ever been generated."""
    page = await opened(gateway, path="/healthz")
    await missing(page, gateway, "job-card")
    await expect(page.locator("#offline")).to_contain_text("Reload it")
    await page.get_by_label("Prompt", exact=True).fill("a patient heron")
    await page.unroute_all()
    await page.reload()
    await expect(page.get_by_label("Prompt", exact=True)).to_have_value("a patient heron")
    await expect(page.get_by_text("Your images and videos will appear here")).to_be_visible()


async def test_a_request_is_sent_once_however_often_the_button_is_pressed(
    gateway: RunningGateway, opened: Opened
) -> None:
    """Two presses at the same moment are one request."""
    gateway.fault("fal-ai", "slow", seconds=0.3)
    page = await opened(gateway)
    await page.get_by_label("Prompt", exact=True).fill("one lonely tree")
    await page.evaluate("() => { const go = document.querySelector('#generate'); go.click(); go.click(); go.click(); }")
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)
    assert gateway.submissions == 1
