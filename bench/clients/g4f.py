"""g4f's HuggingFaceMedia: it hands out an address, and the bytes are fetched here as by the floor. No videos."""

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
HERE = {
    "https://router.huggingface.co": os.environ.get("HFMEDIA_ROUTER", ""),
    "https://huggingface.co": os.environ.get("HF_ENDPOINT", ""),
}


def here(url: str) -> str:
    """An address of the real world, in this one."""
    for there, instead in HERE.items():
        url = url.replace(there, instead)
    return url


_request = aiohttp.ClientSession._request


async def _led(self: aiohttp.ClientSession, method: str, url: Any, **more: Any) -> Any:
    return await _request(self, method, here(str(url)), **more)


aiohttp.ClientSession._request = _led  # type: ignore[method-assign]


class Client:
    """The provider class, and a session for what it leaves to its callers."""

    def __init__(self, session: aiohttp.ClientSession, folder: Path) -> None:
        self.session, self.folder, self.numbers = session, folder, itertools.count()

    async def image(self, model: str, prompt: str) -> Path:
        """A file."""
        path, urls = self.folder / str(next(self.numbers)), []
        made = module.HuggingFaceMedia.create_async_generator(
            model=f"{model}:fal-ai", messages=[], prompt=prompt, api_key=os.environ["HF_TOKEN"]
        )
        async for part in made:
            urls += part.get_list() if hasattr(part, "get_list") else []
        async with self.session.get(urls[0]) as reply:
            with path.open("wb") as file:
                async for chunk in reply.content.iter_chunked(262144):
                    file.write(chunk)
        return path


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Client]:
    """A session without limits."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Client(session, folder)
