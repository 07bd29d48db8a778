"""The simulated Hub: lists with filters and pages, mappings in both shapes, revalidation, and who may read what.

Its catalogue covers every provider and task, or a test of ours would quietly cover less.
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


def test_the_catalogue_covers_every_provider_and_task() -> None:
    """Live ones, and beside them staging and failing entries, LoRAs, and models that nobody serves."""
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


async def test_a_list_comes_in_pages_that_name_the_next(web: Web) -> None:
    """Followed to the end they hold every model once."""
    whole = json.loads((await web("GET", ALL, key=""))[2])
    found: list[str] = []
    address, pages = ALL + "&limit=4", 0
    while address:
        status, headers, raw = await web("GET", address, key="")
        assert status == 200
        page = json.loads(raw)
        assert len(page) <= 4
        found += [model["id"] for model in page]
        link = re.fullmatch(r'<(\S+)>; rel="next"', headers.get("link", ""))
        address, pages = (link[1] if link else ""), pages + 1
    assert found == [model["id"] for model in whole]
    assert pages == -(-len(whole) // 4) > 3


async def test_the_mapping_is_a_list_there_an_object_here_and_absent_unasked(web: Web) -> None:
    """All three as the Hub does."""
    listed = json.loads((await web("GET", ALL, key=""))[2])
    row = next(model for model in listed if model["id"] == FLUX)
    assert row["inferenceProviderMapping"][0]["provider"] == "fal-ai"
    one = json.loads((await web("GET", f"/api/models/{FLUX}?expand=inferenceProviderMapping", key=""))[2])
    assert one["inferenceProviderMapping"]["fal-ai"]["providerId"] == "fal-ai/flux/schnell"
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
        ("", "acme/unserved-model", "nobody/nothing"),
    ],
)
async def test_filters(web: Web, query: str, inside: str, outside: str) -> None:
    """Each lets in what it should, and nothing else that is known."""
    ids = {model["id"] for model in json.loads((await web("GET", f"/api/models?{query}", key=""))[2])}
    assert inside in ids
    assert outside not in ids


async def test_an_unchanged_page_is_not_sent_again(web: Web) -> None:
    """ETag, then 304; and every answer tells the rate limit, which falls."""
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
        ("/api/partners/nobody/models", None, 404, None),
        ("/api/models?limit=many", None, 400, None),
        ("/api/nothing", None, 404, None),
    ],
)
async def test_what_the_hub_refuses(web: Web, path: str, key: str | None, status: int, code: str | None) -> None:
    """A missing model reads as a missing credential to those who show none."""
    got = await web("GET", path, key=key)
    assert (got[0], got[1].get("x-error-code")) == (status, code)


async def test_a_token_says_whose_it_is_and_what_it_may(web: Web) -> None:
    """The permission for inference is there."""
    who = json.loads((await web("GET", "/api/whoami-v2"))[2])
    scoped = who["auth"]["accessToken"]["fineGrained"]["scoped"]
    assert "inference.serverless.write" in scoped[0]["permissions"]


async def test_partners_list_their_models_by_task_and_adapters_by_rule(web: Web) -> None:
    """task -> model -> {providerId, status}, and LoRAs under their filter."""
    told: dict[str, dict[str, Any]] = json.loads((await web("GET", "/api/partners/wavespeed/models"))[2])
    assert told["text-to-image"][FLUX]["providerId"] == "wavespeed-ai/flux-schnell"
    rules = [name for name in told["text-to-image"] if name.startswith("tag-filter=base_model:adapter:")]
    assert told["text-to-image"][rules[0]]["adapterType"] == "lora"
    staged = json.loads((await web("GET", "/api/partners/wavespeed/models?status=staging"))[2])
    assert all(entry["status"] == "staging" for models in staged.values() for entry in models.values())


async def test_its_requests_are_remembered_as_the_hubs(sandbox: Sandbox, web: Web) -> None:
    """With their query."""
    await web("GET", ALL, key="")
    assert [(seen.kind, seen.path) for seen in sandbox.requests] == [("hub", "/api/models")]
    assert "pipeline_tag=text-to-image" in sandbox.requests[0].query
