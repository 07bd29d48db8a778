"""Simulated Hub, router, providers and CDN on loopback, for trying out, teaching and testing. Nothing is real.

Its protocols are written from the providers' documentation, independently of the modules that talk to the real
providers, so that the two sides cannot share a mistake. ``hfmedia.sandbox.faults`` is the table of faults that can be
injected per provider and per request; ``GET /sandbox/help`` prints it.
"""

from __future__ import annotations

from .server import Sandbox, serve_forever

__all__ = ["Sandbox", "serve_forever"]
