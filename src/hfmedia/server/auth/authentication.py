"""Authentication. With API keys configured: a valid key. Without: loopback only, same-origin.

A credential that a caller sent is never repeated, neither in an error nor in a log line.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from hfmedia.core.credentials import Secret
from hfmedia.server.config import Config
from hfmedia.server.db.budgets import format_utc
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.errors import RATE_LIMIT, ApiError
from hfmedia.server.gateway import Gateway

from ..middleware.rate_limit import STATE_KEY, TokenBucketLimiter
from .caller import Caller
from .local_access import CREATE_KEY_HINT, require_local
from .policy import is_still_valid

MAX_CREDENTIAL_CHARS = 4096  # characters
_HF_TOKEN_PATTERN = re.compile(r"hf_[A-Za-z0-9_.-]{6,}")

BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="gateway key",
    description="A gateway API key (`hfm_…`, created with `hfmedia keys create NAME`), sent here or as `x-api-key`. "
    "A gateway without keys serves only the machine it runs on and requires none.",
)


async def require_caller(
    request: Request,
    _documented: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)] = None,
) -> Caller:
    """Authenticate a request and apply its key's request rate.

    Raises:
        ApiError: 401 without a valid key, 403 for remote access to a gateway without keys, 429 above the request rate.
    """
    gateway: Gateway = request.app.state.gateway
    caller = _authenticate(request, gateway.database, gateway.config)
    request.state.caller = caller
    limit = caller.limits.requests_per_minute
    if limit is not None:
        rate_limiter: TokenBucketLimiter = request.app.state.rate_limiter
        result = rate_limiter.acquire(caller.id, limit)
        headers = result.headers()
        setattr(request.state, STATE_KEY, headers)
        if not result.allowed:
            message = (
                f"rate limit exceeded: the key {caller.name!r} allows {limit} requests per minute; "
                f"retry in {result.retry_after:.1f} s"
            )
            raise ApiError(429, message, type=RATE_LIMIT, code="rate_limit_exceeded", retry=True,
                           retry_after=result.retry_after, headers=headers)  # fmt: skip
    return caller


def is_still_authorized(gateway: Gateway, caller: Caller) -> bool:
    """Return True if a caller authenticated earlier would be accepted now: keys are revoked, changed and created."""
    database = gateway.database
    key = database.get_key(caller.id) if caller.id and caller.hf_token is None else None
    requires_keys = not caller.id and database.requires_keys()
    return is_still_valid(caller, gateway.config, key, requires_keys=requires_keys, now=database.clock())


def _authenticate(request: Request, database: GatewayDatabase, config: Config) -> Caller:
    credential = _read_credential(request)
    if credential is not None and credential.startswith("hf_"):
        return _caller_of_token(credential, config)
    if not database.requires_keys():
        require_local(request, config)
        return Caller()
    if credential is None:
        raise _unauthorized(f"an API key is required: send Authorization: Bearer KEY; {CREATE_KEY_HINT}")
    key = database.find_by_plaintext(credential)
    if key is None:
        raise _unauthorized(f"invalid API key; {CREATE_KEY_HINT}")
    if key.revoked_at is not None:
        raise _unauthorized(f"the key {key.name!r} was revoked")
    if not key.is_active(database.clock()):
        raise _unauthorized(f"the key {key.name!r} expired at {format_utc(key.expires_at or 0.0)}")
    return Caller(id=key.id, name=key.name, limits=key.limits, bill_to=key.bill_to, admin=key.admin)


def _caller_of_token(token: str, config: Config) -> Caller:
    if not config.allow_caller_tokens:
        raise _unauthorized(f"this gateway accepts only its own API keys, no Hugging Face tokens; {CREATE_KEY_HINT}")
    if not _HF_TOKEN_PATTERN.fullmatch(token):
        raise _unauthorized("not a valid Hugging Face token; copy it again, without anything before or after it")
    digest = hashlib.sha256(token.encode()).hexdigest()[:12]
    return Caller(id=f"hf:{digest}", name=f"hf:{digest}", hf_token=Secret(token))


def _read_credential(request: Request) -> str | None:
    """Return the credential of a request, or None without one; raise ApiError 401 for an ambiguous or malformed one."""
    authorization = request.headers.getlist("authorization")
    keys = [credential.strip() for credential in request.headers.getlist("x-api-key") if credential.strip()]
    if len(authorization) > 1 or len(keys) > 1:
        raise _unauthorized("the request has more than one key; send one")
    scheme, _, value = (authorization[0] if authorization else "").strip().partition(" ")
    credential = value.strip() or (keys[0] if keys else "")
    if scheme and not (scheme.lower() == "bearer" or (not value.strip() and keys)):
        raise _unauthorized("unsupported Authorization header; send Authorization: Bearer KEY")
    if len(credential) > MAX_CREDENTIAL_CHARS or not credential.isascii():
        raise _unauthorized("not a valid key: it is too long, or has characters that no key contains")
    return credential or None


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", retry=False, headers={"www-authenticate": "Bearer"})
