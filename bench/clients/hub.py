"""huggingface_hub's AsyncInferenceClient: an image is a Pillow image, not saved; a video is bytes, saved to a file."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import AsyncInferenceClient, constants
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference._providers import _common, fal_ai

constants.INFERENCE_PROXY_TEMPLATE = os.environ.get("HFMEDIA_ROUTER", "") + "/{provider}"
_parse = fal_ai.urlparse


def _parse_routed(url: str) -> Any:
    """Add the provider name to poll URLs, which the client does for the real router's host only."""
    parsed = _parse(url)
    return parsed._replace(netloc=parsed.netloc + "/router/fal-ai") if parsed.netloc.startswith("127.") else parsed


fal_ai.urlparse = _parse_routed


class Client:
    """One client per provider."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.counter = folder, itertools.count()
        self.clients: dict[str, Any] = {}

    async def image(self, model: str, prompt: str) -> Any:
        """Create a Pillow image."""
        return await self._client_for(model, "text-to-image").text_to_image(prompt, model=model)

    async def video(self, model: str, prompt: str) -> Any:
        """Create a video file from the returned bytes."""
        path = self.folder / str(next(self.counter))
        path.write_bytes(await self._client_for(model, "text-to-video").text_to_video(prompt, model=model))
        return path

    def _client_for(self, model: str, task: str) -> Any:
        provider = "nscale" if model == "bench/inline" else "fal-ai"
        _common.HARDCODED_MODEL_INFERENCE_MAPPING[provider][model] = InferenceProviderMapping(
            provider=provider, hf_model_id=model, providerId=model, status="live", task=task
        )
        if provider not in self.clients:
            self.clients[provider] = AsyncInferenceClient(provider=provider, api_key=os.environ["HF_TOKEN"])
        return self.clients[provider]


@asynccontextmanager
async def open_client(folder: Path) -> AsyncIterator[Client]:
    """Open a client that creates its clients per provider on first use."""
    yield Client(folder)
