"""Gateway: the parts introduced to each other, their start and their end. What they do is theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from hfmedia.client import MediaClient

from .books.book import Book
from .config import Config
from .here import gateway_of as gateway_of
from .media.links import Links
from .media.renditions import Renditions
from .own.reasons import Reasons
from .watching.metrics import Metrics
from .works import Clients, Works
from .works.inputs import Inputs

SECRET_FOLDER = 0o700


class Gateway:
    """One gateway. ``environ`` is the environment that the client reads; ``sandbox``: that of a simulated world."""

    def __init__(self, config: Config, environ: Mapping[str, str], *, sandbox: bool = False) -> None:
        self.config, self.sandbox = config, sandbox
        self.client = MediaClient(environ=environ, concurrency=config.concurrency)
        home = self.client.settings.home
        folder = home / "gateway"
        folder.mkdir(parents=True, exist_ok=True, mode=SECRET_FOLDER)
        self.inputs = Inputs(folder / "inputs")
        self.book = Book(home / "gateway.sqlite3")
        self.clients = Clients(self.client)
        self.works = Works(self.clients, self.book, self.inputs, config)
        self.links = Links(self.book.secret)
        self.renditions = Renditions(folder / "renditions")
        self.metrics = Metrics(self.works)
        self.reasons = Reasons()
        self._open = False

    async def open(self) -> None:
        """Takes up what an earlier process left, and begins to serve."""
        self._open = True
        self.works.hear_also(self.metrics.job_event)
        self.works.hear_also(self.reasons.hear)
        self.works.open()

    def stopping(self) -> None:
        """Begins nothing new, and lets those who wait for a job go with a word; the jobs go on."""
        self.works.stopping()

    async def abandon(self) -> None:
        """Lets go of what was opened before anything was served."""
        await self.client.aclose()
        await asyncio.to_thread(self.book.close)

    async def close(self) -> None:
        """Lets go of every job, which go on at their providers and are taken up at the next start. Twice is fine."""
        if not self._open:
            return
        self._open = False
        await self.works.aclose()
        await self.clients.aclose()
        await self.client.aclose()
        await asyncio.to_thread(self.book.close)
