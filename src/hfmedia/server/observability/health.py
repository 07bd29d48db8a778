"""/healthz and /readyz: liveness, and readiness to run jobs. Neither sends requests to providers."""

from __future__ import annotations

import asyncio
import shutil

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from hfmedia._version import __version__
from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import ModelSpec
from hfmedia.routing import require_credential
from hfmedia.server.dependencies import GatewayDep
from hfmedia.server.gateway import Gateway

router = APIRouter(tags=["observability"])
MIB = 1024 * 1024
MIN_FREE_BYTES = 256 * MIB  # bytes free on the disk, for a video or two and the ledger


class HealthView(BaseModel):
    """Liveness. ``sandbox``: all outputs are simulated; ``keys``: whether requests require an API key."""

    status: str
    version: str
    sandbox: bool
    keys: bool


class Readiness(BaseModel):
    """Readiness to run jobs, and the reasons if not ready."""

    ready: bool
    reasons: list[str]


@router.get("/healthz")
async def healthz(gateway: GatewayDep) -> HealthView:
    """Report that the gateway is running."""
    return HealthView(status="ok", version=__version__, sandbox=gateway.sandbox, keys=gateway.database.requires_keys())


@router.get("/readyz", responses={200: {"model": Readiness}, 503: {"model": Readiness}})
async def readyz(gateway: GatewayDep) -> JSONResponse:
    """Report whether a job could run: a writable ledger, free disk space, a credential."""
    reasons = await readiness_problems(gateway)
    return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


async def readiness_problems(gateway: Gateway) -> list[str]:
    """Return the reasons why no job could run; empty if one could."""
    reasons: list[str] = []
    if gateway.runner.is_shutting_down:
        reasons.append("the gateway is shutting down")
    home = gateway.client.settings.home
    try:
        await gateway.client.ledger.claim("readyz")
        await gateway.client.ledger.release("readyz")
        free_bytes = (await asyncio.to_thread(shutil.disk_usage, home)).free
        if free_bytes < MIN_FREE_BYTES:
            reasons.append(f"the disk has {free_bytes // MIB} MiB free, but needs {MIN_FREE_BYTES // MIB} MiB")
    except (HfmediaError, OSError) as error:
        reasons.append(f"the ledger cannot be written: {error}")
    if not gateway.config.allow_caller_tokens:
        try:
            require_credential(ModelSpec("", provider=None), gateway.client.settings)
        except HfmediaError as error:
            reasons.append(error.message)
    return reasons
