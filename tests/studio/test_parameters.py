"""The form has a field for every generation parameter of the table, and sends what is entered there."""

from __future__ import annotations

import json

import pytest

from hfmedia.core.parameters import PARAMETERS
from tests.support.gateway import RunningGateway

from .conftest import Opened, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")
VALUES = {"text": "some text", "integer": "7", "number": "0,5"}


async def test_every_parameter_has_a_field_that_is_sent(gateway: RunningGateway, opened: Opened) -> None:
    """Sizes have controls of their own; an input image is needed for what applies to one."""
    page = await opened(gateway)
    await page.evaluate("document.querySelector('#advanced').open = true")
    await page.get_by_label("Prompt", exact=True).fill("a fox")
    rows = [row for row in PARAMETERS if row.group != "size" and not row.video_only]
    for row in rows:
        field = page.locator(f"#{row.name}")
        await expect(field).to_have_count(1)
        if row.needs_image:
            await expect(field).to_be_hidden()
        elif row.choices:
            await field.select_option(row.choices[-1])
        else:
            await field.fill(VALUES[row.kind])
    async with page.expect_request(
        lambda request: request.method == "POST" and request.url.endswith("/v1/jobs")
    ) as sent:
        await page.keyboard.press("Control+Enter")
    body = json.loads((await sent.value).post_data or "")
    for row in rows:
        if row.needs_image:
            assert row.name not in body
        elif row.choices:
            assert body[row.name] == row.choices[-1]
        else:
            assert body[row.name] == {"text": "some text", "integer": 7, "number": 0.5}[row.kind] or row.name == "seed"
    assert body["seed"] == "7"
    await page.get_by_text("Video", exact=True).click()
    for row in PARAMETERS:
        if row.video_only:
            await expect(page.locator(f"#{row.name}")).to_be_visible()
