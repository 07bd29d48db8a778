"""API keys: creating and parsing their plaintext, and validating names and limits."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from hfmedia.core.errors import InvalidRequestError
from hfmedia.server.db.api_keys import (
    ApiKey,
    KeyLimits,
    expiry_from_days,
    generate_api_key,
    hash_key,
    key_id_of,
    validate_key,
)

KEY = ApiKey(id="0123456789ab", name="web", created_at=1.0)


def test_a_new_key_is_long_random_and_contains_its_id() -> None:
    """Three parts separated by underscores, 256 bits in the last, and no two equal."""
    keys = [generate_api_key() for _ in range(100)]
    assert len({text for _, text, _ in keys}) == len({key_id for key_id, _, _ in keys}) == 100
    for key_id, text, digest in keys:
        prefix, name, secret = text.split("_")
        assert (prefix, name) == ("hfm", key_id)
        assert secret.isalnum()
        assert len(secret) * math.log2(62) >= 256
        assert key_id_of(text) == key_id
        assert digest == hash_key(text)
        assert len(digest) == 32
        assert secret.encode() not in digest


@pytest.mark.parametrize(
    "text",
    ["", "hfm_", "hf_abcdefgh", "hfm_0123456789ab", "hfm_0123456789ab_short", "hfm_0123456789AB_" + "a" * 43,
     "hfm_0123456789ab_" + "a" * 42 + "_", " hfm_0123456789ab_" + "a" * 43, "hfm_0123456789ab_" + "a" * 129,
     "hfm_0123456789ab_" + "é" * 43, "hfm_0123456789ab_" + "a" * 43 + "\n"],
)  # fmt: skip
def test_text_that_is_not_a_key_has_no_id(text: str) -> None:
    """However similar it is."""
    assert key_id_of(text) is None


@given(st.text())
def test_any_text_can_be_hashed_and_parsed(text: str) -> None:
    """Lone surrogates too: each has a digest, none an ID."""
    assert len(hash_key(text)) == 32
    assert key_id_of(text) is None


BAD: list[tuple[dict[str, object], str]] = [
    ({"name": ""}, "cannot be used"),
    ({"name": "  "}, "cannot be used"),
    ({"name": "x" * 65}, "cannot be used"),
    ({"name": "a\nb"}, "cannot be used"),
    ({"name": "--json"}, "cannot be used"),
    ({"name": "hfm_0123456789ab_" + "s" * 43}, "got the text of a key"),
    ({"bill_to": "no such org!"}, "bill-to"),
    ({"limits": KeyLimits(models=("a b",))}, "not a valid model pattern"),
    ({"limits": KeyLimits(models=("",))}, "not a valid model pattern"),
    ({"limits": KeyLimits(models=("org/name:fal-ai",))}, "without a provider"),
    ({"limits": KeyLimits(models=("x",) * 101)}, "too many"),
    ({"limits": KeyLimits(requests_per_minute=0)}, "requests-per-minute is 0"),
    ({"limits": KeyLimits(images_per_day=-1)}, "images-per-day is -1"),
    ({"limits": KeyLimits(videos_per_day=10**10)}, "videos-per-day"),
    ({"limits": KeyLimits(usd_per_month=-0.01)}, "usd-per-month"),
    ({"limits": KeyLimits(usd_per_month=math.nan)}, "usd-per-month"),
    ({"limits": KeyLimits(usd_per_month=math.inf)}, "usd-per-month"),
]


@pytest.mark.parametrize(("fields", "message"), BAD)
def test_an_invalid_key_is_rejected_with_a_clear_message(fields: dict[str, object], message: str) -> None:
    """The message names the invalid field, and never contains the plaintext of a key."""
    with pytest.raises(InvalidRequestError, match=message) as caught:
        validate_key(structs.replace(KEY, **fields))
    assert "s" * 20 not in str(caught.value)


def test_valid_keys_are_accepted() -> None:
    """Without limits, and with zero images, half a cent, and patterns."""
    limits = KeyLimits(models=("org/*", "*"), requests_per_minute=1, images_per_day=0, usd_per_month=0.005)
    assert validate_key(structs.replace(KEY, name=" web ", limits=limits, bill_to="my-org")).name == "web"
    assert validate_key(KEY) == KEY


@pytest.mark.parametrize("days", [0, -1, math.nan, math.inf, 10**6])
def test_a_lifetime_must_be_a_valid_number_of_days(days: float) -> None:
    """Positive, finite and at most a hundred years."""
    with pytest.raises(InvalidRequestError, match="expires"):
        expiry_from_days(days, 0)
    assert expiry_from_days(0.5, 100) == 100 + 43_200


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "is_active"),
    [(None, None, True), (11, None, True), (10, None, False), (None, 5, False)],
)
def test_a_key_is_active_until_it_expires_or_is_revoked(
    expires_at: float | None, revoked_at: float | None, is_active: bool
) -> None:
    """From its expiry time on it is rejected."""
    assert structs.replace(KEY, expires_at=expires_at, revoked_at=revoked_at).is_active(10) is is_active


def test_the_database_needs_no_web_framework() -> None:
    """Keys can be created where FastAPI and pydantic are not installed."""
    code = (
        "import sys\n"
        "for name in ('fastapi', 'starlette', 'pydantic', 'uvicorn', 'prometheus_client'): sys.modules[name] = None\n"
        "import hfmedia.server.db.database, hfmedia.cli.key_actions\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
