"""The simulated Hub: filtered and paginated lists, mappings in both formats, revalidation and authentication.

Its catalog must cover every provider and task, otherwise other tests would silently cover less.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from hfmedia.sandbox import Sandbox, catalog

from .conftest import FLUX, Web

TASKS = {
    "fal-ai": {"text-to-image", "text-to-video", "image-to-image", "image-to-video"},
    "replicate": {"text-to-image", "text-to-video", "image-to-image"},
    "together": {"text-to-image", "text-to-video", "image-to-image", "image-to-video"},
    "novita": {"text-to-video"},
    "nscale": {"text-to-image"},
    "wavespeed": {"text-to-image", "text-to-video", "image-to-image", "image-to-video"},
    "zai-org": {"text-to-image"},
    "hf-inference": {"text-to-image", "image-to-image"},
    "acme-images": {"text-to-image"},
}
ALL = "/api/models?pipeline_tag=text-to-image&inference_provider=all&expand[]=inferenceProviderMapping"


def test_the_catalog_covers_every_provider_and_task() -> None:
    """It has live, staging and failing entries, LoRAs, and models without providers."""
    offers = [(offer, model) for model in catalog.MODELS for offer in model.offers]
    live: dict[str, set[str]] = {}
    for offer, _ in offers:
        if offer.status == "live" and offer.task != "conversational":
            live.setdefault(offer.provider, set()).add(offer.task)
    assert all(live[name] >= tasks for name, tasks in TASKS.items())
    assert {offer.status for offer, _ in offers} == {"live", "staging", "error"}
    assert {offer.provider for offer, _ in offers if offer.adapter_weights} == {"fal-ai", "replicate", "wavespeed"}
    assert any(not model.offers for model in catalog.MODELS)
    assert any(model.offers and all(o.status != "live" for o in model.offers) for model in catalog.MODELS)
    assert any({o.provider for o in model.offers} == {"acme-images"} for model in catalog.MODELS)
    ids = [model.id for model in catalog.MODELS]
    assert len(set(ids)) == len(ids) >= 40


async def test_a_list_is_paginated_with_next_links(web: Web) -> None:
    """All pages together contain every model once."""
    all_models = json.loads((await web("GET", ALL, key=""))[2])
    ids: list[str] = []
    address, pages = ALL + "&limit=4", 0
    while address:
        status, headers, raw = await web("GET", address, key="")
        assert status == 200
        page = json.loads(raw)
        assert len(page) <= 4
        ids += [model["id"] for model in page]
        link = re.fullmatch(r'<(\S+)>; rel="next"', headers.get("link", ""))
        address, pages = (link[1] if link else ""), pages + 1
    assert ids == [model["id"] for model in all_models]
    assert pages == -(-len(all_models) // 4) > 3


async def test_the_mapping_is_a_list_in_lists_an_object_on_pages_and_absent_by_default(web: Web) -> None:
    """As on the Hub."""
    listed = json.loads((await web("GET", ALL, key=""))[2])
    row = next(model for model in listed if model["id"] == FLUX)
    assert row["inferenceProviderMapping"][0]["provider"] == "fal-ai"
    page = json.loads((await web("GET", f"/api/models/{FLUX}?expand=inferenceProviderMapping", key=""))[2])
    assert page["inferenceProviderMapping"]["fal-ai"]["providerId"] == "fal-ai/flux/schnell"
    assert "inferenceProviderMapping" not in json.loads((await web("GET", f"/api/models/{FLUX}", key=""))[2])


@pytest.mark.parametrize(
    ("query", "inside", "outside"),
    [
        ("pipeline_tag=text-to-video", "Wan-AI/Wan2.2-T2V-A14B", FLUX),
        ("inference_provider=nscale", FLUX, "Wan-AI/Wan2.2-T2V-A14B"),
        ("inference_provider=novita,zai-org", "zai-org/GLM-Image", "acme/kite-diffusion"),
        ("inference=warm", FLUX, "acme/sleeping-model"),
        ("inference_provider=all", "acme/kite-diffusion", "acme/unserved-model"),
        ("search=kontext", "black-forest-labs/FLUX.1-Kontext-dev", FLUX),
        ("author=zai-org", "zai-org/GLM-Image", FLUX),
        ("", "acme/unserved-model", "example/nothing"),
    ],
)
async def test_filters(web: Web, query: str, inside: str, outside: str) -> None:
    """Each returns the matching models only."""
    ids = {model["id"] for model in json.loads((await web("GET", f"/api/models?{query}", key=""))[2])}
    assert inside in ids
    assert outside not in ids


async def test_an_unchanged_page_is_a_304(web: Web) -> None:
    """By its ETag; every response contains the rate limit, which decreases."""
    _, first, _ = await web("GET", ALL, key="")
    status, again, raw = await web("GET", ALL, key="", headers={"If-None-Match": first["etag"]})
    assert (status, raw, again["etag"]) == (304, b"", first["etag"])
    left = [int(re.search(r"r=(\d+)", headers["ratelimit"])[1]) for headers in (first, again)]  # type: ignore[index]
    assert left[1] == left[0] - 1


@pytest.mark.parametrize(
    ("path", "key", "status", "code"),
    [
        ("/api/models/no/such", None, 404, "RepoNotFound"),
        ("/api/models/no/such", "", 401, "RepoNotFound"),
        (f"/api/models/{FLUX}", "Bearer hf_wrong", 401, None),
        ("/api/whoami-v2", "", 401, None),
        ("/api/whoami-v2", "Bearer hf_wrong", 401, None),
        ("/api/partners/example/models", None, 404, None),
        ("/api/models?limit=many", None, 400, None),
        ("/api/nothing", None, 404, None),
    ],
)
async def test_requests_that_the_hub_rejects(
    web: Web, path: str, key: str | None, status: int, code: str | None
) -> None:
    """Without a credential, a missing model is reported as a missing credential."""
    got = await web("GET", path, key=key)
    assert (got[0], got[1].get("x-error-code")) == (status, code)


async def test_whoami_returns_the_account_and_its_permissions(web: Web) -> None:
    """Including the permission for inference."""
    who = json.loads((await web("GET", "/api/whoami-v2"))[2])
    scoped = who["auth"]["accessToken"]["fineGrained"]["scoped"]
    assert "inference.serverless.write" in scoped[0]["permissions"]


async def test_partners_list_their_models_by_task_and_adapters_by_tag_filter(web: Web) -> None:
    """task -> model -> {providerId, status}, and LoRAs under their tag filter."""
    models_by_task: dict[str, dict[str, Any]] = json.loads((await web("GET", "/api/partners/wavespeed/models"))[2])
    assert models_by_task["text-to-image"][FLUX]["providerId"] == "wavespeed-ai/flux-schnell"
    rules = [name for name in models_by_task["text-to-image"] if name.startswith("tag-filter=base_model:adapter:")]
    assert models_by_task["text-to-image"][rules[0]]["adapterType"] == "lora"
    staged = json.loads((await web("GET", "/api/partners/wavespeed/models?status=staging"))[2])
    assert all(entry["status"] == "staging" for models in staged.values() for entry in models.values())


async def test_its_requests_are_recorded_as_hub_requests(sandbox: Sandbox, web: Web) -> None:
    """Including the query."""
    await web("GET", ALL, key="")
    assert [(recorded.kind, recorded.path) for recorded in sandbox.requests] == [("hub", "/api/models")]
    assert "pipeline_tag=text-to-image" in sandbox.requests[0].query
