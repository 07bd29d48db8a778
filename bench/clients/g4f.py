"""g4f's HuggingFaceMedia: it returns a URL, so the bytes are downloaded here like in the floor. No videos."""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

module: Any = importlib.import_module("g4f.Provider.needs_auth.hf.HuggingFaceMedia")
URL_REPLACEMENTS = {
    "https://router.huggingface.co": os.environ.get("HFMEDIA_ROUTER", ""),
    "https://huggingface.co": os.environ.get("HF_ENDPOINT", ""),
}


def rewrite_url(url: str) -> str:
    """Rewrite a real URL to the simulated environment."""
    for original, replacement in URL_REPLACEMENTS.items():
        url = url.replace(original, replacement)
    return url


_request = aiohttp.ClientSession._request


async def _redirected_request(self: aiohttp.ClientSession, method: str, url: Any, **options: Any) -> Any:
    return await _request(self, method, rewrite_url(str(url)), **options)


aiohttp.ClientSession._request = _redirected_request  # type: ignore[method-assign]


class Client:
    """The provider class, and a session for downloads, which it leaves to its callers."""

    def __init__(self, session: aiohttp.ClientSession, folder: Path) -> None:
        self.session, self.folder, self.counter = session, folder, itertools.count()

    async def image(self, model: str, prompt: str) -> Path:
        """Create an image file."""
        path, urls = self.folder / str(next(self.counter)), []
        generator = module.HuggingFaceMedia.create_async_generator(
            model=f"{model}:fal-ai", messages=[], prompt=prompt, api_key=os.environ["HF_TOKEN"]
        )
        async for part in generator:
            urls += part.get_list() if hasattr(part, "get_list") else []
        async with self.session.get(urls[0]) as response:
            with path.open("wb") as file:
                async for chunk in response.content.iter_chunked(262144):
                    file.write(chunk)
        return path


@asynccontextmanager
async def open_client(folder: Path) -> AsyncIterator[Client]:
    """Open a client whose session has no connection limit."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Client(session, folder)
