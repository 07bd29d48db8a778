"""Error states: hasty clicks, small screens, invalid numbers, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.gateway import RunningGateway, Serve

from .actions import add_key, choose_model, choose_provider, give_file, submit_prompt
from .conftest import Opened, expect, until

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="session")
IN_SIGHT = """(one) => {
  const box = one.getBoundingClientRect();
  return box.height > 0 && box.top >= 0 && box.top < innerHeight;
}"""


async def in_view(page: Page, selector: str) -> None:
    """Waits until an element is on the screen."""
    await until(page, f"({IN_SIGHT})(document.querySelector({selector!r}))")


# -- double clicks ----------------------------------------------------------------------------------------------------


async def test_a_double_click_is_one_click(gateway: RunningGateway, opened: Opened) -> None:
    """A picture opens where *Delete* will appear; deleting, undoing and closing happen only once."""
    page = await opened(gateway)
    cards = page.locator(".card[data-status=done]")
    await submit_prompt(page, "fourteen of them", count=14)
    await expect(cards).to_have_count(14)
    await cards.first.locator(".tile").click()
    delete = page.locator("#lightbox").get_by_role("button", name="Delete")
    box = await delete.bounding_box()
    assert box is not None
    await page.keyboard.press("Escape")
    await expect(cards.first.locator(".tile")).to_be_focused()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await page.evaluate(
        """([x, y]) => {
          const low = [...document.querySelectorAll(".tile")].find((one) => {
            const box = one.getBoundingClientRect();
            return box.left < x && x < box.right;
          });
          scrollBy(0, low.getBoundingClientRect().bottom - y - 20);
        }""",
        [x, y],
    )
    for _ in range(2):
        below = await page.evaluate("([x, y]) => document.elementFromPoint(x, y).closest('.tile') !== null", [x, y])
        if below:
            break
        await page.evaluate("scrollBy(0, 120)")
    assert below, "the picture is to lie where Delete will be"
    await page.mouse.dblclick(x, y)
    await expect(page.locator("#lightbox")).to_be_visible()
    await expect(cards).to_have_count(14)
    await delete.dblclick()
    await expect(cards).to_have_count(13)
    await delete.click(delay=5)
    await expect(cards).to_have_count(12)
    await page.locator(".toast").first.get_by_role("button", name="Undo").dblclick()
    await expect(cards).to_have_count(13)
    await page.locator("#lightbox-close").dblclick()
    await expect(page.locator("dialog[open]")).to_have_count(0)


# -- the large view ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1440, 900), (1024, 600), (844, 390), (720, 450), (390, 844), (320, 568)])
async def test_the_lightbox_shows_picture_and_prompt_at_every_size(
    gateway: RunningGateway, opened: Opened, size: tuple[int, int]
) -> None:
    """However long the details are: neither is cut off or covered by the other."""
    page = await opened(gateway, viewport={"width": size[0], "height": size[1]})
    await page.locator("#advanced summary").click()
    await page.get_by_label("Negative prompt").fill("blurry, " * 200)
    await page.get_by_label("Extra parameters").fill('{"note": "' + "long " * 100 + '"}')
    await submit_prompt(page, "a fox in fresh snow")
    await page.locator(".card[data-status=done] .tile").click()
    await page.locator("#lightbox .lightbox-media img").wait_for()
    await until(page, "document.querySelector('#lightbox .lightbox-media img').complete")
    whole, picture, narrow = await page.evaluate(
        """() => {
          const box = (name) => document.querySelector(`#lightbox ${name}`).getBoundingClientRect();
          return [box(".full-prompt").toJSON(), box(".lightbox-media img").toJSON(), innerWidth <= 800];
        }"""
    )
    assert whole["height"] >= 24
    assert picture["top"] >= 0
    assert picture["bottom"] <= whole["top"] or not narrow
    assert picture["right"] <= whole["left"] or narrow


async def test_the_arrows_follow_added_and_deleted_jobs(gateway: RunningGateway, opened: Opened) -> None:
    """While a picture is displayed, another one completes, and one is deleted elsewhere."""
    page = await opened(gateway)
    other = await opened(gateway, context=page.context)
    await submit_prompt(page, "the older")
    tile = page.get_by_role("button", name="Image: the older")
    await tile.click()
    await expect(page.locator("#lightbox-newer")).to_be_disabled()
    await submit_prompt(other, "the newer")
    await expect(page.locator("#lightbox-newer")).to_be_enabled()
    await page.locator("#lightbox-newer").click()
    await expect(page.locator("#lightbox .full-prompt")).to_have_text("the newer")
    await expect(page.locator("#lightbox-older")).to_be_enabled()
    for left, gone in ((1, "the older"), (0, "the newer")):
        await other.get_by_role("button", name=f"Image: {gone}").click()
        await other.locator("#lightbox").get_by_role("button", name="Delete").click()
        await other.keyboard.press("Escape")
        await expect(page.locator(".card")).to_have_count(left)
        if left:
            await expect(page.locator("#lightbox-older")).to_be_disabled()
    await expect(page.locator("#lightbox")).to_be_hidden()
    await expect(page.locator(".toast")).to_contain_text("The job you were viewing was deleted")


# -- running jobs -----------------------------------------------------------------------------------------------------


async def test_new_jobs_are_brought_into_view(gateway: RunningGateway, opened: Opened) -> None:
    """From far below, and from behind a search or a filter, so that no user submits again for lack of feedback."""
    page = await opened(gateway)
    await submit_prompt(page, "pears", count=16)
    await expect(page.locator(".card[data-status=done]")).to_have_count(16)
    await page.locator("#n").fill("1")
    await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    await submit_prompt(page, "a fox")
    await in_view(page, ".card:first-child")
    await expect(page.locator(".card").first).to_contain_text("a fox")
    await page.get_by_label("Search prompts").fill("pears")
    await expect(page.locator(".card")).to_have_count(16)
    await page.keyboard.press("Control+Enter")  # in the search it is no order
    await submit_prompt(page, "a heron")
    await expect(page.locator(".toast")).to_contain_text("hidden by the current filter")
    await page.locator(".toast").get_by_role("button", name="Show all").click()
    await expect(page.get_by_role("button", name="Image: a heron")).to_be_visible()
    assert gateway.submissions == 18


async def test_use_as_input_shows_the_form(gateway: RunningGateway, opened: Opened) -> None:
    """On a phone the form is far above."""
    page = await opened(gateway, viewport={"width": 390, "height": 844})
    await submit_prompt(page, "nine", count=9)
    await expect(page.locator(".card[data-status=done]")).to_have_count(9)
    await page.locator(".tile").last.click()
    await page.locator("#lightbox").get_by_role("button", name="Use as input").click()
    await expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    await in_view(page, "#prompt")
    await expect(page.locator("#input-image")).to_be_visible()


async def test_a_request_with_an_image_is_not_sent_without_it(gateway: RunningGateway, opened: Opened) -> None:
    """The form says what is missing; it becomes a text-to-image request only if the user chooses so."""
    page = await opened(gateway)
    await give_file(page, "drop")
    await choose_model(page, "Kontext")
    await choose_provider(page, "fal-ai")
    gateway.fault("fal-ai", "fail", text="the picture is strange")
    await submit_prompt(page, "make it snow")
    card = page.locator(".card")
    await expect(card).to_have_attribute("data-status", "failed")
    await page.get_by_role("button", name="Remove the image").click()
    await card.get_by_role("button", name="Edit and retry").click()
    await expect(page.locator(".toast")).to_contain_text("Add its input image")
    await expect(page.locator("#image-drop")).to_contain_text("Input image required")
    await expect(page.locator("#model-name")).to_contain_text("Kontext")
    await expect(page.locator("#preview")).to_be_empty()  # what would become of it is not known without
    before = gateway.submissions
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#form-error")).to_contain_text("The input image is missing")
    await give_file(page, "drop", width=128)  # the same one at once would be the echo of the first press
    await expect(page.locator("#model-name")).to_contain_text("Kontext")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)
    assert gateway.submissions == before + 1


async def test_a_dismissed_job_is_not_reported_as_failed(gateway: RunningGateway, opened: Opened) -> None:
    """Nor is a resubmission suggested: it may already be billed."""
    page = await opened(gateway)
    gateway.fault("together", "disconnect")
    await choose_model(page, "schnell")
    await choose_provider(page, "together")
    await submit_prompt(page, "a doubtful fox")
    card = page.locator(".card")
    await card.get_by_role("button", name="It is there: dismiss").click()
    await expect(card.get_by_role("heading")).to_have_text("Dismissed")
    await expect(card).to_contain_text("may bill it")
    await expect(card).not_to_contain_text("make it again")


# -- the form ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "typed", "words"),
    [
        ("Outputs", "2e", "“Outputs” must be a number"),
        ("Outputs", "1.5", "“Outputs” must be a whole number"),
        ("Outputs", "101", "“Outputs” must be from 1 to 100"),
        ("Steps", "5-", "“Steps” must be a number"),
        ("Steps", "0", "“Steps” must be from 1 to 1,000"),
        ("Guidance", "-1", "“Guidance” must be from 0 to 1,000"),
        ("Seed", "-1", "“Seed” must be a whole number from 0"),
        ("Seed", "18446744073709551616", "“Seed” must be a whole number from 0 to 18446744073709551615"),
    ],
)
async def test_an_invalid_number_is_reported_at_its_field(
    shared: RunningGateway, opened: Opened, label: str, typed: str, words: str
) -> None:
    """No invalid value is ignored, and nothing is sent."""
    page = await opened(shared)
    before = shared.submissions
    await page.locator("#advanced summary").click()
    field = page.locator("#request-form").get_by_label(label, exact=True)
    await field.fill("")
    await field.press_sequentially(typed)
    await submit_prompt(page, "a fox")
    await expect(page.locator("#form-error")).to_contain_text(words)
    await expect(field).to_be_focused()
    await expect(field).to_have_attribute("aria-invalid", "true")
    await field.fill("1")
    await expect(page.locator("#form-error")).to_be_hidden()
    assert shared.submissions == before


async def test_an_error_disappears_with_its_cause(shared: RunningGateway, opened: Opened) -> None:
    """An empty prompt, once it is filled in."""
    page = await opened(shared)
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#form-error")).to_contain_text("The prompt is empty")
    await page.get_by_label("Prompt", exact=True).fill("a")
    await expect(page.locator("#form-error")).to_be_hidden()


async def test_text_runs_in_its_reading_direction(gateway: RunningGateway, opened: Opened) -> None:
    """Right to left where appropriate; no character is cut in two."""
    page = await opened(gateway)
    await page.get_by_label("Prompt", exact=True).fill("שועל אדום בשלג")
    assert await page.evaluate("getComputedStyle(document.querySelector('#prompt')).direction") == "rtl"
    await submit_prompt(page, "שועל אדום בשלג")
    await page.locator(".card[data-status=done]").wait_for()
    assert await page.evaluate("getComputedStyle(document.querySelector('.card .card-prompt')).direction") == "rtl"
    await submit_prompt(page, "🦊" * 120)
    await expect(page.locator(".card[data-status=done]")).to_have_count(2)
    assert await page.evaluate("document.querySelector('.card .card-prompt').textContent.isWellFormed()")
    await submit_prompt(page, "two\nlines")
    await expect(page.locator(".card[data-status=done]")).to_have_count(3)
    await page.get_by_label("Search prompts").fill("two lines")
    await expect(page.locator(".card")).to_have_count(1)


# -- limits -----------------------------------------------------------------------------------------------------------


async def test_a_limit_is_reported_as_a_limit(serve: Serve, opened: Opened) -> None:
    """Not as a rate limit; a model that the key must not use is reported before anything is submitted."""
    served = serve()
    capped = add_key(served, images_per_day=1)
    page = await opened(served)
    await page.locator("#auth-dialog").get_by_label("API key").fill(capped)
    await page.keyboard.press("Enter")
    await submit_prompt(page, "the one of today")
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)
    await submit_prompt(page, "one too many")
    await expect(page.locator("#form-error")).to_contain_text("You have reached your limit.")
    await expect(page.locator("#form-error")).to_contain_text("Wait until it resets")
    other = await opened(served)
    await other.locator("#auth-dialog").get_by_label("API key").fill(add_key(served, models=("Qwen/*",)))
    await other.keyboard.press("Enter")
    await expect(other.locator("#form-error")).to_contain_text("Your API key may not use this model")
    await expect(other.locator("#preview")).not_to_contain_text("Sends to")
