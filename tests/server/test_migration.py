"""A gateway database of the version before the redesign: migrated, with nothing lost or changed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from hfmedia.cli.key_actions import key_to_dict
from hfmedia.core.errors import StorageError
from hfmedia.server.db.api_keys import KeyLimits
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.generations import IdempotencyConflictError, fingerprint_of
from tests.data.before_redesign.unpack import HERE, unpack

GOLDEN = HERE / "golden" / "gateway"
NOW = 1796062800.0  # within the day and month in which the file was written
SCHEMA = Path(__file__).parents[1] / "data" / "golden" / "gateway.schema.sql"
KEY_FIELDS = {"made": "created_at", "expires": "expires_at", "revoked": "revoked_at"}


def golden(name: str) -> Any:
    """The decoded golden file."""
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The unpacked old database."""
    return unpack("gateway", tmp_path) / "gateway.sqlite3"


@pytest.fixture
def old_rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of the old tables, read before the migration."""
    with closing(sqlite3.connect(path)) as connection:
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("orders", "tabs")}


@pytest.fixture
def database(path: Path, old_rows: dict[str, list[tuple[Any, ...]]]) -> Iterator[GatewayDatabase]:
    """The migrated database, at a time when its charges still count."""
    opened = GatewayDatabase(path, clock=lambda: NOW)
    yield opened
    opened.close()


def test_every_key_authenticates_with_its_limits_and_state(database: GatewayDatabase) -> None:
    """By its plaintext; a revoked or expired one is still found and rejected."""
    keys = golden("keys")["keys"]
    assert len(database.list_keys()) == len(keys)
    listed = [
        {KEY_FIELDS.get(name, name): value for name, value in key.items()} for key in golden("keys-list")["stdout"]
    ]
    assert json.loads(json.dumps([key_to_dict(key) for key in database.list_keys()])) == listed
    for name, fields in keys.items():
        key = database.find_by_plaintext(fields["key"])
        assert key is not None
        assert (key.id, key.name) == (fields["id"], name)
        is_active = name not in ("revoked", "expired")
        assert (database.authenticate(fields["key"]) is not None) == is_active


def test_usage_is_the_same(database: GatewayDatabase) -> None:
    """As the old version reported it for the key ``alice``."""
    (shown,) = golden("keys-show")["stdout"]
    usage = database.usage(shown["id"], NOW)
    expected = shown["usage"]
    assert (usage.images_today, usage.videos_today) == (expected["images_today"], expected["videos_today"])
    assert (usage.images_month, usage.videos_month) == (expected["images_month"], expected["videos_month"])
    assert usage.usd_month == pytest.approx(expected["usd_month"])
    assert usage.charged_usd_month == pytest.approx(expected["charged_month"])
    assert usage.estimated_usd_month == pytest.approx(expected["estimated_month"])
    assert usage.unpriced_generations_month == expected["unknown_month"]
    assert usage.reserved_usd_now == pytest.approx(expected["reserved_now"])


def test_every_generation_is_the_same(database: GatewayDatabase, old_rows: dict[str, list[tuple[Any, ...]]]) -> None:
    """Its spec, its times to the last digit, its fingerprint, and what was deleted."""
    assert len(old_rows["orders"]) == len(database.generations(None, limit=None)) == 21
    for id_, caller_id, kind, api, created_at, key, fingerprint, deleted, body in old_rows["orders"]:
        generation = database.generation(id_)
        assert generation is not None
        old = json.loads(body)
        assert (generation.caller_id, generation.kind, generation.api) == (caller_id, kind, api)
        assert (generation.created_at, generation.n) == (created_at, old["n"])
        assert (generation.idempotency_key, generation.fingerprint) == (key, fingerprint)
        assert {str(index): at for index, at in generation.deleted_outputs.items()} == json.loads(deleted)
        assert generation.response_context == old["told"]
        assert (generation.bill_to, generation.uses_caller_token) == (old["bill_to"], old["own_token"])
        spec = generation.spec
        assert json.loads(msgspec.json.encode(spec)) == old["ask"]


def test_every_charge_is_the_same(
    path: Path, database: GatewayDatabase, old_rows: dict[str, list[tuple[Any, ...]]]
) -> None:
    """Even one whose generation was purged."""
    with closing(sqlite3.connect(path)) as connection:
        charges = connection.execute("SELECT * FROM charges").fetchall()
    assert sorted(charges) == sorted(old_rows["tabs"])
    assert len(charges) == 22
    assert len(database.unsettled()) == sum(row[3] == "reserved" for row in old_rows["tabs"])


def test_an_old_idempotency_key_still_finds_its_generation(database: GatewayDatabase) -> None:
    """A repetition after the upgrade runs nothing again, and a different request with the key is rejected."""
    stored = database.generations(None, limit=None)
    (first,) = [generation for generation in stored if generation.idempotency_key == "pair-1"]
    fingerprint = fingerprint_of(first.spec, first.api, first.response_context)
    assert fingerprint != first.fingerprint  # earlier versions hashed their warnings, whose wording changed
    repeated = structs.replace(first, id="repeated", fingerprint=fingerprint)
    assert database.reserve(repeated, KeyLimits(), now=NOW).id == first.id
    for changes in ({"prompt": "another"}, {"n": 9}, {"seed": 123}, {"options": {"width": 64, "height": 64}}):
        with pytest.raises(IdempotencyConflictError):
            database.reserve(
                structs.replace(repeated, spec=structs.replace(first.spec, **changes)), KeyLimits(), now=NOW
            )


def test_the_wording_of_warnings_does_not_change_a_fingerprint(database: GatewayDatabase) -> None:
    """A key finds its generation although a later version words its warnings differently."""
    (first,) = [each for each in database.generations(None, limit=None) if each.idempotency_key == "pair-1"]
    one, other = ({**first.response_context, "warnings": [text]} for text in ("size was rounded", "rounded size"))
    assert fingerprint_of(first.spec, first.api, one) == fingerprint_of(first.spec, first.api, other)


def test_the_signing_secret_stays(path: Path) -> None:
    """URLs that were handed out before the upgrade still work."""
    with closing(sqlite3.connect(path)) as connection:
        ((secret,),) = connection.execute("SELECT value FROM secrets").fetchall()
    with closing(GatewayDatabase(path)) as database:
        assert database.signing_secret == secret


def test_a_failed_migration_changes_nothing(path: Path) -> None:
    """Every step is in one transaction."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE orders SET body = '{' WHERE rowid = (SELECT max(rowid) FROM orders)")
        connection.commit()
        before = list(connection.iterdump())
    with pytest.raises(StorageError):
        GatewayDatabase(path)
    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.iterdump()) == before


def schema_of(path: Path) -> str:
    """The SQL of all tables and indexes, in the order of their names."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name")
        return "".join(f"{sql};\n" for (sql,) in rows)


def test_the_schema_is_the_golden_one(path: Path, tmp_path: Path) -> None:
    """Of a new file and of a migrated one: a change is always deliberate, and comes with a migration."""
    new = tmp_path / "new" / "gateway.sqlite3"
    for file in (new, path):
        GatewayDatabase(file).close()
        assert schema_of(file) == SCHEMA.read_text(encoding="utf-8")
