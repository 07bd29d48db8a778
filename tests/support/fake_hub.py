"""A small Hub on loopback, scripted by the test: pages, ETags, error responses, rate limits, invalid bodies.

It records every request.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

TOKEN = "hf_littleHubTokenForTests"


@dataclass
class ScriptedResponse:
    """A response in place of the regular one, sent once ``hold`` is set."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str = b""
    hold: asyncio.Event | None = None


@dataclass
class RecordedHubRequest:
    """A request as received."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def token(self) -> str | None:
        return self.headers.get("Authorization")


def mapping_entry(provider: str, *, task: str = "text-to-image", status: str = "live", **extra: Any) -> dict[str, Any]:
    """Return one mapping in the Hub's format."""
    return {"provider": provider, "providerId": f"{provider}/kite", "status": status, "task": task, **extra}


class FakeHub:
    """``async with FakeHub() as hub``; ``hub.models`` are its models, ``hub.scripted_responses`` are sent first."""

    def __init__(self, *, page_size: int = 2) -> None:
        self.models: dict[str, tuple[str, list[dict[str, Any]]]] = {}
        self.private: set[str] = set()
        self.renamed: dict[str, str] = {}
        self.scripted_responses: list[ScriptedResponse] = []
        self.requests: list[RecordedHubRequest] = []
        self.request_received = asyncio.Event()  # set by every request
        self.page_size = page_size
        self.link: Callable[[str], str] = lambda url: f'<{url}>; rel="next"'
        self.headers: dict[str, str] = {}
        self.url = ""

    def add(self, name: str, *mappings: dict[str, Any], task: str = "text-to-image") -> None:
        self.models[name] = (task, list(mappings))

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", int(self.url.rpartition(":")[2] or 0))
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append(RecordedHubRequest(request.path, dict(request.query), dict(request.headers)))
        self.request_received.set()
        if self.scripted_responses:
            scripted = self.scripted_responses.pop(0)
            if scripted.hold:
                await scripted.hold.wait()
            body = scripted.body.encode() if isinstance(scripted.body, str) else scripted.body
            return web.Response(status=scripted.status, headers=scripted.headers, body=body)
        token = request.headers.get("Authorization")
        if token not in (None, f"Bearer {TOKEN}"):
            return self._error_response(401, "Invalid credentials in Authorization header")
        if request.path == "/api/whoami-v2":
            return self._json(request, WHO) if token else self._error_response(401, "Invalid username or password.")
        if request.path == "/api/models":
            return self._page(request)
        name = request.path.removeprefix("/api/models/")
        if name in self.renamed:
            return web.Response(
                status=307, headers={"Location": f"/api/models/{self.renamed[name]}?{request.query_string}"}
            )
        if name not in self.models or (name in self.private and not token):
            return self._error_response(404 if token else 401, "Repository not found", code="RepoNotFound")
        mappings = {
            entry["provider"]: {key: value for key, value in entry.items() if key != "provider"}
            for entry in self.models[name][1]
        }
        return self._json(request, {"id": name, "inferenceProviderMapping": mappings})

    def _page(self, request: web.Request) -> web.Response:
        names = [name for name, (task, _) in self.models.items() if task == request.query.get("pipeline_tag")]
        start = int(request.query.get("cursor", 0))
        items = [
            {"id": name, "inferenceProviderMapping": self.models[name][1]}
            for name in names[start : start + self.page_size]
        ]
        next_start = start + self.page_size
        if next_start >= len(names):
            return self._json(request, items)
        query = "&".join(f"{key}={value}" for key, value in request.query.items() if key != "cursor")
        return self._json(request, items, {"Link": self.link(f"{self.url}/api/models?{query}&cursor={next_start}")})

    def _json(self, request: web.Request, value: object, headers: Mapping[str, str] | None = None) -> web.Response:
        body = json.dumps(value).encode()
        etag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
        response_headers = {"ETag": etag, "Content-Type": "application/json", **self.headers, **(headers or {})}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=response_headers)
        return web.Response(body=body, headers=response_headers)

    def _error_response(self, status: int, message: str, *, code: str | None = None) -> web.Response:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        return web.json_response({"error": message}, status=status, headers=headers)


WHO = {
    "type": "user",
    "id": "1",
    "name": "kite",
    "fullname": "Kite Flyer",
    "email": "kite@example.com",
    "canPay": True,
    "isPro": False,
    "orgs": [{"type": "org", "name": "acme"}],
    "auth": {
        "type": "access_token",
        "accessToken": {
            "displayName": "tests",
            "role": "fineGrained",
            "fineGrained": {"global": [], "scoped": [{"entity": {}, "permissions": ["inference.serverless.write"]}]},
        },
    },
}
