"""Providers by their names on the Hub; each is a table of capabilities and two pure functions, encode and decode.

Unknown names use the OpenAI images dialect, so that a new provider works from its first day.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..core.provider import Provider
from .fal_ai import FAL_AI
from .hf_inference import HF_INFERENCE
from .novita import NOVITA
from .nscale import NSCALE
from .openai_images import openai_images
from .replicate import REPLICATE
from .together import TOGETHER
from .wavespeed import WAVESPEED
from .zai_org import ZAI_ORG

PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (FAL_AI, REPLICATE, TOGETHER, NOVITA, NSCALE, WAVESPEED, ZAI_ORG, HF_INFERENCE)
}


def get_provider(name: str) -> Provider:
    """Return a provider by name; an unknown one uses the OpenAI images dialect through the router."""
    return PROVIDERS.get(name) or openai_images(name)


__all__ = ["PROVIDERS", "get_provider"]
