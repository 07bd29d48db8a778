"""The gateway: composition root of its components, and their start and shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from hfmedia.client import MediaClient

from .api.native.provider_errors import ProviderErrorLog
from .config import Config
from .db.database import GatewayDatabase
from .jobs import AccountClients, GenerationService
from .jobs.input_store import InputStore
from .media.renditions import Renditions
from .media.signed_urls import UrlSigner

SECRET_FOLDER_MODE = 0o700


class Gateway:
    """One gateway. ``environ`` is the environment of its client; ``sandbox``: that of a sandbox."""

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
        self.runner = self.service.runner
        self.url_signer = UrlSigner(self.database.signing_secret)
        self.renditions = Renditions(folder / "renditions")
        self.provider_errors = ProviderErrorLog()
        self.runner.add_listener(self.provider_errors.on_event)
        self._is_started = False

    async def start(self) -> None:
        """Resume what an earlier process left unfinished, and accept generations."""
        self._is_started = True
        self.service.start_recovery()

    def begin_shutdown(self) -> None:
        """Accept nothing new, and answer those who wait for a job; providers keep running what they accepted."""
        self.service.begin_shutdown()

    async def close_unstarted(self) -> None:
        """Close what the constructor opened, when ``start`` was never called."""
        await self.client.aclose()
        await asyncio.to_thread(self.database.close)

    async def close(self) -> None:
        """Detach from every job, which continues at its provider and is resumed at the next start; idempotent."""
        if not self._is_started:
            return
        self._is_started = False
        await self.service.aclose()
        await self.account_clients.aclose()
        await self.client.aclose()
        await asyncio.to_thread(self.database.close)
