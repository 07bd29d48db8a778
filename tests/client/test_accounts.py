"""One client for several accounts, previews, and a job that was never sent because its process died."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hfmedia import AuthenticationError, InvalidRequestError, MediaClient, MediaReady, ModelNotFoundError
from hfmedia.core.job import CreatedEntry, strip_inline_media
from hfmedia.core.request import build_request
from hfmedia.engine.input_images import load_input_image
from hfmedia.sandbox import Sandbox

FLUX = "black-forest-labs/FLUX.1-schnell"
KONTEXT = "black-forest-labs/FLUX.1-Kontext-dev"


async def test_a_client_for_an_account_bills_that_account(world: Sandbox, environ: dict[str, str]) -> None:
    """Its own token and organization go to the router, the operator's go nowhere; both see the same jobs."""
    async with MediaClient(environ={**environ, "HF_TOKEN": "hf_the_operators_own"}) as client:
        account_client = client.for_account(token=world.token, bill_to="their-company")
        media = await account_client.text_to_image("a fox", model=f"{FLUX}:together")
        submissions = [request for request in world.requests if request.kind == "submit"]
        assert [request.headers["Authorization"] for request in submissions] == [f"Bearer {world.token}"]
        assert [request.headers["X-HF-Bill-To"] for request in submissions] == ["their-company"]
        await account_client.aclose()
        assert [job.id for job in await client.jobs()] == [media.job_id]  # shared resources are still open
        with pytest.raises(AuthenticationError):
            await client.text_to_image("a fox", model=f"{FLUX}:together")


async def test_the_operators_provider_keys_are_not_used_for_an_account(environ: dict[str, str]) -> None:
    """A key in the operator's environment is not used with another account's token."""
    async with MediaClient(environ={**environ, "FAL_KEY": "fal-secret", "HFMEDIA_DIRECT": "fal-ai"}) as client:
        account_client = client.for_account(token="hf_the_callers_own")
        assert account_client.settings.keys == {}
        assert account_client.settings.direct == frozenset()
        assert client.settings.keys


@pytest.mark.parametrize("token", ["", "  ", "two words", "hf_\n"])
async def test_an_invalid_token_of_an_account_is_rejected(environ: dict[str, str], token: str) -> None:
    """Before anything is sent, and never shown."""
    async with MediaClient(environ=environ) as client:
        if token == "hf_\n":  # white space around a token is stripped
            assert client.for_account(token=token).settings.hub_token is not None
            return
        with pytest.raises(AuthenticationError):
            client.for_account(token=token)
        with pytest.raises(InvalidRequestError):
            client.for_account(bill_to="no / name")


async def test_a_preview_shows_the_request_to_each_provider(world: Sandbox, environ: dict[str, str]) -> None:
    """In order of preference, with a warning for everything dropped or rounded; nothing is sent."""
    async with MediaClient(environ=environ) as client:
        previews = await client.preview("a fox", model=FLUX, width=1000, height=777, negative_prompt="dogs")
        providers = [preview.provider for preview in previews]
        assert providers[:3] == ["fal-ai", "replicate", "together"]
        assert any("dropped" in warning for preview in previews for warning in preview.warnings)
        assert all(preview.rejection is None for preview in previews)
        with pytest.raises(ModelNotFoundError):
            await client.preview("a fox", model="acme/unknown")
    assert not [request for request in world.requests if request.kind == "submit"]


async def test_a_job_that_was_never_sent_is_sent_when_its_image_is_passed_again(
    world: Sandbox, environ: dict[str, str], tmp_path: Path
) -> None:
    """Its process died between recording and sending it; the ledger does not contain the image."""
    image_path = tmp_path / "fox.png"
    Image.new("RGB", (64, 64), "orange").save(image_path)
    async with MediaClient(environ=environ) as client:
        request = build_request("image-to-image", KONTEXT, prompt="autumn", image=await load_input_image(image_path))
        entry = CreatedEntry(
            job_id="dead",
            timestamp=1.0,
            request=strip_inline_media(request),
            idempotency_key="key-1",
            requested_model=KONTEXT,
        )
        await client.ledger.append(entry)
        await client.ledger.release("dead")
        events = client.generate(
            "autumn", task="image-to-image", image=image_path, model=KONTEXT, idempotency_key="key-1"
        )
        media_items = [event.media async for event in events if isinstance(event, MediaReady)]
        assert [media.job_id for media in media_items] == ["dead"]
    assert sum(world.submissions.values()) == 1
