"""The floor: the bare requests with aiohttp, and the bytes into a file. No ledger, no checks, no digest, no retries."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

EVERY = 0.25  # seconds between two polls
BASE = os.environ.get("HFMEDIA_ROUTER", "")
HEADERS = {"Authorization": f"Bearer {os.environ.get('HF_TOKEN')}"}


class Client:
    """One session and a counter for names."""

    def __init__(self, session: aiohttp.ClientSession, folder: Path) -> None:
        self.session, self.folder, self.numbers = session, folder, itertools.count()

    async def image(self, model: str, prompt: str) -> Path:
        """A file."""
        path = self.folder / str(next(self.numbers))
        if model == "bench/inline":
            url, asked = f"{BASE}/nscale/v1/images/generations", {"prompt": prompt, "model": model}
            async with self.session.post(url, json=asked, headers=HEADERS) as reply:
                path.write_bytes(base64.b64decode((await reply.json())["data"][0]["b64_json"]))
            return path
        async with self.session.post(f"{BASE}/fal-ai/{model}", json={"prompt": prompt}, headers=HEADERS) as reply:
            told = await reply.json()
        return await self._fetched(told["images"][0]["url"], path)

    async def video(self, model: str, prompt: str) -> Path:
        """A file, after polling."""
        path, query = self.folder / str(next(self.numbers)), "?_subdomain=queue"
        asked = {"prompt": prompt}
        async with self.session.post(f"{BASE}/fal-ai/{model}{query}", json=asked, headers=HEADERS) as reply:
            where = BASE + "/fal-ai" + (await reply.json())["response_url"].split("queue.fal.run")[1]
        while True:
            await asyncio.sleep(EVERY)
            async with self.session.get(f"{where}/status{query}", headers=HEADERS) as reply:
                if (await reply.json())["status"] == "COMPLETED":
                    break
        async with self.session.get(f"{where}{query}", headers=HEADERS) as reply:
            url = (await reply.json())["video"]["url"]
        return await self._fetched(url, path)

    async def _fetched(self, url: str, path: Path) -> Path:
        async with self.session.get(url) as reply:
            with path.open("wb") as file:
                async for chunk in reply.content.iter_chunked(262144):
                    file.write(chunk)
        return path


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Client]:
    """A session without limits."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Client(session, folder)
