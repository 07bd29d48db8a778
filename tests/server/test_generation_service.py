"""Generation service: ownership, billing accounts, limits, and what is charged."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from hfmedia.server.config import Price
from tests.support.gateway import RunningGateway, Serve
from tests.support.gateway_jobs import TIMEOUT, asked, bearer, key_for, made
from tests.support.models import FLUX, WAN


def submission_headers(gateway: RunningGateway) -> list[Any]:
    """Return the headers of each submission that the sandbox has received."""
    requests = gateway.sandbox.requests
    return list(gateway.sandbox_thread.run(lambda: [sent.headers for sent in requests if sent.kind == "submit"]))


async def test_only_an_admin_sees_the_jobs_of_another_key(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Other keys cannot list, read, cancel or delete them."""
    alice, bob, admin = (key_for(gateway, name, admin=name == "admin") for name in ("alice", "bob", "admin"))
    body = {"prompt": "a fox", "model": FLUX}
    _, response = await asked(http, "POST", f"{gateway.api}/jobs", json=body, headers=bearer(alice))
    url = f"{gateway.api}/jobs/{response['data'][0]['id']}"
    assert (await asked(http, "GET", url))[0] == 401
    for method, suffix in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/restore"), ("DELETE", "")):
        assert (await asked(http, method, url + suffix, headers=bearer(bob)))[0] == 404, (method, suffix)
    assert (await asked(http, "GET", f"{gateway.api}/jobs", headers=bearer(bob)))[1]["data"] == []
    for key in (alice, admin):
        assert (await asked(http, "GET", url, headers=bearer(key)))[0] == 200
        assert len((await asked(http, "GET", f"{gateway.api}/jobs", headers=bearer(key)))[1]["data"]) == 1


async def test_a_key_bills_its_own_organization(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """The header is sent upstream for its jobs only."""
    team = key_for(gateway, "team", bill_to="their-company")
    plain = key_for(gateway, "plain")
    for key in (team, plain):
        body = {"prompt": "a fox", "model": f"{FLUX}:together"}
        _, response = await asked(http, "POST", f"{gateway.api}/jobs", json=body, headers=bearer(key))
        job = f"{gateway.api}/jobs/{response['data'][0]['id']}"
        async with asyncio.timeout(TIMEOUT):
            while (await asked(http, "GET", job, headers=bearer(key)))[1]["stage"] != "ended":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    sent = submission_headers(gateway)
    assert [headers.get("X-HF-Bill-To") for headers in sent] == ["their-company", None]


async def test_a_caller_can_pay_with_their_own_token(serve: Serve, http: aiohttp.ClientSession) -> None:
    """The operator's is not used, only the caller sees the jobs, and after a restart they wait for the caller."""
    gateway = serve(allow_caller_tokens=True, environ={"HF_TOKEN": "hf_the_operators_own_token"})
    own = bearer(gateway.sandbox.token)
    gateway.fault("wavespeed", "cold", seconds=100)
    body = {"prompt": "waves", "model": f"{WAN}:wavespeed", "task": "text-to-video"}
    status, response = await asked(http, "POST", f"{gateway.api}/jobs", json=body, headers=own)
    assert status == 202, response
    job_id = response["data"][0]["id"]
    sent = submission_headers(gateway)
    assert {headers["Authorization"] for headers in sent} <= {own["Authorization"]}
    other = bearer("hf_token_of_another_caller")
    assert (await asked(http, "GET", f"{gateway.api}/jobs/{job_id}", headers=other))[0] == 404
    gateway.close()
    again = serve(allow_caller_tokens=True, environ={"HF_TOKEN": "hf_the_operators_own_token"})
    async with asyncio.timeout(TIMEOUT * 2):
        while (await asked(http, "GET", f"{again.api}/jobs/{job_id}", headers=own))[1]["stage"] != "ended":  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert (await asked(http, "GET", f"{again.api}/jobs/{job_id}", headers=own))[1]["status"] == "completed"
    assert again.submissions == 1
    for file in (again.gateway.client.settings.home).rglob("*"):
        assert not file.is_file() or gateway.sandbox.token.encode() not in file.read_bytes(), file


async def test_the_active_jobs_of_a_caller_are_limited(serve: Serve, http: aiohttp.ClientSession) -> None:
    """Above the limit a request is rejected and leaves nothing behind."""
    gateway = serve(max_jobs=3)
    gateway.fault("fal-ai", "cold", seconds=5000, times=10)
    body = {"prompt": "waves", "model": f"{WAN}:fal-ai", "task": "text-to-video", "n": 2}
    (first, _) = await made(http, gateway, **body)
    status, response = await asked(http, "POST", f"{gateway.api}/jobs", json=body)
    assert (status, response["error"]["code"]) == (429, "too_many_jobs")
    assert len((await asked(http, "GET", f"{gateway.api}/jobs"))[1]["data"]) == 2
    await asked(http, "POST", f"{gateway.api}/jobs/{first['id']}/cancel")


async def test_a_hundred_racing_for_the_last_cent_never_spend_more(serve: Serve, http: aiohttp.ClientSession) -> None:
    """Exactly as many as the monthly budget allows are accepted; the others receive the time of its reset."""
    gateway = serve(prices={FLUX: Price(output=0.01)}, max_jobs=1000)
    key = key_for(gateway, "racer", usd_per_month=0.05)
    body = {"prompt": "a fox", "model": f"{FLUX}:together"}
    requests = [asked(http, "POST", f"{gateway.api}/jobs", json=body, headers=bearer(key)) for _ in range(100)]
    responses = await asyncio.gather(*requests)
    assert sorted({status for status, _ in responses}) == [202, 429]
    assert sum(status == 202 for status, _ in responses) == 5
    rejected = next(response for status, response in responses if status == 429)
    assert rejected["error"]["code"] == "insufficient_quota"
    assert rejected["error"]["resets_at"] > time.time()
    assert gateway.submissions <= 5


async def test_a_model_that_the_key_does_not_allow_is_rejected(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """Also without a model, when the default is not allowed."""
    key = key_for(gateway, "narrow", models=("Qwen/*",))
    for body in ({"prompt": "x", "model": FLUX}, {"prompt": "x"}, {"prompt": "x", "task": "text-to-image"}):
        status, response = await asked(http, "POST", f"{gateway.api}/jobs", json=body, headers=bearer(key))
        assert (status, response["error"]["code"]) == (403, "model_not_allowed"), body
    assert gateway.submissions == 0


@pytest.mark.parametrize("fault", ["credit", "rate-limit", "server"])
async def test_nothing_is_charged_if_no_provider_accepted(
    gateway: RunningGateway, http: aiohttp.ClientSession, fault: str
) -> None:
    """The reservation is released, and the idempotency key can be used again."""
    gateway.fault("together", fault, times=20)
    key = key_for(gateway, "someone", images_per_day=1)
    headers = {**bearer(key), "Idempotency-Key": "mine"}
    body = {"prompt": "a fox", "model": f"{FLUX}:together"}
    _, response = await asked(http, "POST", f"{gateway.api}/jobs", json=body, headers=headers)
    job_id = response["data"][0]["id"]
    async with asyncio.timeout(TIMEOUT):
        while True:
            _, usage = await asked(http, "GET", f"{gateway.api}/usage", headers=bearer(key))
            _, job = await asked(http, "GET", f"{gateway.api}/jobs/{job_id}", headers=bearer(key))
            if job["stage"] == "ended" and not usage["usd_reserved"]:
                break
            await asyncio.sleep(0.05)
    assert (job["status"], usage["images_today"], usage["usd_month"]) == ("failed", 0, 0.0)
    gateway.sandbox_thread.run(gateway.sandbox.clear)
    _, again = await asked(http, "POST", f"{gateway.api}/jobs", json=body, headers=headers)
    assert again["data"][0]["id"] != job_id
