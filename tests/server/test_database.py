"""The gateway's database: keys, generations and reservations, under threads, processes and damaged files."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from hfmedia import sqlite
from hfmedia.core.errors import HfmediaError, InvalidRequestError, StorageError
from hfmedia.core.request import InputImage
from hfmedia.server.db.api_keys import ApiKey, KeyLimits, generate_api_key, hash_key
from hfmedia.server.db.budgets import QuotaExceededError
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.generations import Generation, GenerationSpec, IdempotencyConflictError
from hfmedia.server.db.schema import SCHEMA

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC).timestamp()
DAY = 86_400.0
NUMBERS = count()
FREE = KeyLimits()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Path of the database."""
    return tmp_path / "home" / "gateway.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[GatewayDatabase]:
    """A new database whose clock always says noon."""
    opened = GatewayDatabase(path, clock=lambda: NOW)
    yield opened
    opened.close()


def new_generation(**fields: Any) -> Generation:
    """A generation of one image, unless the fields say otherwise."""
    number = next(NUMBERS)
    defaults: dict[str, Any] = {
        "id": f"{number:011x}",
        "caller_id": "k",
        "kind": "image",
        "created_at": NOW + number / 1000,
        "n": 1,
        "api": "images",
        "spec": GenerationSpec(prompt="a fox"),
    }
    return Generation(**{**defaults, **fields})


def added(database: GatewayDatabase, name: str = "web", **fields: Any) -> tuple[ApiKey, str]:
    """Add a key to the database and return it with its plaintext."""
    key_id, text, digest = generate_api_key()
    key = ApiKey(id=key_id, name=name, created_at=NOW, **fields)
    database.add_key(key, digest)
    return key, text


# -- the file ---------------------------------------------------------------------------------------------------------


def test_only_its_owner_can_read_the_file(database: GatewayDatabase, path: Path) -> None:
    """The same holds for SQLite's side files, and for a file copied with wider permissions."""
    added(database)
    files = list(path.parent.iterdir())
    assert {file.name for file in files} >= {"gateway.sqlite3", "gateway.sqlite3-wal"}
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    database.close()
    path.chmod(0o644)
    GatewayDatabase(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_stored_is_read_back(path: Path) -> None:
    """Signing secret, keys and generations."""
    first = GatewayDatabase(path)
    key, text = added(
        first, limits=KeyLimits(models=("org/*",), usd_per_month=1.5), bill_to="org", admin=True, expires_at=9e9
    )
    generation = new_generation(
        spec=GenerationSpec(prompt="é\u4e2d", options={"extra_body": {"a": [1, None]}}, seeds=(1, 2**64 - 1)),
        response_context={"x": 1},
    )
    first.reserve(generation, FREE, now=NOW)
    secret = first.signing_secret
    first.close()
    first.close()
    second = GatewayDatabase(path)
    assert len(secret) == 32
    assert second.signing_secret == secret
    assert second.list_keys() == [key]
    assert second.authenticate(text) == key
    assert second.generation(generation.id) == generation
    second.close()
    with pytest.raises(StorageError):
        second.list_keys()


DAMAGED: list[tuple[str, Callable[[Path], Any], str]] = [
    ("no database", lambda path: path.write_bytes(b"not a database at all, but text" * 200), "not a database"),
    ("torn", lambda path: _torn(path), "damaged|malformed|not a database"),
    ("newer", lambda path: _sql(path, "UPDATE meta SET value = 99"), "newer than this hfmedia"),
    ("of no version", lambda path: _sql(path, "UPDATE meta SET value = -1"), "does not say which version"),
    ("another program's", lambda path: _sql(path, "PRAGMA application_id = 7"), "another program's"),
    ("a folder", lambda path: _replace_by_folder(path), "it is a folder"),
]


def _sql(path: Path, text: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(text)
    connection.commit()
    connection.close()


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _torn(path: Path) -> None:
    _sql(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * (len(data) - 100))


@pytest.mark.parametrize(("damage", "words"), [row[1:] for row in DAMAGED], ids=[row[0] for row in DAMAGED])
def test_an_unusable_file_is_rejected_with_a_clear_message(
    path: Path, damage: Callable[[Path], Any], words: str
) -> None:
    """The message names the file, whose contents do not change."""
    GatewayDatabase(path).close()
    damage(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StorageError, match=words) as caught:
        GatewayDatabase(path)
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_another_program_s_database_is_left_alone(path: Path) -> None:
    """Nothing is written to it."""
    path.parent.mkdir()
    _sql(path, "CREATE TABLE theirs (x)")
    with pytest.raises(StorageError, match="another program's"):
        GatewayDatabase(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    connection.close()


def test_a_folder_that_cannot_be_written_raises_a_storage_error(tmp_path: Path) -> None:
    """The message says that the file cannot be used."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be used"):
        GatewayDatabase(tmp_path / "file" / "gateway.sqlite3")


def test_migrations_are_only_appended() -> None:
    """The earlier ones never change, so that a file of any version can be migrated to the newest."""
    assert len(SCHEMA.migrations) == 3
    first, second, _ = SCHEMA.migrations
    assert isinstance(first, str) and isinstance(second, str)
    assert first.count("CREATE TABLE") == 4
    assert second.count("CREATE INDEX") == 1


def test_a_database_of_the_first_version_is_migrated_to_the_newest(path: Path) -> None:
    """Deleted outputs are found through their index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = sqlite.connect(SCHEMA._replace(migrations=SCHEMA.migrations[:1]), path, 5.0)
    first.close()
    database = GatewayDatabase(path)
    first_generation, second_generation = new_generation(), new_generation()
    for generation in (first_generation, second_generation):
        database.reserve(generation, KeyLimits(), now=generation.created_at)
    database.mark_deleted(first_generation.id, 0, 5.0)
    assert [generation.id for generation in database.generations(None, deleted=True)] == [first_generation.id]
    plan = database._rows(
        "EXPLAIN QUERY PLAN SELECT id FROM generations g "
        "WHERE 1 AND g.deleted_outputs != '{}' ORDER BY g.created_at, g.id"
    )
    assert "generations_with_deletions" in str(plan)
    database.close()


def test_warnings_are_added_once(database: GatewayDatabase) -> None:
    """They are appended to earlier ones; an unknown generation is ignored."""
    generation = structs.replace(new_generation(), response_context={"warnings": ["rounded"], "more": 1})
    database.reserve(generation, KeyLimits(), now=generation.created_at)
    for warnings in (["tried last"], ["tried last", "rounded"]):
        database.add_warnings(generation.id, warnings)
    database.add_warnings("unknown", ["x"])
    stored = database.generation(generation.id)
    assert stored is not None
    assert stored.response_context == {"warnings": ["rounded", "tried last"], "more": 1}
    assert stored.fingerprint == generation.fingerprint


def test_many_can_open_a_new_database_at_once(path: Path) -> None:
    """One of them creates it, and all have the same secret."""
    with ThreadPoolExecutor(16) as pool:
        databases = list(pool.map(lambda _: GatewayDatabase(path), range(16)))
    assert len({database.signing_secret for database in databases}) == 1
    for database in databases:
        database.close()


# -- keys -------------------------------------------------------------------------------------------------------------


def test_only_the_complete_plaintext_authenticates(database: GatewayDatabase) -> None:
    """A known ID with a wrong secret does not, however small the difference, nor does other text."""
    key, text = added(database)
    assert database.authenticate(text) == database.find_by_plaintext(text) == key
    wrong = ["", "hfm_", key.id, f"hfm_{key.id}_", text[:-1], text + "a", text.lower(), text.swapcase(), f" {text}",
             text[:-1] + ("a" if text[-1] != "a" else "b"), generate_api_key()[1], f"hfm_{key.id}_" + "A" * 43,
             text + "\ud800",
             f"hfm_{'0' * 12}_" + "A" * 43]  # fmt: skip
    assert [database.find_by_plaintext(candidate) for candidate in wrong] == [None] * len(wrong)
    assert [database.authenticate(candidate) for candidate in wrong] == [None] * len(wrong)


def test_secrets_are_compared_in_constant_time(database: GatewayDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for every text, even for an unknown ID or a text without generation."""
    key, text = added(database)
    compared: list[tuple[bytes, bytes]] = []

    def compare(stored: bytes, candidate: bytes) -> bool:
        compared.append((stored, candidate))
        return stored == candidate

    monkeypatch.setattr("hfmedia.server.db.api_keys.hmac.compare_digest", compare)
    for plaintext in (text, f"hfm_{key.id}_" + "A" * 43, generate_api_key()[1], "nothing"):
        database.find_by_plaintext(plaintext)
        assert compared[-1][1] == hash_key(plaintext)
    assert len(compared) == 4


def test_an_expired_or_revoked_key_is_found_but_not_accepted(database: GatewayDatabase) -> None:
    """So that the holder of the right plaintext can be given the reason."""
    old, old_text = added(database, "old", expires_at=NOW - 1)
    assert (database.find_by_plaintext(old_text), database.authenticate(old_text)) == (old, None)
    key, text = added(database, "web")
    revoked = database.revoke_key(key.id, NOW)
    assert revoked.revoked_at == NOW
    assert database.revoke_key(key.id, NOW + 5).revoked_at == NOW
    assert (database.find_by_plaintext(text), database.authenticate(text)) == (revoked, None)
    assert database.requires_keys()


def test_a_name_is_unique_until_its_key_is_revoked(database: GatewayDatabase) -> None:
    """It means the active key, or else the newest."""
    first, text = added(database)
    with pytest.raises(InvalidRequestError, match="a key named 'web' already exists"):
        added(database)
    database.revoke_key(first.id, NOW)
    assert database.find_key("web") == database.get_key(first.id)
    second, _ = added(database)
    assert database.find_key("web") == second
    assert database.find_key(first.id) == database.find_key(text) == database.get_key(first.id)
    assert database.find_key("unknown") is None
    third, _ = added(database, "third")
    with pytest.raises(InvalidRequestError, match="already exists"):
        database.change_key(third.id, name="web")
    assert database.get_key(third.id) == third


def test_limits_change_and_invalid_ones_are_rejected(database: GatewayDatabase) -> None:
    """The returned key equals the stored key."""
    key, text = added(database)
    changed = database.change_key(key.id, limits=KeyLimits(images_per_day=3))
    assert changed == database.authenticate(text) == structs.replace(key, limits=KeyLimits(images_per_day=3))
    for change in (
        lambda: database.change_key(key.id, limits=KeyLimits(images_per_day=-3)),
        lambda: database.change_key("unknown", limits=KeyLimits()),
        lambda: database.revoke_key("unknown", NOW),
    ):
        with pytest.raises(InvalidRequestError):
            change()
    assert database.get_key(key.id) == changed


def test_a_change_by_another_process_is_seen_at_the_next_read(database: GatewayDatabase, path: Path) -> None:
    """The command creates, limits and revokes keys while the gateway is running."""
    assert not database.requires_keys()
    command = GatewayDatabase(path, clock=lambda: NOW)
    key, text = added(command)
    assert database.requires_keys()
    assert database.authenticate(text) == key
    command.change_key(key.id, limits=KeyLimits(images_per_day=1))
    assert database.authenticate(text) != key
    command.revoke_key(key.id, NOW)
    assert database.authenticate(text) is None
    command.close()


def test_the_plaintext_of_a_key_is_stored_nowhere(
    database: GatewayDatabase, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in its files, nor in a repr, an error or a log."""
    caplog.set_level(logging.DEBUG)
    key, text = added(database)
    secret = text.rpartition("_")[2]
    outputs = [repr(database), repr(key), repr(database.list_keys()), repr(database.find_by_plaintext(text))]
    actions = (
        lambda: database.change_key(text, name="x"),
        lambda: added(database, text),
        lambda: added(database, "web"),
    )
    for action in actions:
        with pytest.raises(HfmediaError) as caught:
            action()
        outputs.append(repr(caught.value) + str(caught.value))
    assert secret not in "".join(outputs) + caplog.text
    for file in path.parent.iterdir():
        assert secret.encode() not in file.read_bytes()


# -- reserving --------------------------------------------------------------------------------------------------------


def test_reservations_count_against_limits(database: GatewayDatabase) -> None:
    """Images and videos per day are counted apart, money together, each key separately."""
    limits = KeyLimits(images_per_day=3, videos_per_day=1, usd_per_month=1.0)
    key, _ = added(database)
    database.reserve(new_generation(caller_id=key.id, n=2, reserved_usd=0.1), limits, now=NOW)
    with pytest.raises(QuotaExceededError, match="the key 'web' allows 3 images per day: 2 are used") as caught:
        database.reserve(new_generation(caller_id=key.id, n=2), limits, now=NOW)
    assert (caught.value.limit, caught.value.used, caught.value.resets_at) == (3, 2, NOW + DAY / 2)
    database.reserve(new_generation(caller_id=key.id, n=1, reserved_usd=0.1), limits, now=NOW)
    database.reserve(new_generation(caller_id=key.id, kind="video", reserved_usd=0.5), limits, now=NOW)
    with pytest.raises(QuotaExceededError, match="1 is used"):
        database.reserve(new_generation(caller_id=key.id, kind="video"), limits, now=NOW)
    database.reserve(new_generation(caller_id="other", n=3, reserved_usd=1.0), limits, now=NOW)
    tomorrow = NOW + DAY
    with pytest.raises(QuotaExceededError, match=r"allows \$1.00 per month: \$0.70 is used") as caught:
        database.reserve(new_generation(caller_id=key.id, reserved_usd=0.31), limits, now=tomorrow)
    assert (caught.value.limit, caught.value.used) == (1.0, 0.7)
    database.reserve(new_generation(caller_id=key.id, reserved_usd=0.3), limits, now=tomorrow)
    assert len(database.unsettled()) == 5


@pytest.mark.parametrize(
    ("fields", "limits"),
    [({"n": 4}, KeyLimits(images_per_day=3)), ({"kind": "video", "n": 1}, KeyLimits(videos_per_day=0)),
     ({"reserved_usd": 0.02}, KeyLimits(usd_per_month=0.01))],
)  # fmt: skip
def test_a_request_that_can_never_run_is_rejected_permanently(
    database: GatewayDatabase, fields: dict[str, Any], limits: KeyLimits
) -> None:
    """A generation that alone exceeds a limit has no time to wait for."""
    with pytest.raises(QuotaExceededError, match="can never run") as caught:
        database.reserve(new_generation(**fields), limits, now=NOW)
    assert caught.value.resets_at is None
    assert database.generations(None) == []


def test_the_time_of_the_reservation_decides_its_day_and_month(database: GatewayDatabase) -> None:
    """At midnight UTC; a generation created just before counts from when it was stored."""
    midnight = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    limits = KeyLimits(images_per_day=1, usd_per_month=0.1)
    database.reserve(new_generation(created_at=midnight - 2, reserved_usd=0.1), limits, now=midnight - 0.001)
    with pytest.raises(QuotaExceededError):
        database.reserve(new_generation(created_at=midnight - 1, reserved_usd=0.1), limits, now=midnight - 0.001)
    database.reserve(new_generation(created_at=midnight - 1, reserved_usd=0.1), limits, now=midnight)
    with pytest.raises(QuotaExceededError):
        database.reserve(new_generation(created_at=midnight - 1, reserved_usd=0.1), limits, now=midnight)
    usage = database.usage("k", midnight)
    assert (usage.images_today, usage.usd_month, usage.day_resets_at) == (1, 0.1, midnight + DAY)


def test_an_idempotency_key_is_one_generation(database: GatewayDatabase) -> None:
    """Checked before the limits, per caller; a different request with it is rejected."""
    limits = KeyLimits(images_per_day=1)
    first = database.reserve(new_generation(idempotency_key="a", fingerprint="2:f"), limits, now=NOW)
    again = database.reserve(new_generation(idempotency_key="a", fingerprint="2:f", n=99), limits, now=NOW)
    assert again.id == first.id
    assert database.reserve(first, limits, now=NOW) == first
    with pytest.raises(IdempotencyConflictError):
        database.reserve(new_generation(idempotency_key="a", fingerprint="2:g"), limits, now=NOW)
    other = new_generation(caller_id="other", idempotency_key="a", fingerprint="2:f")
    assert database.reserve(other, limits, now=NOW).id == other.id
    database.settle_charges(first.id, charged_usd=0.0, images=0, videos=0)
    database.release_idempotency_key(first.id)
    assert database.generation(first.id) == structs.replace(
        first, idempotency_key=None, is_settled=True, charged_usd=0.0
    )
    fresh = new_generation(idempotency_key="a", fingerprint="2:f")
    assert database.reserve(fresh, limits, now=NOW).id == fresh.id


@pytest.mark.parametrize(
    ("charged", "images", "counted_usd", "reported_usd"),
    [(0.04, 2, 0.04, 0.04), (0.0, 0, 0.0, 0.0), (0.9, 4, 0.9, 0.9), (None, 4, 0.4, None), (None, 1, 0.1, None),
     (None, 3, 0.3, None), (0.01, 1, 0.01, 0.01)],
)  # fmt: skip
def test_settling_replaces_the_reservation(
    database: GatewayDatabase, charged: float | None, images: int, counted_usd: float, reported_usd: float | None
) -> None:
    """By what was billed, or by its share where no price was reported. A second time changes nothing."""
    generation = database.reserve(new_generation(n=4, reserved_usd=0.4), FREE, now=NOW)
    assert database.usage("k", NOW).reserved_usd_now == 0.4
    for again in range(2):
        database.settle_charges(
            generation.id, charged_usd=charged if not again else 77.0, images=images if not again else 9, videos=again
        )
        usage = database.usage("k", NOW)
        assert (usage.usd_month, usage.images_today, usage.images_month, usage.videos_today) == (
            counted_usd,
            images,
            images,
            0,
        )
        assert (usage.reserved_usd_now, usage.unpriced_generations_month) == (0.0, int(charged is None))
        assert usage.charged_usd_month + usage.estimated_usd_month == counted_usd
    assert database.generation(generation.id) == structs.replace(generation, is_settled=True, charged_usd=reported_usd)
    assert database.unsettled() == []
    database.settle_charges("unknown", charged_usd=1.0, images=1, videos=0)


def test_what_was_not_billed_makes_room_again(database: GatewayDatabase) -> None:
    """As soon as it is settled."""
    limits = KeyLimits(images_per_day=1, usd_per_month=0.05)
    generation = database.reserve(new_generation(reserved_usd=0.05), limits, now=NOW)
    with pytest.raises(QuotaExceededError):
        database.reserve(new_generation(reserved_usd=0.05), limits, now=NOW)
    database.settle_charges(generation.id, charged_usd=0.0, images=0, videos=0)
    database.reserve(new_generation(reserved_usd=0.05), limits, now=NOW)


def test_image_bytes_are_not_stored_in_the_database(database: GatewayDatabase, path: Path) -> None:
    """They are stored elsewhere; the digest remains."""
    image = InputImage(data=b"PIXELS" * 100, mime="image/png", sha256="ab")
    generation = database.reserve(new_generation(spec=GenerationSpec(prompt="x", image=image)), FREE, now=NOW)
    stored = database.generation(generation.id)
    assert stored
    assert stored.spec.image == structs.replace(image, data=None)
    assert all(b"PIXELS" not in file.read_bytes() for file in path.parent.iterdir())


def test_invalid_text_is_rejected_and_the_database_still_works(database: GatewayDatabase) -> None:
    """A lone surrogate in a prompt."""
    with pytest.raises(InvalidRequestError, match="cannot be stored"):
        database.reserve(new_generation(spec=GenerationSpec(prompt="\ud800")), FREE, now=NOW)
    database.reserve(new_generation(), FREE, now=NOW)


# -- races ------------------------------------------------------------------------------------------------------------


def test_a_hundred_threads_race_for_the_last_cent(database: GatewayDatabase, path: Path) -> None:
    """Through two connections, exactly as many succeed as fit."""
    other = GatewayDatabase(path)
    limits = KeyLimits(usd_per_month=0.37)
    barrier = threading.Barrier(100)

    def race(number: int) -> bool:
        barrier.wait()
        try:
            (database, other)[number % 2].reserve(new_generation(reserved_usd=0.01), limits, now=NOW)
        except QuotaExceededError:
            return False
        return True

    with ThreadPoolExecutor(100) as pool:
        won = sum(pool.map(race, range(100)))
    other.close()
    assert won == 37
    assert database.usage("k", NOW).usd_month == 0.37


RACER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from hfmedia.ids import new_id
from hfmedia.server.db.api_keys import KeyLimits
from hfmedia.server.db.budgets import QuotaExceededError
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.generations import Generation, GenerationSpec

database = GatewayDatabase(Path(sys.argv[1]))
sys.stdin.readline()

def race(number):
    generation = Generation(
        id=new_id(), caller_id="k", kind="image", created_at=1.0, n=1, api="images", spec=GenerationSpec(),
        reserved_usd=0.1, idempotency_key=f"same-{number}" if number < 5 else None,
    )
    limits = KeyLimits(images_per_day=31, usd_per_month=100.0)
    try:
        return database.reserve(generation, limits, now=1.0).id == generation.id
    except QuotaExceededError:
        return False

with ThreadPoolExecutor(5) as pool:
    print(sum(pool.map(race, range(25))))
"""


def test_processes_race_for_the_last_image(database: GatewayDatabase, path: Path) -> None:
    """Four with five threads each: exactly as many succeed as fit, and each idempotency key once."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    assert sum(won) == 31
    usage = database.usage("k", 1.0)
    assert (usage.images_today, usage.usd_month) == (31, 3.1)
    keys = [generation.idempotency_key for generation in database.generations("k") if generation.idempotency_key]
    assert len(keys) == len(set(keys)) <= 5


STEPS_TAKEN = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 4), st.floats(0, 0.6), st.booleans(), st.floats(0, 1)), max_size=25
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS_TAKEN, st.integers(0, 12), st.floats(0, 3))
def test_reservations_never_exceed_a_limit(
    tmp_path: Path, taken: list[tuple[int, int, float, bool, float]], images: int, usd: float
) -> None:
    """Generations of three keys, some settled: sums equal a plain count, and each rejection was due."""
    database = GatewayDatabase(tmp_path / f"{next(NUMBERS)}.sqlite3", clock=lambda: NOW)
    limits = KeyLimits(images_per_day=images, usd_per_month=usd)
    counted: dict[str, dict[str, tuple[int, float]]] = {}
    for number, n, price, over, part in taken:
        mine = counted.setdefault(str(number), {})
        generation = new_generation(caller_id=str(number), n=n, reserved_usd=price)
        used, spent = sum(row[0] for row in mine.values()), sum(row[1] for row in mine.values())
        try:
            database.reserve(generation, limits, now=NOW)
        except QuotaExceededError:
            assert used + n > images or spent + price > usd - 1e-4
            continue
        assert used + n <= images
        assert spent + price <= usd + 1e-4
        mine[generation.id] = (n, price)
        if over:
            bought = int(n * part)
            mine[generation.id] = (bought, price * bought / n)
            database.settle_charges(generation.id, charged_usd=price * bought / n, images=bought, videos=0)
    for key, mine in counted.items():
        usage = database.usage(key, NOW)
        assert usage.images_today == sum(row[0] for row in mine.values())
        assert usage.usd_month == pytest.approx(sum(row[1] for row in mine.values()), abs=1e-4)
    database.close()


def test_a_read_does_not_wait_for_a_writer(database: GatewayDatabase, path: Path) -> None:
    """While another process holds the write lock, keys can still be checked."""
    _, text = added(database)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    writer = threading.Thread(target=lambda: database.reserve(new_generation(), FREE, now=NOW))
    writer.start()
    assert database.authenticate(text) is not None
    assert writer.is_alive()
    holder.execute("ROLLBACK")
    holder.close()
    writer.join(20)
    assert len(database.generations("k")) == 1


# -- listing ----------------------------------------------------------------------------------------------------------


def test_lists_page_from_either_end(database: GatewayDatabase) -> None:
    """By key, kind and API; a purged cursor is placed by its age."""
    requested = [
        new_generation(kind="video" if i % 2 else "image", api="videos" if i % 2 else "images") for i in range(10)
    ]
    stored = [database.reserve(generation, FREE, now=NOW) for generation in requested]
    ids = [generation.id for generation in stored]
    database.reserve(new_generation(caller_id="other"), FREE, now=NOW)

    def listed(**options: Any) -> list[str]:
        return [generation.id for generation in database.generations("k", **options)]

    assert listed() == ids[::-1]
    assert listed(newest_first=False) == ids
    assert listed(limit=3) == ids[:6:-1]
    assert listed(after=ids[7], limit=2) == [ids[6], ids[5]]
    assert listed(after=ids[7], newest_first=False) == ids[8:]
    assert listed(before=ids[7]) == [ids[9], ids[8]]
    assert listed(kind="video") == listed(api="videos") == ids[::-1][::2]
    assert listed(limit=0) == []
    assert len(database.generations(None)) == 11
    for generation in stored:
        database.settle_charges(generation.id, charged_usd=0.0, images=0, videos=0)
    database.purge(stored[5].created_at)
    assert listed(after=ids[4], newest_first=False) == ids[5:]
    assert listed(after=ids[4]) == []


def test_deleted_outputs_are_recorded_and_can_be_restored(database: GatewayDatabase) -> None:
    """Per output, with the time."""
    generation = database.reserve(new_generation(n=3), FREE, now=NOW)
    database.mark_deleted(generation.id, 2, 5.0)
    database.mark_deleted(generation.id, 0, 6.0)
    stored = database.generation(generation.id)
    assert stored
    assert stored.deleted_outputs == {2: 5.0, 0: 6.0}
    database.mark_deleted(generation.id, 2, None)
    database.mark_deleted("unknown", 2, 1.0)
    stored = database.generation(generation.id)
    assert stored
    assert stored.deleted_outputs == {0: 6.0}


def test_a_purged_generation_still_counts_for_its_month(database: GatewayDatabase) -> None:
    """So that a short retention does not lift limits; a generation that has not ended is not purged."""
    limits = KeyLimits(usd_per_month=0.1)
    generation = database.reserve(new_generation(created_at=NOW - 99, reserved_usd=0.1), limits, now=NOW)
    running = database.reserve(new_generation(created_at=NOW - 98, caller_id="other"), limits, now=NOW)
    database.settle_charges(generation.id, charged_usd=0.1, images=1, videos=0)
    assert [old.id for old in database.purge(NOW - 50)] == [generation.id]
    assert database.generation(generation.id) is None
    assert database.generation(running.id) == running
    assert database.usage("k", NOW).usd_month == 0.1
    with pytest.raises(QuotaExceededError):
        database.reserve(new_generation(reserved_usd=0.01), limits, now=NOW)
    assert database.purge(NOW - 50) == []


def test_charges_of_past_months_are_purged(path: Path) -> None:
    """So that the file does not grow forever."""
    times = [NOW]
    database = GatewayDatabase(path, clock=lambda: times[0])
    generation = database.reserve(new_generation(reserved_usd=0.1), FREE, now=NOW)
    database.settle_charges(generation.id, charged_usd=0.1, images=1, videos=0)
    times[0] = NOW + 40 * DAY
    database.purge(times[0])
    assert database.usage("k", NOW).usd_month == 0.0
    database.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a limit on the size of files is POSIX")
def test_a_disk_that_is_full_reserves_nothing(path: Path) -> None:
    """The error says so, and the generation is not stored."""
    code = """
import resource, signal, sys
from pathlib import Path
from hfmedia.core.errors import StorageError
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.api_keys import KeyLimits
from hfmedia.server.db.generations import Generation, GenerationSpec
database = GatewayDatabase(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
stored = 0
try:
    for i in range(1000):
        generation = Generation(
            id=f"{i:09}", caller_id="k", kind="image", created_at=1.0, n=1, api="images",
            spec=GenerationSpec(prompt="x" * 2000),
        )
        database.reserve(generation, KeyLimits(), now=1.0)
        stored += 1
except StorageError as error:
    print(stored, len(database.generations(None, limit=None)), str(error))
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    stored, listed, *message = done.stdout.split()
    assert 0 < int(stored) < 1000
    assert stored == listed
    assert "cannot be used" in " ".join(message)
