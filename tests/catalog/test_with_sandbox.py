"""The catalog in the simulated world: the whole way from the environment to a model and its providers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hfmedia.catalog import Catalog
from hfmedia.core.credentials import Credential
from hfmedia.core.errors import HubError, ModelNotFoundError
from hfmedia.core.request import TASKS, Task, parse_model_spec
from hfmedia.routing import credential_resolver, plan_routes
from hfmedia.sandbox import Sandbox
from hfmedia.settings import Settings, load_settings
from hfmedia.transport import Transport

SCHNELL = "black-forest-labs/FLUX.1-schnell"


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return load_settings(environ)


@pytest.fixture
async def catalog(settings: Settings, transport: Transport) -> AsyncIterator[Catalog]:
    assert settings.hub_token is not None
    credential = Credential(secret=settings.hub_token, base_url=settings.endpoint)
    yield Catalog(transport, endpoint=settings.endpoint, credential=credential, folder=settings.home / "cache")


@pytest.mark.parametrize("task", TASKS)
async def test_every_task_has_models_and_each_has_a_plan(catalog: Catalog, settings: Settings, task: Task) -> None:
    """What is listed can be routed, and each route's credential opens its address."""
    models = await catalog.models(task)
    assert len(models) >= 5
    for model in models:
        one = await catalog.model(model.id)
        assert one.live_mappings(task)
        for route in plan_routes(parse_model_spec(model.id), task, one, settings).routes:
            assert credential_resolver(settings)(route).allows(route.base_url + "/x")


async def test_providers_come_in_the_hubs_order(catalog: Catalog) -> None:
    """It is the user's own preference."""
    names = [one.provider for one in (await catalog.model(SCHNELL)).mappings]
    assert names == ["fal-ai", "replicate", "together", "nscale", "wavespeed", "zai-org", "hf-inference", "acme-images"]


@pytest.mark.parametrize(
    "kind",
    [
        "server",
        "gateway",
        "rate-limit",
        "html",
        "truncated-json",
        "null",
        "empty",
        "truncated",
        "disconnect",
        "gzip-bomb",
    ],
)
async def test_a_temporary_failure_of_the_hub_is_hidden_by_a_cached_page(
    catalog: Catalog, world: Sandbox, kind: str
) -> None:
    """Whatever comes over the wire, the older answer serves, or the next attempt brings one."""
    kite = await catalog.model(SCHNELL)
    world.fault("hub", kind)
    assert await catalog.model(SCHNELL, fresh=True) == kite


@pytest.mark.parametrize("kind", ["server", "html", "truncated-json", "null", "empty", "truncated", "gzip-bomb"])
async def test_a_permanent_failure_of_the_hub_is_a_hub_error(catalog: Catalog, world: Sandbox, kind: str) -> None:
    """And of no other class."""
    world.fault("hub", kind, times=None)
    with pytest.raises(HubError):
        await catalog.model(SCHNELL)


async def test_whoami_and_an_unknown_model(catalog: Catalog) -> None:
    """With the sandbox's own token."""
    who = await catalog.whoami()
    assert (who.name, who.can_call_inference) == ("sandbox", True)
    await catalog.models("text-to-image")
    with pytest.raises(ModelNotFoundError, match=r"Did you mean black-forest-labs/FLUX[.]1-schnell"):
        await catalog.model("black-forest-lab/FLUX.1-schnel")
