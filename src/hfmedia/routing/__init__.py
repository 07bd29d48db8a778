"""Routing: which providers are asked for a model, in which order, where, and with which credential."""

from __future__ import annotations

from .endpoints import credential_resolver, require_credential
from .health import ConcurrencyLimiter, ProviderHealth, ProviderStats
from .planner import RoutePlan, plan_routes
from .stats import LedgerStats
from .tasks import infer_task

__all__ = [
    "ConcurrencyLimiter",
    "LedgerStats",
    "ProviderHealth",
    "ProviderStats",
    "RoutePlan",
    "credential_resolver",
    "infer_task",
    "plan_routes",
    "require_credential",
]
