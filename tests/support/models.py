"""Models of the sandbox's catalog that many tests use."""

from __future__ import annotations

FLUX = "black-forest-labs/FLUX.1-schnell"
KONTEXT = "black-forest-labs/FLUX.1-Kontext-dev"
WAN = "Wan-AI/Wan2.2-T2V-A14B"
