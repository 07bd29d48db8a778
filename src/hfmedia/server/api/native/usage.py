"""/v1/usage and /v1/providers: what was made and what it cost, and how the providers are."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from hfmedia.core.costs import CostAccumulator
from hfmedia.providers import PROVIDERS
from hfmedia.server.auth.authentication import require_caller
from hfmedia.server.auth.caller import Caller
from hfmedia.server.db.generations import parse_job_key
from hfmedia.server.dependencies import get_gateway
from hfmedia.server.errors import READ_ERRORS, error_responses
from hfmedia.server.gateway import Gateway

router = APIRouter(tags=["usage"])
CallerDep = Annotated[Caller, Depends(require_caller)]
PAGE_SIZE = 200  # orders read at once
NOT_STARTED_SECONDS = (
    86_400.0  # seconds that an order's last job may come after the order: it is not carried on for longer
)


class CostsView(BaseModel):
    """What jobs cost as providers reported it, by unit (``USD``, …); ``unknown`` counts those that may be billed and of
    which nobody told the price.
    """

    jobs: int
    reported: dict[str, float]
    jobs_with_cost: int
    jobs_without_cost: int
    free: int


class LimitsView(BaseModel):
    """What a key may; None is no limit."""

    models: list[str]
    requests_per_minute: int | None
    images_per_day: int | None
    videos_per_day: int | None
    usd_per_month: float | None


class UsageView(BaseModel):
    """What was made. ``usd_month`` is what counts towards the limit: reported, or else estimated; in USD, with what is
    set aside for jobs under way. Times are unix seconds.
    """

    object: Literal["usage"] = "usage"
    name: str
    limits: LimitsView
    images_today: int
    videos_today: int
    usd_month: float
    usd_reserved: float
    day_resets_at: float
    month_resets_at: float
    today: CostsView
    month: CostsView
    active_jobs: int


class ProviderView(BaseModel):
    """How a provider is: ``resting`` is the seconds for which it is asked last, ``reason`` its last trouble here."""

    name: str
    tasks: list[str]
    can_cancel: bool
    cooldown_seconds: float
    last_error: str | None
    last_error_at: float | None


class ProviderList(BaseModel):
    """The providers that the gateway knows by name."""

    object: Literal["list"] = "list"
    data: list[ProviderView]


@router.get("/v1/usage", responses=error_responses(*READ_ERRORS))
async def get_usage(request: Request, caller: CallerDep) -> UsageView:
    """What you made and spent, today and this month (UTC)."""
    gateway, now = get_gateway(request), time.time()
    usage = gateway.database.usage(caller.id, now)
    today, month = await _costs_by_period(gateway, caller, now)
    return UsageView(
        name=caller.name,
        limits=LimitsView(
            models=list(caller.limits.models),
            requests_per_minute=caller.limits.requests_per_minute,
            images_per_day=caller.limits.images_per_day,
            videos_per_day=caller.limits.videos_per_day,
            usd_per_month=caller.limits.usd_per_month,
        ),
        images_today=usage.images_today,
        videos_today=usage.videos_today,
        usd_month=usage.usd_month,
        usd_reserved=usage.reserved_usd_now,
        day_resets_at=usage.day_resets_at,
        month_resets_at=usage.month_resets_at,
        today=_costs_view(today),
        month=_costs_view(month),
        active_jobs=gateway.runner.active_count(None if caller.admin else caller.id),
    )


@router.get("/v1/providers", responses=error_responses(*READ_ERRORS))
async def list_providers(request: Request, caller: CallerDep) -> ProviderList:
    """The providers, which of them are resting, and why."""
    gateway = get_gateway(request)
    views: list[ProviderView] = []
    for name, known_provider in PROVIDERS.items():
        last_error = gateway.provider_errors.latest(name, caller)
        views.append(
            ProviderView(
                name=name,
                tasks=list(known_provider.tasks),
                can_cancel=known_provider.can_cancel,
                cooldown_seconds=round(gateway.client.health.cooldown_remaining(name), 1),
                last_error=last_error.message if last_error else None,
                last_error_at=last_error.timestamp if last_error else None,
            )
        )
    return ProviderList(data=views)


async def _costs_by_period(gateway: Gateway, caller: Caller, now: float) -> tuple[CostAccumulator, CostAccumulator]:
    """What the caller's jobs cost, of today and of this month; everybody's for an admin."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    midnight, month_start = day.timestamp(), day.replace(day=1).timestamp()
    generation_ids = (
        None if caller.admin else await asyncio.to_thread(_generation_ids_since, gateway, caller.id, month_start)
    )
    today, month = CostAccumulator(), CostAccumulator()
    async for job in gateway.client.ledger.iter_jobs(since=month_start):
        job_ref = parse_job_key(job.idempotency_key)
        if job_ref is not None and (generation_ids is None or job_ref[0] in generation_ids):
            month.add(job)
            if job.created_at >= midnight:
                today.add(job)
    return today, month


def _generation_ids_since(gateway: Gateway, caller_id: str, since: float) -> set[str]:
    """The ids of a key's orders that may have jobs from that time on."""
    generation_ids: set[str] = set()
    cursor: str | None = None
    while generations := gateway.database.generations(caller_id, after=cursor, limit=PAGE_SIZE):
        generation_ids |= {generation.id for generation in generations}
        cursor = generations[-1].id
        if generations[-1].created_at < since - NOT_STARTED_SECONDS:
            break
    return generation_ids


def _costs_view(accumulator: CostAccumulator) -> CostsView:
    summary = accumulator.summary()
    return CostsView(
        jobs=summary.jobs,
        reported=summary.reported,
        jobs_with_cost=summary.jobs_with_cost,
        jobs_without_cost=summary.jobs_without_cost,
        free=summary.free,
    )
