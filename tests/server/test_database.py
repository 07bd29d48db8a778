"""The book: keys, orders and reservations in one file, under threads, processes, and files that are not ours."""

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
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.generations import Generation, GenerationSpec
from hfmedia.server.db.pricing import IdempotencyConflictError, QuotaExceededError
from hfmedia.server.db.schema import SCHEMA

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC).timestamp()
DAY = 86_400.0
NUMBERS = count()
FREE = KeyLimits()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the book lies."""
    return tmp_path / "home" / "gateway.sqlite3"


@pytest.fixture
def book(path: Path) -> Iterator[GatewayDatabase]:
    """A new book, in which it is always noon."""
    made = GatewayDatabase(path, clock=lambda: NOW)
    yield made
    made.close()


def order(**fields: Any) -> Generation:
    """An order of one image, unless told otherwise."""
    number = next(NUMBERS)
    known: dict[str, Any] = {"id": f"{number:011x}", "key": "k", "kind": "image", "at": NOW + number / 1000, "n": 1,
                             "api": "images", "ask": GenerationSpec(prompt="a fox")}  # fmt: skip
    return Generation(**{**known, **fields})


def added(book: GatewayDatabase, name: str = "web", **fields: Any) -> tuple[ApiKey, str]:
    """A new key in the book, and its text."""
    key_id, text, digest = generate_api_key()
    key = ApiKey(id=key_id, name=name, created_at=NOW, **fields)
    book.add_key(key, digest)
    return key, text


# -- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_is_its_owner_s_alone(book: GatewayDatabase, path: Path) -> None:
    """And so are the files that SQLite lays beside it, and one that came with other rights."""
    added(book)
    files = list(path.parent.iterdir())
    assert {file.name for file in files} >= {"gateway.sqlite3", "gateway.sqlite3-wal"}
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    book.close()
    path.chmod(0o644)
    GatewayDatabase(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_written_is_there_again(path: Path) -> None:
    """Its secret, keys, orders."""
    first = GatewayDatabase(path)
    key, text = added(
        first, limits=KeyLimits(models=("org/*",), usd_per_month=1.5), bill_to="org", admin=True, expires=9e9
    )
    one = order(
        ask=GenerationSpec(prompt="é\u4e2d", options={"extra_body": {"a": [1, None]}}, seeds=(1, 2**64 - 1)),
        told={"x": 1},
    )
    first.reserve(one, FREE, now=NOW)
    secret = first.signing_secret
    first.close()
    first.close()
    second = GatewayDatabase(path)
    assert len(secret) == 32
    assert second.signing_secret == secret
    assert second.list_keys() == [key]
    assert second.authenticate(text) == key
    assert second.generation(one.id) == one
    second.close()
    with pytest.raises(StorageError):
        second.list_keys()


DAMAGED: list[tuple[str, Callable[[Path], Any], str]] = [
    ("no database", lambda path: path.write_bytes(b"not a database at all, but text" * 200), "not a database"),
    ("torn", lambda path: _torn(path), "damaged|malformed|not a database"),
    ("newer", lambda path: _sql(path, "UPDATE meta SET value = 99"), "newer than this hfmedia"),
    ("of no version", lambda path: _sql(path, "UPDATE meta SET value = -1"), "does not say which version"),
    ("another program's", lambda path: _sql(path, "PRAGMA application_id = 7"), "another program's"),
    ("a folder", lambda path: (path.unlink(), path.mkdir()), "it is a folder"),
]


def _sql(path: Path, text: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(text)
    connection.commit()
    connection.close()


def _torn(path: Path) -> None:
    _sql(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * (len(data) - 100))


@pytest.mark.parametrize(("damage", "words"), [row[1:] for row in DAMAGED], ids=[row[0] for row in DAMAGED])
def test_a_file_that_is_not_ours_to_use_is_refused_in_a_sentence(
    path: Path, damage: Callable[[Path], Any], words: str
) -> None:
    """It names the file, and what stands in it stays as it is."""
    GatewayDatabase(path).close()
    damage(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StorageError, match=words) as caught:
        GatewayDatabase(path)
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_another_program_s_database_is_left_alone(path: Path) -> None:
    """Nothing is written into it."""
    path.parent.mkdir()
    _sql(path, "CREATE TABLE theirs (x)")
    with pytest.raises(StorageError, match="another program's"):
        GatewayDatabase(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    connection.close()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """As an error of the store."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be used"):
        GatewayDatabase(tmp_path / "file" / "gateway.sqlite3")


def test_steps_only_ever_grow() -> None:
    """Those that were published are as they were: a book that began with the first is led to the newest."""
    assert len(SCHEMA.migrations) == 2
    assert SCHEMA.migrations[0].count("CREATE TABLE") == 4


def test_a_book_of_the_first_step_is_led_to_the_newest(path: Path) -> None:
    """With all that is in it; what was deleted is found by its index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = sqlite.connect(SCHEMA._replace(steps=SCHEMA.migrations[:1]), path, 5.0)
    first.close()
    book = GatewayDatabase(path)
    mine, other = order(), order()
    for one in (mine, other):
        book.reserve(one, KeyLimits(), now=one.created_at)
    book.mark_deleted(mine.id, 0, 5.0)
    assert [one.id for one in book.generations(None, deleted=True)] == [mine.id]
    plan = book._rows("EXPLAIN QUERY PLAN SELECT id FROM orders o WHERE 1 AND o.deleted != '{}' ORDER BY o.at, o.id")
    assert "orders_with_deletions" in str(plan)
    book.close()


def test_what_its_giver_should_know_is_written_down_once(book: GatewayDatabase) -> None:
    """Beside what was known before; an order that is not there is nobody's."""
    asked = structs.replace(order(), told={"warnings": ["rounded"], "more": 1})
    book.reserve(asked, KeyLimits(), now=asked.created_at)
    for notes in (["asked last"], ["asked last", "rounded"]):
        book.add_warnings(asked.id, notes)
    book.add_warnings("unknown", ["x"])
    kept = book.generation(asked.id)
    assert kept is not None
    assert kept.response_context == {"warnings": ["rounded", "asked last"], "more": 1}
    assert kept.fingerprint == asked.fingerprint


def test_many_may_open_a_new_book_at_once(path: Path) -> None:
    """One makes it, all have the same secret."""
    with ThreadPoolExecutor(16) as pool:
        books = list(pool.map(lambda _: GatewayDatabase(path), range(16)))
    assert len({book.signing_secret for book in books}) == 1
    for book in books:
        book.close()


# -- keys -------------------------------------------------------------------------------------------------------------


def test_only_the_whole_text_opens(book: GatewayDatabase) -> None:
    """A right id with a wrong secret does not, however little is wrong; nor what is no key."""
    key, text = added(book)
    assert book.authenticate(text) == book.find_by_plaintext(text) == key
    wrong = ["", "hfm_", key.id, f"hfm_{key.id}_", text[:-1], text + "a", text.lower(), text.swapcase(), f" {text}",
             text[:-1] + ("a" if text[-1] != "a" else "b"), generate_api_key()[1], f"hfm_{key.id}_" + "A" * 43, text + "\ud800",
             f"hfm_{'0' * 12}_" + "A" * 43]  # fmt: skip
    assert [book.find_by_plaintext(one) for one in wrong] == [None] * len(wrong)
    assert [book.authenticate(one) for one in wrong] == [None] * len(wrong)


def test_secrets_are_compared_in_constant_time(book: GatewayDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the function made for it, once for every text, an unknown id and a text without any included."""
    key, text = added(book)
    compared: list[tuple[bytes, bytes]] = []

    def compare(kept: bytes, shown: bytes) -> bool:
        compared.append((kept, shown))
        return kept == shown

    monkeypatch.setattr("hfmedia.server.db.database.hmac.compare_digest", compare)
    for shown in (text, f"hfm_{key.id}_" + "A" * 43, generate_api_key()[1], "nothing"):
        book.find_by_plaintext(shown)
        assert compared[-1][1] == hash_key(shown)
    assert len(compared) == 4


def test_an_expired_or_revoked_key_is_found_and_does_not_pass(book: GatewayDatabase) -> None:
    """So that whoever has the right text may be told why."""
    old, old_text = added(book, "old", expires=NOW - 1)
    assert (book.find_by_plaintext(old_text), book.authenticate(old_text)) == (old, None)
    key, text = added(book, "web")
    revoked = book.revoke_key(key.id, NOW)
    assert revoked.revoked_at == NOW
    assert book.revoke_key(key.id, NOW + 5).revoked_at == NOW
    assert (book.find_by_plaintext(text), book.authenticate(text)) == (revoked, None)
    assert book.requires_keys()


def test_a_name_is_taken_once_until_it_is_revoked(book: GatewayDatabase) -> None:
    """And stands for the one in use, then for the last."""
    first, text = added(book)
    with pytest.raises(InvalidRequestError, match="there is a key named 'web'"):
        added(book)
    book.revoke_key(first.id, NOW)
    assert book.find_key("web") == book.get_key(first.id)
    second, _ = added(book)
    assert book.find_key("web") == second
    assert book.find_key(first.id) == book.find_key(text) == book.get_key(first.id)
    assert book.find_key("nobody") is None
    third, _ = added(book, "third")
    with pytest.raises(InvalidRequestError, match="there is a key named"):
        book.change_key(third.id, name="web")
    assert book.get_key(third.id) == third


def test_limits_change_and_what_makes_no_sense_does_not(book: GatewayDatabase) -> None:
    """The key that is told is the key that is kept."""
    key, text = added(book)
    changed = book.change_key(key.id, limits=KeyLimits(images_per_day=3))
    assert changed == book.authenticate(text) == structs.replace(key, limits=KeyLimits(images_per_day=3))
    for deed in (
        lambda: book.change_key(key.id, limits=KeyLimits(images_per_day=-3)),
        lambda: book.change_key("nobody", limits=KeyLimits()),
        lambda: book.revoke_key("nobody", NOW),
    ):
        with pytest.raises(InvalidRequestError):
            deed()
    assert book.get_key(key.id) == changed


def test_another_s_change_is_seen_at_the_next_look(book: GatewayDatabase, path: Path) -> None:
    """The command makes, limits and revokes keys while the gateway serves."""
    assert not book.requires_keys()
    command = GatewayDatabase(path, clock=lambda: NOW)
    key, text = added(command)
    assert book.requires_keys()
    assert book.authenticate(text) == key
    command.change_key(key.id, limits=KeyLimits(images_per_day=1))
    assert book.authenticate(text) != key
    command.revoke_key(key.id, NOW)
    assert book.authenticate(text) is None
    command.close()


def test_the_text_of_a_key_is_nowhere(book: GatewayDatabase, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not in a byte of its files, a repr, an error or a log."""
    caplog.set_level(logging.DEBUG)
    key, text = added(book)
    secret = text.rpartition("_")[2]
    said = [repr(book), repr(key), repr(book.list_keys()), repr(book.find_by_plaintext(text))]
    for deed in (lambda: book.change_key(text, name="x"), lambda: added(book, text), lambda: added(book, "web")):
        with pytest.raises(HfmediaError) as caught:
            deed()
        said.append(repr(caught.value) + str(caught.value))
    assert secret not in "".join(said) + caplog.text
    for file in path.parent.iterdir():
        assert secret.encode() not in file.read_bytes()


# -- reserving --------------------------------------------------------------------------------------------------------


def test_limits_count_what_is_set_aside(book: GatewayDatabase) -> None:
    """Images and videos a day apart, money for both, each key for itself."""
    limits = KeyLimits(images_per_day=3, videos_per_day=1, usd_per_month=1.0)
    key, _ = added(book)
    book.reserve(order(key=key.id, n=2, reserved=0.1), limits, now=NOW)
    with pytest.raises(QuotaExceededError, match="the key 'web' may make 3 images a day: 2 are used") as caught:
        book.reserve(order(key=key.id, n=2), limits, now=NOW)
    assert (caught.value.limit, caught.value.used, caught.value.resets_at) == (3, 2, NOW + DAY / 2)
    book.reserve(order(key=key.id, n=1, reserved=0.1), limits, now=NOW)
    book.reserve(order(key=key.id, kind="video", reserved=0.5), limits, now=NOW)
    with pytest.raises(QuotaExceededError, match="1 is used"):
        book.reserve(order(key=key.id, kind="video"), limits, now=NOW)
    book.reserve(order(key="other", n=3, reserved=1.0), limits, now=NOW)
    tomorrow = NOW + DAY
    with pytest.raises(QuotaExceededError, match=r"may spend \$1.00 a month: \$0.70 is used") as caught:
        book.reserve(order(key=key.id, reserved=0.31), limits, now=tomorrow)
    assert (caught.value.limit, caught.value.used) == (1.0, 0.7)
    book.reserve(order(key=key.id, reserved=0.3), limits, now=tomorrow)
    assert len(book.unsettled()) == 5


@pytest.mark.parametrize(
    ("fields", "limits"),
    [({"n": 4}, KeyLimits(images_per_day=3)), ({"kind": "video", "n": 1}, KeyLimits(videos_per_day=0)),
     ({"reserved": 0.02}, KeyLimits(usd_per_month=0.01))],
)  # fmt: skip
def test_what_can_never_fit_says_so(book: GatewayDatabase, fields: dict[str, Any], limits: KeyLimits) -> None:
    """An order that alone is beyond a limit has no time to wait for."""
    with pytest.raises(QuotaExceededError, match="can never be made") as caught:
        book.reserve(order(**fields), limits, now=NOW)
    assert caught.value.resets_at is None
    assert book.generations(None) == []


def test_the_hour_of_the_reservation_decides_its_day_and_month(book: GatewayDatabase) -> None:
    """Midnight in UTC; what was begun a moment before it counts when it was written down."""
    midnight = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    limits = KeyLimits(images_per_day=1, usd_per_month=0.1)
    book.reserve(order(at=midnight - 2, reserved=0.1), limits, now=midnight - 0.001)
    with pytest.raises(QuotaExceededError):
        book.reserve(order(at=midnight - 1, reserved=0.1), limits, now=midnight - 0.001)
    book.reserve(order(at=midnight - 1, reserved=0.1), limits, now=midnight)
    with pytest.raises(QuotaExceededError):
        book.reserve(order(at=midnight - 1, reserved=0.1), limits, now=midnight)
    usage = book.usage("k", midnight)
    assert (usage.images_today, usage.usd_month, usage.day_resets_at) == (1, 0.1, midnight + DAY)


def test_an_idempotency_key_is_one_order(book: GatewayDatabase) -> None:
    """Asked before the limits, for each caller apart; another request under it is refused."""
    limits = KeyLimits(images_per_day=1)
    first = book.reserve(order(idempotency_key="a", fingerprint="f"), limits, now=NOW)
    again = book.reserve(order(idempotency_key="a", fingerprint="f", n=99), limits, now=NOW)
    assert again.id == first.id
    assert book.reserve(first, limits, now=NOW) == first
    with pytest.raises(IdempotencyConflictError):
        book.reserve(order(idempotency_key="a", fingerprint="g"), limits, now=NOW)
    other = order(key="other", idempotency_key="a", fingerprint="f")
    assert book.reserve(other, limits, now=NOW).id == other.id
    book.settle_charges(first.id, charged_usd=0.0, images=0, videos=0)
    book.release_idempotency_key(first.id)
    assert book.generation(first.id) == structs.replace(first, idempotency_key=None, settled=True, charged=0.0)
    fresh = order(idempotency_key="a", fingerprint="f")
    assert book.reserve(fresh, limits, now=NOW).id == fresh.id


@pytest.mark.parametrize(
    ("charged", "images", "counts", "told"),
    [(0.04, 2, 0.04, 0.04), (0.0, 0, 0.0, 0.0), (0.9, 4, 0.9, 0.9), (None, 4, 0.4, None), (None, 1, 0.1, None),
     (None, 3, 0.3, None), (0.01, 1, 0.01, 0.01)],
)  # fmt: skip
def test_settling_replaces_what_was_set_aside(
    book: GatewayDatabase, charged: float | None, images: int, counts: float, told: float | None
) -> None:
    """By what was bought; where nobody told a price, by its share. Twice changes nothing."""
    one = book.reserve(order(n=4, reserved=0.4), FREE, now=NOW)
    assert book.usage("k", NOW).reserved_usd_now == 0.4
    for again in range(2):
        book.settle_charges(
            one.id, charged_usd=charged if not again else 77.0, images=images if not again else 9, videos=again
        )
        usage = book.usage("k", NOW)
        assert (usage.usd_month, usage.images_today, usage.images_month, usage.videos_today) == (
            counts,
            images,
            images,
            0,
        )
        assert (usage.reserved_usd_now, usage.unpriced_generations_month) == (0.0, int(charged is None))
        assert usage.charged_usd_month + usage.estimated_usd_month == counts
    assert book.generation(one.id) == structs.replace(one, settled=True, charged=told)
    assert book.unsettled() == []
    book.settle_charges("nobody", charged_usd=1.0, images=1, videos=0)


def test_what_was_not_bought_makes_room_again(book: GatewayDatabase) -> None:
    """At once."""
    limits = KeyLimits(images_per_day=1, usd_per_month=0.05)
    one = book.reserve(order(reserved=0.05), limits, now=NOW)
    with pytest.raises(QuotaExceededError):
        book.reserve(order(reserved=0.05), limits, now=NOW)
    book.settle_charges(one.id, charged_usd=0.0, images=0, videos=0)
    book.reserve(order(reserved=0.05), limits, now=NOW)


def test_bytes_of_an_image_are_not_written_down(book: GatewayDatabase, path: Path) -> None:
    """They lie elsewhere; its digest stays."""
    image = InputImage(data=b"PIXELS" * 100, mime="image/png", sha256="ab")
    one = book.reserve(order(ask=GenerationSpec(prompt="x", image=image)), FREE, now=NOW)
    kept = book.generation(one.id)
    assert kept
    assert kept.spec.image == structs.replace(image, data=None)
    assert all(b"PIXELS" not in file.read_bytes() for file in path.parent.iterdir())


def test_what_is_no_text_is_refused_and_the_book_goes_on(book: GatewayDatabase) -> None:
    """Half a character in a prompt."""
    with pytest.raises(InvalidRequestError, match="cannot be written down"):
        book.reserve(order(ask=GenerationSpec(prompt="\ud800")), FREE, now=NOW)
    book.reserve(order(), FREE, now=NOW)


# -- races ------------------------------------------------------------------------------------------------------------


def test_a_hundred_threads_race_for_the_last_cent(book: GatewayDatabase, path: Path) -> None:
    """Through two connections: exactly as many win as fit, to the last cent."""
    other = GatewayDatabase(path)
    limits = KeyLimits(usd_per_month=0.37)
    begin = threading.Barrier(100)

    def race(number: int) -> bool:
        begin.wait()
        try:
            (book, other)[number % 2].reserve(order(reserved=0.01), limits, now=NOW)
        except QuotaExceededError:
            return False
        return True

    with ThreadPoolExecutor(100) as pool:
        won = sum(pool.map(race, range(100)))
    other.close()
    assert won == 37
    assert book.usage("k", NOW).usd_month == 0.37


RACER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from hfmedia.server.db.database import Book
from hfmedia.server.db.api_keys import Limits
from hfmedia.server.db.pricing import OverLimitError
from hfmedia.server.db.generations import Ask, Order, order_id

book = Book(Path(sys.argv[1]))
sys.stdin.readline()

def race(number):
    order = Order(id=order_id(), key="k", kind="image", at=1.0, n=1, api="images", ask=Ask(), reserved=0.1,
                  idempotency_key=f"same-{number}" if number < 5 else None)
    try:
        return book.reserve(order, Limits(images_per_day=31, usd_per_month=100.0), now=1.0).id == order.id
    except OverLimitError:
        return False

with ThreadPoolExecutor(5) as pool:
    print(sum(pool.map(race, range(25))))
"""


def test_processes_race_for_the_last_image(book: GatewayDatabase, path: Path) -> None:
    """Four of them with five threads each: exactly as many win as fit, and each idempotency key once."""
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
    usage = book.usage("k", 1.0)
    assert (usage.images_today, usage.usd_month) == (31, 3.1)
    keys = [one.idempotency_key for one in book.generations("k") if one.idempotency_key]
    assert len(keys) == len(set(keys)) <= 5


STEPS_TAKEN = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 4), st.floats(0, 0.6), st.booleans(), st.floats(0, 1)), max_size=25
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS_TAKEN, st.integers(0, 12), st.floats(0, 3))
def test_whatever_happens_nobody_reserves_beyond_a_limit(
    tmp_path: Path, taken: list[tuple[int, int, float, bool, float]], images: int, usd: float
) -> None:
    """Orders of three keys, some settled: each sum is what a plain count says, and each refusal was due."""
    book = GatewayDatabase(tmp_path / f"{next(NUMBERS)}.sqlite3", clock=lambda: NOW)
    limits = KeyLimits(images_per_day=images, usd_per_month=usd)
    counted: dict[str, dict[str, tuple[int, float]]] = {}
    for number, n, price, over, part in taken:
        mine = counted.setdefault(str(number), {})
        one = order(key=str(number), n=n, reserved=price)
        used, spent = sum(row[0] for row in mine.values()), sum(row[1] for row in mine.values())
        try:
            book.reserve(one, limits, now=NOW)
        except QuotaExceededError:
            assert used + n > images or spent + price > usd - 1e-4
            continue
        assert used + n <= images
        assert spent + price <= usd + 1e-4
        mine[one.id] = (n, price)
        if over:
            bought = int(n * part)
            mine[one.id] = (bought, price * bought / n)
            book.settle_charges(one.id, charged_usd=price * bought / n, images=bought, videos=0)
    for key, mine in counted.items():
        usage = book.usage(key, NOW)
        assert usage.images_today == sum(row[0] for row in mine.values())
        assert usage.usd_month == pytest.approx(sum(row[1] for row in mine.values()), abs=1e-4)
    book.close()


def test_a_look_does_not_wait_for_a_writer(book: GatewayDatabase, path: Path) -> None:
    """While another process holds the file for writing, keys are checked all the same."""
    _, text = added(book)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    writer = threading.Thread(target=lambda: book.reserve(order(), FREE, now=NOW))
    writer.start()
    assert book.authenticate(text) is not None
    assert writer.is_alive()
    holder.execute("ROLLBACK")
    holder.close()
    writer.join(20)
    assert len(book.generations("k")) == 1


# -- looking ----------------------------------------------------------------------------------------------------------


def test_lists_page_from_either_end(book: GatewayDatabase) -> None:
    """By key, kind and API; a cursor that is gone stands where its age puts it."""
    made = [book.reserve(order(kind="video" if i % 2 else "image", api="videos" if i % 2 else "images"), FREE, now=NOW)
            for i in range(10)]  # fmt: skip
    ids = [one.id for one in made]
    book.reserve(order(key="other"), FREE, now=NOW)

    def listed(**how: Any) -> list[str]:
        return [one.id for one in book.generations("k", **how)]

    assert listed() == ids[::-1]
    assert listed(newest_first=False) == ids
    assert listed(limit=3) == ids[:6:-1]
    assert listed(after=ids[7], limit=2) == [ids[6], ids[5]]
    assert listed(after=ids[7], newest_first=False) == ids[8:]
    assert listed(before=ids[7]) == [ids[9], ids[8]]
    assert listed(kind="video") == listed(api="videos") == ids[::-1][::2]
    assert listed(limit=0) == []
    assert len(book.generations(None)) == 11
    for one in made:
        book.settle_charges(one.id, charged_usd=0.0, images=0, videos=0)
    book.purge(made[5].created_at)
    assert listed(after=ids[4], newest_first=False) == ids[5:]
    assert listed(after=ids[4]) == []


def test_deleted_outputs_are_remembered_and_may_come_back(book: GatewayDatabase) -> None:
    """By output, with the time."""
    one = book.reserve(order(n=3), FREE, now=NOW)
    book.mark_deleted(one.id, 2, 5.0)
    book.mark_deleted(one.id, 0, 6.0)
    kept = book.generation(one.id)
    assert kept
    assert kept.deleted_outputs == {2: 5.0, 0: 6.0}
    book.mark_deleted(one.id, 2, None)
    book.mark_deleted("nobody", 2, 1.0)
    kept = book.generation(one.id)
    assert kept
    assert kept.deleted_outputs == {0: 6.0}


def test_what_is_forgotten_still_counts_for_its_month(book: GatewayDatabase) -> None:
    """An operator who keeps nothing is not spent dry; what is not over is not forgotten."""
    limits = KeyLimits(usd_per_month=0.1)
    one = book.reserve(order(at=NOW - 99, reserved=0.1), limits, now=NOW)
    running = book.reserve(order(at=NOW - 98, key="other"), limits, now=NOW)
    book.settle_charges(one.id, charged_usd=0.1, images=1, videos=0)
    assert [old.id for old in book.purge(NOW - 50)] == [one.id]
    assert book.generation(one.id) is None
    assert book.generation(running.id) == running
    assert book.usage("k", NOW).usd_month == 0.1
    with pytest.raises(QuotaExceededError):
        book.reserve(order(reserved=0.01), limits, now=NOW)
    assert book.purge(NOW - 50) == []


def test_tabs_of_old_months_go_with_their_orders(path: Path) -> None:
    """The file does not grow for ever."""
    times = [NOW]
    book = GatewayDatabase(path, clock=lambda: times[0])
    one = book.reserve(order(reserved=0.1), FREE, now=NOW)
    book.settle_charges(one.id, charged_usd=0.1, images=1, videos=0)
    times[0] = NOW + 40 * DAY
    book.purge(times[0])
    assert book.usage("k", NOW).usd_month == 0.0
    book.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a limit on the size of files is POSIX")
def test_a_disk_that_is_full_reserves_nothing(path: Path) -> None:
    """It is told, and the order is not there."""
    code = """
import resource, signal, sys
from pathlib import Path
from hfmedia.core.errors import StoreError
from hfmedia.server.db.database import Book
from hfmedia.server.db.api_keys import Limits
from hfmedia.server.db.generations import Ask, Order
book = Book(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
made = 0
try:
    for i in range(1000):
        book.reserve(Order(id=f"{i:09}", key="k", kind="image", at=1.0, n=1, api="images", ask=Ask(prompt="x" * 2000)),
                     Limits(), now=1.0)
        made += 1
except StoreError as error:
    print(made, len(book.orders(None, limit=None)), str(error))
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    made, there, *words = done.stdout.split()
    assert 0 < int(made) < 1000
    assert made == there
    assert "cannot be used" in " ".join(words)
