"""HTTP transport: one class that sends API requests and fetches media, and its limits.

Its public names are listed here; the rest of hfmedia uses it through the protocols of core.ports.
"""

from __future__ import annotations

from .limits import TransportLimits
from .sessions import Resolve
from .transport import BODY_OMITTED_HEADER, Transport

__all__ = ["BODY_OMITTED_HEADER", "Resolve", "Transport", "TransportLimits"]
