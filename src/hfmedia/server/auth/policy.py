"""Authorization rules as pure functions: which models a caller can use, and whether an open stream may continue."""

from __future__ import annotations

from hfmedia.server.config import Config
from hfmedia.server.db.api_keys import ApiKey
from hfmedia.server.jobs.errors import ModelNotAllowedError

from .caller import Caller


def can_use_model(caller: Caller, model: str) -> bool:
    """Return True if the caller's key allows this model; the provider after a colon is ignored."""
    return caller.limits.allows_model(model)


def require_model_access(caller: Caller, model: str) -> None:
    """Raise ModelNotAllowedError unless the caller's key allows this model."""
    if not can_use_model(caller, model):
        raise ModelNotAllowedError(caller.name, model, caller.limits.models)


def is_still_valid(caller: Caller, config: Config, key: ApiKey | None, *, requires_keys: bool, now: float) -> bool:
    """Return True if a caller authenticated earlier would be accepted now, given the current state of its key."""
    if caller.hf_token is not None:
        return config.allow_caller_tokens
    if not caller.id:
        return not requires_keys
    return key is not None and key.is_active(now) and key.admin == caller.admin
