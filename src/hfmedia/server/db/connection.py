"""Connections to gateway.sqlite3, shared by the repositories: one to write, and one to read meanwhile."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from hfmedia.core.errors import InvalidRequestError
from hfmedia.sqlite import transaction, translate_errors

from .schema import SCHEMA, connect


class DatabaseConnections:
    """The file at a path, created if it is missing. ``clock`` returns unix seconds.

    Every method of it and of its subclasses raises StorageError when the file or the disk fails.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
        with translate_errors(SCHEMA, path):
            self._write_connection = connect(path, writable=True)
            try:
                self._read_connection = connect(path, writable=False)  # reads never wait for another process's commit
            except BaseException:
                self._write_connection.close()
                raise

    def close(self) -> None:
        """Close the file; further calls do nothing."""
        with self._write_lock, self._read_lock:
            self._read_connection.close()
            self._write_connection.close()

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with translate_errors(SCHEMA, self.path), self._read_lock:
            return self._read_connection.execute(query, values).fetchall()

    def _row(self, query: str, *values: Any) -> Any:
        rows = self._rows(query, *values)
        return rows[0] if rows else None

    @contextmanager
    def _write_transaction(self) -> Generator[sqlite3.Connection, None, None]:
        with translate_errors(SCHEMA, self.path), self._write_lock, transaction(self._write_connection) as connection:
            yield connection


def dump_json(value: Any) -> str:
    """Encode a value for a JSON column; raise InvalidRequestError for text that is not valid Unicode."""
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, OverflowError, TypeError) as error:
        raise InvalidRequestError(f"the request cannot be stored as JSON: {str(error)[:200]}") from None
