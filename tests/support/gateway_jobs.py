"""Requests to a gateway: jobs, images, keys."""

from __future__ import annotations

import asyncio
import time
from io import BytesIO
from typing import Any

import aiohttp
from PIL import Image

from hfmedia.server.db.api_keys import ApiKey, KeyLimits, generate_api_key

from .gateway import RunningGateway
from .models import FLUX

TIMEOUT = 30  # seconds, a gross bound
TOGETHER, REPLICATE = f"{FLUX}:together", f"{FLUX}:replicate"
GENERATE = "images/generations"


async def asked(http: aiohttp.ClientSession, method: str, url: str, **more: Any) -> tuple[int, Any]:
    """Sends a request; returns the status and the decoded JSON body."""
    async with http.request(method, url, **more) as response:
        return response.status, await response.json()


async def made(http: aiohttp.ClientSession, gateway: RunningGateway, **fields: Any) -> list[dict[str, Any]]:
    """Creates jobs with `POST /v1/jobs` and returns them."""
    async with http.post(f"{gateway.api}/jobs", json=fields) as response:
        body = await response.json()
        assert response.status == 202, body
        assert response.headers["x-should-retry"] == "false"
        jobs: list[dict[str, Any]] = body["data"]
        return jobs


async def ended(http: aiohttp.ClientSession, gateway: RunningGateway, job_id: str) -> dict[str, Any]:
    """Polls a job until it has ended and returns it."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            async with http.get(f"{gateway.api}/jobs/{job_id}") as response:
                job: dict[str, Any] = await response.json()
            if job["stage"] == "ended":
                return job
            await asyncio.sleep(0.05)


async def generated(http: aiohttp.ClientSession, gateway: RunningGateway, **fields: Any) -> tuple[int, dict[str, Any]]:
    """Sends an image request; returns the status and the decoded body."""
    return await asked(http, "POST", f"{gateway.api}/{GENERATE}", json={"prompt": "a fox", "model": FLUX, **fields})


def png(width: int = 96, height: int = 64) -> bytes:
    """A small PNG image."""
    buffer = BytesIO()
    Image.new("RGB", (width, height), "orange").save(buffer, "PNG")
    return buffer.getvalue()


def key_for(
    gateway: RunningGateway, name: str, *, admin: bool = False, bill_to: str | None = None, **limits: Any
) -> str:
    """Creates an API key in the gateway's database and returns its plaintext."""
    key_id, text, digest = generate_api_key()
    key = ApiKey(id=key_id, name=name, created_at=time.time(), limits=KeyLimits(**limits), admin=admin, bill_to=bill_to)
    gateway.gateway.database.add_key(key, digest)
    return text


def bearer(text: str) -> dict[str, str]:
    """The request headers that authenticate with this key."""
    return {"Authorization": f"Bearer {text}"}
