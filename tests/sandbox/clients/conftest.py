"""Guests of the sandbox: plain HTTP by its rules, and the Hub's official client set down in it.

Nothing of hfmedia but the sandbox is imported here, so that a wrong protocol cannot agree with itself.
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
    """A sandbox fast enough to wait for, and slow enough to be seen at work: a video takes a tenth of a second."""
    async with Sandbox(speed=50) as sandbox:
        yield sandbox


class Web:
    """HTTP as this sandbox's guest: routed with its token, or directly with a provider's key."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox, self.session = sandbox, session

    async def __call__(self, method: str, address: str, *, key: str | None = None, **rest: Any) -> Reply:
        """Status, headers and body; ``key`` is the whole Authorization header, "" for none at all."""
        shown = f"Bearer {self.sandbox.token}" if key is None else key
        headers = {**({"Authorization": shown} if shown else {}), **rest.pop("headers", {})}
        url = address if address.startswith("http") else self.sandbox.url + address
        async with self.session.request(method, url, headers=headers, allow_redirects=False, **rest) as reply:
            return reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.read()

    async def post(self, address: str, body: object, **rest: Any) -> Reply:
        """POST of a JSON body."""
        return await self("POST", address, json=body, **rest)


@pytest.fixture
async def web(sandbox: Sandbox) -> AsyncIterator[Web]:
    """Plain HTTP to the sandbox."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield Web(sandbox, session)


class _RouterHost(str):
    """The sandbox's router as a host that the official client takes for the real one."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return other == ROUTER or str.__eq__(self, other)


@pytest.fixture
def client(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Makes official clients that live in this sandbox, and poll without sleeping long."""
    router = f"{sandbox.url}/router"

    def parsed(url: str) -> Any:
        found = urlparse(url)
        host = _RouterHost(router.removeprefix("http://")) if url.startswith(router) else found.netloc
        return types.SimpleNamespace(scheme=found.scheme, netloc=host, path=found.path, query=found.query)

    for module in (fal_ai, wavespeed, together, zai_org):
        monkeypatch.setattr(module, "time", types.SimpleNamespace(sleep=lambda _seconds: time.sleep(0.01)))
    for module in (fal_ai, wavespeed):
        monkeypatch.setattr(module, "urlparse", parsed)
    monkeypatch.setattr(constants, "ENDPOINT", sandbox.url)
    monkeypatch.setattr(constants, "INFERENCE_PROXY_TEMPLATE", router + "/{provider}")
    for helper in official.PROVIDERS["hf-inference"].values():
        monkeypatch.setattr(helper, "base_url", f"{router}/hf-inference")
    _forget()

    def make(provider: str, api_key: str = sandbox.token) -> InferenceClient:
        return InferenceClient(provider=provider, api_key=api_key)  # type: ignore[arg-type]

    yield make
    _forget()
    close_session()


def _forget() -> None:
    """What the official client remembers for the whole process."""
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
    """The picture in these bytes, read to its last pixel."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def unhurried(sandbox: Sandbox, job: str) -> None:
    """Gives one job time enough to be seen waiting and seen at work, however busy this machine is."""
    sandbox.jobs[job].queue_seconds, sandbox.jobs[job].run_seconds = 0.3, 0.5  # seconds


async def eventually(send: Callable[[], Awaitable[Reply]], until: Callable[[Reply], bool]) -> list[Reply]:
    """Every answer up to the first that is wanted; TimeoutError after some seconds."""
    answers: list[Reply] = []
    async with asyncio.timeout(15):
        while True:
            answers.append(await send())
            if until(answers[-1]):
                return answers
            await asyncio.sleep(0.005)
