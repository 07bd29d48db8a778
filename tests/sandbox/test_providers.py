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
    sandbox: Sandbox, http: PlainHttp, via: str, provider: str, task: str
) -> None:
    """The whole way in the provider's own words; one job is counted, nobody shows the CDN a credential."""
    (data,) = await run_to_end(http, sandbox, provider, task, via)
    wanted = SIZES.get((provider, task), (SIDE, SIDE))
    if "video" in task:
        with av.open(io.BytesIO(data)) as film:
            assert (film.streams.video[0].width, film.streams.video[0].height) == wanted
    else:
        assert Image.open(io.BytesIO(data)).size == wanted
    assert dict(sandbox.submissions) == {provider: 1}
    assert sandbox.leaks == []
    kinds = [seen.kind for seen in sandbox.requests if seen.provider == provider]
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
    sandbox: Sandbox, http: PlainHttp, via: str, provider: str, task: str, shown: str
) -> None:
    """401, or novita's 403, in the words of whoever refuses; no job is made."""
    provider_request = PROVIDER_REQUESTS[provider, task]
    base, right = endpoint_of(sandbox, provider, provider_request, via)
    response = await http("POST", base + provider_request.path, json=provider_request.body, headers=WRONG[shown](right))
    assert response.status == 401
    if via == "router":
        assert response.json == {"error": "Invalid username or password."}
    assert not sandbox.submissions
    assert not sandbox.jobs


async def test_novita_refuses_a_key_with_403(sandbox: Sandbox, http: PlainHttp) -> None:
    """Its own way (novita.ai/docs, basic error codes)."""
    provider_request = PROVIDER_REQUESTS["novita", "text-to-video"]
    headers = {"Authorization": "Bearer no"}
    response = await http(
        "POST",
        f"{sandbox.url}/direct/{provider_request.host}{provider_request.path}",
        json=provider_request.body,
        headers=headers,
    )
    assert (response.status, response.json["reason"]) == (403, "INVALID_API_KEY")


async def test_a_key_of_a_provider_does_not_open_the_router_nor_the_token_a_provider(
    sandbox: Sandbox, http: PlainHttp
) -> None:
    """Each door has its own key."""
    provider_request = PROVIDER_REQUESTS["together", "text-to-image"]
    swapped = [
        (f"{sandbox.url}/router/together", sandbox.keys["together"]),
        (f"{sandbox.url}/direct/{provider_request.host}", sandbox.token),
    ]
    for base, key in swapped:
        response = await http(
            "POST", base + provider_request.path, json=provider_request.body, headers={"Authorization": f"Bearer {key}"}
        )
        assert response.status == 401


@pytest.mark.parametrize("provider", sorted({name for name, _ in PROVIDER_REQUESTS}))
async def test_an_address_that_does_not_exist_is_refused(sandbox: Sandbox, http: PlainHttp, provider: str) -> None:
    """A strange path is a 4xx of the provider, never a picture."""
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    response = await http("GET", f"{sandbox.url}/router/{provider}/no/such/thing", headers=headers)
    assert 400 <= response.status < 500
    assert not sandbox.submissions


@pytest.mark.parametrize(("provider", "task"), [key for key in PROVIDER_REQUESTS if key[1] == "text-to-image"])
@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", b"null", b"{}", b'{"prompt": 7}', b'{"prompt": "", "inputs": "", "input": {}}'],
)
async def test_a_body_that_makes_no_sense_is_refused_and_not_counted(
    sandbox: Sandbox, http: PlainHttp, provider: str, task: str, body: bytes
) -> None:
    """4xx in JSON; nothing is bought by mistake."""
    provider_request = PROVIDER_REQUESTS[provider, task]
    base, headers = endpoint_of(sandbox, provider, provider_request, "router")
    headers |= {"Content-Type": "application/json"}
    response = await http("POST", base + provider_request.path, data=body, headers=headers)
    assert 400 <= response.status < 500
    assert response.json
    assert not sandbox.submissions


@pytest.mark.parametrize(("provider", "task"), [key for key in PROVIDER_REQUESTS if key[1] == "text-to-image"])
async def test_the_router_marks_what_passes_through_it(
    sandbox: Sandbox, http: PlainHttp, provider: str, task: str
) -> None:
    """An id for each request, as the real router gives one; and who is billed is remembered."""
    response = await submit(http, sandbox, provider, task, extra_headers={"X-HF-Bill-To": "sandbox-org"})
    assert response.headers["Inference-Id"]
    (job,) = sandbox.jobs.values()
    assert (job.bill_to, job.service) == ("sandbox-org", provider)


async def test_a_model_of_another_provider_is_unknown(sandbox: Sandbox, http: PlainHttp) -> None:
    """What is not served is refused, in the router's words where it is the router that knows."""
    response = await submit(http, sandbox, "together", "text-to-image", model="acme/nothing")
    assert (response.status, response.json["error"]["code"]) == (404, "model_not_available")
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    response = await http("POST", f"{sandbox.url}/router/fal-ai/acme/nothing", json={"prompt": "a"}, headers=headers)
    assert (response.status, response.json) == (400, {"error": "Model not supported by provider fal-ai"})
