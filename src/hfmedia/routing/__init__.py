"""Routing: which providers are asked for a model, in which order, where, and with which credential."""

from __future__ import annotations

from .credentials import require_credential, credential_resolver
from .memory import ProviderHealth, ProviderStats, ConcurrencyLimiter
from .past import LedgerStats
from .routes import RoutePlan, plan_routes
from .tasks import infer_task

__all__ = [
    "ProviderHealth",
    "ProviderStats",
    "LedgerStats",
    "RoutePlan",
    "ConcurrencyLimiter",
    "require_credential",
    "credential_resolver",
    "plan_routes",
    "infer_task",
]
