"""The JSON of the gateway's own API, against golden files: a change of a name or a value is always deliberate."""

from __future__ import annotations

import aiohttp

from tests.support.gateway import RunningGateway
from tests.support.gateway_jobs import asked, ended, made
from tests.support.golden import assert_golden
from tests.support.models import FLUX


async def test_the_native_api(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """A stored job after a failover, the list, usage, providers and a preview."""
    gateway.fault("fal-ai", "credit")
    fields = {"prompt": "a red fox", "model": FLUX, "seed": 7, "size": "512x512"}
    (job,) = await made(http, gateway, **fields)
    await ended(http, gateway, job["id"])
    for name, path in (("job", f"jobs/{job['id']}"), ("jobs", "jobs"), ("usage", "usage"), ("providers", "providers")):
        status, body = await asked(http, "GET", f"{gateway.api}/{path}")
        assert status == 200, body
        assert_golden(f"api_{name}", body)
    status, body = await asked(http, "POST", f"{gateway.api}/jobs/preview", json=fields)
    assert status == 200, body
    assert_golden("api_preview", body)
    status, body = await asked(http, "GET", f"{gateway.api}/jobs/missing")
    assert status == 404
    assert_golden("api_error", body)
