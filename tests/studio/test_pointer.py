"""Pointer and clipboard: selecting text, pasting from office programs, going back, overlapping elements."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fake_hub import TOKEN, FakeHub
from tests.support.gateway import RunningGateway, Serve

from .actions import FLUX, choose_model, choose_provider, give_file, png, submit_prompt
from .conftest import Opened, expect, until

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page, Route

pytestmark = pytest.mark.asyncio(loop_scope="session")
PHONE = {"width": 390, "height": 844}
HIT = """([selector]) => {
  const one = document.querySelector(selector);
  const box = one.getBoundingClientRect();
  const hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
  return one.contains(hit);
}"""


async def drag(page: Page, begin: Locator, end: Locator) -> None:
    """Presses on one element and releases on another, as when selecting text."""
    points = [await one.bounding_box() for one in (begin, end)]
    for box, action in zip(points, (page.mouse.down, page.mouse.up), strict=True):
        assert box is not None
        await page.mouse.move(box["x"] + 8, box["y"] + 8, steps=3)
        await action()


# -- dialogs ----------------------------------------------------------------------------------------------------------


async def test_selecting_text_closes_nothing(gateway: RunningGateway, opened: Opened) -> None:
    """A press outside a dialog closes it; its edge and the end of a selection do not count."""
    page = await opened(gateway)
    await submit_prompt(page, "words to mark")
    await page.locator(".card[data-status=done] .tile").click()
    view = page.locator("#lightbox")
    await drag(page, view.locator(".full-prompt"), view.locator(".lightbox-nav"))
    await expect(view).to_be_visible()
    await page.keyboard.press("Escape")
    await page.locator("#open-usage").click()
    sheet = page.locator("#usage-dialog")
    await sheet.locator(".providers li").first.wait_for()
    box = await sheet.bounding_box()
    assert box is not None
    await drag(page, sheet.locator(".providers li").first, sheet.locator(".sheet-head h2"))
    await page.mouse.click(box["x"] + 4, box["y"] + 4)
    await expect(sheet).to_be_visible()
    await page.mouse.click(box["x"] - 40, box["y"] + 4)
    await expect(sheet).to_be_hidden()


# -- several files of one job -----------------------------------------------------------------------------------------


async def test_each_file_of_a_job_has_its_own_details_and_actions(gateway: RunningGateway, opened: Opened) -> None:
    """The displayed file is the one that is downloaded and reused."""
    page = await opened(gateway)
    await choose_model(page, "FLUX.1-schnell")
    await choose_provider(page, "replicate")
    await page.get_by_label("Extra parameters").fill('{"num_outputs": 3}')
    await submit_prompt(page, "three in one")
    await page.locator(".card[data-status=done] .tile").click()
    view = page.locator("#lightbox")
    link, second = view.get_by_role("link", name="Download"), view.get_by_role("button", name="File 2 of 3")
    first = await link.get_attribute("href")
    await expect(view.get_by_role("button", name="File 1 of 3")).to_have_attribute("aria-pressed", "true")
    await second.click()
    await expect(second).to_be_focused()
    await expect(second).to_have_attribute("aria-pressed", "true")
    other = str(await link.get_attribute("href"))
    assert other != first
    assert other.split("?")[0] == await view.locator(".lightbox-media img").get_attribute("src")
    async with page.expect_request(other.split("?")[0]):
        await view.get_by_role("button", name="Use as input").click()
    await expect(page.locator("#input-image")).to_be_visible()


# -- the form ---------------------------------------------------------------------------------------------------------


async def test_text_from_an_office_program_is_pasted_as_text(shared: RunningGateway, opened: Opened) -> None:
    """Such programs add a picture of the text; pasted into a field, the text is meant."""
    page = await opened(shared)
    taken = await page.evaluate(
        """() => {
          const given = new DataTransfer();
          given.items.add(new File([new Uint8Array(9)], "image.png", {type: "image/png"}));
          given.setData("text/plain", "a cell of a table");
          const event = new ClipboardEvent("paste", {bubbles: true, cancelable: true, clipboardData: given});
          return !document.querySelector("#prompt").dispatchEvent(event);
        }"""
    )
    assert not taken
    await expect(page.locator("#input-image")).to_be_hidden()
    await give_file(page, "paste")  # anywhere else, or without words, it is the image that is meant
    await expect(page.locator("#input-image")).to_be_visible()


async def test_an_unchanged_preview_stays_as_it_is(shared: RunningGateway, opened: Opened) -> None:
    """An unchanged preview is not announced again; an open section stays open, and the focus stays in it."""
    page = await opened(shared)
    await choose_model(page, "FLUX.1-schnell")
    await page.locator("#advanced summary").click()
    await page.get_by_label("Negative prompt").fill("text")
    details, first = page.locator("#preview details"), "document.querySelector('#preview').firstElementChild"

    async def rolled() -> None:
        async with page.expect_response("**/v1/jobs/preview"):
            await page.get_by_role("button", name="Random seed").click()
        await page.evaluate("new Promise((done) => setTimeout(done, 50))")

    await details.locator("summary").click()
    await expect(details).to_have_attribute("open", "")
    await page.evaluate(f"{first}.mine = true")
    await rolled()  # now there is a seed, which some providers do not take
    assert await page.evaluate(f"{first}.mine") is None
    await expect(details).to_have_attribute("open", "")
    await page.evaluate(f"{first}.mine = true")
    await rolled()
    assert await page.evaluate(f"{first}.mine") is True
    await details.locator("summary").focus()
    async with page.expect_response("**/v1/jobs/preview"):
        await page.locator("#size").evaluate(
            "(one) => { one.value = '1080p'; one.dispatchEvent(new Event('change', {bubbles: true})); }"
        )
    await until(page, f"{first}.mine === undefined")
    assert await page.evaluate("document.activeElement.closest('#preview') !== null")


async def test_a_draft_whose_image_is_gone_shows_no_error(shared: RunningGateway, opened: Opened) -> None:
    """After a reload the form says what is missing, without an error before anything is sent."""
    page = await opened(shared)
    await give_file(page, "drop")
    await page.get_by_label("Prompt", exact=True).fill("as a watercolour")
    await page.reload()
    await expect(page.locator(".toast")).to_contain_text("Add yours again")
    asked: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url))
    await page.get_by_label("Prompt", exact=True).press("End")
    await page.keyboard.type(", please")
    await page.evaluate("new Promise((done) => setTimeout(done, 600))")
    assert not any("preview" in url for url in asked)
    await expect(page.locator("#form-error")).to_be_hidden()


async def test_what_the_form_does_not_support_is_reported(gateway: RunningGateway, opened: Opened) -> None:
    """A request of another program: the form does not offer its aspect ratio, and its provider is a policy."""
    page = await opened(gateway)
    gateway.fault("*", "fail", times=50)
    request = {"prompt": "from elsewhere", "model": FLUX, "provider": "fastest", "aspect_ratio": "5:4"}
    answer = await page.request.post(f"{gateway.api}/jobs", data=request)
    assert answer.status == 202, await answer.text()
    await page.get_by_role("button", name="Edit and retry").click()
    await expect(page.locator(".toast")).to_contain_text("does not support aspect ratio 5:4, provider fastest")
    await expect(page.get_by_label("Prompt", exact=True)).to_have_value("from elsewhere")


@pytest.mark.parametrize("size", [(320, 256), (667, 375), (390, 844)])
async def test_an_error_is_seen_next_to_its_field(
    shared: RunningGateway, opened: Opened, size: tuple[int, int]
) -> None:
    """In landscape, at fourfold zoom and on a phone: the message does not cover its field."""
    page = await opened(shared, viewport={"width": size[0], "height": size[1]})
    await page.locator("#advanced summary").click()
    await page.get_by_label("Steps").fill("0")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#form-error")).to_contain_text("“Steps” must be from 1 to 1,000")
    await expect(page.get_by_label("Steps")).to_be_focused()
    await until(page, f"({HIT})(['#num_inference_steps'])")


async def test_a_notification_on_a_phone_covers_no_button(shared: RunningGateway, opened: Opened) -> None:
    """The Generate button is at the bottom there, and notifications are at the top."""
    page = await opened(shared, viewport=PHONE)
    await page.get_by_label("Prompt", exact=True).focus()
    await give_file(page, "drop", "notes.txt", "text/plain")
    await page.locator(".toast").wait_for()
    assert await page.evaluate(HIT, ["#generate"])


async def test_back_to_automatic_keeps_the_model_and_says_so(shared: RunningGateway, opened: Opened) -> None:
    """The page does not say that everything is automatic while the model is not."""
    page = await opened(shared)
    await choose_model(page, "FLUX.1-schnell")
    await page.get_by_label("Seed", exact=True).fill("7")
    await page.locator("#advanced summary").click()
    await page.get_by_role("button", name="Reset to automatic").click()
    await expect(page.get_by_label("Seed", exact=True)).to_have_value("")
    await expect(page.locator("#announcements")).to_contain_text("Reset to automatic, except for the model")
    await expect(page.locator("#model-name")).to_have_text(FLUX)


@pytest.mark.parametrize(("typed", "sent"), [("2,5", 2.5), ("2.5", 2.5), (",5", 0.5), ("3", 3)])
async def test_a_decimal_comma_is_a_decimal_point(
    shared: RunningGateway, opened: Opened, typed: str, sent: float
) -> None:
    """Many languages write 2,5; a browser's number field would silently read 25."""
    page = await opened(shared)
    await page.get_by_text("Video", exact=True).click()
    async with page.expect_request("**/v1/jobs/preview") as asked:
        await page.get_by_label("Seconds").press_sequentially(typed)
    body: Any = (await asked.value).post_data_json
    assert body["seconds"] == sent


async def test_a_replaced_draft_can_be_restored(gateway: RunningGateway, opened: Opened) -> None:
    """A request that fills the form replaces a draft, which can be restored."""
    page = await opened(gateway)
    await choose_model(page, "FLUX.1-schnell")
    await choose_provider(page, "fal-ai")
    gateway.fault("fal-ai", "fail", times=10)
    await submit_prompt(page, "one that fails")
    change = page.get_by_role("button", name="Edit and retry")
    await change.wait_for()
    await page.get_by_label("Prompt", exact=True).fill("a long and careful draft")
    await page.get_by_label("Seed", exact=True).fill("77")
    await change.click()
    await expect(page.get_by_label("Prompt", exact=True)).to_have_value("one that fails")
    await page.locator(".toast").get_by_role("button", name="Undo").click()
    await expect(page.get_by_label("Prompt", exact=True)).to_have_value("a long and careful draft")
    await expect(page.get_by_label("Seed", exact=True)).to_have_value("77")


async def test_a_request_can_continue_without_its_image(gateway: RunningGateway, opened: Opened) -> None:
    """Images do not survive a reload; the rest of the request does, and is kept without the image."""
    page = await opened(gateway)
    await give_file(page, "drop")
    await page.get_by_label("Seed", exact=True).fill("7")
    await page.get_by_label("Prompt", exact=True).fill("a fox after all")
    await page.reload()
    await page.get_by_role("button", name="Continue without an image").click()
    await expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    await page.keyboard.press("Control+Enter")
    await page.get_by_role("button", name="Image: a fox after all").click()
    await expect(page.locator("#lightbox dl")).to_contain_text("FLUX.1-schnell")
    await expect(page.locator("#lightbox dl")).to_contain_text("7")


async def test_an_unsupported_image_is_rejected_or_converted_before_anything_is_sent(
    gateway: RunningGateway, opened: Opened
) -> None:
    """Of a GIF the first frame is used; a file that browsers cannot draw, or that is damaged, is rejected by name."""
    page = await opened(gateway)
    await page.locator("#image-file").set_input_files({"name": "a.gif", "mimeType": "image/gif", "buffer": _gif()})
    await expect(page.locator(".toast")).to_contain_text("Providers do not accept GIF: using the first frame of a.gif")
    await submit_prompt(page, "as a watercolour")
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)
    await page.get_by_role("button", name="Remove the image").click()
    for name, mime in (("a.heic", "image/heic"), ("broken.png", "image/png")):
        await page.locator("#image-file").set_input_files({"name": name, "mimeType": mime, "buffer": b"\x00" * 99})
        await expect(page.locator(".toast.danger").last).to_contain_text(name)
        await expect(page.locator(".toast.danger").last).to_contain_text("Choose a PNG, JPEG or WebP file")
        await expect(page.locator("#input-image")).to_be_hidden()


def _gif() -> bytes:
    from PIL import Image

    frames = [Image.new("RGB", (96, 64), colour) for colour in ("teal", "orange")]
    made = io.BytesIO()
    frames[0].save(made, "GIF", save_all=True, append_images=frames[1:], duration=100)
    return made.getvalue()


async def test_an_invalid_form_is_not_previewed(shared: RunningGateway, opened: Opened) -> None:
    """An outdated preview is not shown for another request; without a chosen model the default is named."""
    page = await opened(shared)
    await expect(page.locator("#preview")).to_contain_text("Sends to fal-ai")
    await expect(page.locator("#pick-model")).to_contain_text("FLUX.1-schnell (default)")
    await page.locator("#advanced summary").click()
    await page.get_by_label("Extra parameters").fill("{")
    await expect(page.locator("#preview")).to_be_empty()
    await page.get_by_label("Extra parameters").fill("{}")
    await expect(page.locator("#preview")).to_contain_text("Sends to")


# -- where the focus goes ---------------------------------------------------------------------------------------------


async def test_the_focus_is_never_lost(gateway: RunningGateway, opened: Opened) -> None:
    """When a pressed button disappears, the focus moves to an element nearby."""
    page = await opened(gateway)
    somewhere = "document.activeElement !== document.body"
    await page.locator("#image-file").focus()
    await page.locator("#image-file").set_input_files({"name": "seen.png", "mimeType": "image/png", "buffer": png()})
    await expect(page.locator("#remove-image")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#image-file")).to_be_focused()
    await page.get_by_label("Search prompts").fill("nothing of that kind")
    await page.locator("#empty").get_by_role("button", name="Show all").press("Enter")
    await expect(page.get_by_text("Your images and videos will appear here")).to_be_visible()
    assert await page.evaluate(somewhere)
    await submit_prompt(page, "a shy fox")
    await page.locator(".card[data-status=done]").wait_for()

    async def fail(route: Route) -> None:
        await route.fulfill(status=503) if route.request.method == "GET" else await route.continue_()

    await page.route("**/media/*.o.*", fail)
    await page.locator(".tile").click()
    again = page.locator("#lightbox").get_by_role("button", name="Try again")
    await again.wait_for()
    await page.unroute_all()
    await again.press("Enter")
    await page.locator("#lightbox .lightbox-media img").wait_for()
    assert await page.evaluate("document.activeElement.closest('#lightbox') !== null")


async def test_an_additional_press_at_the_end_closes_nothing(gateway: RunningGateway, opened: Opened) -> None:
    """Stepping through the pictures with Enter ends in the lightbox, with a message at the last one."""
    page = await opened(gateway)
    await submit_prompt(page, "three of them", count=3)
    await expect(page.locator(".card[data-status=done]")).to_have_count(3)
    await page.locator(".tile").first.click()
    older = page.locator("#lightbox-older")
    await older.focus()
    for _ in range(4):
        await page.keyboard.press("Enter")
    await expect(page.locator("#lightbox #announcements")).to_contain_text("This is the last one.")
    await expect(page.locator("#lightbox")).to_be_visible()
    await expect(older).to_be_focused()
    await expect(older).to_be_disabled()


async def test_a_failed_deletion_is_not_confirmed(gateway: RunningGateway, opened: Opened) -> None:
    """The card is back, and the toast that offered Undo is gone."""
    page = await opened(gateway)
    await submit_prompt(page, "a stubborn fox")
    await page.locator(".card[data-status=done] .tile").click()

    async def refuse(route: Route) -> None:
        refused = route.request.method == "DELETE"
        await (route.fulfill(status=503, json={"error": {"message": "not now"}}) if refused else route.continue_())

    await page.route("**/v1/jobs/*", refuse)
    await page.locator("#lightbox").get_by_role("button", name="Delete").click()
    await expect(page.locator(".toast.danger")).to_contain_text("Not now")
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)
    await expect(page.locator(".toast").filter(has_text="Deleted")).to_have_count(0)


async def test_repeated_announcements_are_counted(gateway: RunningGateway, opened: Opened) -> None:
    """Nine pictures that complete together are not announced nine times."""
    page = await opened(gateway)
    gateway.fault("fal-ai", "cold", seconds=50_000, times=9)
    await submit_prompt(page, "nine of them", count=9)
    await expect(page.locator(".card[data-status=open]")).to_have_count(9)
    await until(page, "!document.querySelector('#announcements').textContent.includes('ready')")
    await page.evaluate(
        """() => {
          window.heard = [];
          new MutationObserver(() => window.heard.push(document.querySelector("#announcements").textContent))
            .observe(document.querySelector("#announcements"), {childList: true});
        }"""
    )
    await gateway.finish_waiting_jobs(9)
    await expect(page.locator(".card[data-status=done]")).to_have_count(9)
    await until(
        page,
        """window.heard.join(" ").split("is ready").length - 1 > 0
        && [...window.heard.join(" ").matchAll(/(?:(\\d+) \\u00d7 )?Image “nine of them” is ready/g)]
          .reduce((sum, [, times]) => sum + Number(times ?? 1), 0) === 9""",
    )
    assert len(await page.evaluate("window.heard")) < 9


async def test_undo_only_undoes(gateway: RunningGateway, opened: Opened) -> None:
    """Ctrl+Z does not trigger the action of a later, unrelated toast."""
    page = await opened(gateway)
    await submit_prompt(page, "the deleted")
    await page.locator(".card[data-status=done] .tile").click()
    await page.locator("#lightbox").get_by_role("button", name="Delete").click()
    await expect(page.locator(".card")).to_have_count(0)
    await page.get_by_role("button", name="Videos", exact=True).click()
    await expect(page.get_by_text("Videos: nothing here")).to_be_visible()
    await submit_prompt(page, "a hidden one")
    await expect(page.get_by_role("button", name="Show all")).to_be_visible()
    await page.locator("#generate").focus()
    await page.keyboard.press("Control+z")
    await expect(page.locator(".toast").filter(has_text="Deleted: the deleted")).to_have_count(0)
    await expect(page.get_by_role("button", name="Videos", exact=True)).to_have_attribute("aria-pressed", "true")
    await page.get_by_role("button", name="All", exact=True).click()
    await expect(page.locator(".card[data-status=done]")).to_have_count(2)


# -- models -----------------------------------------------------------------------------------------------------------


async def test_a_list_that_is_late_or_missing_is_not_called_empty(serve: Serve, opened: Opened) -> None:
    """Typing in the meantime does not report that no model was found; an error stays visible."""
    async with FakeHub() as hub:
        gateway = serve(environ={"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN})
        page = await opened(gateway)
        held: list[Route] = []

        async def hold(route: Route) -> None:
            held.append(route)

        await page.route("**/v1/models?*", hold)
        await page.locator("#pick-model").click()
        search, status = page.get_by_label("Search models"), page.locator("#model-picker [role=status]")
        await search.fill("org/model")
        await expect(status).to_have_text("Loading models…")
        await expect(page.locator("#model-list .option")).to_have_count(0)
        while not held:
            await page.wait_for_timeout(20)
        await held[0].fulfill(status=503, json={"error": {"message": "the Hub is away", "code": "hub_unavailable"}})
        await expect(status).to_contain_text("the Hub is away", ignore_case=True)
        await search.fill("org/model-2")
        await expect(status).to_contain_text("the Hub is away", ignore_case=True)
        await expect(page.locator("#model-list .option")).to_have_text(re.compile("org/model-2.*Use as typed"))
