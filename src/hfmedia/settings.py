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

from .core.errors import CredentialError, InvalidRequestError, MissingAuthError
from .core.sizes import shown
from .core.wire import Secret, redact
from .providers import PROVIDERS

ENDPOINT = "https://huggingface.co"
ROUTER = "https://router.huggingface.co"
DEFAULT_PORTS = {"http": 80, "https": 443}
_BILL_TO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")  # the Hub's own rule for names; a resource group's id fits

LONGEST_TOKEN = 4096  # characters; the longest are signed ones of about 1,500, and servers cut headers at 8 KiB
TRUE = frozenset({"1", "ON", "YES", "TRUE"})  # as the Hub's own client reads its switches
_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})")


class Token(Struct, frozen=True):
    """A token and where it was found: ``HF_TOKEN``, ``the file …``, ``the token given``.

    ``foreign``: the caller gave it and it is no Hugging Face token, so it is the key of the provider that is named.
    """

    secret: Secret
    found: str
    foreign: bool = False


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that is decided before the first request.

    ``endpoint`` is the Hub, ``router`` the address through which providers are asked with an HF token; neither ends in
    a slash. ``home`` holds ledger, media and caches. ``base_urls`` replaces the origin of a provider's own address, by
    that origin. ``direct`` names the providers to ask with their own key although there is an HF token. ``keys`` are
    the providers' own keys, by the name of the variable. ``unused`` says why a token that is there is not used.
    """

    endpoint: str = ENDPOINT
    router: str = ROUTER
    home: Path
    trusted_hosts: tuple[str, ...] = ()
    base_urls: dict[str, str] = {}
    direct: frozenset[str] = frozenset()
    keys: dict[str, Secret] = {}
    token: Token | None = None
    unused: str | None = None
    bill_to: str | None = None

    @property
    def hub_token(self) -> Secret | None:
        """The token for the Hub and the router; None when there is none, or when it is one provider's own key."""
        return self.token.secret if self.token and not self.token.foreign else None

    def own_address(self, provider: str, task: str) -> str | None:
        """Where a provider is asked directly for a task, without a slash at the end; None if only the router does."""
        known = PROVIDERS.get(provider)
        address = {str(name): host for name, host in known.hosts.items()}.get(task) if known else None
        if address is None:
            return None
        parts = urlsplit(address)
        instead = self.base_urls.get(f"{parts.scheme}://{parts.netloc}")
        return (instead + parts.path).rstrip("/") if instead else address


def read_settings(
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
    found, unused = _find_token(environ, token)
    given = {name: _own_key(name, key) for name, key in (provider_keys or {}).items()}
    keys = {name: key for name in _key_names() if (key := _key(name, environ.get(name)))}
    names = [*_listed(environ, "HFMEDIA_DIRECT"), *direct]
    return Settings(
        endpoint=_address("endpoint", endpoint) or _address("HF_ENDPOINT", environ.get("HF_ENDPOINT")) or ENDPOINT,
        router=_address("router", router) or _address("HFMEDIA_ROUTER", environ.get("HFMEDIA_ROUTER")) or ROUTER,
        home=_home(home or environ.get("HFMEDIA_HOME"), environ),
        trusted_hosts=tuple(dict.fromkeys((*_listed(environ, "HFMEDIA_TRUSTED_HOSTS"), *trusted_hosts))),
        base_urls=_replacements(environ, base_urls or {}),
        direct=frozenset({_with_address(name, "HFMEDIA_DIRECT") for name in names} | set(given)),
        keys={**keys, **dict(given.values())},
        token=found,
        unused=unused,
        bill_to=_organisation(bill_to),
    )


def settings_of_caller(settings: Settings, *, token: str | None, bill_to: str | None) -> Settings:
    """The same settings for another account. With a token of its own, no other credential of these settings is used.

    Raises CredentialError or InvalidRequestError for what no server would take.
    """
    told = structs.replace(settings, bill_to=_organisation(bill_to))
    if token is None:
        return told
    text = _cleaned(token, "the token given")
    if text is None:
        raise CredentialError("the token given is empty")
    mine = Token(Secret(text), "the token given", foreign=not text.startswith("hf_"))
    return structs.replace(told, token=mine, keys={}, direct=frozenset[str](), unused=None)


def clean_url(text: str) -> str | None:
    """An http or https address in its plain form: lower case, no default port, no slash at the end; None if it is none.

    A user name, a query or a fragment has no place in it.
    """
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    unfit = (
        not host or "@" in parts.netloc or parts.query or parts.fragment or re.search(r"[\s\\\x00-\x1f]", text.strip())
    )
    if unfit or parts.scheme not in DEFAULT_PORTS or not host or (port == 0) or ".." in parts.path.split("/"):
        return None
    name = f"[{host}]" if ":" in host else host
    shown_port = "" if port in (None, DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{name}{shown_port}{parts.path.rstrip('/')}"


def _address(name: str, text: str | None) -> str | None:
    if text is None or not text.strip():
        return None
    url = clean_url(text)
    if url is None:
        raise InvalidRequestError(f"{name} is {shown(redact(text))}, but must be an address such as {ENDPOINT}")
    return url


def _replacements(environ: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in _listed(environ, "HFMEDIA_BASE_URLS"):
        origin, equals, instead = item.partition("=")
        if not equals:
            raise InvalidRequestError(
                f"HFMEDIA_BASE_URLS holds {shown(redact(item))}, but each entry must be a provider's address, =, and "
                "the address to use instead: https://fal.run=http://127.0.0.1:8000/fal"
            )
        pairs[origin] = instead
    told = [("HFMEDIA_BASE_URLS", *pair) for pair in pairs.items()] + [("base_urls", *pair) for pair in given.items()]
    made: dict[str, str] = {}
    for name, origin, instead in told:
        before, after = _address(name, origin), _address(name, instead)
        if before is None or after is None:
            raise InvalidRequestError(f"{name} holds an empty address")
        parts = urlsplit(before)
        made[f"{parts.scheme}://{parts.netloc}"] = after
    return made


def _listed(environ: Mapping[str, str], name: str) -> list[str]:
    return [item.strip() for item in environ.get(name, "").split(",") if item.strip()]


def _home(given: Path | str | None, environ: Mapping[str, str]) -> Path:
    if given:
        return given if isinstance(given, Path) else Path(_expanded(given, environ))
    from platformdirs import user_data_path

    return user_data_path("hfmedia", appauthor=False)


def _key_names() -> tuple[str, ...]:
    return tuple(name for provider in PROVIDERS.values() for name in provider.key_names)


def _key(name: str, text: str | None) -> Secret | None:
    key = _cleaned(text, f"the key in {name}")
    return Secret(key) if key else None


def _own_key(provider: str, text: Any) -> tuple[str, Secret]:
    """The variable's name and the secret of a key that the caller gave for a provider."""
    _with_address(provider, "provider_keys")
    key = _cleaned(text, f"the key given for {provider}")
    if key is None:
        raise CredentialError(f"the key given for {provider} is empty", provider=provider)
    return PROVIDERS[provider].key_names[0], Secret(key)


def _with_address(name: str, told_in: str) -> str:
    """The name when that provider can be asked directly."""
    known = PROVIDERS.get(name)
    if known is None or not known.key_names:
        able = ", ".join(sorted(one.name for one in PROVIDERS.values() if one.key_names))
        raise InvalidRequestError(f"{told_in} names {shown(name)}, but only these can be asked directly: {able}")
    return name


def _organisation(text: str | None) -> str | None:
    if text is None or not text.strip():
        return None
    if not _BILL_TO.fullmatch(text.strip()):
        raise InvalidRequestError(f"bill_to is {shown(text)}, but must be the name of an organisation on the Hub")
    return text.strip()


def _find_token(environ: Mapping[str, str], given: str | None) -> tuple[Token | None, str | None]:
    """The token in the order of the Hub's own client; or None, and why the one that is there is not used."""
    text = _cleaned(given, "the token given")
    if text:
        return Token(Secret(text), "the token given", foreign=not text.startswith("hf_")), None
    implicit = environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() not in TRUE
    if implicit and environ.get("HF_OIDC_RESOURCE"):
        return _exchanged(), None
    for name, text in _candidates(environ):
        secret = _cleaned(text, f"the token in {name}")
        if secret and implicit:
            return Token(Secret(secret), name), None
        if secret:
            return None, f"there is a token in {name}, but HF_HUB_DISABLE_IMPLICIT_TOKEN forbids to use it unasked"
    return None, None


def _candidates(environ: Mapping[str, str]) -> Iterable[tuple[str, str | None]]:
    """Where a token may lie, and what lies there, in order; each place is looked at only when it is reached."""
    if environ.get("HF_TOKEN"):
        yield "HF_TOKEN", environ["HF_TOKEN"]
    else:
        yield "HUGGING_FACE_HUB_TOKEN", environ.get("HUGGING_FACE_HUB_TOKEN")
    path = _token_path(environ)
    yield f"the file {path}", _read(path)
    yield "the Colab secret HF_TOKEN", _colab_secret(environ)


def _token_path(environ: Mapping[str, str]) -> Path:
    """Where ``hf auth login`` leaves the token."""
    if environ.get("HF_TOKEN_PATH"):
        return Path(_expanded(environ["HF_TOKEN_PATH"], environ))
    caches = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(_expanded(environ.get("HF_HOME") or f"{caches}/huggingface", environ)) / "token"


def _read(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(4 * LONGEST_TOKEN)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise CredentialError(f"the token file {path} cannot be read: {reason}") from error
    except UnicodeDecodeError:
        raise CredentialError(f"the token file {path} holds no text; write it anew with `hf auth login`") from None


def _colab_secret(environ: Mapping[str, str]) -> str | None:
    """The notebook's own secret, only inside a Colab notebook that is not Colab Enterprise."""
    if "google.colab" not in sys.modules or environ.get("VERTEX_PRODUCT") == "COLAB_ENTERPRISE":
        return None
    userdata = import_module("google.colab.userdata")
    failed = import_module("google.colab.errors").Error
    try:
        text = userdata.get("HF_TOKEN")
    except (userdata.SecretNotFoundError, userdata.NotebookAccessError, failed):  # none there, or not shown to us
        return None
    return text if isinstance(text, str) else None


def _exchanged() -> Token:
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
    secret = _cleaned(text, "the token got for HF_OIDC_RESOURCE")
    if secret is None:
        raise MissingAuthError("HF_OIDC_RESOURCE is set, but no token came of it")
    return Token(Secret(secret), "HF_OIDC_RESOURCE")


def _cleaned(text: Any, what: str) -> str | None:
    """A token or key without the white space around it; None when it is empty; CredentialError when it is damaged."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise CredentialError(f"{what} is {type(text).__name__}, but must be text")
    bare = text.strip()
    wrong = next((words for sign, words in _DAMAGES if sign.search(bare)), None)
    if wrong is None and len(bare) > LONGEST_TOKEN:
        wrong = f"has more than {LONGEST_TOKEN} characters"
    if wrong:
        raise CredentialError(f"{what} {wrong}, so it is no token; copy it again, alone and whole")
    return bare or None


_DAMAGES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[\r\n]"), "has a line break in it"),
    (re.compile(r"\s"), "has white space in it"),
    (re.compile(r"[\x00-\x1f\x7f]"), "has a control character in it"),
    (re.compile(r"[^\x00-\x7f]"), "has a character in it that is not ASCII"),
    (re.compile(r"^[\"'].*|.*[\"']$"), "has quotation marks around it"),
)


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    """A path with ``~`` and ``$NAME`` read from this environment; what is not known there stays."""
    home = environ.get("HOME") or environ.get("USERPROFILE") or str(Path.home())
    if text == "~" or text.startswith(("~/", "~\\")):
        text = home + text[1:]
    return _VARIABLE.sub(lambda found: environ.get(found[1] or found[2], found[0]), text)
