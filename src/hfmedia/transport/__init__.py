"""HTTP in and out: one class that sends requests and fetches media, and the limits it keeps.

Everything public of the transport is listed here; the rest of hfmedia sees it through core.ports.
"""

from __future__ import annotations

from .limits import TransportLimits
from .sessions import Resolve
from .transport import BODY_OMITTED_HEADER, Transport

__all__ = ["BODY_OMITTED_HEADER", "Resolve", "Transport", "TransportLimits"]
