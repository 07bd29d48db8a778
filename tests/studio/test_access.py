"""Access: API keys, a gateway that stops, and the page's static files."""

from __future__ import annotations

import re

import aiohttp
import pytest

from hfmedia.server.studio import EMPTY_PARAMETERS_META, PAGE_FOLDER, page_files, parameters_meta
from tests.support.gateway import RunningGateway, Serve

from .actions import add_key, revoke_key, submit_prompt
from .conftest import Opened, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_key_is_required_kept_for_the_tab_and_forgotten(serve: Serve, opened: Opened) -> None:
    """A wrong key is reported; the right one opens the page, survives a reload, and leaves no trace when forgotten."""
    served = serve()
    key = add_key(served)
    page = await opened(served)
    entry = page.locator("#auth-dialog")
    await expect(entry.get_by_label("API key")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(entry).to_be_visible()
    await page.keyboard.type("hfm_wrong")
    await page.keyboard.press("Enter")
    await expect(entry.get_by_role("alert")).to_contain_text("Invalid API key")
    await entry.get_by_label("API key").fill(key)
    await page.keyboard.press("Enter")
    await expect(entry).to_be_hidden()
    await expect(page.get_by_text("Your images and videos will appear here")).to_be_visible()
    assert key not in await page.evaluate("JSON.stringify({...localStorage})")
    await page.reload()
    await submit_prompt(page, "with a key")
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)
    await page.get_by_role("button", name="API key and settings").click()
    await page.get_by_role("button", name="Forget key").click()
    await expect(entry.get_by_label("API key")).to_be_visible()
    assert key not in await page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    assert key not in page.url


async def test_a_key_is_remembered_on_the_device_only_when_that_is_chosen(serve: Serve, opened: Opened) -> None:
    """Then another tab needs no key."""
    served = serve()
    key = add_key(served)
    page = await opened(served)
    await page.locator("#auth-dialog").get_by_label("API key").fill(key)
    await page.get_by_label("Remember on this device").check()
    await page.keyboard.press("Enter")
    await expect(page.locator("#auth-dialog")).to_be_hidden()
    other = await opened(served, context=page.context)
    await expect(other.get_by_text("Your images and videos will appear here")).to_be_visible()


async def test_the_key_dialog_stays_until_a_key_is_entered(serve: Serve, opened: Opened) -> None:
    """A browser lets a page prevent one Escape, not three."""
    served = serve()
    key = add_key(served)
    page = await opened(served)
    entry = page.locator("#auth-dialog")
    for _ in range(4):
        await page.keyboard.press("Escape")
    await expect(entry.get_by_label("API key")).to_be_focused()
    await page.keyboard.type(key)
    await page.keyboard.press("Enter")
    await expect(entry).to_be_hidden()
    await submit_prompt(page, "after all")
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)


async def test_another_key_shows_nothing_of_the_one_before(serve: Serve, opened: Opened) -> None:
    """Results of a revoked key are not shown to the user who enters the next one."""
    served = serve()
    one, other = add_key(served), add_key(served)
    page = await opened(served)
    await page.locator("#auth-dialog").get_by_label("API key").fill(one)
    await page.keyboard.press("Enter")
    await submit_prompt(page, "private thing")
    await page.get_by_role("button", name="Image: private thing").wait_for()
    revoke_key(served, one)
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#auth-dialog").get_by_role("alert")).to_contain_text("revoked")
    await page.locator("#auth-dialog").get_by_label("API key").fill(other)
    async with page.expect_event("load"):
        await page.keyboard.press("Enter")
    await expect(page.get_by_text("Your images and videos will appear here")).to_be_visible()
    await expect(page.get_by_label("Prompt", exact=True)).to_have_value("private thing")  # what is written stays
    assert await page.locator(".card").count() == 0
    assert served.submissions == 1


async def test_a_rejected_key_of_one_tab_leaves_the_key_of_another(serve: Serve, opened: Opened) -> None:
    """A key that was stored on the device in the meantime is used, not deleted."""
    served = serve()
    one, other = add_key(served), add_key(served)
    page = await opened(served)
    await page.locator("#auth-dialog").get_by_label("API key").fill(one)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Your images and videos will appear here")).to_be_visible()
    await expect(page.locator("#preview")).to_contain_text("Sends to")
    beside = await opened(served, context=page.context)
    await beside.locator("#auth-dialog").get_by_label("API key").fill(other)
    await beside.get_by_label("Remember on this device").check()
    await beside.keyboard.press("Enter")
    await expect(beside.get_by_text("Your images and videos will appear here")).to_be_visible()
    await page.get_by_label("Prompt", exact=True).fill("which key")
    revoke_key(served, one)
    async with page.expect_event("load"):
        await page.keyboard.press("Control+Enter")
    await expect(page.get_by_label("Prompt", exact=True)).to_have_value("which key")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)
    await beside.get_by_role("button", name="API key and settings").click()
    async with page.expect_event("load"):
        await beside.get_by_role("button", name="Forget key").click()
    for each in (page, beside):
        await expect(each.locator("#auth-dialog").get_by_label("API key")).to_be_visible()


async def test_the_sandbox_is_marked(gateway: RunningGateway, opened: Opened) -> None:
    """A simulation is not mistaken for the real service."""
    page = await opened(gateway)
    await expect(page.locator("#sandbox-badge")).to_contain_text("everything is simulated")


async def test_a_gateway_that_goes_away_is_reported_and_found_again(serve: Serve, opened: Opened) -> None:
    """The page reports that the gateway does not respond, keeps its contents, and continues afterwards."""
    served = serve()
    page = await opened(served)
    await submit_prompt(page, "before the storm")
    await expect(page.locator(".card[data-status=done]")).to_have_count(1)
    await page.context.set_offline(True)
    await page.get_by_label("Prompt", exact=True).fill("in the storm")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#form-error")).to_contain_text("The gateway is not responding")
    await page.context.set_offline(False)
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".card[data-status=done]")).to_have_count(2)
    assert served.submissions == 2


@pytest.mark.parametrize("name", ["", "app.js", "studio.css", "favicon.svg"])
async def test_each_file_is_what_it_says_and_is_not_sent_twice(gateway: RunningGateway, name: str) -> None:
    """Its type, its policy, and 304 for a client that has it."""
    url = f"{gateway.url}/studio/{name}" if name else f"{gateway.url}/"
    async with aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            assert answer.status == 200
            assert answer.headers["content-type"] == page_files()[name or "index.html"].mime
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            source = (PAGE_FOLDER / (name or "index.html")).read_bytes()
            assert await answer.read() == source.replace(EMPTY_PARAMETERS_META, parameters_meta())
        async with http.get(url, headers={"if-none-match": answer.headers["etag"]}) as again:
            assert again.status == 304
            assert await again.read() == b""
        async with http.head(url) as head:
            assert head.status == 200


@pytest.mark.parametrize("name", ["../__init__.py", "%2e%2e/__init__.py", "..%2f__init__.py", "index.html", "", "x"])
async def test_nothing_but_the_page_is_served(gateway: RunningGateway, name: str) -> None:
    """No path leads out of the page's folder."""
    from yarl import URL

    async with aiohttp.ClientSession() as http, http.get(URL(f"{gateway.url}/studio/{name}", encoded=True)) as answer:
        assert answer.status == 404


async def test_every_address_in_the_page_is_relative_and_every_file_is_named() -> None:
    """So the page works under any prefix; nothing is inline, which the policy would block."""
    text = (PAGE_FOLDER / "index.html").read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert addresses
    assert not [one for one in addresses if one.startswith(("/", "http:", "https:", "//"))]
    assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*src=)", text)
    for path in PAGE_FOLDER.glob("*.js"):
        source = path.read_text()
        assert source.startswith("// "), path.name
        assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", source), path.name
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", source), path.name
