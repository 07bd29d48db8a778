"""Routing: which providers to try for a model, in which order, at which endpoint and with which credential."""

from __future__ import annotations

from .endpoints import credential_resolver, require_credential
from .health import ConcurrencyLimiter, ProviderHealth
from .planner import RoutePlan, infer_task, plan_routes
from .stats import LedgerStats, ProviderStats

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
