"""Orders apart from connections: whose they are, who pays, how many at once, what they may, and what is counted."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from hfmedia.server.config import Price
from tests.support.gateway import RunningGateway, Serve
from tests.support.gateway_jobs import TIMEOUT, asked, bearer, key_for, made
from tests.support.models import FLUX, WAN


async def test_nobody_sees_the_jobs_of_another_key_but_an_admin(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """Not in lists, not by id, not to cancel or delete."""
    alice, bob, boss = (key_for(gateway, name, admin=name == "boss") for name in ("alice", "bob", "boss"))
    wish = {"prompt": "a fox", "model": FLUX}
    _, told = await asked(http, "POST", f"{gateway.api}/jobs", json=wish, headers=bearer(alice))
    url = f"{gateway.api}/jobs/{told['data'][0]['id']}"
    assert (await asked(http, "GET", url))[0] == 401
    for method, more in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/restore"), ("DELETE", "")):
        assert (await asked(http, method, url + more, headers=bearer(bob)))[0] == 404, (method, more)
    assert (await asked(http, "GET", f"{gateway.api}/jobs", headers=bearer(bob)))[1]["data"] == []
    for who in (alice, boss):
        assert (await asked(http, "GET", url, headers=bearer(who)))[0] == 200
        assert len((await asked(http, "GET", f"{gateway.api}/jobs", headers=bearer(who)))[1]["data"]) == 1


async def test_a_key_bills_its_own_organisation(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """The header goes upstream with its orders alone."""
    mine = key_for(gateway, "team", bill_to="their-company")
    plain = key_for(gateway, "plain")
    for key in (mine, plain):
        wish = {"prompt": "a fox", "model": f"{FLUX}:together"}
        _, told = await asked(http, "POST", f"{gateway.api}/jobs", json=wish, headers=bearer(key))
        job = f"{gateway.api}/jobs/{told['data'][0]['id']}"
        async with asyncio.timeout(TIMEOUT):
            while (await asked(http, "GET", job, headers=bearer(key)))[1]["stage"] != "ended":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    sent = gateway.sandbox_thread.run(lambda: [one.headers for one in gateway.sandbox.requests if one.kind == "submit"])
    assert [headers.get("X-HF-Bill-To") for headers in sent] == ["their-company", None]


async def test_a_caller_may_pay_with_an_own_token(serve: Serve, http: aiohttp.ClientSession) -> None:
    """The operator's is not used, and the jobs are the caller's alone; the next start waits for the caller's return."""
    gateway = serve(caller_tokens=True, environ={"HF_TOKEN": "hf_the_operators_own_token"})
    own = bearer(gateway.sandbox.token)
    gateway.fault("wavespeed", "cold", seconds=100)
    wish = {"prompt": "waves", "model": f"{WAN}:wavespeed", "task": "text-to-video"}
    status, told = await asked(http, "POST", f"{gateway.api}/jobs", json=wish, headers=own)
    assert status == 202, told
    job_id = told["data"][0]["id"]
    sent = gateway.sandbox_thread.run(lambda: [one.headers for one in gateway.sandbox.requests if one.kind == "submit"])
    assert {headers["Authorization"] for headers in sent} <= {own["Authorization"]}
    assert (await asked(http, "GET", f"{gateway.api}/jobs/{job_id}", headers=bearer("hf_somebody_elses_token")))[
        0
    ] == 404
    gateway.close()
    again = serve(caller_tokens=True, environ={"HF_TOKEN": "hf_the_operators_own_token"})
    async with asyncio.timeout(TIMEOUT * 2):
        while (await asked(http, "GET", f"{again.api}/jobs/{job_id}", headers=own))[1]["stage"] != "ended":  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert (await asked(http, "GET", f"{again.api}/jobs/{job_id}", headers=own))[1]["status"] == "completed"
    assert again.submissions == 1
    for file in (again.gateway.client.settings.home).rglob("*"):
        assert not file.is_file() or gateway.sandbox.token.encode() not in file.read_bytes(), file


async def test_a_caller_has_so_many_jobs_under_way_and_no_more(serve: Serve, http: aiohttp.ClientSession) -> None:
    """Beyond that it is told to come again; what was refused left nothing behind."""
    gateway = serve(most_jobs=3)
    gateway.fault("fal-ai", "cold", seconds=5000, times=10)
    wish = {"prompt": "waves", "model": f"{WAN}:fal-ai", "task": "text-to-video", "n": 2}
    (first, _) = await made(http, gateway, **wish)
    status, told = await asked(http, "POST", f"{gateway.api}/jobs", json=wish)
    assert (status, told["error"]["code"]) == (429, "too_many_jobs")
    assert len((await asked(http, "GET", f"{gateway.api}/jobs"))[1]["data"]) == 2
    await asked(http, "POST", f"{gateway.api}/jobs/{first['id']}/cancel")


async def test_a_hundred_racing_for_the_last_cent_never_spend_more(serve: Serve, http: aiohttp.ClientSession) -> None:
    """Exactly as many as the month's money holds are made; the others are told when it resets."""
    gateway = serve(prices={FLUX: Price(output=0.01)}, most_jobs=1000)
    key = key_for(gateway, "racer", usd_per_month=0.05)
    wish = {"prompt": "a fox", "model": f"{FLUX}:together"}
    asking = [asked(http, "POST", f"{gateway.api}/jobs", json=wish, headers=bearer(key)) for _ in range(100)]
    told = await asyncio.gather(*asking)
    assert sorted({status for status, _ in told}) == [202, 429]
    assert sum(status == 202 for status, _ in told) == 5
    over = next(answer for status, answer in told if status == 429)
    assert over["error"]["code"] == "insufficient_quota"
    assert over["error"]["resets_at"] > time.time()
    assert gateway.submissions <= 5


async def test_a_model_that_the_key_may_not_use_is_refused(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """Also when no model is named and the default is another one."""
    key = key_for(gateway, "narrow", models=("Qwen/*",))
    for wish in ({"prompt": "x", "model": FLUX}, {"prompt": "x"}, {"prompt": "x", "task": "text-to-image"}):
        status, told = await asked(http, "POST", f"{gateway.api}/jobs", json=wish, headers=bearer(key))
        assert (status, told["error"]["code"]) == (403, "model_not_allowed"), wish
    assert gateway.submissions == 0


@pytest.mark.parametrize("fault", ["credit", "rate-limit", "server"])
async def test_nothing_is_counted_of_what_nobody_accepted(
    gateway: RunningGateway, http: aiohttp.ClientSession, fault: str
) -> None:
    """Refused everywhere: no money is set aside any more, and the idempotency key is free for another try."""
    gateway.fault("together", fault, times=20)
    key = key_for(gateway, "someone", images_per_day=1)
    headers = {**bearer(key), "Idempotency-Key": "mine"}
    wish = {"prompt": "a fox", "model": f"{FLUX}:together"}
    _, told = await asked(http, "POST", f"{gateway.api}/jobs", json=wish, headers=headers)
    job_id = told["data"][0]["id"]
    async with asyncio.timeout(TIMEOUT):
        while True:
            _, used = await asked(http, "GET", f"{gateway.api}/usage", headers=bearer(key))
            _, job = await asked(http, "GET", f"{gateway.api}/jobs/{job_id}", headers=bearer(key))
            if job["stage"] == "ended" and not used["usd_reserved"]:
                break
            await asyncio.sleep(0.05)
    assert (job["status"], used["images_today"], used["usd_month"]) == ("failed", 0, 0.0)
    gateway.sandbox_thread.run(gateway.sandbox.clear)
    _, again = await asked(http, "POST", f"{gateway.api}/jobs", json=wish, headers=headers)
    assert again["data"][0]["id"] != job_id
