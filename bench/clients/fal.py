"""fal-client with fal's own queue: it returns a URL, so the bytes are downloaded here like in the floor."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import fal_client.client as module

module.QUEUE_URL_FORMAT = os.environ.get("HF_ENDPOINT", "") + "/queue/"


class Client:
    """fal's client with a key, and a session for downloads, which it leaves to its callers."""

    def __init__(self, session: aiohttp.ClientSession, folder: Path) -> None:
        self.session, self.folder, self.counter = session, folder, itertools.count()
        self.client = module.AsyncClient(key="bench:bench")

    async def video(self, model: str, prompt: str) -> Path:
        """Create a video file; fal-client does the polling."""
        path = self.folder / str(next(self.counter))
        result = await self.client.subscribe(model, {"prompt": prompt})
        async with self.session.get(result["video"]["url"]) as response:
            with path.open("wb") as file:
                async for chunk in response.content.iter_chunked(262144):
                    file.write(chunk)
        return path


@asynccontextmanager
async def open_client(folder: Path) -> AsyncIterator[Client]:
    """Open a client whose session has no connection limit."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Client(session, folder)
