"""Settings: what the environment and the caller say, read once and frozen; where addresses, keys and the token are.

Whatever cannot be used is refused here, in one sentence that names its variable and never shows a secret.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct, structs

from .core.credentials import BILL_TO_PATTERN, Secret, redact
from .core.errors import AuthenticationError, InvalidRequestError, MissingAuthError
from .core.origin import DEFAULT_PORTS
from .core.text import truncated_repr
from .providers import PROVIDERS

DEFAULT_ENDPOINT = "https://huggingface.co"
DEFAULT_ROUTER = "https://router.huggingface.co"

MAX_TOKEN_CHARS = 4096  # characters; the longest are signed ones of about 1,500, and servers cut headers at 8 KiB
TRUE_VALUES = frozenset({"1", "ON", "YES", "TRUE"})  # as the Hub's own client reads its switches
_VARIABLE_PATTERN = re.compile(r"\$(?:(\w+)|\{([^}]*)\})")


class Token(Struct, frozen=True):
    """A token and where it was found: ``HF_TOKEN``, ``the file …``, ``the token given``.

    ``foreign``: the caller gave it and it is no Hugging Face token, so it is the key of the provider that is named.
    """

    secret: Secret
    source: str
    is_provider_key: bool = False


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that is decided before the first request.

    ``endpoint`` is the Hub, ``router`` the address through which providers are asked with an HF token; neither ends in
    a slash. ``home`` holds ledger, media and caches. ``base_urls`` replaces the origin of a provider's own address, by
    that origin. ``direct`` names the providers to ask with their own key although there is an HF token. ``keys`` are
    the providers' own keys, by the name of the variable. ``unused`` says why a token that is there is not used.
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
        """The token for the Hub and the router; None when there is none, or when it is one provider's own key."""
        return self.token.secret if self.token and not self.token.is_provider_key else None

    def direct_base_url(self, provider: str, task: str) -> str | None:
        """Where a provider is asked directly for a task, without a slash at the end; None if only the router does."""
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
    """The settings out of an environment; what the caller gives goes before what the environment says.

    A provider in ``provider_keys`` (a key by provider name) is asked directly. The token is looked for as the Hub's own
    client does; reading its file is all that happens here.

    Raises:
        InvalidRequestError: an address, a name or a list that cannot be used; it names the variable or the argument.
        CredentialError: a token or a key that no server would take, or a token file that cannot be read.
        MissingAuthError: HF_OIDC_RESOURCE asks for a token that cannot be had.
    """
    found_token, ignored_reason = _find_token(environ, token)
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
        token=found_token,
        ignored_reason=ignored_reason,
        bill_to=_validate_bill_to(bill_to),
    )


def settings_for_account(settings: Settings, *, token: str | None, bill_to: str | None) -> Settings:
    """The same settings for another account. With a token of its own, no other credential of these settings is used.

    Raises CredentialError or InvalidRequestError for what no server would take.
    """
    account_settings = structs.replace(settings, bill_to=_validate_bill_to(bill_to))
    if token is None:
        return account_settings
    clean_token = _validate_secret(token, "the token given")
    if clean_token is None:
        raise AuthenticationError("the token given is empty")
    account_token = Token(Secret(clean_token), "the token given", is_provider_key=not clean_token.startswith("hf_"))
    return structs.replace(account_settings, token=account_token, keys={}, direct=frozenset[str](), ignored_reason=None)


def normalize_url(text: str) -> str | None:
    """An http or https address in its plain form: lower case, no default port, no slash at the end; None if it is none.

    A user name, a query or a fragment has no place in it.
    """
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    is_invalid = (
        not host or "@" in parts.netloc or parts.query or parts.fragment or re.search(r"[\s\\\x00-\x1f]", text.strip())
    )
    if is_invalid or parts.scheme not in DEFAULT_PORTS or not host or (port == 0) or ".." in parts.path.split("/"):
        return None
    host_label = f"[{host}]" if ":" in host else host
    port_suffix = "" if port in (None, DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host_label}{port_suffix}{parts.path.rstrip('/')}"


def _parse_url(name: str, text: str | None) -> str | None:
    if text is None or not text.strip():
        return None
    url = normalize_url(text)
    if url is None:
        raise InvalidRequestError(
            f"{name} is {truncated_repr(redact(text))}, but must be an address such as {DEFAULT_ENDPOINT}"
        )
    return url


def _parse_base_urls(environ: Mapping[str, str], explicit: Mapping[str, str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in _split_list(environ, "HFMEDIA_BASE_URLS"):
        origin, equals, replacement = item.partition("=")
        if not equals:
            raise InvalidRequestError(
                f"HFMEDIA_BASE_URLS holds {truncated_repr(redact(item))}, but each entry must be a provider's address, =, and "
                "the address to use instead: https://fal.run=http://127.0.0.1:8000/fal"
            )
        pairs[origin] = replacement
    entries = [("HFMEDIA_BASE_URLS", *pair) for pair in pairs.items()] + [
        ("base_urls", *pair) for pair in explicit.items()
    ]
    replacements: dict[str, str] = {}
    for name, origin, replacement in entries:
        original_url, replacement_url = _parse_url(name, origin), _parse_url(name, replacement)
        if original_url is None or replacement_url is None:
            raise InvalidRequestError(f"{name} holds an empty address")
        parts = urlsplit(original_url)
        replacements[f"{parts.scheme}://{parts.netloc}"] = replacement_url
    return replacements


def _split_list(environ: Mapping[str, str], name: str) -> list[str]:
    return [item.strip() for item in environ.get(name, "").split(",") if item.strip()]


def _resolve_home(explicit: Path | str | None, environ: Mapping[str, str]) -> Path:
    if explicit:
        return explicit if isinstance(explicit, Path) else Path(_expand_path(explicit, environ))
    from platformdirs import user_data_path

    return user_data_path("hfmedia", appauthor=False)


def _api_key_env_vars() -> tuple[str, ...]:
    return tuple(name for provider in PROVIDERS.values() for name in provider.api_key_env_vars)


def _parse_key(name: str, text: str | None) -> Secret | None:
    key = _validate_secret(text, f"the key in {name}")
    return Secret(key) if key else None


def _provider_key(provider: str, text: Any) -> tuple[str, Secret]:
    """The variable's name and the secret of a key that the caller gave for a provider."""
    _require_direct_provider(provider, "provider_keys")
    key = _validate_secret(text, f"the key given for {provider}")
    if key is None:
        raise AuthenticationError(f"the key given for {provider} is empty", provider=provider)
    return PROVIDERS[provider].api_key_env_vars[0], Secret(key)


def _require_direct_provider(name: str, source: str) -> str:
    """The name when that provider can be asked directly."""
    provider_spec = PROVIDERS.get(name)
    if provider_spec is None or not provider_spec.api_key_env_vars:
        direct_providers = ", ".join(
            sorted(provider.name for provider in PROVIDERS.values() if provider.api_key_env_vars)
        )
        raise InvalidRequestError(
            f"{source} names {truncated_repr(name)}, but only these can be asked directly: {direct_providers}"
        )
    return name


def _validate_bill_to(text: str | None) -> str | None:
    if text is None or not text.strip():
        return None
    if not BILL_TO_PATTERN.fullmatch(text.strip()):
        raise InvalidRequestError(
            f"bill_to is {truncated_repr(text)}, but must be the name of an organisation on the Hub"
        )
    return text.strip()


def _find_token(environ: Mapping[str, str], explicit: str | None) -> tuple[Token | None, str | None]:
    """The token in the order of the Hub's own client; or None, and why the one that is there is not used."""
    text = _validate_secret(explicit, "the token given")
    if text:
        return Token(Secret(text), "the token given", is_provider_key=not text.startswith("hf_")), None
    may_use_implicit = environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() not in TRUE_VALUES
    if may_use_implicit and environ.get("HF_OIDC_RESOURCE"):
        return _oidc_token(), None
    for name, text in _token_candidates(environ):
        secret = _validate_secret(text, f"the token in {name}")
        if secret and may_use_implicit:
            return Token(Secret(secret), name), None
        if secret:
            return None, f"there is a token in {name}, but HF_HUB_DISABLE_IMPLICIT_TOKEN forbids to use it unasked"
    return None, None


def _token_candidates(environ: Mapping[str, str]) -> Iterable[tuple[str, str | None]]:
    """Where a token may lie, and what lies there, in order; each place is looked at only when it is reached."""
    if environ.get("HF_TOKEN"):
        yield "HF_TOKEN", environ["HF_TOKEN"]
    else:
        yield "HUGGING_FACE_HUB_TOKEN", environ.get("HUGGING_FACE_HUB_TOKEN")
    path = _token_path(environ)
    yield f"the file {path}", _read_token_file(path)
    yield "the Colab secret HF_TOKEN", _colab_secret(environ)


def _token_path(environ: Mapping[str, str]) -> Path:
    """Where ``hf auth login`` leaves the token."""
    if environ.get("HF_TOKEN_PATH"):
        return Path(_expand_path(environ["HF_TOKEN_PATH"], environ))
    cache_home = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(_expand_path(environ.get("HF_HOME") or f"{cache_home}/huggingface", environ)) / "token"


def _read_token_file(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(4 * MAX_TOKEN_CHARS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise AuthenticationError(f"the token file {path} cannot be read: {reason}") from error
    except UnicodeDecodeError:
        raise AuthenticationError(f"the token file {path} holds no text; write it anew with `hf auth login`") from None


def _colab_secret(environ: Mapping[str, str]) -> str | None:
    """The notebook's own secret, only inside a Colab notebook that is not Colab Enterprise."""
    if "google.colab" not in sys.modules or environ.get("VERTEX_PRODUCT") == "COLAB_ENTERPRISE":
        return None
    userdata = import_module("google.colab.userdata")
    colab_error = import_module("google.colab.errors").Error
    try:
        text = userdata.get("HF_TOKEN")
    except (userdata.SecretNotFoundError, userdata.NotebookAccessError, colab_error):  # none there, or not shown to us
        return None
    return text if isinstance(text, str) else None


def _oidc_token() -> Token:
    """The short-lived token of a trusted publisher, which the Hub's own client knows to get."""
    try:
        text = import_module("huggingface_hub").get_token()
    except ImportError as error:
        raise MissingAuthError(
            "HF_OIDC_RESOURCE is set, and such a token is got with huggingface_hub: `pip install huggingface_hub`, "
            "or set HF_TOKEN and unset HF_OIDC_RESOURCE"
        ) from error
    except Exception as error:  # whatever its HTTP client raises; the answer is the same
        raise MissingAuthError(
            f"HF_OIDC_RESOURCE is set, but no token came of it: {redact(str(error))[:300]}"
        ) from None
    secret = _validate_secret(text, "the token got for HF_OIDC_RESOURCE")
    if secret is None:
        raise MissingAuthError("HF_OIDC_RESOURCE is set, but no token came of it")
    return Token(Secret(secret), "HF_OIDC_RESOURCE")


def _validate_secret(text: Any, label: str) -> str | None:
    """A token or key without the white space around it; None when it is empty; CredentialError when it is damaged."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise AuthenticationError(f"{label} is {type(text).__name__}, but must be text")
    stripped = text.strip()
    defect = next((description for pattern, description in _TOKEN_DEFECTS if pattern.search(stripped)), None)
    if defect is None and len(stripped) > MAX_TOKEN_CHARS:
        defect = f"has more than {MAX_TOKEN_CHARS} characters"
    if defect:
        raise AuthenticationError(f"{label} {defect}, so it is no token; copy it again, alone and whole")
    return stripped or None


_TOKEN_DEFECTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[\r\n]"), "has a line break in it"),
    (re.compile(r"\s"), "has white space in it"),
    (re.compile(r"[\x00-\x1f\x7f]"), "has a control character in it"),
    (re.compile(r"[^\x00-\x7f]"), "has a character in it that is not ASCII"),
    (re.compile(r"^[\"'].*|.*[\"']$"), "has quotation marks around it"),
)


def _expand_path(text: str, environ: Mapping[str, str]) -> str:
    """A path with ``~`` and ``$NAME`` read from this environment; what is not known there stays."""
    home = environ.get("HOME") or environ.get("USERPROFILE") or str(Path.home())
    if text == "~" or text.startswith(("~/", "~\\")):
        text = home + text[1:]
    return _VARIABLE_PATTERN.sub(lambda match: environ.get(match[1] or match[2], match[0]), text)
