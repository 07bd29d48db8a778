"""A simulated Hub, router, eight providers and CDN on loopback: for trying, teaching and testing. Nothing is real.

Its protocols are written from the providers' documentation, apart from the modules that speak to the real ones, so that
both can be wrong only separately. Which faults can be ordered, per provider and per request, is the table in
``hfmedia.sandbox.faults``; ``GET /sandbox/help`` prints it.
"""

from __future__ import annotations

from .server import Sandbox, serve_forever

__all__ = ["Sandbox", "serve_forever"]
