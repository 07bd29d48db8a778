"""Actions of a user on the page. Nothing here waits for a time, only for visible states."""

from __future__ import annotations

import base64
import io
import random
import time
from typing import TYPE_CHECKING, Any

from tests.support.gateway import RunningGateway

if TYPE_CHECKING:
    from playwright.async_api import Page

FLUX = "black-forest-labs/FLUX.1-schnell"


async def submit_prompt(page: Page, prompt: str, *, count: int = 1) -> None:
    """Fills in a prompt and submits the form."""
    await page.locator("#request-form:not([aria-busy])").wait_for()  # what is pressed while it sends is dropped
    if count != 1:
        await page.get_by_label("Outputs").fill(str(count))
    await page.get_by_label("Prompt", exact=True).fill(prompt)
    await page.keyboard.press("Control+Enter")


async def choose_model(page: Page, words: str) -> None:
    """Selects the first model that a search finds."""
    await page.locator("#pick-model").click()
    await page.get_by_label("Search models").fill(words)
    await page.locator("#model-list .option").first.wait_for()
    await page.keyboard.press("Enter")
    await page.locator("#model-picker").wait_for(state="hidden")


async def choose_provider(page: Page, name: str) -> None:
    """Selects a provider of the chosen model."""
    more = page.locator("#advanced")
    if await more.get_attribute("open") is None:
        await more.locator("summary").click()
    await page.locator("#provider:not([disabled])").select_option(name)


def png(width: int = 96, height: int = 64) -> bytes:
    """A small image."""
    from PIL import Image

    made = io.BytesIO()
    Image.new("RGB", (width, height), (30, 120, 100)).save(made, "PNG")
    return made.getvalue()


async def give_file(page: Page, event: str, name: str = "seen.png", mime: str = "image/png", width: int = 96) -> None:
    """Dispatches the event of a dropped or pasted image."""
    await page.evaluate(
        """([event, name, mime, data]) => {
          const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
          const given = new DataTransfer();
          given.items.add(new File([bytes], name, {type: mime}));
          const init = event === "paste" ? {clipboardData: given} : {dataTransfer: given};
          const made = event === "paste" ? ClipboardEvent : DragEvent;
          document.body.dispatchEvent(new made(event, {bubbles: true, cancelable: true, ...init}));
        }""",
        [event, name, mime, base64.b64encode(png(width)).decode()],
    )


def add_key(served: RunningGateway, **limits: Any) -> str:
    """Creates an API key of a gateway and returns its text; from then on every request requires a key."""
    from hfmedia.server.db.api_keys import ApiKey, KeyLimits, generate_api_key

    key_id, text, digest = generate_api_key()
    served.gateway.database.add_key(
        ApiKey(id=key_id, name=f"studio-{key_id}", created_at=time.time(), limits=KeyLimits(**limits)), digest
    )
    return text


def noise(side: int = 600) -> str:
    """An image of more than half a megabyte, in base64: large enough that the page shrinks it for previews."""
    from PIL import Image

    made = io.BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3)).save(made, "PNG")
    return base64.b64encode(made.getvalue()).decode()


def revoke_key(served: RunningGateway, text: str) -> None:
    """Revokes an API key of a gateway."""
    key = served.gateway.database.find_by_plaintext(text)
    assert key is not None
    served.gateway.database.revoke_key(key.id, time.time())
