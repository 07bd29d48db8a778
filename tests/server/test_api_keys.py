"""Gateway keys: how their text is made and read, and which limits make sense."""

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


def test_a_new_key_is_long_random_and_names_its_id() -> None:
    """Three parts with one mark between each, 256 bits in the last, and no two alike."""
    made = [generate_api_key() for _ in range(100)]
    assert len({text for _, text, _ in made}) == len({key_id for key_id, _, _ in made}) == 100
    for key_id, text, digest in made:
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
def test_a_text_that_is_no_key_has_no_id(text: str) -> None:
    """However near it comes."""
    assert key_id_of(text) is None


@given(st.text())
def test_whatever_is_shown_can_be_looked_at(text: str) -> None:
    """Half characters too: a digest of each, an id of none."""
    assert len(hash_key(text)) == 32
    assert key_id_of(text) is None


BAD: list[tuple[dict[str, object], str]] = [
    ({"name": ""}, "cannot be used"),
    ({"name": "  "}, "cannot be used"),
    ({"name": "x" * 65}, "cannot be used"),
    ({"name": "a\nb"}, "cannot be used"),
    ({"name": "--json"}, "cannot be used"),
    ({"name": "hfm_0123456789ab_" + "s" * 43}, "the text of a key"),
    ({"bill_to": "no such org!"}, "bill-to"),
    ({"limits": KeyLimits(models=("a b",))}, "no pattern"),
    ({"limits": KeyLimits(models=("",))}, "no pattern"),
    ({"limits": KeyLimits(models=("org/name:fal-ai",))}, "without a provider"),
    ({"limits": KeyLimits(models=("x",) * 101)}, "too many"),
    ({"limits": KeyLimits(requests_per_minute=0)}, "requests-per-minute is 0"),
    ({"limits": KeyLimits(images_per_day=-1)}, "images-per-day is -1"),
    ({"limits": KeyLimits(videos_per_day=10**10)}, "videos-per-day"),
    ({"limits": KeyLimits(usd_per_month=-0.01)}, "usd-per-month"),
    ({"limits": KeyLimits(usd_per_month=math.nan)}, "usd-per-month"),
    ({"limits": KeyLimits(usd_per_month=math.inf)}, "usd-per-month"),
]


@pytest.mark.parametrize(("fields", "words"), BAD)
def test_what_makes_no_sense_is_refused_in_a_sentence(fields: dict[str, object], words: str) -> None:
    """It names what is wrong, and never the text of a key."""
    with pytest.raises(InvalidRequestError, match=words) as caught:
        validate_key(structs.replace(KEY, **fields))
    assert "s" * 20 not in str(caught.value)


def test_what_makes_sense_is_taken() -> None:
    """Nothing at all, no images, half a cent, patterns."""
    limits = KeyLimits(models=("org/*", "*"), requests_per_minute=1, images_per_day=0, usd_per_month=0.005)
    assert validate_key(structs.replace(KEY, name=" web ", limits=limits, bill_to="my-org")).name == "web"
    assert validate_key(KEY) == KEY


@pytest.mark.parametrize("days", [0, -1, math.nan, math.inf, 10**6])
def test_a_life_must_be_a_sensible_number_of_days(days: float) -> None:
    """Not none, not for ever."""
    with pytest.raises(InvalidRequestError, match="expires"):
        expiry_from_days(days, 0)
    assert expiry_from_days(0.5, 100) == 100 + 43_200


@pytest.mark.parametrize(
    ("expires", "revoked", "usable"), [(None, None, True), (11, None, True), (10, None, False), (None, 5, False)]
)
def test_a_key_is_usable_until_it_expires_or_is_revoked(
    expires: float | None, revoked: float | None, usable: bool
) -> None:
    """At the very second of its end it is over."""
    assert structs.replace(KEY, expires_at=expires, revoked_at=revoked).is_active(10) is usable


def test_the_books_need_nothing_that_only_a_gateway_needs() -> None:
    """Keys are made where FastAPI and pydantic are not installed."""
    code = (
        "import sys\n"
        "for name in ('fastapi', 'starlette', 'pydantic', 'uvicorn', 'prometheus_client'): sys.modules[name] = None\n"
        "import hfmedia.server.db.database, hfmedia.cli.key_actions\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
