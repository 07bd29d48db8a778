"""Catalog: the Hub's models and their providers, cached in memory and on disk."""

from __future__ import annotations

from .catalog import Catalog
from .hub_client import Account

__all__ = ["Account", "Catalog"]
