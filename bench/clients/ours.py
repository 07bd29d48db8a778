"""hfmedia: from the prompt to the file with its sidecar, with every step in the ledger on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hfmedia


class Client:
    """The library as users call it."""

    def __init__(self, client: hfmedia.MediaClient) -> None:
        self.client = client

    async def image(self, model: str, prompt: str) -> Any:
        """Create an image file."""
        return (await self.client.text_to_image(prompt, model=model)).path

    async def video(self, model: str, prompt: str) -> Any:
        """Create a video file."""
        return (await self.client.text_to_video(prompt, model=model)).path


@asynccontextmanager
async def open_client(folder: Path) -> AsyncIterator[Client]:
    """Open a client that stores media in `folder`; HFMEDIA_HOME determines its ledger."""
    async with hfmedia.MediaClient(store=folder) as client:
        yield Client(client)
