"""The plan for a request: who is asked, in which order, where, with which credential; and every refusal."""

from __future__ import annotations

from typing import Any

import pytest

from hfmedia.core.errors import MissingAuthError, ModelNotSupportedError
from hfmedia.core.hub_models import HubModel, ProviderMapping
from hfmedia.core.protocol import Cost, Lora, Route
from hfmedia.core.request import ModelSpec, Task, parse_model_spec
from hfmedia.routing import ProviderHealth, ProviderStats, RoutePlan, plan_routes, require_credential
from hfmedia.settings import Settings, load_settings

HOME = {"HOME": "/nowhere/at/all"}
HF = {**HOME, "HF_TOKEN": "hf_one"}
KEYS = {**HOME, "FAL_KEY": "fal-secret", "REPLICATE_API_TOKEN": "replicate-secret"}


def mapping(provider: str, status: str = "live", task: str = "text-to-image", **more: Any) -> ProviderMapping:
    return ProviderMapping(provider=provider, provider_id=f"{provider}/kite", task=task, status=status, **more)


KITE = HubModel(
    "acme/kite",
    (
        mapping("replicate"),
        mapping("fal-ai"),
        mapping("nscale", "staging"),
        mapping("together", "error"),
        mapping("wavespeed", task="image-to-image"),
        mapping("acme-images"),
    ),
)


def plan(
    choice: str = "acme/kite",
    model: HubModel = KITE,
    environ: dict[str, str] = HF,
    *,
    task: Task = "text-to-image",
    health: ProviderHealth | None = None,
    known: ProviderStats | None = None,
    **given: Any,
) -> RoutePlan:
    settings: Settings = load_settings(environ, **given)
    return plan_routes(parse_model_spec(choice), task, model, settings, health=health, stats=known)


def ways(made: RoutePlan) -> list[tuple[str, str, str, str]]:
    return [(route.provider, route.via, route.credential, route.base_url) for route in made.routes]


ROUTER = "https://router.huggingface.co"
R = [(name, "router", "HF_TOKEN", f"{ROUTER}/{name}") for name in ("replicate", "fal-ai", "acme-images")]
FAL = ("fal-ai", "direct", "FAL_KEY", "https://fal.run")
REPLICATE = ("replicate", "direct", "REPLICATE_API_TOKEN", "https://api.replicate.com")

CREDENTIALS: list[tuple[str, str, dict[str, str], dict[str, Any], list[tuple[str, str, str, str]]]] = [
    ("a token goes through the router", "acme/kite", HF, {}, R),
    ("a token goes before keys that merely lie there", "acme/kite", {**HF, **KEYS}, {}, R),
    ("keys alone open their own providers", "acme/kite", KEYS, {}, [REPLICATE, FAL]),
    ("one key opens one provider", "acme/kite", {**HOME, "FAL_KEY": "x"}, {}, [FAL]),
    ("a key is no help to another provider", "acme/kite", {**HOME, "FAL_KEY": "x", "ZAI_API_KEY": "y"}, {}, [FAL]),
    ("the provider named", "acme/kite:fal-ai", HF, {}, [R[1]]),
    ("the provider named, by its key", "acme/kite:fal-ai", KEYS, {}, [FAL]),
    (
        "direct goes before the router, which stands by at the end",
        "acme/kite",
        {**HF, **KEYS, "HFMEDIA_DIRECT": "fal-ai"},
        {},
        [R[0], FAL, R[2], R[1]],
    ),
    ("direct and alone", "acme/kite:fal-ai", {**HF, **KEYS, "HFMEDIA_DIRECT": "fal-ai"}, {}, [FAL, R[1]]),
    ("direct without its key", "acme/kite:fal-ai", {**HF, "HFMEDIA_DIRECT": "fal-ai"}, {}, [R[1]]),
    ("direct without a token", "acme/kite:fal-ai", {**KEYS, "HFMEDIA_DIRECT": "fal-ai"}, {}, [FAL]),
    ("a key given by the caller", "acme/kite", HF, {"provider_keys": {"fal-ai": "x"}}, [R[0], FAL, R[2], R[1]]),
    (
        "a token given that is a provider's own",
        "acme/kite:fal-ai",
        {**HF, **KEYS},
        {"token": "id:secret"},
        [("fal-ai", "direct", "the token given", "https://fal.run")],
    ),
    ("a token given that is one", "acme/kite:fal-ai", KEYS, {"token": "hf_given"}, [R[1]]),
    (
        "other addresses",
        "acme/kite",
        {**HF, **KEYS, "HFMEDIA_ROUTER": "http://127.0.0.1:1/r", "HFMEDIA_DIRECT": "fal-ai"},
        {"base_urls": {"https://fal.run": "http://127.0.0.1:2/fal"}},
        [
            ("replicate", "router", "HF_TOKEN", "http://127.0.0.1:1/r/replicate"),
            ("fal-ai", "direct", "FAL_KEY", "http://127.0.0.1:2/fal"),
            ("acme-images", "router", "HF_TOKEN", "http://127.0.0.1:1/r/acme-images"),
            ("fal-ai", "router", "HF_TOKEN", "http://127.0.0.1:1/r/fal-ai"),
        ],
    ),
]


@pytest.mark.parametrize(
    ("choice", "environ", "given", "expected"), [row[1:] for row in CREDENTIALS], ids=[row[0] for row in CREDENTIALS]
)
def test_a_credential_chooses_the_way(
    choice: str, environ: dict[str, str], given: dict[str, Any], expected: list[tuple[str, str, str, str]]
) -> None:
    """Live providers only, in the mapping's order, each where its credential opens the door."""
    assert ways(plan(choice, environ=environ, **given)) == expected


def test_a_route_names_the_providers_own_model() -> None:
    """And the model of the Hub, the task, and nothing secret."""
    assert plan("acme/kite:fal-ai").routes == (
        Route(
            provider="fal-ai",
            provider_id="fal-ai/kite",
            model="acme/kite",
            task="text-to-image",
            base_url=f"{ROUTER}/fal-ai",
            credential="HF_TOKEN",
        ),
    )


@pytest.mark.parametrize(
    ("more", "lora"),
    [
        ({}, None),
        ({"adapter": "lora", "adapter_weights_path": "kite.safetensors"}, Lora("acme/kite", "kite.safetensors")),
        ({"adapter": "lora"}, Lora("acme/kite")),
        ({"adapter_weights_path": "kite.safetensors"}, Lora("acme/kite", "kite.safetensors")),
    ],
)
def test_lora_weights_come_from_the_mapping(more: dict[str, str], lora: Lora | None) -> None:
    """The model is then an adapter, and the provider's id its base."""
    (route,) = plan(model=HubModel("acme/kite", (mapping("fal-ai", **more),))).routes
    assert route.lora == lora


def test_a_video_has_the_address_of_the_queue() -> None:
    """A provider may have another address for another task."""
    model = HubModel("acme/film", (mapping("fal-ai", task="text-to-video"),))
    (route,) = plan("acme/film", model, KEYS, task="text-to-video").routes
    assert route.base_url == "https://queue.fal.run"


def test_a_provider_listed_twice_is_asked_once() -> None:
    """Its live entry of this task counts."""
    twice = HubModel(
        "acme/kite", (mapping("fal-ai", "error"), mapping("fal-ai"), mapping("replicate"), mapping("fal-ai"))
    )
    assert [route.provider for route in plan(model=twice).routes] == ["fal-ai", "replicate"]


REFUSALS: list[tuple[str, str, HubModel, Task, str]] = [
    ("no provider at all", "a/b", HubModel("a/b"), "text-to-image", "The Hub lists no provider for this model"),
    (
        "none live",
        "a/b",
        HubModel("a/b", (mapping("replicate", "staging"), mapping("together", "error"))),
        "text-to-image",
        r"no live provider for text-to-image with a/b. Providers for text-to-image: "
        r"replicate \(staging: not public yet\) and together \(failing the Hub's checks\)",
    ),
    (
        "another task",
        "acme/kite",
        KITE,
        "text-to-video",
        r"no live provider for text-to-video .*; for image-to-image: wavespeed$",
    ),
    (
        "a provider that is not there",
        "acme/kite:novita",
        KITE,
        "text-to-image",
        r"novita does not serve acme/kite. Providers for text-to-image: replicate \(live\), fal-ai \(live\)",
    ),
    (
        "a slip of the pen",
        "acme/kite:fal",
        KITE,
        "text-to-image",
        r"fal does not serve acme/kite \(did you mean fal-ai\?",
    ),
    ("staging", "acme/kite:nscale", KITE, "text-to-image", r"nscale serves acme/kite, but is not live \(staging"),
    ("failing", "acme/kite:together", KITE, "text-to-image", r"but is not live \(failing the Hub's checks\)"),
    (
        "the provider without the task",
        "acme/kite:wavespeed",
        KITE,
        "text-to-image",
        "wavespeed serves acme/kite for image-to-image, not for text-to-image",
    ),
    (
        "a task that hfmedia cannot ask it for",
        "a/b",
        HubModel("a/b", (mapping("nscale", task="text-to-video"), mapping("../evil", task="text-to-video"))),
        "text-to-video",
        "nscale skipped: hfmedia does not support text-to-video there; '../evil' skipped",
    ),
]


@pytest.mark.parametrize(
    ("choice", "model", "task", "words"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_an_unserved_model_is_rejected_with_its_providers(choice: str, model: HubModel, task: Task, words: str) -> None:
    """Which are staging or failing, which tasks there are, who was meant."""
    with pytest.raises(ModelNotSupportedError, match=words) as caught:
        plan(choice, model, task=task)
    assert caught.value.exit_code == 5
    assert caught.value.model == model.id


def test_an_unknown_provider_that_cannot_be_asked_is_a_note() -> None:
    """The others are used, and a warning names the one left out."""
    model = HubModel("a/b", (mapping("strange", task="text-to-video"), mapping("novita", task="text-to-video")))
    made = plan("a/b", model, task="text-to-video")
    assert [route.provider for route in made.routes] == ["novita"]
    assert made.warnings == ("strange skipped: hfmedia does not support text-to-video there",)


MISSING: list[tuple[str, str, dict[str, str], dict[str, Any], str]] = [
    (
        "nothing at all",
        "acme/kite",
        HOME,
        {},
        r'^no credential for acme/kite: .*huggingface.co/settings/tokens.*"Make calls to Inference Providers".*'
        r"`export HF_TOKEN=.*`hf auth login`\n.*: REPLICATE_API_TOKEN for replicate, FAL_KEY for fal-ai\n"
        r".*--sandbox",
    ),
    (
        "for the provider named",
        "acme/kite:fal-ai",
        HOME,
        {},
        "no credential for acme/kite at fal-ai.*own key: FAL_KEY for fal-ai\n",
    ),
    (
        "another provider's key",
        "acme/kite:fal-ai",
        {**HOME, "ZAI_API_KEY": "x"},
        {},
        "no credential for acme/kite at fal-ai",
    ),
    (
        "one that must not be used unasked",
        "acme/kite",
        {**HF, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"},
        {},
        "the token in HF_TOKEN is not used, because HF_HUB_DISABLE_IMPLICIT_TOKEN is set",
    ),
    ("a key, but whose", "acme/kite", HF, {"token": "id:secret"}, "choose that provider, as in acme/kite:replicate"),
    (
        "a key for one without an address of its own",
        "acme/kite:acme-images",
        HF,
        {"token": "id:secret"},
        "acme-images is not available with another key",
    ),
]


@pytest.mark.parametrize(
    ("choice", "environ", "given", "words"), [row[1:] for row in MISSING], ids=[row[0] for row in MISSING]
)
def test_a_missing_credential_error_says_how_to_get_one(
    choice: str, environ: dict[str, str], given: dict[str, Any], words: str
) -> None:
    """Every way there is, and none that would not help."""
    with pytest.raises(MissingAuthError, match=f"(?s){words}") as caught:
        plan(choice, environ=environ, **given)
    assert caught.value.exit_code == 3
    assert "id:secret" not in str(caught.value)


def test_providers_without_a_credential_are_a_warning() -> None:
    """A key for one of three providers: the two others are a note."""
    made = plan(environ={**HOME, "FAL_KEY": "x"})
    assert made.warnings == ("acme-images and replicate skipped: no credential",)


def test_direct_without_its_key_is_a_warning() -> None:
    """The user meant to be billed by the provider."""
    made = plan("acme/kite:fal-ai", environ={**HF, "HFMEDIA_DIRECT": "fal-ai"})
    assert made.warnings == ("fal-ai is to be called directly, but its key is missing; using the router instead",)


def seen(**facts: tuple[float, float | None]) -> ProviderStats:
    """What this process observed: provider (with _ for -) to seconds and dollars."""
    known = ProviderStats()
    for name, (seconds, dollars) in facts.items():
        route = plan(f"acme/kite:{name.replace('_', '-')}").routes[0]
        known.add(route, seconds, None if dollars is None else Cost(dollars))
    return known


POLICIES: list[tuple[str, ModelSpec, ProviderStats, list[str], str | None]] = [
    (
        "preferred",
        ModelSpec("acme/kite", policy="preferred"),
        seen(fal_ai=(1, 1)),
        ["replicate", "fal-ai", "acme-images"],
        None,
    ),
    ("none", ModelSpec("acme/kite"), seen(fal_ai=(1, 1)), ["replicate", "fal-ai", "acme-images"], None),
    (
        "fastest, nothing known",
        ModelSpec("acme/kite", policy="fastest"),
        ProviderStats(),
        ["replicate", "fal-ai", "acme-images"],
        "fastest: no speed data yet; using the Hub's order",
    ),
    (
        "cheapest, only times known",
        ModelSpec("acme/kite", policy="cheapest"),
        seen(fal_ai=(1, None)),
        ["replicate", "fal-ai", "acme-images"],
        "cheapest: no price data yet; using the Hub's order",
    ),
    (
        "fastest, one known",
        ModelSpec("acme/kite", policy="fastest"),
        seen(fal_ai=(2.5, None)),
        ["fal-ai", "replicate", "acme-images"],
        "fastest: fal-ai (2.5 s measured), then replicate and acme-images (no speed data)",
    ),
    (
        "fastest, all known",
        ModelSpec("acme/kite", policy="fastest"),
        seen(fal_ai=(2, None), replicate=(3, None), acme_images=(1, None)),
        ["acme-images", "fal-ai", "replicate"],
        "fastest: acme-images (1.0 s measured), fal-ai (2.0 s measured), replicate (3.0 s measured)",
    ),
    (
        "cheapest",
        ModelSpec("acme/kite", policy="cheapest"),
        seen(fal_ai=(1, 0.025), replicate=(9, 0.003)),
        ["replicate", "fal-ai", "acme-images"],
        "cheapest: replicate ($0.0030 measured), fal-ai ($0.0250 measured), then acme-images (no price data)",
    ),
]


@pytest.mark.parametrize(
    ("choice", "known", "order", "note"), [row[1:] for row in POLICIES], ids=[row[0] for row in POLICIES]
)
def test_a_policy_orders_by_what_is_known_and_says_so(
    choice: ModelSpec, known: ProviderStats, order: list[str], note: str | None
) -> None:
    """Where nothing is known the mapping's order stands."""
    made = plan_routes(choice, "text-to-image", KITE, load_settings(HF), stats=known)
    assert [route.provider for route in made.routes] == order
    assert made.warnings == ((note,) if note else ())


def test_what_the_hub_tells_of_speed_and_price_counts() -> None:
    """After measurements of this process, before providers without data."""
    model = HubModel(
        "acme/kite",
        (mapping("together"), mapping("replicate", speed=10, price=9), mapping("fal-ai", speed=20, price=3)),
    )
    fastest, cheapest = (plan(f"acme/kite:{policy}", model) for policy in ("fastest", "cheapest"))
    assert [route.provider for route in fastest.routes] == ["fal-ai", "replicate", "together"]
    assert [route.provider for route in cheapest.routes] == ["fal-ai", "replicate", "together"]
    assert "per the Hub" in fastest.warnings[0]
    known = seen(replicate=(50, None))
    assert plan("acme/kite:fastest", model, known=known).routes[0].provider == "replicate"


def test_a_provider_in_cooldown_is_tried_last() -> None:
    """And not left out; nothing changes when all are in cooldown."""
    now = 100.0
    health = ProviderHealth(lambda: now)
    health.cool_down("replicate", 30)
    made = plan(health=health)
    assert [route.provider for route in made.routes] == ["fal-ai", "acme-images", "replicate"]
    assert made.warnings == ("replicate failed recently and is tried last for another 30 s",)
    for name in ("fal-ai", "acme-images"):
        health.cool_down(name, 30)
    made = plan(health=health)
    assert ([route.provider for route in made.routes], made.warnings) == (["replicate", "fal-ai", "acme-images"], ())
    assert [route.provider for route in plan("acme/kite:replicate", health=health).routes] == ["replicate"]


WITHOUT_CREDENTIAL: list[tuple[str, dict[str, str], str | None, str]] = [
    ("acme/kite", HOME, None, "no credential for acme/kite.*REPLICATE_API_TOKEN for replicate"),
    ("acme/kite:fal-ai", HOME, None, "no credential for acme/kite at fal-ai.*own key: FAL_KEY for fal-ai\n"),
    (
        "acme/kite:hf-inference",
        HOME,
        None,
        "no credential for acme/kite at hf-inference.*login`\nor add `--sandbox`",
    ),
    ("acme/kite", {**HF, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, None, "HF_HUB_DISABLE_IMPLICIT_TOKEN is set"),
    ("acme/kite", HOME, "id:secret", "choose that provider, as in acme/kite:fal-ai"),
]


@pytest.mark.parametrize(("choice", "environ", "token", "words"), WITHOUT_CREDENTIAL)
def test_a_missing_credential_is_an_error_before_the_hub_is_contacted(
    choice: str, environ: dict[str, str], token: str | None, words: str
) -> None:
    """No credential at all, or a key without its provider."""
    with pytest.raises(MissingAuthError, match=f"(?s){words}"):
        require_credential(parse_model_spec(choice), load_settings(environ, token=token))


@pytest.mark.parametrize(("environ", "token"), [(HF, None), (KEYS, None), (HOME, "hf_given")])
def test_what_may_work_is_left_to_the_plan(environ: dict[str, str], token: str | None) -> None:
    """Any credential may be the right one, until the mapping is known."""
    require_credential(ModelSpec("acme/kite"), load_settings(environ, token=token))
