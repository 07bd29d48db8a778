"""What the tests of the sandbox share: a sandbox in a hurry, plain HTTP to it, and what came of a request.

Nothing of hfmedia's own clients is used here: the sandbox is asked as a stranger would http it.
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
    """What came of one request: an answer, or the error that stands for none. Header names have no case."""

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
        """The media type that was told."""
        return self.headers.get("Content-Type", "").partition(";")[0]


class PlainHttp:
    """Plain HTTP without any comfort: nothing is unpacked, followed or raised."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def __call__(
        self, method: str, url: str, *, json: Any = None, timeout: float = 10.0, **headers_or_more: Any
    ) -> ReceivedResponse:
        """One request and what came of it within ``patience`` seconds."""
        started_at = time.monotonic()
        status, headers, body = 0, CIMultiDict[str](), b""
        try:
            async with (
                asyncio.timeout(timeout),
                self._session.request(method, url, json=json, allow_redirects=False, **headers_or_more) as reply,
            ):
                status, headers = reply.status, reply.headers.copy()
                body = await reply.read()
        except (TimeoutError, aiohttp.ClientError, ConnectionError) as error:
            return ReceivedResponse(status, headers, body, type(error).__name__, time.monotonic() - started_at)
        return ReceivedResponse(status, headers, body, "", time.monotonic() - started_at)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox in a great hurry."""
    async with Sandbox(speed=SPEED) as sandbox:
        yield sandbox


@pytest.fixture
async def http() -> AsyncIterator[PlainHttp]:
    """Plain HTTP."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=False) as session:
        yield PlainHttp(session)
