"""Clients of the sandbox: plain HTTP with its credentials, and the Hub's official client pointed at it.

Nothing of hfmedia but the sandbox is imported here, so that a wrong protocol cannot confirm itself.
"""

from __future__ import annotations

import asyncio
import io
import time
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlparse

import aiohttp
import huggingface_hub.inference._providers as official
import pytest
from huggingface_hub import InferenceClient, constants
from huggingface_hub.inference._providers import _common, fal_ai, hf_inference, together, wavespeed, zai_org
from huggingface_hub.utils import close_session  # type: ignore[attr-defined]
from PIL import Image

from hfmedia.sandbox import Sandbox

FLUX = "black-forest-labs/FLUX.1-schnell"
ROUTER = "router.huggingface.co"
Client = Callable[..., InferenceClient]
Reply = tuple[int, dict[str, str], bytes]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox fast enough to wait for and slow enough to observe: a video takes a tenth of a second."""
    async with Sandbox(speed=50) as sandbox:
        yield sandbox


class Web:
    """HTTP client of a sandbox: routed with its token, or directly with a provider's key."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox, self.session = sandbox, session

    async def __call__(self, method: str, address: str, *, key: str | None = None, **rest: Any) -> Reply:
        """Return status, headers and body; ``key`` is the full Authorization header, "" for none."""
        authorization = f"Bearer {self.sandbox.token}" if key is None else key
        headers = {**({"Authorization": authorization} if authorization else {}), **rest.pop("headers", {})}
        url = address if address.startswith("http") else self.sandbox.url + address
        async with self.session.request(method, url, headers=headers, allow_redirects=False, **rest) as reply:
            return reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.read()

    async def post(self, address: str, body: object, **rest: Any) -> Reply:
        """POST a JSON body."""
        return await self("POST", address, json=body, **rest)


@pytest.fixture
async def web(sandbox: Sandbox) -> AsyncIterator[Web]:
    """An HTTP client of the sandbox."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield Web(sandbox, session)


class _RouterHost(str):
    """The sandbox's router, equal to the real router's host for the official client."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return other == ROUTER or str.__eq__(self, other)


@pytest.fixture
def client(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Create official clients that use this sandbox and poll with short sleeps."""
    router = f"{sandbox.url}/router"

    def parsed(url: str) -> Any:
        parts = urlparse(url)
        host = _RouterHost(router.removeprefix("http://")) if url.startswith(router) else parts.netloc
        return types.SimpleNamespace(scheme=parts.scheme, netloc=host, path=parts.path, query=parts.query)

    for module in (fal_ai, wavespeed, together, zai_org):
        monkeypatch.setattr(module, "time", types.SimpleNamespace(sleep=lambda _seconds: time.sleep(0.01)))
    for module in (fal_ai, wavespeed):
        monkeypatch.setattr(module, "urlparse", parsed)
    monkeypatch.setattr(constants, "ENDPOINT", sandbox.url)
    monkeypatch.setattr(constants, "INFERENCE_PROXY_TEMPLATE", router + "/{provider}")
    for helper in official.PROVIDERS["hf-inference"].values():
        monkeypatch.setattr(helper, "base_url", f"{router}/hf-inference")
    _clear_caches()

    def make(provider: str, api_key: str = sandbox.token) -> InferenceClient:
        return InferenceClient(provider=provider, api_key=api_key)  # type: ignore[arg-type]

    yield make
    _clear_caches()
    close_session()


def _clear_caches() -> None:
    """Clear the official client's process-wide caches."""
    _common._fetch_inference_provider_mapping.cache_clear()
    hf_inference._check_supported_task.cache_clear()


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A small PNG whose left half is red and whose right half is blue."""
    image = Image.new("RGB", (320, 240), (220, 40, 30))
    image.paste((20, 60, 220), (160, 0, 320, 240))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """Decode an image completely."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def slow_down(sandbox: Sandbox, job: str) -> None:
    """Give one job enough time to be observed queued and running, even on a busy machine."""
    sandbox.jobs[job].queue_seconds, sandbox.jobs[job].run_seconds = 0.3, 0.5  # seconds


async def eventually(send: Callable[[], Awaitable[Reply]], until: Callable[[Reply], bool]) -> list[Reply]:
    """Send until a response matches; return all responses. Raises TimeoutError after 15 s."""
    replies: list[Reply] = []
    async with asyncio.timeout(15):
        while True:
            replies.append(await send())
            if until(replies[-1]):
                return replies
            await asyncio.sleep(0.005)
