"""The floor: bare aiohttp requests and the bytes written to a file. No ledger, checks, digest or retries."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

POLL_INTERVAL = 0.25  # seconds between two polls
BASE = os.environ.get("HFMEDIA_ROUTER", "")
HEADERS = {"Authorization": f"Bearer {os.environ.get('HF_TOKEN')}"}


class Client:
    """One session and a counter for file names."""

    def __init__(self, session: aiohttp.ClientSession, folder: Path) -> None:
        self.session, self.folder, self.counter = session, folder, itertools.count()

    async def image(self, model: str, prompt: str) -> Path:
        """Create an image file."""
        path = self.folder / str(next(self.counter))
        if model == "bench/inline":
            url, payload = f"{BASE}/nscale/v1/images/generations", {"prompt": prompt, "model": model}
            async with self.session.post(url, json=payload, headers=HEADERS) as response:
                path.write_bytes(base64.b64decode((await response.json())["data"][0]["b64_json"]))
            return path
        async with self.session.post(f"{BASE}/fal-ai/{model}", json={"prompt": prompt}, headers=HEADERS) as response:
            result = await response.json()
        return await self._download(result["images"][0]["url"], path)

    async def video(self, model: str, prompt: str) -> Path:
        """Create a video file, after polling."""
        path, query = self.folder / str(next(self.counter)), "?_subdomain=queue"
        payload = {"prompt": prompt}
        async with self.session.post(f"{BASE}/fal-ai/{model}{query}", json=payload, headers=HEADERS) as response:
            job_url = BASE + "/fal-ai" + (await response.json())["response_url"].split("queue.fal.run")[1]
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            async with self.session.get(f"{job_url}/status{query}", headers=HEADERS) as response:
                if (await response.json())["status"] == "COMPLETED":
                    break
        async with self.session.get(f"{job_url}{query}", headers=HEADERS) as response:
            url = (await response.json())["video"]["url"]
        return await self._download(url, path)

    async def _download(self, url: str, path: Path) -> Path:
        async with self.session.get(url) as response:
            with path.open("wb") as file:
                async for chunk in response.content.iter_chunked(262144):
                    file.write(chunk)
        return path


@asynccontextmanager
async def open_client(folder: Path) -> AsyncIterator[Client]:
    """Open a client whose session has no connection limit."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Client(session, folder)
