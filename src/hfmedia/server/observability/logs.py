"""JSON log lines with the ID of the request that they belong to."""

from __future__ import annotations

import json
import logging
import time
from contextvars import ContextVar
from typing import Any

from hfmedia.core.credentials import redact

REQUEST_ID: ContextVar[str] = ContextVar("hfmedia request id", default="")


class JsonFormatter(logging.Formatter):
    """Format a log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        timestamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        fields: dict[str, Any] = {"timestamp": timestamp, "level": record.levelname.lower(), "logger": record.name}
        fields["message"] = redact(record.getMessage())
        if REQUEST_ID.get():
            fields["request_id"] = REQUEST_ID.get()
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(fields, default=str)
