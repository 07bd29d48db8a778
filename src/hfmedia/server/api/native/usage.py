"""/v1/usage and /v1/providers: outputs and costs of a caller, and the state of the providers."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from hfmedia.core.costs import CostAccumulator
from hfmedia.providers import PROVIDERS
from hfmedia.server.auth.caller import Caller
from hfmedia.server.db.generations import parse_job_key
from hfmedia.server.dependencies import CallerDep, GatewayDep
from hfmedia.server.errors import READ_ERRORS, error_responses
from hfmedia.server.gateway import Gateway

router = APIRouter(tags=["usage"])
NOT_STARTED_SECONDS = 86_400.0  # seconds after its generation at which a job can still be created


class CostsView(BaseModel):
    """Costs of jobs as providers reported them, by unit (``USD``, …).

    ``jobs_without_cost`` counts jobs that may be billed and whose provider reported no cost.
    """

    jobs: int
    reported: dict[str, float]
    jobs_with_cost: int
    jobs_without_cost: int
    free: int


class LimitsView(BaseModel):
    """Limits of a key; null means unlimited."""

    models: list[str]
    requests_per_minute: int | None
    images_per_day: int | None
    videos_per_day: int | None
    usd_per_month: float | None


class UsageView(BaseModel):
    """Usage of a caller. ``usd_month`` is what counts toward the limit, in USD: reported or else estimated costs, and
    the reservations of active jobs. Times are unix seconds.
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
    """A provider. During ``cooldown_seconds`` it is tried last; ``last_error`` is its last error in this process."""

    name: str
    tasks: list[str]
    can_cancel: bool
    cooldown_seconds: float
    last_error: str | None
    last_error_at: float | None


class ProviderList(BaseModel):
    """The providers that the gateway supports."""

    object: Literal["list"] = "list"
    data: list[ProviderView]


@router.get("/v1/usage", responses=error_responses(*READ_ERRORS))
async def get_usage(request: Request, caller: CallerDep, gateway: GatewayDep) -> UsageView:
    """Get your outputs and costs of today and this month (UTC)."""
    now = time.time()
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
async def list_providers(caller: CallerDep, gateway: GatewayDep) -> ProviderList:
    """List the providers, with their cooldown and last error."""
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
    """Return the costs of the caller's jobs (for an administrator: of all jobs), of today and of this month."""
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
    """Return the IDs of a key's generations that may have jobs created since then."""
    generation_ids: set[str] = set()
    for page in gateway.database.iter_generations(caller_id):
        generation_ids |= {generation.id for generation in page}
        if page[-1].created_at < since - NOT_STARTED_SECONDS:
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
