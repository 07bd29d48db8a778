"""The deeds of ``hfmedia keys``: the gateway's book opened, and a key and what it used in words.

Nothing here needs the gateway to run, nor what only a running gateway needs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from msgspec import structs

from hfmedia.core.errors import InvalidRequestError
from hfmedia.server.books.book import Book, Usage
from hfmedia.server.books.keys import PREFIX, Key, Limits, expiry, new_key
from hfmedia.server.books.money import clock as utc
from hfmedia.server.books.money import micro, told
from hfmedia.settings import read_settings

from .look import table
from .run import Stop, run
from .story import clock, iso
from .voice import Voice, plain

FILE = "gateway.sqlite3"  # under HFMEDIA_HOME
COLUMNS = ("id", "name", "state", "made", "expires", "limits")
NONE = "none"  # what takes a limit away
NO_KEYS = "there are no keys: the gateway serves only the machine it runs on; `hfmedia keys make NAME` makes one"


# -- deeds ------------------------------------------------------------------------------------------------------------


def show_all(voice: Voice) -> NoReturn:
    """Lists every key and leaves."""

    def deed(book: Book | None) -> None:
        known = book.keys() if book else []
        if voice.as_json:
            for key in known:
                voice.result(facts(key))
        else:
            table(voice, COLUMNS, [row(key) for key in known])
        if not known:
            voice.note(NO_KEYS)

    _look(deed, voice)


def make_one(
    name: str, limits: Mapping[str, Any], *, bill_to: str | None, admin: bool, days: float | None, voice: Voice
) -> NoReturn:
    """Makes a key, says its text once, and leaves."""

    def deed(book: Book) -> None:
        now, first = book.clock(), not book.ever_keyed()
        key_id, text, digest = new_key()
        key = Key(
            id=key_id,
            name=name.strip(),
            made=now,
            limits=changed(Limits(), limits),
            bill_to=bill_to,
            admin=admin,
            expires=None if days is None else expiry(days, now),
        )
        book.add_key(key, digest)
        voice.result({"key": text, **facts(key)} if voice.as_json else text)
        voice.note("this text is the key; it is not shown again")
        if first:
            voice.note("from now on the gateway asks everybody for a key")

    _change(deed, voice)


def show_one(text: str, voice: Voice) -> NoReturn:
    """Shows one key, what it may and what it used, and leaves."""

    def deed(book: Book | None) -> None:
        key = found(book, text)
        usage = book.usage(key.id, book.clock()) if book else None
        if voice.as_json:
            voice.result({**facts(key), "usage": _used_facts(usage)})
            return
        for title, words in (*_about(key), *(used(key, usage) if usage else ())):
            voice.result(f"{title:<16}{words}")

    _look(deed, voice)


def limit_one(text: str, limits: Mapping[str, Any], voice: Voice) -> NoReturn:
    """Changes the limits that are named, says how the key stands, and leaves."""

    def deed(book: Book | None) -> None:
        key = found(book, text)
        if not limits:
            raise InvalidRequestError("name a limit to change, such as --images-per-day 100")
        if book:
            _say(book.change_key(key.id, limits=changed(key.limits, limits)), voice)

    _look(deed, voice)


def revoke_one(text: str, voice: Voice) -> NoReturn:
    """Revokes a key, says how it stands, and leaves."""

    def deed(book: Book | None) -> None:
        key = found(book, text)
        if book:
            _say(book.revoke_key(key.id, book.clock()), voice)

    _look(deed, voice)


def _look(deed: Callable[[Book | None], None], voice: Voice) -> NoReturn:
    """Runs a deed on the book; where there is none, on None: looking makes no file."""

    async def work(stop: Stop) -> int:
        path = _home() / FILE
        if not path.exists():
            deed(None)
            return 0
        with closing(Book(path)) as book:
            deed(book)
        return 0

    run(work, voice)


def _change(deed: Callable[[Book], None], voice: Voice) -> NoReturn:
    """Runs a deed on the book, which is made where there is none."""

    async def work(stop: Stop) -> int:
        with closing(Book(_home() / FILE)) as book:
            deed(book)
        return 0

    run(work, voice)


def _home() -> Path:
    """HFMEDIA_HOME as every command reads it. No credential is looked at: a damaged one must not keep a key alive."""
    unread = ("HF_", "HFMEDIA_")
    environ = {
        name: text
        for name, text in os.environ.items()
        if name == "HFMEDIA_HOME" or not (name.startswith(unread) or name.endswith(("_KEY", "_TOKEN")))
    }
    return read_settings(environ, token="unused").home


# -- what was asked for -----------------------------------------------------------------------------------------------


def found(book: Book | None, text: str) -> Key:
    """The key of that name or id. InvalidRequestError when there is none; the text of a key is never repeated."""
    key = book.named(text.strip()) if book else None
    if key is None:
        what = "with that text" if PREFIX in text else repr(text[:80])
        raise InvalidRequestError(f"there is no key {what}; `hfmedia keys` lists them")
    return key


def named_limits(
    models: Sequence[str] | None, rate: str | None, images: str | None, videos: str | None, usd: str | None
) -> dict[str, Any]:
    """The limits that were named on the command line, as they were written."""
    given = {
        "models": models or None,
        "requests_per_minute": rate,
        "images_per_day": images,
        "videos_per_day": videos,
        "usd_per_month": usd,
    }
    return {name: value for name, value in given.items() if value is not None}


def changed(before: Limits, given: Mapping[str, Any]) -> Limits:
    """The limits with those changed that were named; InvalidRequestError for what is no number."""
    changes: dict[str, Any] = {}
    for name, text in given.items():
        if name == "models":
            changes[name] = () if [one.lower() for one in text] == [NONE] else tuple(text)
        elif text.strip().lower() == NONE:
            changes[name] = None
        else:
            changes[name] = _number(name, text)
    return structs.replace(before, **changes)


def _number(name: str, text: str) -> float:
    money = name == "usd_per_month"
    try:
        return float(text) if money else int(text)
    except ValueError:
        what = "a number" if money else "a whole number"
        raise InvalidRequestError(f"--{name.replace('_', '-')} is {text[:40]!r}, but must be {what}, or none") from None


# -- in words ---------------------------------------------------------------------------------------------------------


def state(key: Key) -> str:
    """How a key stands: active, expired or revoked."""
    return "revoked" if key.revoked is not None else "active" if key.usable(time.time()) else "expired"


def row(key: Key) -> tuple[str, ...]:
    """A key as the cells of one line."""
    expires = "-" if key.expires is None else clock(key.expires)
    name = plain(key.name) + (" (admin)" if key.admin else "")
    return key.id, name, state(key), clock(key.made), expires, limits_told(key.limits)


def limits_told(limits: Limits) -> str:
    """What a key may, in words."""
    counts = (
        (limits.requests_per_minute, "requests a minute"),
        (limits.images_per_day, "images a day"),
        (limits.videos_per_day, "videos a day"),
    )
    words = [f"{count} {what}" for count, what in counts if count is not None]
    if limits.usd_per_month is not None:
        words.append(f"{told(micro(limits.usd_per_month, down=True))} a month")
    if limits.models:
        words.append(f"only {' '.join(limits.models)}")
    return ", ".join(words) or "no limits"


def used(key: Key, usage: Usage) -> list[tuple[str, str]]:
    """What counts against the limits, in words; what nobody told the price of is said to be so."""
    limits, most = key.limits, key.limits.usd_per_month

    def of(count: int, limit: int | None, what: str) -> str:
        return f"{count} {what}" if limit is None else f"{count} of {limit} {what}"

    def usd(amount: float) -> str:
        return told(micro(amount))

    today = f"{of(usage.images_today, limits.images_per_day, 'images')}, "
    today += of(usage.videos_today, limits.videos_per_day, "videos")
    orders = f"{usage.unknown_month} order{'' if usage.unknown_month == 1 else 's'}"
    total = usd(usage.usd_month) if most is None else f"{usd(usage.usd_month)} of {usd(most)}"
    return [
        ("today", f"{today}; resets at {utc(usage.day_resets)}"),
        ("this month", f"{usage.images_month} images, {usage.videos_month} videos"),
        ("money", f"{total} this month; resets at {utc(usage.month_resets)}"),
        ("  charged", f"{usd(usage.charged_month)} at prices that are known"),
        ("  unknown", f"{usd(usage.estimated_month)} counted for {orders} of which nobody told the price"),
        ("  reserved", f"{usd(usage.reserved_now)} set aside for what is not over"),
    ]


def facts(key: Key) -> dict[str, Any]:
    """A key as plain JSON data, without its text."""
    limits = {name: getattr(key.limits, name) for name in key.limits.__struct_fields__}
    times = {name: None if (at := getattr(key, name)) is None else iso(at) for name in ("made", "expires", "revoked")}
    known = {"id": key.id, "name": key.name, "state": state(key), "bill_to": key.bill_to, "admin": key.admin}
    return {**known, **times, "limits": limits}


def _say(key: Key, voice: Voice) -> None:
    voice.result(facts(key) if voice.as_json else "\t".join(row(key)))


def _about(key: Key) -> list[tuple[str, str]]:
    known = [("key", key.id), ("name", plain(key.name)), ("state", state(key)), ("made", clock(key.made))]
    known += [("expires", clock(key.expires))] if key.expires is not None else []
    known += [("revoked", clock(key.revoked))] if key.revoked is not None else []
    known += [("billed to", key.bill_to)] if key.bill_to else []
    known += [("admin", "sees everybody's jobs")] if key.admin else []
    return [*known, ("limits", limits_told(key.limits))]


def _used_facts(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    resets = {"day_resets": iso(usage.day_resets), "month_resets": iso(usage.month_resets)}
    return {**structs.asdict(usage), **resets}
