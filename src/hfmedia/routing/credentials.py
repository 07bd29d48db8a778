"""Which credential opens which way to a provider; and the one place where a name becomes a secret again.

A Hugging Face token goes to the router, a provider's own key to that provider. Neither goes anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from hfmedia.core.answers import Route
from hfmedia.core.errors import MissingAuthError
from hfmedia.core.request import Choice, Task
from hfmedia.core.wire import Credential, Secret, redact
from hfmedia.providers import PROVIDERS
from hfmedia.providers import provider as provider_named
from hfmedia.settings import Settings

HF_TOKEN = "HF_TOKEN"  # the name of the Hugging Face token, wherever it was found
GIVEN = "the token given"  # the name of a key that the caller gave instead of a token
TOKENS_PAGE = "https://huggingface.co/settings/tokens"


class Way(Struct, frozen=True):
    """One way to a provider: its base URL, by the router or not, and the name of the credential that opens it."""

    base_url: str
    via: Literal["router", "direct"]
    credential: str


def ways(settings: Settings, name: str, task: Task) -> tuple[Way, ...]:
    """The ways to a provider that a credential opens, the one to take first in front; empty when none does.

    A key the caller gave, or a provider in ``direct``, goes before the Hugging Face token, and that before a key that
    merely lies in the environment. Both ways are open only for a provider in ``direct``: nobody else said that either
    account may be billed.
    """
    address = settings.own_address(name, task)
    if settings.token and settings.token.foreign:
        return (Way(address, "direct", GIVEN),) if address else ()
    own = [
        Way(address, "direct", key)
        for key in provider_named(name).key_names
        if address and key in settings.keys
    ]  # fmt: skip
    router = [Way(f"{settings.router}/{name}", "router", HF_TOKEN)] if settings.token else []
    if name in settings.direct:
        return tuple(own + router)
    return tuple(router or own)


def keyring(settings: Settings) -> Callable[[Route], Credential]:
    """What hands out the credential of a route, for the route's own address only.

    It raises MissingAuthError when there is no such credential (a job of yesterday, a key of yesterday), and when the
    route leads where these settings would not send it: a job's address comes out of a file, a secret must not follow it
    anywhere.
    """

    def credential(route: Route) -> Credential:
        secret: Secret | None
        home: str | None
        if route.via == "router":
            secret, home = settings.hub_token, f"{settings.router}/{route.provider}"
        else:
            secret, home = _own_key(settings, route), settings.own_address(route.provider, route.task)
        if secret is None:
            raise MissingAuthError(
                f"there is no credential for {route.provider} now; the job was begun with {route.credential}",
                provider=route.provider,
                model=route.model,
            )
        if route.base_url != home:
            raise MissingAuthError(
                f"the job was begun at {redact(route.base_url)}, but {route.provider} is now at {home}, and no "
                "credential goes elsewhere. Set HFMEDIA_ROUTER or HFMEDIA_BASE_URLS as it was, if you trust it",
                provider=route.provider,
                model=route.model,
            )
        scheme = provider_named(route.provider).scheme if route.via == "direct" else "Bearer"
        return Credential(secret=secret, base_url=route.base_url, scheme=scheme)

    return credential


def _own_key(settings: Settings, route: Route) -> Secret | None:
    """The provider's own key for a route: the one the caller gave if that began it, else that of the environment."""
    if route.credential == GIVEN and settings.token and settings.token.foreign:
        return settings.token.secret
    names = provider_named(route.provider).key_names
    return next(
        (settings.keys[name] for name in (route.credential, *names) if name in names and name in settings.keys), None
    )


def check_credential(choice: Choice, settings: Settings) -> None:
    """MissingAuthError when no answer of the Hub could help: there is no credential, or nobody knows whose it is."""
    if settings.token is None and not settings.keys:
        named = provider_named(choice.provider) if choice.provider else None
        names = [(named.name, key) for named in ([named] if named else PROVIDERS.values()) for key in named.key_names]
        raise _nothing(settings, choice.model, names, choice.provider)
    if settings.token and settings.token.foreign and choice.provider is None:
        raise unnamed(choice.model, [name for name, known in PROVIDERS.items() if known.key_names])


def missing(settings: Settings, model: str, providers: Sequence[str], task: Task) -> MissingAuthError:
    """The error when nothing opens any way to these providers: what would, and how to get it."""
    alone = providers[0] if len(providers) == 1 else None
    keys = [
        (name, key) for name in providers if settings.own_address(name, task) for key in provider_named(name).key_names
    ]
    if settings.token and settings.token.foreign:
        who = f"{alone} is" if alone else "these providers are"
        words = (
            f"the token given is no Hugging Face token (those start with hf_), and {who} not "
            f"reached with another key for {task}. "
        )
        return MissingAuthError(words + _how([]), model=model, provider=alone)
    return _nothing(settings, model, keys, alone)


def _nothing(settings: Settings, model: str, keys: Sequence[tuple[str, str]], alone: str | None) -> MissingAuthError:
    where = f" for {model}" if model else ""
    where += f" at {alone}" if alone else ""
    unused = f" ({settings.unused})" if settings.unused else ""
    words = f"there is no credential{where}{unused}. {_how(keys)}"
    return MissingAuthError(words, model=model or None, provider=alone)


def unnamed(model: str, providers: Sequence[str]) -> MissingAuthError:
    """The error when a provider's own key was given, but not whose it is."""
    return MissingAuthError(
        "the token given is no Hugging Face token (those start with hf_), so it must be one provider's own key: name "
        f"that provider, as in {model}:{providers[0]}",
        model=model,
    )


def _how(keys: Sequence[tuple[str, str]]) -> str:
    own = ", ".join(f"{key} for {name}" for name, key in keys)
    return (
        f'Make a token at {TOKENS_PAGE} with the permission "Make calls to Inference Providers", then '
        "`export HF_TOKEN=hf_…` or `hf auth login`."
        + (f" A provider's own key does as well: {own}." if own else "")
        + " `--sandbox` needs none."
    )
