"""The model picker with thousands of models."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.fake_hub import TOKEN, FakeHub, mapping_entry
from tests.support.gateway import Serve

from .conftest import Opened, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")
MANY = 8000
SLOWEST = 1500  # milliseconds; gross: some 20 on a quiet machine
TYPE = """async (words) => {
  const input = document.querySelector("#model-search");
  let slowest = 0;
  for (let k = 1; k <= words.length; k += 1) {
    const began = performance.now();
    input.value = words.slice(0, k);
    input.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    slowest = Math.max(slowest, performance.now() - began);
  }
  return slowest;
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def hub() -> AsyncIterator[FakeHub]:
    """A Hub that runs until the gateway has stopped."""
    async with FakeHub(page_size=1000) as made:
        yield made


async def test_one_of_thousands_of_models_is_found_by_a_few_letters_and_remembered(
    hub: FakeHub, serve: Serve, opened: Opened
) -> None:
    """Each letter filters at once, only visible rows are drawn, and the chosen model comes first the next time."""
    for number in range(MANY):
        hub.add(f"painters/brush-{number:05}", mapping_entry("fal-ai"), mapping_entry("replicate"))
    gateway = serve(environ={"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN})
    page = await opened(gateway)
    await page.locator("#pick-model").click()
    await expect(page.get_by_text("8,000 models")).to_be_visible()
    assert await page.locator("#model-list .option").count() < 100
    assert min([await page.evaluate(TYPE, "PAINT 0777") for _ in range(3)]) < SLOWEST
    await expect(page.get_by_text("11 models")).to_be_visible()
    first = page.locator("#model-list .option").first
    await expect(first).to_contain_text("painters/brush-00777")
    await expect(first).to_contain_text("text to image · fal-ai, replicate")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.locator("#model-name")).to_have_text("painters/brush-07770")
    await page.get_by_label("Prompt", exact=True).fill("a kite")
    await page.keyboard.press("Control+Enter")
    await page.locator(".card").first.wait_for()
    await page.reload()
    await page.locator("#pick-model").click()
    await expect(page.get_by_text("8,000 models")).to_be_visible()
    await expect(page.locator("#model-list .option").nth(1)).to_contain_text("Recently used")
    await page.locator("#model-list").evaluate("(list) => list.scrollTo(0, list.scrollHeight)")
    await expect(page.locator("#model-list .option").nth(100)).to_be_attached()
