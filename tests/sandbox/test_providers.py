"""Every provider speaks its own protocol, through the router and at its own API."""

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
    ("zai-org", "text-to-image"): (1024, 1024),  # its minimum
    ("fal-ai", "text-to-video"): (640, 360),
    ("fal-ai", "image-to-video"): (854, 480),
    ("replicate", "text-to-video"): (832, 480),
}


@pytest.mark.parametrize(("via", "provider", "task"), ACCESS_PATHS)
async def test_a_request_yields_media_of_the_requested_size(
    sandbox: Sandbox, http: PlainHttp, via: str, provider: str, task: str
) -> None:
    """From submission to file in the provider's protocol; one job is counted, the CDN receives no credential."""
    (data,) = await run_to_end(http, sandbox, provider, task, via)
    expected = SIZES.get((provider, task), (SIDE, SIDE))
    if "video" in task:
        with av.open(io.BytesIO(data)) as container:
            assert (container.streams.video[0].width, container.streams.video[0].height) == expected
    else:
        assert Image.open(io.BytesIO(data)).size == expected
    assert dict(sandbox.submissions) == {provider: 1}
    assert sandbox.leaks == []
    kinds = [recorded.kind for recorded in sandbox.requests if recorded.provider == provider]
    assert (kinds[0], kinds.count("submit")) == ("submit", 1)


INVALID_HEADERS: dict[str, Any] = {
    "none": lambda right: {},
    "another": lambda right: {"Authorization": right["Authorization"] + "x"},
    "another scheme": lambda right: {"Authorization": "Basic " + right["Authorization"].partition(" ")[2]},
    "bare": lambda right: {"Authorization": right["Authorization"].partition(" ")[2]},
}


@pytest.mark.parametrize("variant", INVALID_HEADERS)
@pytest.mark.parametrize(("via", "provider", "task"), [path for path in ACCESS_PATHS if path[2] == "text-to-image"])
async def test_an_invalid_credential_is_rejected_and_nothing_is_counted(
    sandbox: Sandbox, http: PlainHttp, via: str, provider: str, task: str, variant: str
) -> None:
    """401 in the format of the router or provider; no job is created."""
    provider_request = PROVIDER_REQUESTS[provider, task]
    base, right = endpoint_of(sandbox, provider, provider_request, via)
    response = await http(
        "POST", base + provider_request.path, json=provider_request.body, headers=INVALID_HEADERS[variant](right)
    )
    assert response.status == 401
    if via == "router":
        assert response.json == {"error": "Invalid username or password."}
    assert not sandbox.submissions
    assert not sandbox.jobs


async def test_novita_rejects_a_key_with_403(sandbox: Sandbox, http: PlainHttp) -> None:
    """As documented (novita.ai/docs, basic error codes)."""
    provider_request = PROVIDER_REQUESTS["novita", "text-to-video"]
    headers = {"Authorization": "Bearer no"}
    response = await http(
        "POST",
        f"{sandbox.url}/direct/{provider_request.host}{provider_request.path}",
        json=provider_request.body,
        headers=headers,
    )
    assert (response.status, response.json["reason"]) == (403, "INVALID_API_KEY")


async def test_provider_keys_and_the_token_are_not_interchangeable(sandbox: Sandbox, http: PlainHttp) -> None:
    """The router rejects provider keys, and providers reject the token."""
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
async def test_an_unknown_path_is_rejected(sandbox: Sandbox, http: PlainHttp, provider: str) -> None:
    """An unknown path is a 4xx of the provider, never an image."""
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    response = await http("GET", f"{sandbox.url}/router/{provider}/no/such/thing", headers=headers)
    assert 400 <= response.status < 500
    assert not sandbox.submissions


@pytest.mark.parametrize(("provider", "task"), [key for key in PROVIDER_REQUESTS if key[1] == "text-to-image"])
@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", b"null", b"{}", b'{"prompt": 7}', b'{"prompt": "", "inputs": "", "input": {}}'],
)
async def test_an_invalid_body_is_rejected_and_not_counted(
    sandbox: Sandbox, http: PlainHttp, provider: str, task: str, body: bytes
) -> None:
    """4xx with JSON; nothing is billed."""
    provider_request = PROVIDER_REQUESTS[provider, task]
    base, headers = endpoint_of(sandbox, provider, provider_request, "router")
    headers |= {"Content-Type": "application/json"}
    response = await http("POST", base + provider_request.path, data=body, headers=headers)
    assert 400 <= response.status < 500
    assert response.json
    assert not sandbox.submissions


@pytest.mark.parametrize(("provider", "task"), [key for key in PROVIDER_REQUESTS if key[1] == "text-to-image"])
async def test_the_router_adds_its_headers(sandbox: Sandbox, http: PlainHttp, provider: str, task: str) -> None:
    """A request ID, like the real router's; and the billed organization is recorded."""
    response = await submit(http, sandbox, provider, task, extra_headers={"X-HF-Bill-To": "sandbox-org"})
    assert response.headers["Inference-Id"]
    (job,) = sandbox.jobs.values()
    assert (job.bill_to, job.service) == ("sandbox-org", provider)


async def test_a_model_of_another_provider_is_unknown(sandbox: Sandbox, http: PlainHttp) -> None:
    """A model that is not served is rejected, by the router itself for fal-ai."""
    response = await submit(http, sandbox, "together", "text-to-image", model="acme/nothing")
    assert (response.status, response.json["error"]["code"]) == (404, "model_not_available")
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    response = await http("POST", f"{sandbox.url}/router/fal-ai/acme/nothing", json={"prompt": "a"}, headers=headers)
    assert (response.status, response.json) == (400, {"error": "Model not supported by provider fal-ai"})
