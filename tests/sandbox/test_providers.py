"""Every provider answers a stranger in its own protocol, through the router and at its own address."""

from __future__ import annotations

import io
from typing import Any

import av
import pytest
from PIL import Image

from hfmedia.sandbox import Sandbox

from .conftest import PlainHttp
from .provider_requests import ACCESS_PATHS, PROVIDER_REQUESTS, SIDE, endpoint_of, run_to_end, submit

SIZES = {
    ("zai-org", "text-to-image"): (1024, 1024),  # its smallest
    ("fal-ai", "text-to-video"): (640, 360),
    ("fal-ai", "image-to-video"): (854, 480),
    ("replicate", "text-to-video"): (832, 480),
}


@pytest.mark.parametrize(("via", "provider", "task"), ACCESS_PATHS)
async def test_a_wish_leads_to_media_of_the_size_asked_for(
    world: Sandbox, ask: PlainHttp, via: str, provider: str, task: str
) -> None:
    """The whole way in the provider's own words; one job is counted, nobody shows the CDN a credential."""
    (data,) = await run_to_end(ask, world, provider, task, via)
    wanted = SIZES.get((provider, task), (SIDE, SIDE))
    if "video" in task:
        with av.open(io.BytesIO(data)) as film:
            assert (film.streams.video[0].width, film.streams.video[0].height) == wanted
    else:
        assert Image.open(io.BytesIO(data)).size == wanted
    assert dict(world.submissions) == {provider: 1}
    assert world.leaks == []
    kinds = [seen.kind for seen in world.requests if seen.provider == provider]
    assert (kinds[0], kinds.count("submit")) == ("submit", 1)


WRONG: dict[str, Any] = {
    "none": lambda right: {},
    "another": lambda right: {"Authorization": right["Authorization"] + "x"},
    "another scheme": lambda right: {"Authorization": "Basic " + right["Authorization"].partition(" ")[2]},
    "bare": lambda right: {"Authorization": right["Authorization"].partition(" ")[2]},
}


@pytest.mark.parametrize("shown", WRONG)
@pytest.mark.parametrize(("via", "provider", "task"), [one for one in ACCESS_PATHS if one[2] == "text-to-image"])
async def test_a_wrong_credential_is_refused_and_nothing_is_counted(
    world: Sandbox, ask: PlainHttp, via: str, provider: str, task: str, shown: str
) -> None:
    """401, or novita's 403, in the words of whoever refuses; no job is made."""
    wish = PROVIDER_REQUESTS[provider, task]
    base, right = endpoint_of(world, provider, wish, via)
    heard = await ask("POST", base + wish.path, json=wish.body, headers=WRONG[shown](right))
    assert heard.status == 401
    if via == "router":
        assert heard.json == {"error": "Invalid username or password."}
    assert not world.submissions
    assert not world.jobs


async def test_novita_refuses_a_key_with_403(world: Sandbox, ask: PlainHttp) -> None:
    """Its own way (novita.ai/docs, basic error codes)."""
    wish = PROVIDER_REQUESTS["novita", "text-to-video"]
    headers = {"Authorization": "Bearer no"}
    heard = await ask("POST", f"{world.url}/direct/{wish.host}{wish.path}", json=wish.body, headers=headers)
    assert (heard.status, heard.json["reason"]) == (403, "INVALID_API_KEY")


async def test_a_key_of_a_provider_does_not_open_the_router_nor_the_token_a_provider(
    world: Sandbox, ask: PlainHttp
) -> None:
    """Each door has its own key."""
    wish = PROVIDER_REQUESTS["together", "text-to-image"]
    swapped = [
        (f"{world.url}/router/together", world.keys["together"]),
        (f"{world.url}/direct/{wish.host}", world.token),
    ]
    for base, key in swapped:
        heard = await ask("POST", base + wish.path, json=wish.body, headers={"Authorization": f"Bearer {key}"})
        assert heard.status == 401


@pytest.mark.parametrize("provider", sorted({name for name, _ in PROVIDER_REQUESTS}))
async def test_an_address_that_does_not_exist_is_refused(world: Sandbox, ask: PlainHttp, provider: str) -> None:
    """A strange path is a 4xx of the provider, never a picture."""
    headers = {"Authorization": f"Bearer {world.token}"}
    heard = await ask("GET", f"{world.url}/router/{provider}/no/such/thing", headers=headers)
    assert 400 <= heard.status < 500
    assert not world.submissions


@pytest.mark.parametrize(("provider", "task"), [key for key in PROVIDER_REQUESTS if key[1] == "text-to-image"])
@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", b"null", b"{}", b'{"prompt": 7}', b'{"prompt": "", "inputs": "", "input": {}}'],
)
async def test_a_body_that_makes_no_sense_is_refused_and_not_counted(
    world: Sandbox, ask: PlainHttp, provider: str, task: str, body: bytes
) -> None:
    """4xx in JSON; nothing is bought by mistake."""
    wish = PROVIDER_REQUESTS[provider, task]
    base, headers = endpoint_of(world, provider, wish, "router")
    headers |= {"Content-Type": "application/json"}
    heard = await ask("POST", base + wish.path, data=body, headers=headers)
    assert 400 <= heard.status < 500
    assert heard.json
    assert not world.submissions


@pytest.mark.parametrize(("provider", "task"), [key for key in PROVIDER_REQUESTS if key[1] == "text-to-image"])
async def test_the_router_marks_what_passes_through_it(
    world: Sandbox, ask: PlainHttp, provider: str, task: str
) -> None:
    """An id for each request, as the real router gives one; and who is billed is remembered."""
    heard = await submit(ask, world, provider, task, extra_headers={"X-HF-Bill-To": "sandbox-org"})
    assert heard.headers["Inference-Id"]
    (job,) = world.jobs.values()
    assert (job.bill_to, job.service) == ("sandbox-org", provider)


async def test_a_model_of_another_provider_is_unknown(world: Sandbox, ask: PlainHttp) -> None:
    """What is not served is refused, in the router's words where it is the router that knows."""
    heard = await submit(ask, world, "together", "text-to-image", model="acme/nothing")
    assert (heard.status, heard.json["error"]["code"]) == (404, "model_not_available")
    headers = {"Authorization": f"Bearer {world.token}"}
    heard = await ask("POST", f"{world.url}/router/fal-ai/acme/nothing", json={"prompt": "a"}, headers=headers)
    assert (heard.status, heard.json) == (400, {"error": "Model not supported by provider fal-ai"})
