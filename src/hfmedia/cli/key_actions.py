"""``hfmedia keys``: reads and changes the gateway's database, and formats keys with their usage.

Needs neither a running gateway nor the packages that only a running gateway needs.
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
from hfmedia.core.text import strip_control
from hfmedia.server.db.api_keys import KEY_PREFIX, ApiKey, KeyLimits, expiry_from_days, generate_api_key
from hfmedia.server.db.budgets import format_usd, format_utc, to_micro_usd
from hfmedia.server.db.database import GatewayDatabase
from hfmedia.server.db.usage import UsageReport
from hfmedia.settings import load_settings

from .job_format import format_iso, format_time
from .reporter import Reporter
from .runtime import InterruptHandler, run
from .tables import print_table

DATABASE_NAME = "gateway.sqlite3"  # under HFMEDIA_HOME
COLUMNS = ("id", "name", "state", "created", "expires", "limits")
NO_LIMIT = "none"  # removes a limit
NO_KEYS_MESSAGE = "No keys: the gateway serves only the machine it runs on. Create one with `hfmedia keys create NAME`."


# -- actions ----------------------------------------------------------------------------------------------------------


def show_keys(reporter: Reporter) -> NoReturn:
    """List every key and exit."""

    def action(database: GatewayDatabase | None) -> None:
        keys = database.list_keys() if database else []
        if reporter.as_json:
            for key in keys:
                reporter.result(key_to_dict(key))
        else:
            print_table(reporter, COLUMNS, [key_row(key) for key in keys])
        if not keys:
            reporter.info(NO_KEYS_MESSAGE)

    _read_database(action, reporter)


def create_key(
    name: str, limits: Mapping[str, Any], *, bill_to: str | None, admin: bool, days: float | None, reporter: Reporter
) -> NoReturn:
    """Create a key, print its text once, and exit."""

    def action(database: GatewayDatabase) -> None:
        now, is_first = database.clock(), not database.requires_keys()
        key_id, text, digest = generate_api_key()
        key = ApiKey(
            id=key_id,
            name=name.strip(),
            created_at=now,
            limits=merge_limits(KeyLimits(), limits),
            bill_to=bill_to,
            admin=admin,
            expires_at=None if days is None else expiry_from_days(days, now),
        )
        database.add_key(key, digest)
        reporter.result({"key": text, **key_to_dict(key)} if reporter.as_json else text)
        reporter.info("This is the key; it is not shown again.")
        if is_first:
            reporter.info("The gateway now requires a key for every request.")

    _write_database(action, reporter)


def show_key(text: str, reporter: Reporter) -> NoReturn:
    """Show one key, its limits and its usage, and exit."""

    def action(database: GatewayDatabase | None) -> None:
        key = find_key(database, text)
        usage = database.usage(key.id, database.clock()) if database else None
        if reporter.as_json:
            reporter.result({**key_to_dict(key), "usage": _usage_to_dict(usage)})
            return
        for title, value in (*_detail_rows(key), *(format_usage(key, usage) if usage else ())):
            reporter.result(f"{title:<16}{value}")

    _read_database(action, reporter)


def update_key(text: str, limits: Mapping[str, Any], reporter: Reporter) -> NoReturn:
    """Change the given limits, print the key, and exit."""

    def action(database: GatewayDatabase | None) -> None:
        key = find_key(database, text)
        if not limits:
            raise InvalidRequestError("name a limit to change, such as --images-per-day 100")
        if database:
            _print_key(database.change_key(key.id, limits=merge_limits(key.limits, limits)), reporter)

    _read_database(action, reporter)


def revoke_key(text: str, reporter: Reporter) -> NoReturn:
    """Revoke a key, print it, and exit."""

    def action(database: GatewayDatabase | None) -> None:
        key = find_key(database, text)
        if database:
            _print_key(database.revoke_key(key.id, database.clock()), reporter)

    _read_database(action, reporter)


def _read_database(action: Callable[[GatewayDatabase | None], None], reporter: Reporter) -> NoReturn:
    """Run an action on the database, or on None where there is none: reading creates no file."""

    async def command(interrupts: InterruptHandler) -> int:
        path = _home_folder() / DATABASE_NAME
        if not path.exists():
            action(None)
            return 0
        with closing(GatewayDatabase(path)) as database:
            action(database)
        return 0

    run(command, reporter)


def _write_database(action: Callable[[GatewayDatabase], None], reporter: Reporter) -> NoReturn:
    """Run an action on the database, which is created if it does not exist."""

    async def command(interrupts: InterruptHandler) -> int:
        with closing(GatewayDatabase(_home_folder() / DATABASE_NAME)) as database:
            action(database)
        return 0

    run(command, reporter)


def _home_folder() -> Path:
    """Return HFMEDIA_HOME. Ignores credentials: an invalid one must not keep anyone from revoking a key."""
    ignored_prefixes = ("HF_", "HFMEDIA_")
    environ = {
        name: text
        for name, text in os.environ.items()
        if name == "HFMEDIA_HOME" or not (name.startswith(ignored_prefixes) or name.endswith(("_KEY", "_TOKEN")))
    }
    return load_settings(environ, token="unused").home


# -- parsing ----------------------------------------------------------------------------------------------------------


def find_key(database: GatewayDatabase | None, text: str) -> ApiKey:
    """Return the key with this name or id; InvalidRequestError, which never repeats the text of a key, for none."""
    key = database.find_key(text.strip()) if database else None
    if key is None:
        label = "with that text" if KEY_PREFIX in text else repr(text[:80])
        raise InvalidRequestError(f"there is no key {label}; `hfmedia keys` lists all keys")
    return key


def parse_limits(
    models: Sequence[str] | None, rate: str | None, images: str | None, videos: str | None, usd: str | None
) -> dict[str, Any]:
    """Return the limits that were given on the command line, unparsed."""
    limits = {
        "models": models or None,
        "requests_per_minute": rate,
        "images_per_day": images,
        "videos_per_day": videos,
        "usd_per_month": usd,
    }
    return {name: value for name, value in limits.items() if value is not None}


def merge_limits(current: KeyLimits, updates: Mapping[str, Any]) -> KeyLimits:
    """Return the limits with the given changes; InvalidRequestError for a value that is not a number."""
    changes: dict[str, Any] = {}
    for name, text in updates.items():
        if name == "models":
            changes[name] = () if [pattern.lower() for pattern in text] == [NO_LIMIT] else tuple(text)
        elif text.strip().lower() == NO_LIMIT:
            changes[name] = None
        else:
            changes[name] = _parse_limit(name, text)
    return structs.replace(current, **changes)


def _parse_limit(name: str, text: str) -> float:
    is_money = name == "usd_per_month"
    try:
        return float(text) if is_money else int(text)
    except ValueError:
        expected = "a number" if is_money else "a whole number"
        raise InvalidRequestError(
            f"--{name.replace('_', '-')} is {text[:40]!r}, but must be {expected}, or none"
        ) from None


# -- formatting -------------------------------------------------------------------------------------------------------


def key_state(key: ApiKey) -> str:
    """Return the state of a key: active, expired or revoked."""
    return "revoked" if key.revoked_at is not None else "active" if key.is_active(time.time()) else "expired"


def key_row(key: ApiKey) -> tuple[str, ...]:
    """Return a key as the cells of one table row."""
    expires = "-" if key.expires_at is None else format_time(key.expires_at)
    name = strip_control(key.name) + (" (admin)" if key.admin else "")
    return key.id, name, key_state(key), format_time(key.created_at), expires, format_limits(key.limits)


def format_limits(limits: KeyLimits) -> str:
    """Format the limits of a key."""
    counts = (
        (limits.requests_per_minute, "requests per minute"),
        (limits.images_per_day, "images per day"),
        (limits.videos_per_day, "videos per day"),
    )
    parts = [f"{count} {unit}" for count, unit in counts if count is not None]
    if limits.usd_per_month is not None:
        parts.append(f"{format_usd(to_micro_usd(limits.usd_per_month, round_down=True))} per month")
    if limits.models:
        parts.append(f"only {' '.join(limits.models)}")
    return ", ".join(parts) or "no limits"


def format_usage(key: ApiKey, usage: UsageReport) -> list[tuple[str, str]]:
    """Format the usage that counts against the limits; unknown costs are labelled as such."""
    limits, monthly_limit = key.limits, key.limits.usd_per_month

    def format_count(count: int, limit: int | None, unit: str) -> str:
        return f"{count} {unit}" if limit is None else f"{count} of {limit} {unit}"

    def usd(amount: float) -> str:
        return format_usd(to_micro_usd(amount))

    today = f"{format_count(usage.images_today, limits.images_per_day, 'images')}, "
    today += format_count(usage.videos_today, limits.videos_per_day, "videos")
    plural = "" if usage.unpriced_generations_month == 1 else "s"
    unpriced = f"{usage.unpriced_generations_month} generation{plural}"
    total = usd(usage.usd_month) if monthly_limit is None else f"{usd(usage.usd_month)} of {usd(monthly_limit)}"
    return [
        ("today", f"{today}; resets at {format_utc(usage.day_resets_at)}"),
        ("this month", f"{usage.images_month} images, {usage.videos_month} videos"),
        ("money", f"{total} this month; resets at {format_utc(usage.month_resets_at)}"),
        ("  charged", f"{usd(usage.charged_usd_month)} at known prices"),
        ("  unknown", f"{usd(usage.estimated_usd_month)} estimated for {unpriced} of unknown cost"),
        ("  reserved", f"{usd(usage.reserved_usd_now)} reserved for unfinished generations"),
    ]


def key_to_dict(key: ApiKey) -> dict[str, Any]:
    """Return a key as plain JSON data, without its text."""
    limits = {name: getattr(key.limits, name) for name in key.limits.__struct_fields__}
    timestamps = {
        name: None if (timestamp := getattr(key, name)) is None else format_iso(timestamp)
        for name in ("created_at", "expires_at", "revoked_at")
    }
    fields = {"id": key.id, "name": key.name, "state": key_state(key), "bill_to": key.bill_to, "admin": key.admin}
    return {**fields, **timestamps, "limits": limits}


def _print_key(key: ApiKey, reporter: Reporter) -> None:
    reporter.result(key_to_dict(key) if reporter.as_json else "\t".join(key_row(key)))


def _detail_rows(key: ApiKey) -> list[tuple[str, str]]:
    rows = [
        ("key", key.id),
        ("name", strip_control(key.name)),
        ("state", key_state(key)),
        ("created", format_time(key.created_at)),
    ]
    rows += [("expires", format_time(key.expires_at))] if key.expires_at is not None else []
    rows += [("revoked", format_time(key.revoked_at))] if key.revoked_at is not None else []
    rows += [("billed to", key.bill_to)] if key.bill_to else []
    rows += [("admin", "can see all jobs")] if key.admin else []
    return [*rows, ("limits", format_limits(key.limits))]


def _usage_to_dict(usage: UsageReport | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    resets = {name: format_iso(getattr(usage, name)) for name in ("day_resets_at", "month_resets_at")}
    return {**structs.asdict(usage), **resets}
