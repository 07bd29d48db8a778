"""/healthz and /readyz: whether it lives, and whether a job could run now. Neither asks a provider anything."""

from __future__ import annotations

import asyncio
import shutil

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from hfmedia._version import __version__
from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import ModelSpec
from hfmedia.routing import require_credential
from hfmedia.server.dependencies import get_gateway
from hfmedia.server.gateway import Gateway

router = APIRouter(tags=["watching"])
MIN_FREE_BYTES = 256 * 1024 * 1024  # bytes free on the disk; a video or two, and the ledger


class HealthView(BaseModel):
    """It lives. ``sandbox``: everything it makes is a simulation; ``keys``: whether callers need one."""

    status: str
    version: str
    sandbox: bool
    keys: bool


class Readiness(BaseModel):
    """Whether a job could run now, and if not, why."""

    ready: bool
    reasons: list[str]


@router.get("/healthz")
async def healthz(request: Request) -> HealthView:
    """Whether it lives."""
    gateway = get_gateway(request)
    return HealthView(status="ok", version=__version__, sandbox=gateway.sandbox, keys=gateway.database.requires_keys())


@router.get("/readyz", responses={200: {"model": Readiness}, 503: {"model": Readiness}})
async def readyz(request: Request) -> JSONResponse:
    """Whether a job could run now: a ledger that can be written, room on the disk, a credential."""
    reasons = await readiness_problems(get_gateway(request))
    return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


async def readiness_problems(gateway: Gateway) -> list[str]:
    """Why no job could run now; empty when one could."""
    reasons: list[str] = []
    if gateway.runner.is_shutting_down:
        reasons.append("the gateway is stopping")
    home = gateway.client.settings.home
    try:
        await gateway.client.ledger.claim("readyz")
        await gateway.client.ledger.release("readyz")
        free_bytes = (await asyncio.to_thread(shutil.disk_usage, home)).free
        if free_bytes < MIN_FREE_BYTES:
            reasons.append(
                f"the disk has {free_bytes // (1024 * 1024)} MiB left, and {MIN_FREE_BYTES // (1024 * 1024)} are needed"
            )
    except (HfmediaError, OSError) as error:
        reasons.append(f"the ledger cannot be written: {error}")
    if not gateway.config.allow_caller_tokens:
        try:
            require_credential(ModelSpec("", provider=None), gateway.client.settings)
        except HfmediaError as error:
            reasons.append(error.message)
    return reasons
