"""gateway.sqlite3: API keys, generations, and the charges that count against limits, in one SQLite file.

Everything that costs money is one transaction, on disk before anything is sent to a provider. Safe to use from several
threads and processes at once: a key that the command revokes is rejected from the next request on.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from .api_keys import ApiKeyRepository
from .generations import GenerationRepository
from .usage import UsageRepository

SECRET_BYTES = 32


class GatewayDatabase(ApiKeyRepository, GenerationRepository, UsageRepository):
    """The repositories on one file. ``signing_secret`` is 32 random bytes of this file, for signed URLs."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(path, clock=clock)
        try:
            self.signing_secret = self._load_signing_secret()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"GatewayDatabase({str(self.path)!r})"

    def _load_signing_secret(self) -> bytes:
        with self._write_transaction() as connection:
            candidate = secrets.token_bytes(SECRET_BYTES)
            connection.execute("INSERT OR IGNORE INTO secrets (name, value) VALUES ('links', ?)", (candidate,))
            return bytes(connection.execute("SELECT value FROM secrets WHERE name = 'links'").fetchone()[0])
