"""python -m tests.studio.screenshots: the studio's main states, light and dark, on a desktop and on a phone.

They are saved in docs/screenshots. Each is a real page of a real gateway on the sandbox; nothing is retouched.
"""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfmedia.server.config import Config
from tests.support.gateway import RunningGateway
from tests.support.sandbox_thread import SandboxThread

from .actions import add_key, choose_model, choose_provider, give_file, submit_prompt
from .conftest import CHROMIUM, QUIET, until

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, ViewportSize

TARGET = Path(__file__).parents[2] / "docs" / "screenshots"
DESK: ViewportSize = {"width": 1440, "height": 900}
HAND: ViewportSize = {"width": 390, "height": 844}
PROMPTS = (
    "A red fox in fresh snow, soft morning light",
    "A lighthouse in a storm, oil painting",
    "A tiny robot watering a bonsai, macro photo",
    "An old library with a glass roof, rain outside, warm lamps",
    "Paper boats on a river of stars",
    "A cat astronaut, studio portrait",
    "Terraced rice fields at sunrise, seen from above",
    "A jazz trio on a rooftop, film grain",
)
LONG = "A very long prompt for a picture with every detail that anybody could ever think of, without a pause, " * 12


DRAWN = """[...document.images].every((one) => one.complete || !one.getClientRects().length
  || one.getBoundingClientRect().top > innerHeight)"""
AT_WORK = """[...document.querySelectorAll(".card[data-status=open] .job-stage")].slice(0, 6)
  .every((one) => /queue|Queued|Running/.test(one.textContent))"""


async def pictures(page: Page) -> None:
    """Waits until every visible picture is drawn."""
    await until(page, DRAWN)


async def ended(page: Page) -> None:
    """Waits until no job is running."""
    await until(
        page, "document.querySelectorAll('.card').length > 0 && !document.querySelector('.card[data-status=open]')"
    )
    await pictures(page)


def _kept(shot: bytes, name: str) -> None:
    """Saves a screenshot at a tenth of its size, without a visible difference."""
    from PIL import Image

    Image.open(io.BytesIO(shot)).save(TARGET / name, "WEBP", quality=88, method=5)


class Camera:
    """Takes each state in both color schemes and both sizes."""

    def __init__(self, browser: Browser, served: RunningGateway, names: tuple[str, ...]) -> None:
        self.browser, self.served, self.names = browser, served, names

    @asynccontextmanager
    async def open(self, size: ViewportSize, scheme: Any, **kept: Any) -> AsyncIterator[Page]:
        """A page of its own."""
        context = await self.browser.new_context(viewport=size, color_scheme=scheme, device_scale_factor=1, **kept)
        page = await context.new_page()
        await page.goto(self.served.url)
        await page.locator("#filters button").first.wait_for()
        await until(
            page,
            "document.querySelector('#auth-dialog').open"
            " || document.querySelector('#usage-summary').textContent !== 'Usage'",
        )
        await until(
            page,
            "document.querySelector('#auth-dialog').open || !document.querySelector('#grid').hasAttribute('aria-busy')",
        )
        yield page
        await context.close()

    async def take(self, name: str, *, prepare: Any = None) -> None:
        """All four pictures of a state."""
        if self.names and name not in self.names:
            return
        for where, size in (("desktop", DESK), ("phone", HAND)):
            for scheme in ("light", "dark"):
                async with self.open(size, scheme) as page:
                    if prepare:
                        await prepare(page)
                    elif where == "phone":
                        await page.evaluate("document.querySelector('#gallery').scrollIntoView()")
                    await pictures(page)
                    await asyncio.to_thread(_kept, await page.screenshot(), f"{name}-{where}-{scheme}.webp")


async def all_states(browser: Browser, served: RunningGateway, names: tuple[str, ...]) -> None:
    """Takes every state, in the order in which a gateway reaches them."""
    camera = Camera(browser, served, names)
    await camera.take("empty")
    async with camera.open(DESK, "light") as page:
        for prompt in PROMPTS:
            await submit_prompt(page, prompt)
            await until(page, f"document.querySelectorAll('.card').length >= {PROMPTS.index(prompt) + 1}")
        await page.get_by_text("Video", exact=True).click()
        await submit_prompt(page, "Waves rolling onto a quiet beach at dawn")
        await until(page, f"document.querySelectorAll('.card').length > {len(PROMPTS)}")
        await ended(page)
    await camera.take("gallery")
    await camera.take("lightbox", prepare=_picture_in_view)
    await camera.take("models", prepare=_models)
    await camera.take("form", prepare=_form)
    async with camera.open(DESK, "light") as page:
        await submit_prompt(page, LONG.strip())
        await until(page, "document.querySelector('.card[data-status=open]') !== null")
        await ended(page)
        served.fault("replicate", "fail", text="CUDA out of memory: tried to allocate 20.00 MiB on GPU 0")
        served.fault("together", "disconnect")
        await choose_model(page, "FLUX.1-schnell")
        for provider, prompt in (
            ("replicate", "A mountain of cheese"),
            ("together", "A fox that may be painted twice"),
        ):
            await choose_provider(page, provider)
            before = await page.locator(".card").count()
            await submit_prompt(page, prompt)
            await until(page, f"document.querySelectorAll('.card').length > {before}")
            await ended(page)
    await camera.take("errors")
    await camera.take("long-prompt", prepare=_long)
    served.fault("fal-ai", "credit", times=2)
    for provider in ("fal-ai", "replicate", "wavespeed"):
        served.fault(provider, "cold", seconds=90_000, times=12)
    async with camera.open(DESK, "light") as page:
        await page.get_by_text("Video", exact=True).click()
        await submit_prompt(page, "A dozen short films of clouds", count=12)
        await until(page, "document.querySelectorAll('.card[data-status=open]').length >= 12")
        await until(page, AT_WORK)
    await camera.take("twelve")
    await camera.take("usage", prepare=_costs)
    add_key(served)
    await camera.take("key")


async def _picture_in_view(page: Page) -> None:
    await page.get_by_role("button", name=f"Image: {PROMPTS[0]}").click()
    await in_view_ready(page)


async def in_view_ready(page: Page) -> None:
    """Waits for the picture in the lightbox."""
    await until(page, "[...document.querySelectorAll('#lightbox img')].some((one) => one.naturalWidth > 0)")


async def _models(page: Page) -> None:
    await page.locator("#pick-model").click()
    await page.locator("#model-list .option").nth(5).wait_for()


async def _form(page: Page) -> None:
    await give_file(page, "drop", "holiday.png")
    await page.get_by_label("Prompt", exact=True).fill("As a watercolour, with a paper texture")
    await page.locator("#advanced summary").first.click()
    await page.get_by_label("Size", exact=True).select_option("exact")
    await page.get_by_label("Width").fill("1000")
    await page.get_by_label("Height").fill("777")
    await until(page, "document.querySelector('#preview').textContent.includes('777')")


async def _long(page: Page) -> None:
    await page.get_by_role("button", name="Image: A very long prompt").first.click()
    await in_view_ready(page)


async def _costs(page: Page) -> None:
    await page.locator("#open-usage").click()
    await page.locator(".providers li").first.wait_for()


async def main(names: tuple[str, ...]) -> None:
    """Takes the named states, or all."""
    from playwright.async_api import async_playwright

    TARGET.mkdir(parents=True, exist_ok=True)
    beside = SandboxThread()
    beside.open(speed=50)
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, **beside.sandbox.environment, "HFMEDIA_HOME": home}
        served = RunningGateway(Config(port=0), environ, beside)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            await all_states(browser, served, names)
            await browser.close()
        served.close()
    beside.close()


if __name__ == "__main__":
    import sys

    asyncio.run(main(tuple(sys.argv[1:])))
