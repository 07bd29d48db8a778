"""Routing: which providers are asked for a model, in which order, where, and with which credential."""

from __future__ import annotations

from .credentials import check_credential, keyring
from .memory import Health, Observed, Slots
from .past import Past
from .routes import Plan, routes
from .tasks import task_of

__all__ = ["Health", "Observed", "Past", "Plan", "Slots", "check_credential", "keyring", "routes", "task_of"]
