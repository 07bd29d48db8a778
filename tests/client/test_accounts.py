"""One client for several accounts, what it would send, and a job that was never sent because its process died."""

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


async def test_a_client_on_behalf_of_a_caller_spends_the_callers_money(world: Sandbox, environ: dict[str, str]) -> None:
    """Its own token and organisation go to the router, the operator's go nowhere; both see the same jobs."""
    async with MediaClient(environ={**environ, "HF_TOKEN": "hf_the_operators_own"}) as client:
        mine = client.for_account(token=world.token, bill_to="their-company")
        media = await mine.text_to_image("a fox", model=f"{FLUX}:together")
        sent = [one for one in world.requests if one.kind == "submit"]
        assert [one.headers["Authorization"] for one in sent] == [f"Bearer {world.token}"]
        assert [one.headers["X-HF-Bill-To"] for one in sent] == ["their-company"]
        await mine.aclose()
        assert [job.id for job in await client.jobs()] == [media.job_id]  # what is shared is still open
        with pytest.raises(AuthenticationError):
            await client.text_to_image("a fox", model=f"{FLUX}:together")


async def test_the_operators_provider_keys_are_not_a_callers(environ: dict[str, str]) -> None:
    """A key that lies in the operator's environment opens nothing for somebody else's token."""
    async with MediaClient(environ={**environ, "FAL_KEY": "fal-secret", "HFMEDIA_DIRECT": "fal-ai"}) as client:
        mine = client.for_account(token="hf_the_callers_own")
        assert mine.settings.keys == {}
        assert mine.settings.direct == frozenset()
        assert client.settings.keys


@pytest.mark.parametrize("token", ["", "  ", "two words", "hf_\n"])
async def test_a_callers_token_that_is_none_is_refused(environ: dict[str, str], token: str) -> None:
    """Before anything is sent, and never shown."""
    async with MediaClient(environ=environ) as client:
        if token == "hf_\n":  # white space around a token is forgiven
            assert client.for_account(token=token).settings.hub_token is not None
            return
        with pytest.raises(AuthenticationError):
            client.for_account(token=token)
        with pytest.raises(InvalidRequestError):
            client.for_account(bill_to="no / name")


async def test_a_preview_tells_what_each_provider_would_be_told(world: Sandbox, environ: dict[str, str]) -> None:
    """In the order in which they would be asked, with what would be dropped or rounded; and nothing is sent."""
    async with MediaClient(environ=environ) as client:
        told = await client.preview("a fox", model=FLUX, width=1000, height=777, negative_prompt="dogs")
        providers = [one.provider for one in told]
        assert providers[:3] == ["fal-ai", "replicate", "together"]
        assert any("dropped" in warning for one in told for warning in one.warnings)
        assert all(one.rejection is None for one in told)
        with pytest.raises(ModelNotFoundError):
            await client.preview("a fox", model="nobody/nothing")
    assert not [one for one in world.requests if one.kind == "submit"]


async def test_a_job_that_was_never_sent_is_sent_by_whoever_brings_its_image_again(
    world: Sandbox, environ: dict[str, str], tmp_path: Path
) -> None:
    """Its process died between writing it down and sending it; the ledger does not keep the image."""
    picture = tmp_path / "fox.png"
    Image.new("RGB", (64, 64), "orange").save(picture)
    async with MediaClient(environ=environ) as client:
        wish = build_request("image-to-image", KONTEXT, prompt="autumn", image=await load_input_image(picture))
        fact = CreatedEntry(
            job_id="dead",
            timestamp=1.0,
            request=strip_inline_media(wish),
            idempotency_key="mine",
            requested_model=KONTEXT,
        )
        await client.ledger.append(fact)
        await client.ledger.release("dead")
        events = client.generate("autumn", task="image-to-image", image=picture, model=KONTEXT, idempotency_key="mine")
        made = [event.media async for event in events if isinstance(event, MediaReady)]
        assert [media.job_id for media in made] == ["dead"]
    assert sum(world.submissions.values()) == 1
