"""The simulated Hub: its model list with pages, one model, partners, and who a token belongs to.

Sources: huggingface.co/docs, Hub API and rate limits; the shapes that the Hub's own clients read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

import msgspec

from . import catalogue
from .service import Answer, plain, told

if TYPE_CHECKING:
    from .catalogue import Model
    from .world import World

LARGEST_PAGE = 1000
WINDOW = 300  # seconds of a rate limit's window
ALLOWED = {"anonymous": 500, "user": 1000}  # requests in it


class Hub:
    """What answers below /api."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.used = {"anonymous": 0, "user": 0}

    def answer(self, method: str, path: str, query: list[tuple[str, str]], headers: Mapping[str, str]) -> Answer:
        """The Hub's answer, with its rate limit told and an unchanged page not sent again."""
        shown = headers.get("Authorization")
        if shown is not None and shown != f"Bearer {self.world.token}":
            return _error(401, "Invalid credentials in Authorization header")
        who = "user" if shown else "anonymous"
        self.used[who] += 1
        left = max(0, ALLOWED[who] * 100 - self.used[who])
        limit = {
            "RateLimit": f'"api";r={left};t={WINDOW}',
            "RateLimit-Policy": f'"fixed window";"api";q={ALLOWED[who]};w={WINDOW}',
        }
        made = self._page(method, path, query, signed_in=bool(shown))
        tag = f'W/"{hashlib.sha256(made.body).hexdigest()[:24]}"'
        if made.status == 200 and headers.get("If-None-Match") == tag:
            return Answer(304, b"", made.type, {**made.headers, **limit, "ETag": tag})
        extra = {"ETag": tag} if made.status == 200 else {}
        return msgspec.structs.replace(made, headers={**made.headers, **limit, **extra})

    def _page(self, method: str, path: str, query: list[tuple[str, str]], *, signed_in: bool) -> Answer:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if method not in ("GET", "HEAD"):
            return plain(f"Cannot {method} {path}", 404)
        if parts == ["api", "whoami-v2"]:
            return told(WHO) if signed_in else _error(401, "Invalid username or password.")
        if parts[:2] == ["api", "partners"] and parts[3:] == ["models"]:
            return self._partner(parts[2], dict(query).get("status", "live"))
        if parts == ["api", "models"]:
            return self._list(query)
        if parts[:2] == ["api", "models"] and len(parts) in (3, 4):
            model = catalogue.BY_ID.get("/".join(parts[2:]))
            return told(_shown(model, query, as_list=False)) if model else self._missing(signed_in)
        return plain(f"Cannot {method} {path}", 404)

    def _missing(self, signed_in: bool) -> Answer:
        """An unknown repository is a 404 with a token; without one the Hub does not even say that much."""
        if signed_in:
            return _error(404, "Repository not found", {"X-Error-Code": "RepoNotFound"})
        return _error(401, "Invalid username or password.", {"X-Error-Code": "RepoNotFound"})

    def _list(self, query: list[tuple[str, str]]) -> Answer:
        wanted = dict(query)
        found = [model for model in catalogue.MODELS if _fits(model, wanted)]
        found.sort(key=lambda model: -model.likes)
        try:
            limit = min(LARGEST_PAGE, max(1, int(wanted.get("limit", "1000"))))
            start = int(wanted.get("cursor", "0"))
        except ValueError:
            return _error(400, "limit and cursor must be whole numbers")
        page = [_shown(model, query, as_list=True) for model in found[start : start + limit]]
        headers: dict[str, str] = {}
        if start + limit < len(found):
            onward = [(name, value) for name, value in query if name != "cursor"] + [("cursor", str(start + limit))]
            headers["Link"] = f'<{self.world.url}/api/models?{urlencode(onward)}>; rel="next"'
        return told(page, headers=headers)

    def _partner(self, provider: str, status: str) -> Answer:
        tasks: dict[str, dict[str, Any]] = {}
        for model in catalogue.MODELS:
            for offer in model.mappings:
                if offer.provider == provider and offer.status == status:
                    entry = {"_id": _id(model), "providerId": offer.provider_id, "status": offer.status}
                    if offer.adapter:  # adapters are offered by a rule: any LoRA of a base model
                        rule = {"adapterType": offer.adapter, "tags": [f"base_model:adapter:{model.base}", "lora"]}
                        tasks.setdefault(offer.task, {})["tag-filter=" + ",".join(rule["tags"])] = entry | rule
                    else:
                        tasks.setdefault(offer.task, {})[model.id] = entry
        known = provider in (*catalogue.PROVIDERS, catalogue.STRANGER)
        return told(tasks) if known else _error(404, "Partner not found")


WHO = {
    "type": "user",
    "id": "5f0000000000000000000000",
    "name": "sandbox",
    "fullname": "The Sandbox",
    "email": "sandbox@example.org",
    "canPay": True,
    "billingMode": "postpaid",
    "isPro": False,
    "orgs": [{"type": "org", "id": "5f0000000000000000000001", "name": "sandbox-org", "fullname": "Sandbox Org"}],
    "auth": {
        "type": "access_token",
        "accessToken": {
            "displayName": "sandbox",
            "role": "fineGrained",
            "fineGrained": {
                "global": [],
                "scoped": [
                    {
                        "entity": {"_id": "5f0000000000000000000000", "type": "user", "name": "sandbox"},
                        "permissions": ["inference.serverless.write"],
                    }
                ],
            },
        },
    },
}


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> Answer:
    return told({"error": text}, status, {"X-Error-Message": text, **(headers or {})})


def _id(model: Model) -> str:
    return hashlib.sha256(model.id.encode()).hexdigest()[:24]


def _fits(model: Model, wanted: dict[str, str]) -> bool:
    """Whether a model passes the filters of a list."""
    providers = wanted.get("inference_provider")
    live = {offer.provider for offer in model.mappings if offer.status == "live"}
    return (
        wanted.get("pipeline_tag", model.task) == model.task
        and wanted.get("author", model.id.split("/")[0]) == model.id.split("/")[0]
        and wanted.get("search", "").lower() in model.id.lower()
        and (wanted.get("inference") != "warm" or bool(live))
        and (providers is None or (bool(live) if providers == "all" else bool(live & set(providers.split(",")))))
    )


def _shown(model: Model, query: list[tuple[str, str]], *, as_list: bool) -> dict[str, Any]:
    """A model as the list or its own page shows it; the mapping only when it was asked for."""
    expanded = [part for name, value in query if name in ("expand", "expand[]") for part in value.split(",")]
    said: dict[str, Any] = {"_id": _id(model), "id": model.id}
    if not expanded:
        return said | {"modelId": model.id, "pipeline_tag": model.task, "likes": model.likes, "private": False}
    if "pipeline_tag" in expanded:
        said["pipeline_tag"] = model.task
    if "inferenceProviderMapping" in expanded:
        if as_list:
            entries: Any = [{"provider": offer.provider, **offer.told()} for offer in model.mappings]
        else:
            entries = {offer.provider: offer.told() for offer in model.mappings}
        said["inferenceProviderMapping"] = entries
    return said
