"""Settings: URLs, keys and the token from the environment and the caller, read once and frozen.

An invalid value raises an error that names its variable and never shows a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct, structs

from .core.credentials import BILL_TO_PATTERN, Secret, redact
from .core.errors import AuthenticationError, InvalidRequestError
from .core.origin import normalize_url
from .core.text import truncated_repr
from .hf_token import EXPLICIT_SOURCE, Token, expand_path, find_token, validate_secret
from .providers import PROVIDERS

DEFAULT_ENDPOINT = "https://huggingface.co"
DEFAULT_ROUTER = "https://router.huggingface.co"


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that is decided before the first request.

    Attributes:
        endpoint: URL of the Hub, without a trailing slash.
        router: URL of the router, which reaches providers with a Hugging Face token, without a trailing slash.
        home: folder of ledger, media and caches.
        trusted_hosts: ``host`` or ``host:port`` from which media may be fetched although its address is private.
        base_urls: replacements for the origins of providers' base URLs, by that origin.
        direct: providers to use with their own key although there is a Hugging Face token.
        keys: providers' own keys, by the name of their variable.
        token: the token; None if there is none.
        ignored_reason: why an existing token is not used; None if it is.
        bill_to: the organization to bill.
    """

    endpoint: str = DEFAULT_ENDPOINT
    router: str = DEFAULT_ROUTER
    home: Path
    trusted_hosts: tuple[str, ...] = ()
    base_urls: dict[str, str] = {}
    direct: frozenset[str] = frozenset()
    keys: dict[str, Secret] = {}
    token: Token | None = None
    ignored_reason: str | None = None
    bill_to: str | None = None

    @property
    def hub_token(self) -> Secret | None:
        """Token for the Hub and the router; None when there is none, or when it is a provider's own key."""
        return self.token.secret if self.token and not self.token.is_provider_key else None

    def direct_base_url(self, provider: str, task: str) -> str | None:
        """Return a provider's own base URL for a task, without a trailing slash; None if only the router reaches it."""
        provider_spec = PROVIDERS.get(provider)
        base_url = (
            {str(name): host for name, host in provider_spec.base_urls.items()}.get(task) if provider_spec else None
        )
        if base_url is None:
            return None
        parts = urlsplit(base_url)
        replacement = self.base_urls.get(f"{parts.scheme}://{parts.netloc}")
        return (replacement + parts.path).rstrip("/") if replacement else base_url


def load_settings(
    environ: Mapping[str, str],
    *,
    token: str | None = None,
    bill_to: str | None = None,
    provider_keys: Mapping[str, str] | None = None,
    base_urls: Mapping[str, str] | None = None,
    trusted_hosts: Iterable[str] = (),
    direct: Iterable[str] = (),
    endpoint: str | None = None,
    router: str | None = None,
    home: Path | str | None = None,
) -> Settings:
    """Load the settings from environment variables; arguments take precedence.

    Requests to a provider in ``provider_keys`` (a key by provider name) bypass the router. The token is discovered in
    the same places as by huggingface_hub; its file is read, and nothing else happens.

    Raises:
        InvalidRequestError: a URL, a name or a list is invalid; the error names the variable or the argument.
        AuthenticationError: a token or a key is malformed, or a token file is unreadable.
        MissingAuthError: HF_OIDC_RESOURCE is set, but no token can be obtained for it.
    """
    discovered_token, ignored_reason = find_token(environ, token)
    explicit_keys = {name: _provider_key(name, key) for name, key in (provider_keys or {}).items()}
    keys = {name: key for name in _api_key_env_vars() if (key := _parse_key(name, environ.get(name)))}
    direct_names = [*_split_list(environ, "HFMEDIA_DIRECT"), *direct]
    return Settings(
        endpoint=_parse_url("endpoint", endpoint)
        or _parse_url("HF_ENDPOINT", environ.get("HF_ENDPOINT"))
        or DEFAULT_ENDPOINT,
        router=_parse_url("router", router)
        or _parse_url("HFMEDIA_ROUTER", environ.get("HFMEDIA_ROUTER"))
        or DEFAULT_ROUTER,
        home=_resolve_home(home or environ.get("HFMEDIA_HOME"), environ),
        trusted_hosts=tuple(dict.fromkeys((*_split_list(environ, "HFMEDIA_TRUSTED_HOSTS"), *trusted_hosts))),
        base_urls=_parse_base_urls(environ, base_urls or {}),
        direct=frozenset(
            {_require_direct_provider(name, "HFMEDIA_DIRECT") for name in direct_names} | set(explicit_keys)
        ),
        keys={**keys, **dict(explicit_keys.values())},
        token=discovered_token,
        ignored_reason=ignored_reason,
        bill_to=_validate_bill_to(bill_to),
    )


def settings_for_account(settings: Settings, *, token: str | None, bill_to: str | None) -> Settings:
    """Return the settings for another account. With a token, no other credential of these settings is used.

    Raises AuthenticationError for a malformed token, InvalidRequestError for an invalid organization.
    """
    account_settings = structs.replace(settings, bill_to=_validate_bill_to(bill_to))
    if token is None:
        return account_settings
    clean_token = validate_secret(token, "the token")
    if clean_token is None:
        raise AuthenticationError("the token is empty")
    account_token = Token(Secret(clean_token), EXPLICIT_SOURCE, is_provider_key=not clean_token.startswith("hf_"))
    return structs.replace(account_settings, token=account_token, keys={}, direct=frozenset[str](), ignored_reason=None)


def _parse_url(name: str, text: str | None) -> str | None:
    if text is None or not text.strip():
        return None
    url = normalize_url(text)
    if url is None:
        raise InvalidRequestError(
            f"{name} is {truncated_repr(redact(text))}, but must be a URL such as {DEFAULT_ENDPOINT}"
        )
    return url


def _parse_base_urls(environ: Mapping[str, str], explicit: Mapping[str, str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in _split_list(environ, "HFMEDIA_BASE_URLS"):
        origin, equals, replacement = item.partition("=")
        if not equals:
            raise InvalidRequestError(
                f"HFMEDIA_BASE_URLS contains {truncated_repr(redact(item))}, but each entry must be URL=REPLACEMENT, "
                "such as https://fal.run=http://127.0.0.1:8000/fal"
            )
        pairs[origin] = replacement
    entries = [("HFMEDIA_BASE_URLS", *pair) for pair in pairs.items()] + [
        ("base_urls", *pair) for pair in explicit.items()
    ]
    replacements: dict[str, str] = {}
    for name, origin, replacement in entries:
        original_url, replacement_url = _parse_url(name, origin), _parse_url(name, replacement)
        if original_url is None or replacement_url is None:
            raise InvalidRequestError(f"{name} contains an empty URL")
        parts = urlsplit(original_url)
        replacements[f"{parts.scheme}://{parts.netloc}"] = replacement_url
    return replacements


def _split_list(environ: Mapping[str, str], name: str) -> list[str]:
    return [item.strip() for item in environ.get(name, "").split(",") if item.strip()]


def _resolve_home(explicit: Path | str | None, environ: Mapping[str, str]) -> Path:
    if explicit:
        return explicit if isinstance(explicit, Path) else Path(expand_path(explicit, environ))
    from platformdirs import user_data_path

    return user_data_path("hfmedia", appauthor=False)


def _api_key_env_vars() -> tuple[str, ...]:
    return tuple(name for provider in PROVIDERS.values() for name in provider.api_key_env_vars)


def _parse_key(name: str, text: str | None) -> Secret | None:
    key = validate_secret(text, f"the key in {name}")
    return Secret(key) if key else None


def _provider_key(provider: str, text: Any) -> tuple[str, Secret]:
    """Return the variable's name and the secret for a key in ``provider_keys``."""
    _require_direct_provider(provider, "provider_keys")
    key = validate_secret(text, f"the key for {provider}")
    if key is None:
        raise AuthenticationError(f"the key for {provider} is empty", provider=provider)
    return PROVIDERS[provider].api_key_env_vars[0], Secret(key)


def _require_direct_provider(name: str, source: str) -> str:
    """Return the name. Raises InvalidRequestError unless that provider can be used with its own key."""
    provider_spec = PROVIDERS.get(name)
    if provider_spec is None or not provider_spec.api_key_env_vars:
        direct_providers = ", ".join(
            sorted(provider.name for provider in PROVIDERS.values() if provider.api_key_env_vars)
        )
        raise InvalidRequestError(
            f"{source} contains {truncated_repr(name)}, but only these accept their own key: {direct_providers}"
        )
    return name


def _validate_bill_to(text: str | None) -> str | None:
    if text is None or not text.strip():
        return None
    if not BILL_TO_PATTERN.fullmatch(text.strip()):
        raise InvalidRequestError(
            f"bill_to is {truncated_repr(text)}, but must be the name of an organization on the Hub"
        )
    return text.strip()
