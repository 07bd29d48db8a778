"""Every provider by its name on the Hub, each a table of what it can do and two pure functions.

A name that is not here is spoken to in the OpenAI images dialect, so that a new provider works the day it appears.
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
    one.name: one for one in (FAL_AI, REPLICATE, TOGETHER, NOVITA, NSCALE, WAVESPEED, ZAI_ORG, HF_INFERENCE)
}


def get_provider(name: str) -> Provider:
    """The provider of that name; one that is not known speaks the OpenAI images dialect through the router."""
    return PROVIDERS.get(name) or openai_images(name)


__all__ = ["PROVIDERS", "get_provider"]
