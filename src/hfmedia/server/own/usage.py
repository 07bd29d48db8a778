"""/v1/usage and /v1/providers: what was made and what it cost, and how the providers are."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from hfmedia.core.costs import Tally
from hfmedia.providers import PROVIDERS
from hfmedia.server.books.orders import order_of_key
from hfmedia.server.entrance.caller import Caller
from hfmedia.server.entrance.gate import admitted
from hfmedia.server.errors import READING, answers
from hfmedia.server.gateway import Gateway
from hfmedia.server.here import gateway_of

router = APIRouter(tags=["usage"])
Asking = Annotated[Caller, Depends(admitted)]
PAGE = 200  # orders read at once
UNBEGUN = 86_400.0  # seconds that an order's last job may come after the order: it is not carried on for longer


class CostsView(BaseModel):
    """What jobs cost as providers reported it, by unit (``USD``, …); ``unknown`` counts those that may be billed and of
    which nobody told the price.
    """

    jobs: int
    told: dict[str, float]
    known: int
    unknown: int
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
    under_way: int


class ProviderView(BaseModel):
    """How a provider is: ``resting`` is the seconds for which it is asked last, ``reason`` its last trouble here."""

    name: str
    tasks: list[str]
    cancels: bool
    resting: float
    reason: str | None
    reason_at: float | None


class ProviderList(BaseModel):
    """The providers that the gateway knows by name."""

    object: Literal["list"] = "list"
    data: list[ProviderView]


@router.get("/v1/usage", responses=answers(*READING))
async def get_usage(request: Request, caller: Asking) -> UsageView:
    """What you made and spent, today and this month (UTC)."""
    gateway, now = gateway_of(request), time.time()
    used = gateway.book.usage(caller.key, now)
    today, month = await _spent(gateway, caller, now)
    return UsageView(
        name=caller.name,
        limits=LimitsView(
            models=list(caller.limits.models),
            requests_per_minute=caller.limits.requests_per_minute,
            images_per_day=caller.limits.images_per_day,
            videos_per_day=caller.limits.videos_per_day,
            usd_per_month=caller.limits.usd_per_month,
        ),
        images_today=used.images_today,
        videos_today=used.videos_today,
        usd_month=used.usd_month,
        usd_reserved=used.reserved_now,
        day_resets_at=used.day_resets,
        month_resets_at=used.month_resets,
        today=_costs(today),
        month=_costs(month),
        under_way=gateway.works.under_way(None if caller.admin else caller.key),
    )


@router.get("/v1/providers", responses=answers(*READING))
async def list_providers(request: Request, caller: Asking) -> ProviderList:
    """The providers, which of them are resting, and why."""
    gateway = gateway_of(request)
    told: list[ProviderView] = []
    for name, known in PROVIDERS.items():
        reason = gateway.reasons.of(name, caller)
        told.append(
            ProviderView(
                name=name,
                tasks=list(known.tasks),
                cancels=known.cancels,
                resting=round(gateway.client.health.resting(name), 1),
                reason=reason.words if reason else None,
                reason_at=reason.at if reason else None,
            )
        )
    return ProviderList(data=told)


async def _spent(gateway: Gateway, caller: Caller, now: float) -> tuple[Tally, Tally]:
    """What the caller's jobs cost, of today and of this month; everybody's for an admin."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    midnight, begin = day.timestamp(), day.replace(day=1).timestamp()
    mine = None if caller.admin else await asyncio.to_thread(_orders_since, gateway, caller.key, begin)
    today, month = Tally(), Tally()
    async for job in gateway.client.ledger.jobs(since=begin):
        named = order_of_key(job.key)
        if named is not None and (mine is None or named[0] in mine):
            month.add(job)
            if job.created >= midnight:
                today.add(job)
    return today, month


def _orders_since(gateway: Gateway, key: str, begin: float) -> set[str]:
    """The ids of a key's orders that may have jobs from that time on."""
    found: set[str] = set()
    past: str | None = None
    while orders := gateway.book.orders(key, after=past, limit=PAGE):
        found |= {order.id for order in orders}
        past = orders[-1].id
        if orders[-1].at < begin - UNBEGUN:
            break
    return found


def _costs(tally: Tally) -> CostsView:
    made = tally.sum()
    return CostsView(jobs=made.jobs, told=made.told, known=made.known, unknown=made.unknown, free=made.free)
