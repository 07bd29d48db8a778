"""/v1/models: what there is, for whom, and what each provider takes; and /docs, which needs nothing from elsewhere."""

from __future__ import annotations

import re
from urllib.parse import quote

import aiohttp
import pytest

from hfmedia.core.request import TASKS
from tests.support.fake_hub import TOKEN, FakeHub, mapping_entry
from tests.support.gateway import RunningGateway, Serve
from tests.support.gateway_jobs import asked, bearer, key_for
from tests.support.models import FLUX


async def test_every_live_model_is_listed_with_its_tasks_and_providers(
    shared: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """In OpenAI's shape, and narrowed by task or by words."""
    _, body = await asked(http, "GET", f"{shared.api}/models")
    assert body["object"] == "list"
    flux = next(model for model in body["data"] if model["id"] == FLUX)
    assert (flux["object"], flux["owned_by"], flux["tasks"]) == ("model", "black-forest-labs", ["text-to-image"])
    assert {"provider": "together", "task": "text-to-image"} in flux["providers"]
    assert {task for model in body["data"] for task in model["tasks"]} == set(TASKS)
    _, videos = await asked(http, "GET", f"{shared.api}/models?task=text-to-video")
    assert videos["data"]
    assert all(model["tasks"] == ["text-to-video"] for model in videos["data"])
    _, found = await asked(http, "GET", f"{shared.api}/models?search=SCHNELL")
    assert FLUX in [model["id"] for model in found["data"]]
    assert (await asked(http, "GET", f"{shared.api}/models?task=text-to-sound"))[0] == 400


@pytest.mark.parametrize("name", [FLUX, quote(FLUX, safe=""), f"{FLUX}:together"])
async def test_one_model_has_the_capabilities_of_each_provider(
    shared: RunningGateway, http: aiohttp.ClientSession, name: str
) -> None:
    """With its slash plain or quoted, and narrowed to a provider."""
    status, body = await asked(http, "GET", f"{shared.api}/models/{name}")
    assert (status, body["id"]) == (200, FLUX)
    able = body["capabilities"]["text-to-image"]
    assert "seed" in able["together"]["parameters"]
    assert able["together"]["size"]["style"] == "pixels"
    assert (len(able) == 1) == name.endswith(":together")


async def test_a_near_miss_gets_a_suggestion(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Even by a gateway that was asked nothing before; and only what the key may use."""
    _, body = await asked(http, "GET", f"{gateway.api}/models/black-forest-labs/FLUX.1-schnel")
    assert f"Did you mean {FLUX}" in body["error"]["message"]
    key = bearer(key_for(gateway, "narrow", models=("black-forest-labs/FLUX.1-schnel", "Qwen/*")))
    _, body = await asked(http, "GET", f"{gateway.api}/models/black-forest-labs/FLUX.1-schnel", headers=key)
    assert body["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("name", ["nobody/nothing", "a b", "..%2F..%2Fetc", f"{FLUX}:nobody", "%00"])
async def test_an_unknown_model_is_not_found(shared: RunningGateway, http: aiohttp.ClientSession, name: str) -> None:
    """In OpenAI's shape and words."""
    status, body = await asked(http, "GET", f"{shared.api}/models/{name}")
    assert (status, body["error"]["code"]) == (404, "model_not_found")


async def test_a_key_sees_what_it_may_use(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """In the list, and one by one."""
    key = bearer(key_for(gateway, "narrow", models=("Qwen/*",)))
    _, body = await asked(http, "GET", f"{gateway.api}/models", headers=key)
    assert {model["owned_by"] for model in body["data"]} == {"Qwen"}
    assert (await asked(http, "GET", f"{gateway.api}/models/{FLUX}", headers=key))[0] == 404


async def test_aliases_are_models_too(serve: Serve, http: aiohttp.ClientSession) -> None:
    """They say what they stand for."""
    gateway = serve(aliases={"gpt-image-1": FLUX})
    _, body = await asked(http, "GET", f"{gateway.api}/models")
    assert (body["data"][0]["id"], body["data"][0]["alias_of"]) == ("gpt-image-1", FLUX)
    assert (await asked(http, "GET", f"{gateway.api}/models/gpt-image-1"))[1]["alias_of"] == FLUX


async def test_the_usual_names_are_models_too(serve: Serve, http: aiohttp.ClientSession) -> None:
    """For clients that know no others: each says what it stands for, by task; and they can be switched off."""
    gateway = serve()
    _, body = await asked(http, "GET", f"{gateway.api}/models")
    usual = {model["id"]: model["alias_of"] for model in body["data"] if "alias_of" in model}
    assert {"gpt-image-1", "dall-e-3", "sora-2"} <= set(usual)
    assert set(usual["sora-2"]) == {"text-to-video", "image-to-video"}
    assert (await asked(http, "GET", f"{gateway.api}/models/sora-2"))[1]["alias_of"] == usual["sora-2"]
    async with http.post(f"{gateway.api}/images/generations", json={"model": "dall-e-3", "prompt": "a fox"}) as answer:
        assert (await answer.json())["data"][0]["model"] == usual["dall-e-3"]["text-to-image"]
    bare = serve(builtin_aliases=False)
    _, body = await asked(http, "GET", f"{bare.api}/models")
    assert not any("alias_of" in model for model in body["data"])


async def test_aliases_show_only_what_a_key_may_use(serve: Serve, http: aiohttp.ClientSession) -> None:
    """By task, where a name stands for several models."""
    gateway = serve(aliases={"mine": FLUX, "both": {"text-to-image": "Qwen/Qwen-Image", "image-to-image": FLUX}})
    key = bearer(key_for(gateway, "narrow", models=("Qwen/*",)))
    _, body = await asked(http, "GET", f"{gateway.api}/models", headers=key)
    named = {model["id"]: model["alias_of"] for model in body["data"] if "alias_of" in model}
    assert "mine" not in named
    assert named["both"] == {"text-to-image": "Qwen/Qwen-Image"}


async def test_a_caller_with_an_own_token_sees_models(serve: Serve, http: aiohttp.ClientSession) -> None:
    """As the first thing that it asks."""
    gateway = serve(allow_caller_tokens=True)
    headers = bearer(gateway.sandbox.token)
    assert (await asked(http, "GET", f"{gateway.api}/models/{FLUX}", headers=headers))[0] == 200
    assert (await asked(http, "GET", f"{gateway.api}/models", headers=headers))[0] == 200


async def test_a_model_cannot_be_deleted(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """OpenAI's clients have the method; here the response is 405 in their format."""
    status, body = await asked(http, "DELETE", f"{gateway.api}/models/{FLUX}")
    assert (status, body["error"]["code"]) == (405, "method_not_allowed")


async def test_the_page_that_describes_the_api_needs_nothing_from_elsewhere(
    shared: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """Every address in it is relative, every file is there, and nothing inline runs."""
    async with http.get(f"{shared.url}/docs") as answer:
        page = await answer.text()
        policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "http" not in page
    names = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(names) == 4
    for name in names:
        async with http.get(f"{shared.url}/{name}") as answer:
            assert answer.status == 200, name
    assert "<script>" not in page
    assert (await asked(http, "GET", f"{shared.url}/docs/static/..%2f..%2fapp.py"))[0] == 404


async def test_one_model_asks_the_hub_for_that_one_alone(serve: Serve, http: aiohttp.ClientSession) -> None:
    """Which models stand for OpenAI's names is looked up for those names only."""
    async with FakeHub() as hub:
        hub.add("painters/brush", mapping_entry("fal-ai"))
        served = serve(environ={"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN})
        status, body = await asked(http, "GET", f"{served.api}/models/painters/brush")
        assert (status, body["tasks"]) == (200, ["text-to-image"])
        assert [one.path for one in hub.requests] == ["/api/models/painters/brush"]
