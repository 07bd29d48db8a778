"""Routing: which providers are asked for a model, in which order, where, and with which credential."""

from __future__ import annotations

from .credentials import keyring
from .memory import Health, Observed, Slots
from .routes import Plan, routes

__all__ = ["Health", "Observed", "Plan", "Slots", "keyring", "routes"]
