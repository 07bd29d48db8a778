"""Credentials are resolved for their own endpoint only."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from hfmedia.core.errors import MissingAuthError
from hfmedia.core.hub_models import HubModel, ProviderMapping
from hfmedia.core.protocol import Route
from hfmedia.core.request import TASKS, parse_model_spec
from hfmedia.providers import PROVIDERS
from hfmedia.routing import credential_resolver, plan_routes
from hfmedia.settings import Settings, load_settings

HF = {"HOME": "/nowhere", "HF_TOKEN": "hf_one"}
KEYS = {"HOME": "/nowhere", "FAL_KEY": "fal", "REPLICATE_API_TOKEN": "replicate"}


def first(settings: Settings, provider: str = "fal-ai") -> Route:
    """The first route to a provider with these settings."""
    model = HubModel(
        "acme/kite", (ProviderMapping(provider=provider, provider_id="x", task="text-to-image", status="live"),)
    )
    return plan_routes(parse_model_spec(f"acme/kite:{provider}"), "text-to-image", model, settings).routes[0]


HEADERS: list[tuple[dict[str, str], dict[str, Any], str, str]] = [
    (HF, {}, "fal-ai", "Bearer hf_one"),
    (KEYS, {}, "fal-ai", "Key fal"),
    (KEYS, {}, "replicate", "Bearer replicate"),
    ({**HF, **KEYS, "HFMEDIA_DIRECT": "fal-ai"}, {}, "fal-ai", "Key fal"),
    ({**HF, **KEYS}, {"provider_keys": {"fal-ai": "given"}}, "fal-ai", "Key given"),
    ({**HF, **KEYS}, {"token": "explicit"}, "fal-ai", "Key explicit"),
    (HF, {}, "acme-images", "Bearer hf_one"),
]


@pytest.mark.parametrize(("environ", "given", "provider", "header"), HEADERS)
def test_a_route_has_its_credential(environ: dict[str, str], given: dict[str, Any], provider: str, header: str) -> None:
    """In the scheme of the endpoint: the router's, or the provider's own."""
    settings = load_settings(environ, **given)
    route = first(settings, provider)
    credential = credential_resolver(settings)(route)
    assert credential.header == header
    assert credential.base_url == route.base_url
    assert not credential.allows("https://evil.example/")


FOREIGN = [
    ({"base_url": "https://evil.example/fal-ai"}, HF),
    ({"base_url": "https://router.huggingface.co"}, HF),
    ({"base_url": "https://router.huggingface.co/replicate"}, HF),
    ({"base_url": "http://127.0.0.1:8000/router/fal-ai"}, HF),
    ({"base_url": "https://evil.example"}, KEYS),
    ({"base_url": "https://api.replicate.com"}, KEYS),
]


@pytest.mark.parametrize(("change", "environ"), FOREIGN)
def test_no_secret_follows_a_url_out_of_a_file(change: dict[str, str], environ: dict[str, str]) -> None:
    """A ledger can be old, or written by another user: a token goes where these settings send it, or nowhere."""
    settings = load_settings(environ)
    route = structs.replace(first(settings), **change)
    with pytest.raises(MissingAuthError, match="no credential is sent elsewhere"):
        credential_resolver(settings)(route)


def test_an_earlier_job_needs_its_credential() -> None:
    """The message names the one it was started with."""
    submitted = first(load_settings(KEYS))
    with pytest.raises(MissingAuthError, match="started with FAL_KEY"):
        credential_resolver(load_settings(HF))(submitted)
    with pytest.raises(MissingAuthError, match="started with HF_TOKEN"):
        credential_resolver(load_settings(KEYS))(first(load_settings(HF)))


def test_a_job_submitted_with_an_explicit_key_resumes_with_the_variables() -> None:
    """The same provider's, never another's; an explicit key does not replace the variable of an earlier job."""
    submitted = first(load_settings(KEYS, token="explicit"))
    assert submitted.credential == "the token given"
    assert credential_resolver(load_settings(KEYS))(submitted).header == "Key fal"
    with pytest.raises(MissingAuthError):
        credential_resolver(load_settings({"HOME": "/nowhere", "REPLICATE_API_TOKEN": "x"}))(submitted)
    assert credential_resolver(load_settings(KEYS, token="another"))(first(load_settings(KEYS))).header == "Key fal"


def test_a_route_names_a_credential_of_its_own_provider_only() -> None:
    """A route that names another provider's key does not get it."""
    settings = load_settings(KEYS)
    crossed = structs.replace(first(settings), credential="REPLICATE_API_TOKEN")
    assert credential_resolver(settings)(crossed).header == "Key fal"


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_every_provider_is_reachable_for_every_task_it_supports(provider: str) -> None:
    """Through the router, and directly where it has a base URL: each route's credential allows the route's URL."""
    keys = dict.fromkeys(PROVIDERS[provider].api_key_env_vars, "x" * 20)
    for environ in (HF, {"HOME": "/nowhere", **keys}):
        settings = load_settings(environ)
        for task in TASKS:
            if task not in PROVIDERS[provider].tasks or (
                environ is not HF and not settings.direct_base_url(provider, task)
            ):
                continue
            model = HubModel("a/b", (ProviderMapping(provider=provider, provider_id="x", task=task, status="live"),))
            (route,) = plan_routes(parse_model_spec("a/b"), task, model, settings).routes
            assert credential_resolver(settings)(route).allows(f"{route.base_url}/v1/anything?x=1")
