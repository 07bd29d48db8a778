"""Gateway: the parts introduced to each other, their start and their end. What they do is theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from hfmedia.client import MediaClient

from .api.native.provider_errors import ProviderErrorLog
from .config import Config
from .db.database import GatewayDatabase
from .dependencies import get_gateway as get_gateway
from .jobs import AccountClients, GenerationService
from .jobs.input_store import InputStore
from .media.renditions import Renditions
from .media.signed_urls import UrlSigner
from .observability.metrics import Metrics

SECRET_FOLDER_MODE = 0o700


class Gateway:
    """One gateway. ``environ`` is the environment that the client reads; ``sandbox``: that of a simulated world."""

    def __init__(self, config: Config, environ: Mapping[str, str], *, sandbox: bool = False) -> None:
        self.config, self.sandbox = config, sandbox
        self.client = MediaClient(environ=environ, concurrency=config.concurrency)
        home = self.client.settings.home
        folder = home / "gateway"
        folder.mkdir(parents=True, exist_ok=True, mode=SECRET_FOLDER_MODE)
        self.input_store = InputStore(folder / "inputs")
        self.database = GatewayDatabase(home / "gateway.sqlite3")
        self.account_clients = AccountClients(self.client)
        self.service = GenerationService(self.account_clients, self.database, self.input_store, config)
        self.url_signer = UrlSigner(self.database.signing_secret)
        self.renditions = Renditions(folder / "renditions")
        self.metrics = Metrics(self.service)
        self.provider_errors = ProviderErrorLog()
        self._is_started = False

    async def start(self) -> None:
        """Takes up what an earlier process left, and begins to serve."""
        self._is_started = True
        self.service.add_listener(self.metrics.job_event)
        self.service.add_listener(self.provider_errors.on_event)
        self.service.start_recovery()

    def begin_shutdown(self) -> None:
        """Begins nothing new, and lets those who wait for a job go with a word; the jobs go on."""
        self.service.begin_shutdown()

    async def close_unstarted(self) -> None:
        """Lets go of what was opened before anything was served."""
        await self.client.aclose()
        await asyncio.to_thread(self.database.close)

    async def close(self) -> None:
        """Lets go of every job, which go on at their providers and are taken up at the next start. Twice is fine."""
        if not self._is_started:
            return
        self._is_started = False
        await self.service.aclose()
        await self.account_clients.aclose()
        await self.client.aclose()
        await asyncio.to_thread(self.database.close)
