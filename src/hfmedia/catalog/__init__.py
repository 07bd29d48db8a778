"""The catalog: what the Hub says of models and their providers, asked seldom and remembered."""

from __future__ import annotations

from .catalog import Catalog
from .hub_client import Account

__all__ = ["Account", "Catalog"]
