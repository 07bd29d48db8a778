"""Jobs as cards: cancelled, failed over, failed, in doubt, many at once; and their results."""

from __future__ import annotations

import re

import pytest

from tests.support.gateway import RunningGateway

from .actions import choose_model, choose_provider, give_file, submit_prompt
from .conftest import Opened, expect, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_job_is_cancelled(gateway: RunningGateway, opened: Opened) -> None:
    """Its card says so, and that it may be billed; the focus stays there."""
    gateway.fault("fal-ai", "cold", seconds=5000)
    page = await opened(gateway)
    await page.get_by_text("Video", exact=True).click()
    await submit_prompt(page, "a fox that takes too long")
    await expect(page.locator(".job-stage")).to_contain_text(re.compile("queued? at fal-ai", re.IGNORECASE))
    await page.get_by_role("button", name="Cancel a fox").click()
    card = page.locator(".card")
    await expect(card).to_have_attribute("data-status", "cancelled")
    await expect(card).to_contain_text("may still be billed")
    await expect(card).to_be_focused()  # and not a button that took the place of the one that was pressed
    await page.keyboard.press("Tab")
    await expect(card.get_by_role("button", name="Edit and retry")).to_be_focused()


async def test_a_failover_is_shown_with_its_reason(gateway: RunningGateway, opened: Opened) -> None:
    """During the job and afterwards; the usage dialog shows the cooldown and its reason."""
    gateway.fault("fal-ai", "credit", times=10)
    gateway.fault("replicate", "cold", seconds=5000, times=10)
    page = await opened(gateway)
    await submit_prompt(page, "a fox on the move")
    await expect(page.locator(".failovers li")).to_contain_text("fal-ai")
    await gateway.finish_waiting_jobs()
    await page.get_by_role("button", name="Image: a fox on the move").click()
    await expect(page.locator("#lightbox .job-notes")).to_contain_text("fal-ai")
    await page.keyboard.press("Escape")
    await page.locator("#open-usage").click()
    await expect(page.locator(".cooling-down")).to_contain_text("fal-ai")
    await expect(page.locator(".cooling-down")).to_contain_text("Cooling down")
    await expect(page.locator(".cooling-down .hint")).to_contain_text("credit")


async def test_a_failing_job_says_why_and_what_to_do(gateway: RunningGateway, opened: Opened) -> None:
    """With the provider's message and a hint; its request can be returned to the form and changed."""
    gateway.fault("fal-ai", "fail", text="the model ran out of memory", times=10)
    page = await opened(gateway)
    await choose_model(page, "FLUX.1-schnell")
    await choose_provider(page, "fal-ai")
    await submit_prompt(page, "a mountain of cheese")
    card = page.locator(".card")
    await expect(card).to_have_attribute("data-status", "failed")
    await expect(card.locator(".provider-message")).to_contain_text("out of memory")
    await page.get_by_label("Prompt", exact=True).fill("")
    await card.get_by_role("button", name="Edit and retry").click()
    await expect(page.get_by_label("Prompt", exact=True)).to_have_value("a mountain of cheese")
    await expect(page.get_by_label("Prompt", exact=True)).to_be_focused()


@pytest.mark.parametrize(("choice", "state"), [("resend", "done"), ("dismiss", "cancelled")])
async def test_a_job_in_doubt_is_explained_with_its_two_choices(
    gateway: RunningGateway, opened: Opened, choice: str, state: str
) -> None:
    """Nothing is resent automatically; the user decides, once."""
    gateway.fault("together", "disconnect")
    page = await opened(gateway)
    await choose_model(page, "FLUX.1-schnell")
    await choose_provider(page, "together")
    await submit_prompt(page, "a doubtful fox")
    card = page.locator(".card")
    await expect(card).to_have_attribute("data-status", "in_doubt")
    await expect(card).to_contain_text("together's own dashboard")
    await expect(card.get_by_role("button")).to_have_count(2)
    before = gateway.submissions
    await card.get_by_role("button", name=choice).click()
    await expect(card).not_to_have_attribute("data-status", "in_doubt")
    if choice == "resend":
        await expect(card).to_have_attribute("data-status", state)
    assert gateway.submissions == before + (choice == "resend")


async def test_several_jobs_run_at_once_and_are_found_again(gateway: RunningGateway, opened: Opened) -> None:
    """Twelve cards at once; the gallery is searched and filtered; another page of the same user shows the same."""
    page = await opened(gateway)
    await submit_prompt(page, "a dozen eggs", count=12)
    await expect(page.locator(".card")).to_have_count(12)
    await expect(page.locator(".card[data-status=done]")).to_have_count(12)
    await submit_prompt(page, "a single pear", count=1)
    await page.get_by_label("Outputs").fill("1")
    await expect(page.locator(".card[data-status=done]").first).to_be_visible()
    await page.get_by_label("Search prompts").fill("PEAR")
    await expect(page.get_by_role("button", name="Image: a single pear").first).to_be_visible()
    await expect(page.get_by_role("button", name="Image: a dozen eggs")).to_have_count(0)
    await page.get_by_role("button", name="Videos").click()
    await expect(page.get_by_text("No results")).to_be_visible()


async def test_a_result_is_viewed_varied_used_and_deleted(gateway: RunningGateway, opened: Opened) -> None:
    """Keys and actions of the lightbox; Undo restores a deleted job."""
    page = await opened(gateway)
    await page.get_by_label("Seed", exact=True).fill(
        "18446744073709551614"
    )  # more digits than JavaScript's numbers hold
    await submit_prompt(page, "first")
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)
    await submit_prompt(page, "second")
    await expect(page.locator(".card[data-status=done]")).to_have_count(2)
    await page.get_by_role("button", name="Image: second").click()
    view = page.locator("#lightbox")
    await expect(view).to_contain_text("18446744073709551614")
    await page.keyboard.press("ArrowRight")
    await expect(view.locator(".full-prompt")).to_have_text("first")
    await page.keyboard.press("ArrowLeft")
    await expect(view.locator(".full-prompt")).to_have_text("second")
    async with page.expect_download() as download:
        await view.get_by_role("link", name="Download").click()
    assert (await download.value).suggested_filename.endswith((".jpg", ".png", ".webp"))
    await view.get_by_role("button", name="Vary").click()
    await expect(page.locator(".card[data-status=done]")).to_have_count(3)
    await page.get_by_role("button", name="Image: second").first.click()
    await expect(view).to_contain_text("18446744073709551615")
    await view.get_by_role("button", name="Delete").click()
    await expect(page.locator(".card")).to_have_count(2)
    await page.get_by_role("button", name="Undo").click()
    await page.keyboard.press("Escape")
    await expect(page.locator(".card")).to_have_count(3)
    await page.get_by_role("button", name="Image: first").click()
    await view.get_by_role("button", name="Use as input").click()
    await expect(page.locator("#input-image-name")).to_contain_text("first")
    await page.get_by_role("button", name="Remove the image").click()
    await expect(page.locator("#input-image")).to_be_hidden()


@pytest.mark.parametrize("event", ["drop", "paste"])
async def test_an_image_is_dropped_or_pasted_and_becomes_another(
    gateway: RunningGateway, opened: Opened, event: str
) -> None:
    """The task changes automatically; a file that is not an image is rejected with a message."""
    page = await opened(gateway)
    await give_file(page, "drop", "notes.txt", "text/plain")
    await expect(page.locator(".toast")).to_contain_text("notes.txt is not a readable image")
    await give_file(page, event)
    await expect(page.locator("#input-image")).to_be_visible()
    await until(page, "document.querySelector('#input-image-thumbnail').naturalWidth === 96")
    await submit_prompt(page, "as a watercolour")
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)
    await page.get_by_role("button", name="Image: as a watercolour").click()
    await expect(page.locator("#lightbox")).to_contain_text("Kontext")


async def test_the_form_offers_what_is_supported_and_reports_what_is_not(
    gateway: RunningGateway, opened: Opened
) -> None:
    """For a provider that accepts only a seed, only that is offered; rounding is reported beforehand."""
    page = await opened(gateway)
    await choose_model(page, "FLUX.1-schnell")
    await choose_provider(page, "zai-org")
    await expect(page.get_by_label("Seed", exact=True)).to_be_hidden()
    await expect(page.get_by_label("Steps")).to_be_hidden()
    await page.get_by_label("Size", exact=True).select_option("exact")
    await page.get_by_label("Width").fill("100")
    await page.get_by_label("Height").fill("100")
    await expect(page.locator("#preview .note")).to_contain_text("nearest")
    await page.get_by_label("Extra parameters").fill("[1]")
    await submit_prompt(page, "a fox")
    await expect(page.locator("#form-error")).to_contain_text("JSON object")
    await expect(page.get_by_label("Extra parameters")).to_be_focused()
    assert gateway.submissions == 0
