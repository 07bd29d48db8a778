"""A sandbox with one fault, injected through one of the five channels, and requests that hit it.

The provider is one with jobs, so that every kind of fault except the Hub's can occur.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hfmedia.sandbox import Sandbox

from .conftest import SPEED, PlainHttp, ReceivedResponse
from .provider_requests import PROVIDER_REQUESTS, endpoint_of, poll

REQUESTED = ("wavespeed", "text-to-image")
CHANNELS = ("Python", "command", "environment", "header", "HTTP")
SILENCE_TIMEOUT = 0.25  # seconds without a response that count as a hang


class FaultScenario:
    """A sandbox with one fault, and requests that hit it."""

    def __init__(self, sandbox: Sandbox, http: PlainHttp, header: dict[str, str]) -> None:
        self.sandbox, self.http, self.header = sandbox, http, header
        self.submitted: Any = None
        self.url = ""

    async def submit(self, *, with_fault: bool = False, timeout: float = 10.0) -> ReceivedResponse:
        """Submit one request."""
        extra_headers = self.header if with_fault else {}
        provider_request = PROVIDER_REQUESTS[REQUESTED]
        base, headers = endpoint_of(self.sandbox, REQUESTED[0], provider_request, "router")
        response = await self.http(
            "POST",
            base + provider_request.path,
            json=provider_request.body,
            headers={**headers, **extra_headers},
            timeout=timeout,
        )
        if response.status == 200 and response.type == "application/json":
            self.submitted = read_json(response.body)
        return response

    async def poll(self, *, with_fault: bool = False) -> ReceivedResponse:
        """Poll the job once."""
        return await poll(
            self.http, self.sandbox, *REQUESTED, self.submitted, extra_headers=self.header if with_fault else {}
        )

    async def wait_done(self) -> Any:
        """Wait until the job has ended and return its data."""
        for _ in range(400):
            data = (await self.poll()).json["data"]
            if data["status"] not in ("created", "processing"):
                return data
            await asyncio.sleep(0.01)
        raise AssertionError("the job did not end")

    async def fetch(self, *, with_fault: bool = False, **headers: str) -> ReceivedResponse:
        """Fetch the media file or a part of it."""
        return await self.http("GET", self.url, headers={**(self.header if with_fault else {}), **headers})

    async def trigger(self, step: str) -> ReceivedResponse:
        """Return the response that the fault hits."""
        if step == "submit":
            return await self.submit(with_fault=True, timeout=SILENCE_TIMEOUT if self.hangs else 10)
        await self.submit()
        if step == "poll":
            return await self.poll(with_fault=True)
        (self.url,) = (await self.wait_done())["outputs"]
        return await self.fetch(with_fault=True)

    hangs = False


def read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


@asynccontextmanager
async def fault_scenario(
    channel: str, kind: str, http: PlainHttp, monkeypatch: pytest.MonkeyPatch, **details: Any
) -> AsyncIterator[FaultScenario]:
    """Start a sandbox with the fault injected through the channel."""
    tail = "".join(f";{name}={value}" for name, value in details.items())
    line = f"wavespeed:{kind}{tail}"
    if channel == "environment":
        monkeypatch.setenv("HFMEDIA_SANDBOX_FAULTS", f"together:empty, {line}")
    header = {"x-sandbox-fault": kind + tail} if channel == "header" else {}
    async with Sandbox(speed=SPEED, faults=[line] if channel == "command" else []) as sandbox:
        if channel == "Python":
            sandbox.fault("wavespeed", kind, **details)
        elif channel == "HTTP":
            response = await http(
                "POST", f"{sandbox.url}/sandbox/faults", json={"provider": "wavespeed", "kind": kind, **details}
            )
            assert response.json == {"ok": True}
        yield FaultScenario(sandbox, http, header)
