"""Endpoints of a provider and their credentials: the router with a Hugging Face token, or its own API with its key.

Routes name their credential; the resolver here is the only place where that name becomes a secret again. A token is
sent to the router only, a provider's key to that provider only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from hfmedia.core.credentials import Credential, Secret, redact
from hfmedia.core.errors import MissingAuthError
from hfmedia.core.protocol import Route
from hfmedia.core.request import ModelSpec, Task
from hfmedia.providers import PROVIDERS, get_provider
from hfmedia.settings import Settings

HF_TOKEN = "HF_TOKEN"  # name of the Hugging Face token in a route, whatever its source
EXPLICIT_TOKEN = "the token given"  # name of a provider key passed as the token; stored in the ledger with the route
TOKENS_URL = "https://huggingface.co/settings/tokens"


class Endpoint(Struct, frozen=True):
    """A base URL of a provider, at the router or at its own API, and the name of the credential for it."""

    base_url: str
    via: Literal["router", "direct"]
    credential: str


def endpoints_for(settings: Settings, provider_name: str, task: Task) -> tuple[Endpoint, ...]:
    """Return the endpoints of a provider for which there is a credential, the preferred one first.

    A key passed by the caller, or of a provider in ``direct``, is preferred to the Hugging Face token, and the token to
    a key that is merely in the environment. Both endpoints are returned only for a provider in ``direct``, since only
    there the user agreed that either account may be billed.
    """
    base_url = settings.direct_base_url(provider_name, task)
    if settings.token and settings.token.is_provider_key:
        return (Endpoint(base_url, "direct", EXPLICIT_TOKEN),) if base_url else ()
    direct_endpoints = [
        Endpoint(base_url, "direct", env_var)
        for env_var in get_provider(provider_name).api_key_env_vars
        if base_url and env_var in settings.keys
    ]  # fmt: skip
    router_endpoints = [Endpoint(f"{settings.router}/{provider_name}", "router", HF_TOKEN)] if settings.token else []
    if provider_name in settings.direct:
        return tuple(direct_endpoints + router_endpoints)
    return tuple(router_endpoints or direct_endpoints)


def credential_resolver(settings: Settings) -> Callable[[Route], Credential]:
    """Return a function that resolves a route to its credential, restricted to the route's base URL.

    The function raises MissingAuthError when the credential is no longer configured, and when the route's base URL is
    not the one of these settings: it was read from the ledger, and a secret must not follow a URL out of a file.
    """

    def resolve(route: Route) -> Credential:
        secret: Secret | None
        expected_base_url: str | None
        if route.via == "router":
            secret, expected_base_url = settings.hub_token, f"{settings.router}/{route.provider}"
        else:
            secret, expected_base_url = (
                _provider_key(settings, route),
                settings.direct_base_url(route.provider, route.task),
            )
        if secret is None:
            raise MissingAuthError(
                f"no credential for {route.provider}; the job was started with {route.credential}",
                provider=route.provider,
                model=route.model,
            )
        if route.base_url != expected_base_url:
            raise MissingAuthError(
                f"the job was started at {redact(route.base_url)}, but {route.provider} is now configured at "
                f"{expected_base_url}, and no credential is sent elsewhere. If you trust the old address, restore "
                "HFMEDIA_ROUTER or HFMEDIA_BASE_URLS",
                provider=route.provider,
                model=route.model,
            )
        scheme = get_provider(route.provider).auth_scheme if route.via == "direct" else "Bearer"
        return Credential(secret=secret, base_url=route.base_url, scheme=scheme)

    return resolve


def _provider_key(settings: Settings, route: Route) -> Secret | None:
    """Return the provider's own key: the one passed as the token if the route names it, else from the environment."""
    if route.credential == EXPLICIT_TOKEN and settings.token and settings.token.is_provider_key:
        return settings.token.secret
    env_vars = get_provider(route.provider).api_key_env_vars
    return next(
        (
            settings.keys[env_var]
            for env_var in (route.credential, *env_vars)
            if env_var in env_vars and env_var in settings.keys
        ),
        None,
    )


def require_credential(model_spec: ModelSpec, settings: Settings) -> None:
    """Raise MissingAuthError when no route can have a credential, before the Hub is contacted.

    That is so without any credential, and with a provider's key when the model does not name the provider.
    """
    if settings.token is None and not settings.keys:
        requested = get_provider(model_spec.provider) if model_spec.provider else None
        candidate_keys = [
            (requested.name, env_var)
            for requested in ([requested] if requested else PROVIDERS.values())
            for env_var in requested.api_key_env_vars
        ]
        raise _no_credential_error(settings, model_spec.model, candidate_keys, model_spec.provider)
    if settings.token and settings.token.is_provider_key and model_spec.provider is None:
        raise provider_required_error(
            model_spec.model, [name for name, provider in PROVIDERS.items() if provider.api_key_env_vars]
        )


def missing_key_error(settings: Settings, model: str, provider_names: Sequence[str], task: Task) -> MissingAuthError:
    """Build the error for providers without a credential; it lists the credentials that would work."""
    only_provider = provider_names[0] if len(provider_names) == 1 else None
    keys = [
        (name, env_var)
        for name in provider_names
        if settings.direct_base_url(name, task)
        for env_var in get_provider(name).api_key_env_vars
    ]
    if settings.token and settings.token.is_provider_key:
        subject = f"{only_provider} is" if only_provider else "these providers are"
        message = (
            f"the token is not a Hugging Face token (those start with hf_), and {subject} not available with another "
            f"key for {task}: "
        )
        return MissingAuthError(message + _how_to_fix([]), model=model, provider=only_provider)
    return _no_credential_error(settings, model, keys, only_provider)


def _no_credential_error(
    settings: Settings, model: str, keys: Sequence[tuple[str, str]], only_provider: str | None
) -> MissingAuthError:
    scope = f" for {model}" if model else ""
    scope += f" at {only_provider}" if only_provider else ""
    ignored_note = f" ({settings.ignored_reason})" if settings.ignored_reason else ""
    message = f"no credential{scope}{ignored_note}: {_how_to_fix(keys)}"
    return MissingAuthError(message, model=model or None, provider=only_provider)


def provider_required_error(model: str, provider_names: Sequence[str]) -> MissingAuthError:
    """Build the error for a provider's own key without the provider's name."""
    return MissingAuthError(
        "the token is not a Hugging Face token (those start with hf_), so it must be a provider's own key: choose that "
        f"provider, as in {model}:{provider_names[0]}",
        model=model,
    )


def _how_to_fix(keys: Sequence[tuple[str, str]]) -> str:
    provider_keys = ", ".join(f"{env_var} for {name}" for name, env_var in keys)
    lines = [
        f'create a token at {TOKENS_URL} with the permission "Make calls to Inference Providers", '
        "then run `export HF_TOKEN=hf_…` or `hf auth login`",
        f"or set a provider's own key: {provider_keys}" if provider_keys else "",
        "or add `--sandbox` to try hfmedia without one",
    ]
    return "\n".join(line for line in lines if line)
