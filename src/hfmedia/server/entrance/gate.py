"""The gate: who comes in. With keys, whoever has one; without, only this machine, and no web page of somebody else.

What a caller sent is never told back, neither in an answer nor in a log.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from hfmedia.core.wire import Secret
from hfmedia.server.books.book import Book
from hfmedia.server.books.money import clock
from hfmedia.server.config import Config
from hfmedia.server.errors import LIMIT, Refusal
from hfmedia.server.here import gateway_of

from .caller import Caller
from .pace import STATE, Pace

if TYPE_CHECKING:
    from hfmedia.server.gateway import Gateway

LONGEST_CREDENTIAL = 4096  # characters
MAKE_ONE = "`hfmedia keys make NAME` makes one"
FORWARDS = ("x-forwarded-for", "x-real-ip")
DEFAULT_PORTS = {"http": 80, "https": 443}
_HF_TOKEN = re.compile(r"hf_[A-Za-z0-9_.-]{6,}")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(?::([0-9]{1,5}))?")

BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="gateway key",
    description=f"A gateway key (`hfm_…`; {MAKE_ONE}), here or as `x-api-key`. A gateway without any key serves only "
    "the machine it runs on, and asks for none.",
)


async def admitted(
    request: Request,
    _documented: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)] = None,
) -> Caller:
    """Who asks. Refusal: 401 without a usable key, 403 from where nobody may come without one, 429 when too quick."""
    gateway = gateway_of(request)
    caller = _caller(request, gateway.book, gateway.config)
    request.state.caller = caller
    limit = caller.limits.requests_per_minute
    if limit is not None:
        passed = _pace(request).take(caller.key, limit)
        setattr(request.state, STATE, passed.headers())
        if not passed.granted:
            words = f"the key {caller.name!r} may make {limit} requests a minute; the next one in {passed.after:.1f} s"
            raise Refusal(
                429,
                words,
                type=LIMIT,
                code="rate_limit_exceeded",
                retry=True,
                retry_after=passed.after,
                headers=passed.headers(),
            )
    return caller


def welcome(gateway: Gateway, caller: Caller) -> bool:
    """Whether a caller who was admitted a while ago still would be: keys are revoked, changed, and made."""
    if caller.token is not None:
        return gateway.config.caller_tokens
    if not caller.key:
        return not gateway.book.ever_keyed()
    key = gateway.book.key(caller.key)
    return key is not None and key.usable(gateway.book.clock()) and key.admin == caller.admin


def check_model(caller: Caller, model: str) -> None:
    """Refusal 403 when the caller may not use this model; a provider behind a colon does not matter."""
    if not allowed(caller, model):
        patterns, name = ", ".join(caller.limits.models)[:1000], model.strip().partition(":")[0][:200]
        words = f"the key {caller.name!r} may not use {name!r}; it may use {patterns}"
        raise Refusal(403, words, code="model_not_allowed", param="model", retry=False)


def allowed(caller: Caller, model: str) -> bool:
    """Whether the caller may use this model; a provider behind a colon does not matter."""
    name = model.strip().partition(":")[0].lower()
    patterns = caller.limits.models
    return not patterns or any(fnmatchcase(name, pattern.lower()) for pattern in patterns)


def must_have_keys(host: str) -> bool:
    """Whether listening at this address lets other machines in, so that there must be keys."""
    return not is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own, as every machine understands it."""
    name = host.strip().strip("[]").lower()
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


# -- with keys --------------------------------------------------------------------------------------------------------


def _caller(request: Request, book: Book, config: Config) -> Caller:
    text = _credential(request)
    if text is not None and text.startswith("hf_"):
        return _own_token(text, config)
    if not book.ever_keyed():
        _check_open(request, config)
        return Caller()
    if text is None:
        raise _unknown(f"a gateway key is needed, sent in the Authorization header as Bearer; {MAKE_ONE}")
    key = book.find(text)
    if key is None:
        raise _unknown(f"that is no key of this gateway; {MAKE_ONE}")
    if key.revoked is not None:
        raise _unknown(f"the key {key.name!r} was revoked")
    if not key.usable(book.clock()):
        raise _unknown(f"the key {key.name!r} expired at {clock(key.expires or 0.0)}")
    return Caller(key=key.id, name=key.name, limits=key.limits, bill_to=key.bill_to, admin=key.admin)


def _own_token(text: str, config: Config) -> Caller:
    if not config.caller_tokens:
        raise _unknown(f"this gateway takes no Hugging Face tokens, but keys of its own: {MAKE_ONE}")
    if not _HF_TOKEN.fullmatch(text):
        raise _unknown("that is no Hugging Face token; copy it again, alone and whole")
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Caller(key=f"hf:{digest}", name=f"hf:{digest}", token=Secret(text))


def _credential(request: Request) -> str | None:
    """What the caller shows; None when it is nothing. Refusal 401 for what cannot be read one way only."""
    sent = request.headers.getlist("authorization")
    keys = [text.strip() for text in request.headers.getlist("x-api-key") if text.strip()]
    if len(sent) > 1 or len(keys) > 1:
        raise _unknown("more than one key was sent; send one")
    scheme, _, rest = (sent[0] if sent else "").strip().partition(" ")
    text = rest.strip() or (keys[0] if keys else "")
    if scheme and not (scheme.lower() == "bearer" or (not rest.strip() and keys)):
        raise _unknown("the Authorization header is not understood; send Bearer, a space, and a gateway key")
    if len(text) > LONGEST_CREDENTIAL or not text.isascii():
        raise _unknown("that is no key: it is too long, or holds characters that no key has")
    return text or None


def _unknown(message: str) -> Refusal:
    return Refusal(401, message, code="invalid_api_key", retry=False, headers={"www-authenticate": "Bearer"})


def _pace(request: Request) -> Pace:
    state = request.app.state
    if not hasattr(state, "pace"):
        state.pace = Pace()
    pace: Pace = state.pace
    return pace


# -- without keys -----------------------------------------------------------------------------------------------------


def _check_open(request: Request, config: Config) -> None:
    """Refusal 403 unless the request comes from this machine, and from no web page of somebody else.

    A page can make its reader's browser ask this machine, under a name of its own (DNS rebinding) or across origins;
    neither may spend the operator's money. A proxy's word on who asks counts where it speaks against it.
    """
    came = request.client.host if request.client else ""
    others = [part for name in FORWARDS for text in request.headers.getlist(name) for part in text.split(",")]
    if not is_loopback(came) or not all(is_loopback(_bare(part)) for part in others):
        raise _forbidden("a gateway without keys serves only the machine it runs on")
    host = _own_host(request, config)
    origins = request.headers.getlist("origin")
    if origins:
        known = (f"{request.url.scheme}://{host}", config.public_url or "", *config.cors_origins)
        asks = _origin(origins[0]) if len(origins) == 1 else None
        if asks is None or asks not in {_origin(text) for text in known}:
            raise _forbidden("a gateway without keys serves no web page but its own; name others in cors_origins")
    elif "cross-site" in (text.strip().lower() for text in request.headers.getlist("sec-fetch-site")):
        raise _forbidden("a gateway without keys serves no web page but its own")


def _own_host(request: Request, config: Config) -> str:
    """The Host header when it names this machine, or what the configuration says it is called."""
    hosts = request.headers.getlist("host")
    found = _HOST.fullmatch(hosts[0].strip()) if len(hosts) == 1 else None
    public = urlsplit(config.public_url).hostname if config.public_url else None
    if found is None or not (is_loopback(found[1]) or found[1].strip("[]").lower() == public):
        raise _forbidden("a gateway without keys is asked as localhost or 127.0.0.1, or by the name in public_url")
    return hosts[0].strip()


def _origin(text: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port of an address; None for what has none (``null``)."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.scheme and parts.hostname else None


def _bare(text: str) -> str:
    """An address out of a forwarded header, without its port."""
    part = text.strip().strip('"')
    found = _HOST.fullmatch(part)
    return found[1] if found else part


def _forbidden(why: str) -> Refusal:
    return Refusal(403, f"{why}; {MAKE_ONE}, and with it anybody may come", code="key_required", retry=False)


__all__ = ["BEARER", "Caller", "admitted", "check_model", "is_loopback", "must_have_keys", "welcome"]
