"""Simulated Hub: the paginated model list, single models, partners and whoami.

Sources: huggingface.co/docs, Hub API and rate limits; the JSON that the Hub's own clients parse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

import msgspec

from . import catalog
from .messages import SandboxResponse, json_response, text_response

if TYPE_CHECKING:
    from .catalog import SandboxModel
    from .state import SandboxState

MAX_PAGE_SIZE = 1000
RATE_LIMIT_WINDOW = 300  # seconds
RATE_LIMITS = {"anonymous": 500, "user": 1000}  # requests per window


class SimulatedHub:
    """Handler of everything below /api."""

    def __init__(self, state: SandboxState) -> None:
        self.state = state
        self.request_counts = {"anonymous": 0, "user": 0}

    def respond(
        self, method: str, path: str, query: list[tuple[str, str]], headers: Mapping[str, str]
    ) -> SandboxResponse:
        """Respond to a request, with rate-limit headers and a 304 for an unchanged page."""
        authorization = headers.get("Authorization")
        if authorization is not None and authorization != f"Bearer {self.state.token}":
            return _error_response(401, "Invalid credentials in Authorization header")
        account_kind = "user" if authorization else "anonymous"
        self.request_counts[account_kind] += 1
        remaining = max(0, RATE_LIMITS[account_kind] * 100 - self.request_counts[account_kind])
        rate_headers = {
            "RateLimit": f'"api";r={remaining};t={RATE_LIMIT_WINDOW}',
            "RateLimit-Policy": f'"fixed window";"api";q={RATE_LIMITS[account_kind]};w={RATE_LIMIT_WINDOW}',
        }
        response = self._dispatch(method, path, query, signed_in=bool(authorization))
        etag = f'W/"{hashlib.sha256(response.body).hexdigest()[:24]}"'
        if response.status == 200 and headers.get("If-None-Match") == etag:
            return SandboxResponse(304, b"", response.media_type, {**response.headers, **rate_headers, "ETag": etag})
        etag_header = {"ETag": etag} if response.status == 200 else {}
        return msgspec.structs.replace(response, headers={**response.headers, **rate_headers, **etag_header})

    def _dispatch(self, method: str, path: str, query: list[tuple[str, str]], *, signed_in: bool) -> SandboxResponse:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if method not in ("GET", "HEAD"):
            return text_response(f"Cannot {method} {path}", 404)
        if parts == ["api", "whoami-v2"]:
            return json_response(WHOAMI) if signed_in else _error_response(401, "Invalid username or password.")
        if parts[:2] == ["api", "partners"] and parts[3:] == ["models"]:
            return self._partner_models(parts[2], dict(query).get("status", "live"))
        if parts == ["api", "models"]:
            return self._list_models(query)
        if parts[:2] == ["api", "models"] and len(parts) in (3, 4):
            model = catalog.MODELS_BY_ID.get("/".join(parts[2:]))
            return json_response(_model_json(model, query, as_list=False)) if model else self._not_found(signed_in)
        return text_response(f"Cannot {method} {path}", 404)

    def _not_found(self, signed_in: bool) -> SandboxResponse:
        """Build the response for an unknown repository: 404 with a token; without one the Hub reveals nothing (401)."""
        if signed_in:
            return _error_response(404, "Repository not found", {"X-Error-Code": "RepoNotFound"})
        return _error_response(401, "Invalid username or password.", {"X-Error-Code": "RepoNotFound"})

    def _list_models(self, query: list[tuple[str, str]]) -> SandboxResponse:
        params = dict(query)
        models = [model for model in catalog.MODELS if _matches(model, params)]
        models.sort(key=lambda model: -model.likes)
        try:
            limit = min(MAX_PAGE_SIZE, max(1, int(params.get("limit", "1000"))))
            start = int(params.get("cursor", "0"))
        except ValueError:
            return _error_response(400, "limit and cursor must be integers")
        page = [_model_json(model, query, as_list=True) for model in models[start : start + limit]]
        headers: dict[str, str] = {}
        if start + limit < len(models):
            next_query = [(name, value) for name, value in query if name != "cursor"] + [("cursor", str(start + limit))]
            headers["Link"] = f'<{self.state.url}/api/models?{urlencode(next_query)}>; rel="next"'
        return json_response(page, headers=headers)

    def _partner_models(self, provider: str, status: str) -> SandboxResponse:
        tasks: dict[str, dict[str, Any]] = {}
        for model in catalog.MODELS:
            for offer in model.offers:
                if offer.provider == provider and offer.status == status:
                    entry = {"_id": _object_id(model), "providerId": offer.provider_id, "status": offer.status}
                    if offer.adapter:  # adapters are matched by a tag filter: any LoRA of a base model
                        rule = {
                            "adapterType": offer.adapter,
                            "tags": [f"base_model:adapter:{model.base_model}", "lora"],
                        }
                        tasks.setdefault(offer.task, {})["tag-filter=" + ",".join(rule["tags"])] = entry | rule
                    else:
                        tasks.setdefault(offer.task, {})[model.id] = entry
        is_known = provider in (*catalog.PROVIDERS, catalog.UNKNOWN_PROVIDER)
        return json_response(tasks) if is_known else _error_response(404, "Partner not found")


WHOAMI = {
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


def _error_response(status: int, text: str, headers: dict[str, str] | None = None) -> SandboxResponse:
    return json_response({"error": text}, status, {"X-Error-Message": text, **(headers or {})})


def _object_id(model: SandboxModel) -> str:
    return hashlib.sha256(model.id.encode()).hexdigest()[:24]


def _matches(model: SandboxModel, params: dict[str, str]) -> bool:
    """Return True when a model passes the list filters."""
    providers = params.get("inference_provider")
    live = {offer.provider for offer in model.offers if offer.status == "live"}
    return (
        params.get("pipeline_tag", model.task) == model.task
        and params.get("author", model.id.split("/")[0]) == model.id.split("/")[0]
        and params.get("search", "").lower() in model.id.lower()
        and (params.get("inference") != "warm" or bool(live))
        and (providers is None or (bool(live) if providers == "all" else bool(live & set(providers.split(",")))))
    )


def _model_json(model: SandboxModel, query: list[tuple[str, str]], *, as_list: bool) -> dict[str, Any]:
    """Return a model's JSON as in the list or on its own page; the mapping only when expanded."""
    expanded = [part for name, value in query if name in ("expand", "expand[]") for part in value.split(",")]
    payload: dict[str, Any] = {"_id": _object_id(model), "id": model.id}
    if not expanded:
        return payload | {"modelId": model.id, "pipeline_tag": model.task, "likes": model.likes, "private": False}
    if "pipeline_tag" in expanded:
        payload["pipeline_tag"] = model.task
    if "inferenceProviderMapping" in expanded:
        if as_list:
            entries: Any = [{"provider": offer.provider, **offer.to_json()} for offer in model.offers]
        else:
            entries = {offer.provider: offer.to_json() for offer in model.offers}
        payload["inferenceProviderMapping"] = entries
    return payload
