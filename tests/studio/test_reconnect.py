"""Updates: they leave the user's focus alone, failed requests are retried, and pages in the background pause."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.support.gateway import RunningGateway

from .actions import FLUX, choose_model, choose_provider, noise, submit_prompt
from .conftest import Opened, expect, until
from .large_gallery import add_copies

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

pytestmark = pytest.mark.asyncio(loop_scope="session")
POLL = 15_500  # milliseconds after which open cards are compared with the gateway


async def doubtful(gateway: RunningGateway, page: Page) -> None:
    """Puts one job in doubt on the page."""
    gateway.fault("together", "disconnect")
    await choose_model(page, "schnell")
    await choose_provider(page, "together")
    await submit_prompt(page, "a doubtful fox")
    await page.locator(".card[data-status=in_doubt]").wait_for()


async def in_sight(page: Page, seen: bool) -> None:
    """Brings the page to the front, or hides it behind another one."""
    await page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        not seen,
    )


def listeners(gateway: RunningGateway) -> int:
    """The number of event streams that the gateway has open."""
    return len(gateway.gateway.service.runner._change_listeners)


async def becomes(look: Any, wanted: Any) -> None:
    """Waits until a function returns a value."""
    deadline = time.monotonic() + 15
    while look() != wanted:
        assert time.monotonic() < deadline, look()
        await asyncio.sleep(0.02)


async def later(page: Page, script: str) -> None:
    """Advances the page's clock, a few seconds per check, until a script is true on the page."""
    deadline = time.monotonic() + 15
    while not await page.evaluate(script):
        assert time.monotonic() < deadline, f"never true: {script}"
        await page.clock.fast_forward(3000)
        await asyncio.sleep(0.1)


# -- under the hands --------------------------------------------------------------------------------------------------


async def test_synchronizing_with_the_gateway_moves_nothing(gateway: RunningGateway, opened: Opened) -> None:
    """Unchanged cards are left alone: the focus stays where it was, and pictures are not redrawn."""
    page = await opened(gateway, path="/studio/favicon.svg")
    await page.clock.install()
    await page.goto(gateway.url)
    await doubtful(gateway, page)
    await page.locator("#reset").click()
    await submit_prompt(page, "a picture")
    await page.locator(".tile img").wait_for()
    gateway.fault("fal-ai", "cold", seconds=5000)
    await page.get_by_text("Video", exact=True).click()
    await submit_prompt(page, "something long")
    await page.locator(".card[data-status=open]").wait_for()
    dismiss = page.get_by_role("button", name="It is there: dismiss")
    await dismiss.focus()
    await page.evaluate(
        "document.querySelector('.tile img').mine = document.querySelector('[data-status=in_doubt] h3').mine = 1"
    )
    async with page.expect_response(lambda answer: "status=open" in answer.url):
        await page.clock.fast_forward(POLL)
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
    await expect(dismiss).to_be_focused()
    assert (
        await page.evaluate(
            "document.querySelector('.tile img').mine + document.querySelector('[data-status=in_doubt] h3').mine"
        )
        == 2
    )


async def test_a_key_held_down_presses_no_element_that_appears_under_it(
    gateway: RunningGateway, opened: Opened
) -> None:
    """Deleting a picture moves the focus to its neighbor, which may be in doubt: nothing is decided or paid."""
    page = await opened(gateway)
    await doubtful(gateway, page)
    await page.locator("#advanced #provider").select_option("")
    await submit_prompt(page, "a picture")
    await page.locator(".tile").click()
    before = gateway.submissions
    await page.locator("#lightbox").get_by_role("button", name="Delete").focus()
    for _ in range(5):
        await page.keyboard.down("Enter")
    await expect(page.locator("#lightbox")).to_be_hidden()
    for _ in range(5):
        await page.keyboard.down("Enter")
    await page.keyboard.up("Enter")
    await expect(page.locator(".card")).to_be_focused()
    await expect(page.locator(".card")).to_have_attribute("data-status", "in_doubt")
    assert gateway.submissions == before


async def test_the_focus_moves_to_the_next_card_although_the_opener_of_the_lightbox_is_gone(
    gateway: RunningGateway, opened: Opened
) -> None:
    """The picture that was clicked is deleted first, then its neighbor: the focus moves to the card that remains."""
    page = await opened(gateway)
    await doubtful(gateway, page)
    await page.locator("#advanced #provider").select_option("")
    await submit_prompt(page, "two pictures", count=2)
    await expect(page.locator(".card[data-status=done]")).to_have_count(2)
    await page.locator(".tile").first.click()
    for _ in range(2):
        await page.locator("#lightbox").get_by_role("button", name="Delete").click()
    await expect(page.locator("#lightbox")).to_be_hidden()
    await expect(page.locator(".card")).to_have_attribute("data-status", "in_doubt")
    await expect(page.locator(".card")).to_be_focused()


async def test_the_replacement_of_a_pressed_button_is_not_pressed(gateway: RunningGateway, opened: Opened) -> None:
    """A job that becomes in doubt when it is cancelled: the card gets the focus, and a second press decides nothing."""
    page = await opened(gateway)
    gateway.fault("together", "hang")
    await choose_model(page, "schnell")
    await choose_provider(page, "together")
    await submit_prompt(page, "a doubtful fox")
    await becomes(lambda: gateway.submissions, 1)
    await page.get_by_role("button", name="Cancel a doubtful").focus()
    await page.keyboard.press("Enter")
    card = page.locator(".card")
    await expect(card).to_have_attribute("data-status", "in_doubt")
    await expect(card).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(card).to_have_attribute("data-status", "in_doubt")
    assert gateway.submissions == 1


async def test_many_deletions_are_undone_one_after_the_other(gateway: RunningGateway, opened: Opened) -> None:
    """Deleted jobs can be found for an hour."""
    page = await opened(gateway)
    await submit_prompt(page, "five of them", count=5)
    await expect(page.locator(".card[data-status=done]")).to_have_count(5)
    await page.locator(".tile").first.click()
    for _ in range(5):
        await page.locator("#lightbox").get_by_role("button", name="Delete").click()
        await page.locator(".toast").last.dispatch_event("mouseenter")  # who points at it keeps it
    await expect(page.locator(".card")).to_have_count(0)
    for left in range(1, 5):
        await page.keyboard.press("Control+z")
        await expect(page.locator(".card")).to_have_count(left)
    await page.get_by_role("button", name="Deleted", exact=True).click()
    card = page.locator(".card")
    await expect(card).to_have_attribute("data-status", "deleted")
    await expect(card).to_contain_text("Can be restored for one hour")
    await card.get_by_role("button", name="Restore five of them").click()
    await expect(card).to_have_attribute("data-status", "done")
    await page.get_by_role("button", name="All", exact=True).click()
    await expect(page.locator(".card[data-status=done]")).to_have_count(5)
    await page.get_by_role("button", name="Deleted", exact=True).click()
    await expect(page.get_by_text("Deleted: nothing here")).to_be_visible()


async def test_an_image_that_is_removed_at_once_leaves_nothing(gateway: RunningGateway, opened: Opened) -> None:
    """A large image is still being shrunk, and the result arrives too late."""
    page = await opened(gateway)
    await page.evaluate(
        """async (data) => {
          const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
          const given = new DataTransfer();
          given.items.add(new File([bytes], "large.png", {type: "image/png"}));
          document.body.dispatchEvent(new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: given}));
          document.querySelector("#remove-image").click();
          await new Promise((done) => setTimeout(done, 400));
        }""",
        noise(),
    )
    async with page.expect_request("**/v1/jobs/preview") as asked:
        await page.locator("#advanced summary").click()
        await page.get_by_label("Negative prompt").fill("text")
    sent = await asked.value
    assert sent.headers["content-type"] == "application/json"
    await expect(page.locator("#preview")).to_contain_text("Sends to")
    await expect(page.locator("#form-error")).to_be_hidden()


async def test_run_again_submits_the_original_request(gateway: RunningGateway, opened: Opened) -> None:
    """Not what the last provider accepted of it; extra parameters keep every digit."""
    page = await opened(gateway)
    await choose_model(page, "Z-Image-Turbo")
    await page.locator("#ratios label").filter(has_text="21:9").click()
    await page.locator("#advanced summary").click()
    await page.get_by_label("Extra parameters").fill('{"noise_seed": 18446744073709551615, "shift": 1.0}')
    async with page.expect_request(lambda sent: sent.url.endswith("/v1/jobs") and sent.method == "POST") as first:
        await submit_prompt(page, "a wide fox")
    submitted: Any = (await first.value).post_data_json
    assert submitted["extra"] == '{"noise_seed": 18446744073709551615, "shift": 1.0}'
    await page.locator(".card[data-status=done] .tile").click()
    await expect(page.locator("#lightbox dl")).to_contain_text("Size")
    async with page.expect_request(lambda sent: sent.url.endswith("/v1/jobs") and sent.method == "POST") as second:
        await page.locator("#lightbox").get_by_role("button", name="Run again").click()
    again: Any = (await second.value).post_data_json
    assert again["aspect_ratio"] == "21:9"
    assert "width" not in again
    assert again["extra"]["shift"] == 1


# -- what is unseen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("open_too", [False, True])
async def test_a_page_in_the_background_holds_no_connection(
    gateway: RunningGateway, opened: Opened, open_too: bool
) -> None:
    """A browser shares six among its tabs. In the foreground again, the page shows what was generated in the meantime.

    Also where it had something under way, and therefore asked how that stands from time to time.
    """
    page = await opened(gateway, path="/studio/favicon.svg")
    await page.clock.install()
    await page.goto(gateway.url)
    await becomes(lambda: listeners(gateway), 1)
    if open_too:
        gateway.fault("fal-ai", "cold", seconds=50_000)
        await page.get_by_text("Video", exact=True).click()
        await submit_prompt(page, "something long")
        await page.locator(".card[data-status=open]").wait_for()
    await in_sight(page, False)
    await page.clock.fast_forward(11_000)
    await becomes(lambda: listeners(gateway), 0)
    if open_too:
        async with page.expect_response(lambda answer: "status=open" in answer.url):
            for _ in range(4):  # in the background it polls every fourth time
                await page.clock.fast_forward(POLL)
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{gateway.api}/jobs", json={"prompt": "unseen", "model": FLUX, "n": 70}) as answer:
            assert answer.status == 202
        ended = 0
        while ended < 70:
            async with http.get(f"{gateway.api}/jobs?status=completed&limit=200") as answer:
                ended = len((await answer.json())["data"])
            await asyncio.sleep(0.1)
    assert await page.locator(".card").count() == int(open_too)
    await expect(page.locator("#offline")).to_be_hidden()
    await in_sight(page, True)
    await until(page, "document.querySelectorAll('.card[data-status=done]').length >= 60")
    await becomes(lambda: listeners(gateway), 1)


async def test_a_closed_video_holds_no_connection(gateway: RunningGateway, opened: Opened) -> None:
    """On its tile and in the lightbox."""
    page = await opened(gateway)
    await page.get_by_text("Video", exact=True).click()
    await submit_prompt(page, "waves")
    tile = page.locator(".card[data-status=done] .tile")
    await tile.hover()
    empty = "window.film !== null && !window.film.hasAttribute('src') && window.film.networkState === 0"
    await page.locator(".tile video").wait_for()
    await page.evaluate("window.film = document.querySelector('.tile video')")
    await page.mouse.move(0, 0)
    await until(page, empty)
    await tile.click()
    await page.locator("#lightbox video").wait_for()
    await page.evaluate("window.film = document.querySelector('#lightbox video')")
    await page.keyboard.press("Escape")
    await until(page, empty)


# -- what fails -------------------------------------------------------------------------------------------------------


async def test_a_failed_page_of_the_gallery_is_requested_again(gateway: RunningGateway, opened: Opened) -> None:
    """Automatically and by hand; until then the gallery is neither called empty nor complete."""
    page = await opened(gateway)
    await submit_prompt(page, "the pattern")
    await page.locator(".card[data-status=done]").wait_for()
    await add_copies(gateway, str(await page.locator(".card").get_attribute("data-id")), 100)
    failing = await opened(gateway, context=page.context, path="/studio/favicon.svg")

    async def fail(route: Route) -> None:
        await route.fulfill(status=502, json={"error": {"message": "a proxy stumbled"}})

    await failing.add_init_script(
        """const real = window.setTimeout;  // it tries again by itself where the test says so
        window.setTimeout = (callback, after, ...more) =>
          real(callback, after === 2000 && !window.byItself ? 1e8 : after, ...more);
        """
    )
    await failing.route("**/v1/jobs?*", fail)
    await failing.goto(gateway.url)
    await expect(failing.locator("#gallery-end")).to_contain_text("a proxy stumbled", ignore_case=True)
    await expect(failing.locator("#empty")).to_be_hidden()
    await failing.unroute("**/v1/jobs?*")
    await failing.locator("#gallery-end").get_by_role("button", name="Try again").click()
    await until(failing, "document.querySelectorAll('.card').length >= 60")
    await failing.evaluate("window.byItself = true")
    await failing.route("**/v1/jobs?*after=*", fail)
    await failing.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    await expect(failing.locator("#gallery-end")).to_contain_text("a proxy stumbled", ignore_case=True)
    await failing.unroute("**/v1/jobs?*after=*")
    await until(failing, "document.querySelectorAll('.card').length === 101")


async def test_a_blocked_stream_is_not_taken_for_a_gateway_that_is_gone(
    gateway: RunningGateway, opened: Opened
) -> None:
    """Results are shown nevertheless, a little later."""
    page = await opened(gateway, path="/studio/favicon.svg")
    await page.clock.install()
    held: list[Route] = []

    async def hold(route: Route) -> None:
        held.append(route)  # a proxy that waits for the end of an answer that has none

    await page.route("**/v1/events", hold)
    await page.goto(gateway.url)
    await submit_prompt(page, "slow news")
    await page.locator(".card").wait_for()
    await later(page, "document.querySelector('#offline').textContent.includes('Live updates are blocked')")
    await later(page, "document.querySelector('.card').dataset.status === 'done'")
    await page.unroute("**/v1/events")
    await later(page, "document.querySelector('#offline').hidden")


async def test_a_missing_thumbnail_is_requested_again(gateway: RunningGateway, opened: Opened) -> None:
    """Only a file that certainly no longer exists is reported as gone."""
    page = await opened(gateway, path="/studio/favicon.svg")
    await page.clock.install()
    await page.route("**/media/*.t.*", lambda route: route.fulfill(status=503))
    await page.goto(gateway.url)
    await submit_prompt(page, "a shy fox")
    await expect(page.locator(".tile")).to_have_text("No preview right now")
    await page.unroute("**/media/*.t.*")
    await later(page, "document.querySelector('.tile img')?.naturalWidth > 0")
    await page.route(
        "**/media/*.o.*",
        lambda route: route.fulfill(status=503) if route.request.method == "GET" else route.continue_(),
    )
    await page.locator(".tile").click()
    await expect(page.locator("#lightbox .lightbox-media")).to_contain_text("This file cannot be loaded right now")
    await page.unroute("**/media/*.o.*")
    await page.locator("#lightbox").get_by_role("button", name="Try again").click()
    await expect(page.locator("#lightbox .lightbox-media img")).to_be_visible()


async def test_the_clock_of_a_card_is_the_gateway_s(gateway: RunningGateway, opened: Opened) -> None:
    """However wrong this machine's clock is."""
    gateway.fault("fal-ai", "cold", seconds=5000)
    page = await opened(gateway, path="/studio/favicon.svg")
    await page.clock.install(time=time.time() + 600)
    await page.goto(gateway.url)
    await page.get_by_text("Video", exact=True).click()
    await submit_prompt(page, "a long film")
    await expect(page.locator(".elapsed")).to_have_text(re.compile(r"^[1-5]?\d s$"))
    await expect(page.locator(".elapsed")).to_have_text(re.compile(r"^[2-9] s$"))


# -- for everybody ----------------------------------------------------------------------------------------------------


async def test_announcements_are_audible_in_an_open_dialog(gateway: RunningGateway, opened: Opened) -> None:
    """Elements behind a modal dialog are silent: announcements and toasts move into it, and back."""
    page = await opened(gateway)
    await submit_prompt(page, "one of two", count=2)
    await expect(page.locator(".card[data-status=done]")).to_have_count(2)
    await page.locator(".tile").first.click()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#lightbox #announcements")).to_have_text(re.compile(r"(^|\. )one of two, 2 of 2$"))
    await page.locator("#lightbox").get_by_role("button", name="Copy prompt").click()
    await expect(page.locator("#lightbox #toasts .toast")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("body > #announcements")).to_have_count(1)
    await expect(page.locator("body > #toasts .toast")).to_be_visible()
    await page.locator(".toast").get_by_role("button", name="Dismiss").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".toast")).to_have_count(0)
    assert await page.evaluate("document.activeElement !== document.body")


@pytest.mark.parametrize("size", [(1280, 720), (390, 700)])
async def test_no_field_hides_under_the_button_when_it_gets_the_focus(
    gateway: RunningGateway, opened: Opened, size: tuple[int, int]
) -> None:
    """The button sticks to the edge of the form; every field that Tab reaches is visible."""
    page = await opened(gateway, viewport={"width": size[0], "height": size[1]})
    await page.locator("#advanced summary").click()
    await page.evaluate("scrollTo(0, 0); document.querySelector('.panel').scrollTo(0, 0)")
    await page.get_by_label("Prompt", exact=True).focus()
    seen: list[str] = []
    while "generate" not in seen:
        await page.keyboard.press("Tab")
        name, covered = await page.evaluate(
            """() => {
              const at = document.activeElement;
              const box = at.getBoundingClientRect();
              const hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
              const small = at.matches(".visually-hidden, [type=radio]"); // what stands for it is drawn beside it
              return [at.id || at.name || at.tagName, !small && hit !== at && !at.contains(hit)];
            }"""
        )
        assert not covered, name
        seen.append(name)
        assert len(seen) < 40, seen
    assert {"n", "seed", "negative_prompt", "extra", "reset"} <= set(seen)
