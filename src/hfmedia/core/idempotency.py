"""Suffixes of idempotency keys in the ledger: ``key#i`` for output i of a request, then ``~n`` for attempt n.

A key without ``~`` is the first attempt. Stored keys outlive a release: the grammar never changes.
"""

from __future__ import annotations


def output_key(key: str, index: int) -> str:
    """Return the key of one output of a request with several; ``index`` counts from 0."""
    return f"{key}#{index}"


def attempt_key(key: str, attempt: int) -> str:
    """Return the key of an attempt, counted from 1: a failed or cancelled job leaves its key to the next attempt."""
    return key if attempt == 1 else f"{key}~{attempt}"


def parse_output_key(key: str) -> tuple[str, int] | None:
    """Return the request's key and the index of an output's key, of any attempt; None when it has no index.

    Only for keys whose base contains neither ``#`` nor ``~``; keys that callers choose may.
    """
    base, _, index = key.partition("~")[0].partition("#")
    return (base, int(index)) if base and index.isascii() and index.isdecimal() else None
