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

from hfmedia.core.credentials import Secret
from hfmedia.server.config import Config
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.pricing import format_utc
from hfmedia.server.dependencies import get_gateway
from hfmedia.server.errors import RATE_LIMIT, ApiError

from ..middleware.rate_limit import STATE_KEY, TokenBucketLimiter
from .caller import Caller

if TYPE_CHECKING:
    from hfmedia.server.gateway import Gateway

MAX_CREDENTIAL_CHARS = 4096  # characters
CREATE_KEY_HINT = "`hfmedia keys make NAME` makes one"
FORWARDING_HEADERS = ("x-forwarded-for", "x-real-ip")
DEFAULT_PORTS = {"http": 80, "https": 443}
_HF_TOKEN_PATTERN = re.compile(r"hf_[A-Za-z0-9_.-]{6,}")
_HOST_PATTERN = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(?::([0-9]{1,5}))?")

BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="gateway key",
    description=f"A gateway key (`hfm_…`; {CREATE_KEY_HINT}), here or as `x-api-key`. A gateway without any key serves only "
    "the machine it runs on, and asks for none.",
)


async def require_caller(
    request: Request,
    _documented: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)] = None,
) -> Caller:
    """Who asks. Refusal: 401 without a usable key, 403 from where nobody may come without one, 429 when too quick."""
    gateway = get_gateway(request)
    caller = _authenticate(request, gateway.database, gateway.config)
    request.state.caller = caller
    limit = caller.limits.requests_per_minute
    if limit is not None:
        rate_limit = _rate_limiter(request).acquire(caller.id, limit)
        setattr(request.state, STATE_KEY, rate_limit.headers())
        if not rate_limit.allowed:
            message = f"the key {caller.name!r} may make {limit} requests a minute; the next one in {rate_limit.retry_after:.1f} s"
            raise ApiError(
                429,
                message,
                type=RATE_LIMIT,
                code="rate_limit_exceeded",
                retry=True,
                retry_after=rate_limit.retry_after,
                headers=rate_limit.headers(),
            )
    return caller


def is_still_authorized(gateway: Gateway, caller: Caller) -> bool:
    """Whether a caller who was admitted a while ago still would be: keys are revoked, changed, and made."""
    if caller.hf_token is not None:
        return gateway.config.allow_caller_tokens
    if not caller.id:
        return not gateway.database.requires_keys()
    key = gateway.database.get_key(caller.id)
    return key is not None and key.is_active(gateway.database.clock()) and key.admin == caller.admin


def require_model_access(caller: Caller, model: str) -> None:
    """Refusal 403 when the caller may not use this model; a provider behind a colon does not matter."""
    if not can_use_model(caller, model):
        patterns, name = ", ".join(caller.limits.models)[:1000], model.strip().partition(":")[0][:200]
        message = f"the key {caller.name!r} may not use {name!r}; it may use {patterns}"
        raise ApiError(403, message, code="model_not_allowed", param="model", retry=False)


def can_use_model(caller: Caller, model: str) -> bool:
    """Whether the caller may use this model; a provider behind a colon does not matter."""
    name = model.strip().partition(":")[0].lower()
    patterns = caller.limits.models
    return not patterns or any(fnmatchcase(name, pattern.lower()) for pattern in patterns)


def requires_api_keys(host: str) -> bool:
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


def _authenticate(request: Request, database: GatewayDatabase, config: Config) -> Caller:
    credential = _read_credential(request)
    if credential is not None and credential.startswith("hf_"):
        return _caller_of_token(credential, config)
    if not database.requires_keys():
        _require_local(request, config)
        return Caller()
    if credential is None:
        raise _unauthorized(f"a gateway key is needed, sent in the Authorization header as Bearer; {CREATE_KEY_HINT}")
    key = database.find_by_plaintext(credential)
    if key is None:
        raise _unauthorized(f"that is no key of this gateway; {CREATE_KEY_HINT}")
    if key.revoked_at is not None:
        raise _unauthorized(f"the key {key.name!r} was revoked")
    if not key.is_active(database.clock()):
        raise _unauthorized(f"the key {key.name!r} expired at {format_utc(key.expires_at or 0.0)}")
    return Caller(id=key.id, name=key.name, limits=key.limits, bill_to=key.bill_to, admin=key.admin)


def _caller_of_token(token: str, config: Config) -> Caller:
    if not config.allow_caller_tokens:
        raise _unauthorized(f"this gateway takes no Hugging Face tokens, but keys of its own: {CREATE_KEY_HINT}")
    if not _HF_TOKEN_PATTERN.fullmatch(token):
        raise _unauthorized("that is no Hugging Face token; copy it again, alone and whole")
    digest = hashlib.sha256(token.encode()).hexdigest()[:12]
    return Caller(id=f"hf:{digest}", name=f"hf:{digest}", hf_token=Secret(token))


def _read_credential(request: Request) -> str | None:
    """What the caller shows; None when it is nothing. Refusal 401 for what cannot be read one way only."""
    authorization = request.headers.getlist("authorization")
    keys = [credential.strip() for credential in request.headers.getlist("x-api-key") if credential.strip()]
    if len(authorization) > 1 or len(keys) > 1:
        raise _unauthorized("more than one key was sent; send one")
    scheme, _, value = (authorization[0] if authorization else "").strip().partition(" ")
    credential = value.strip() or (keys[0] if keys else "")
    if scheme and not (scheme.lower() == "bearer" or (not value.strip() and keys)):
        raise _unauthorized("the Authorization header is not understood; send Bearer, a space, and a gateway key")
    if len(credential) > MAX_CREDENTIAL_CHARS or not credential.isascii():
        raise _unauthorized("that is no key: it is too long, or holds characters that no key has")
    return credential or None


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", retry=False, headers={"www-authenticate": "Bearer"})


def _rate_limiter(request: Request) -> TokenBucketLimiter:
    state = request.app.state
    if not hasattr(state, "pace"):
        state.pace = TokenBucketLimiter()
    limiter: TokenBucketLimiter = state.pace
    return limiter


# -- without keys -----------------------------------------------------------------------------------------------------


def _require_local(request: Request, config: Config) -> None:
    """Refusal 403 unless the request comes from this machine, and from no web page of somebody else.

    A page can make its reader's browser ask this machine, under a name of its own (DNS rebinding) or across origins;
    neither may spend the operator's money. A proxy's word on who asks counts where it speaks against it.
    """
    client_host = request.client.host if request.client else ""
    forwarded_addresses = [
        part for name in FORWARDING_HEADERS for text in request.headers.getlist(name) for part in text.split(",")
    ]
    if not is_loopback(client_host) or not all(is_loopback(_strip_port(part)) for part in forwarded_addresses):
        raise _key_required("a gateway without keys serves only the machine it runs on")
    host = _require_own_host(request, config)
    origins = request.headers.getlist("origin")
    if origins:
        allowed_origins = (f"{request.url.scheme}://{host}", config.public_url or "", *config.cors_origins)
        origin = _parse_origin(origins[0]) if len(origins) == 1 else None
        if origin is None or origin not in {_parse_origin(text) for text in allowed_origins}:
            raise _key_required("a gateway without keys serves no web page but its own; name others in cors_origins")
    elif "cross-site" in (text.strip().lower() for text in request.headers.getlist("sec-fetch-site")):
        raise _key_required("a gateway without keys serves no web page but its own")


def _require_own_host(request: Request, config: Config) -> str:
    """The Host header when it names this machine, or what the configuration says it is called."""
    hosts = request.headers.getlist("host")
    match = _HOST_PATTERN.fullmatch(hosts[0].strip()) if len(hosts) == 1 else None
    public_host = urlsplit(config.public_url).hostname if config.public_url else None
    if match is None or not (is_loopback(match[1]) or match[1].strip("[]").lower() == public_host):
        raise _key_required("a gateway without keys is asked as localhost or 127.0.0.1, or by the name in public_url")
    return hosts[0].strip()


def _parse_origin(text: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port of an address; None for what has none (``null``)."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.scheme and parts.hostname else None


def _strip_port(text: str) -> str:
    """An address out of a forwarded header, without its port."""
    address = text.strip().strip('"')
    match = _HOST_PATTERN.fullmatch(address)
    return match[1] if match else address


def _key_required(reason: str) -> ApiError:
    return ApiError(403, f"{reason}; {CREATE_KEY_HINT}, and with it anybody may come", code="key_required", retry=False)


__all__ = [
    "BEARER",
    "Caller",
    "is_loopback",
    "is_still_authorized",
    "require_caller",
    "require_model_access",
    "requires_api_keys",
]
