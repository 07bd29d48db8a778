"""Fixtures of the sandbox tests: a fast sandbox and a plain HTTP client for it.

None of hfmedia's own clients is used here: the sandbox is tested from outside.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict

from hfmedia.sandbox import Sandbox

SPEED = 200.0


@dataclass(frozen=True)
class ReceivedResponse:
    """Result of one request: a response, or the error in its place. Header names are case-insensitive."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=CIMultiDict[str])
    body: bytes = b""
    error: str = ""
    seconds: float = 0.0

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def type(self) -> str:
        """The media type in Content-Type."""
        return self.headers.get("Content-Type", "").partition(";")[0]


class PlainHttp:
    """Minimal HTTP client: no decompression, no redirects, no exceptions."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def __call__(
        self, method: str, url: str, *, json: Any = None, timeout: float = 10.0, **options: Any
    ) -> ReceivedResponse:
        """Send one request and return its result within ``timeout`` seconds."""
        started_at = time.monotonic()
        status, headers, body = 0, CIMultiDict[str](), b""
        try:
            async with (
                asyncio.timeout(timeout),
                self._session.request(method, url, json=json, allow_redirects=False, **options) as received,
            ):
                status, headers = received.status, received.headers.copy()
                body = await received.read()
        except (TimeoutError, aiohttp.ClientError, ConnectionError) as error:
            return ReceivedResponse(status, headers, body, type(error).__name__, time.monotonic() - started_at)
        return ReceivedResponse(status, headers, body, "", time.monotonic() - started_at)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox at high speed."""
    async with Sandbox(speed=SPEED) as sandbox:
        yield sandbox


@pytest.fixture
async def http() -> AsyncIterator[PlainHttp]:
    """A minimal HTTP client."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=False) as session:
        yield PlainHttp(session)
