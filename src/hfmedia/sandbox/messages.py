"""Requests and responses of the simulated providers, and strict parsing of JSON fields.

Independent of any provider and free of I/O.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .faults import Fault


class SandboxResponse(msgspec.Struct, frozen=True):
    """A complete HTTP response."""

    status: int = 200
    body: bytes = b""
    media_type: str = "application/json"
    headers: dict[str, str] = {}


def json_response(
    value: object, status: int = 200, headers: dict[str, str] | None = None, media_type: str = "application/json"
) -> SandboxResponse:
    """Build a JSON response."""
    return SandboxResponse(status, msgspec.json.encode(value), media_type, headers or {})


def text_response(text: str, status: int = 200, media_type: str = "text/plain; charset=utf-8") -> SandboxResponse:
    """Build a text response."""
    return SandboxResponse(status, text.encode(), media_type)


class SandboxRequest(msgspec.Struct, frozen=True):
    """A request to a provider, with its URL already parsed."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    host: str
    is_routed: bool
    path_params: Mapping[str, str]
    fault: Fault | None = None

    def json_fields(self) -> RequestFields:
        """Parse the body as a JSON object. Raises InvalidFieldError when it is not one."""
        try:
            return RequestFields(msgspec.json.decode(self.body, type=dict[str, Any]))
        except msgspec.DecodeError as error:
            raise InvalidFieldError("", "json", "the body is not a JSON object") from error


class InvalidFieldError(Exception):
    """The provider rejects a request as invalid: the field, the kind of error and the message."""

    def __init__(self, field: str, error_kind: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.field, self.error_kind, self.message, self.code = field, error_kind, message, code


class EarlyResponseError(Exception):
    """Carries a response that replaces the regular one."""

    def __init__(self, response: SandboxResponse) -> None:
        super().__init__(response.status)
        self.response = response


class NoEncoderError(RuntimeError):
    """PyAV, the video encoder, is not installed."""


class RequestFields:
    """Strict field-by-field access to a JSON object. A wrong type raises InvalidFieldError; nothing is coerced."""

    def __init__(self, values: dict[str, Any], path: str = "") -> None:
        self.values, self.path = values, path

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def full_name(self, field: str) -> str:
        """Return the dotted path of a field."""
        return f"{self.path}.{field}" if self.path else field

    def require_only(self, *names: str) -> None:
        """Raise InvalidFieldError for any field not in `names`."""
        for field in self.values:
            if field not in names:
                raise InvalidFieldError(self.full_name(field), "extra", f"Additional property {field} is not allowed")

    def string(self, field: str, default: str | None = None, *, allow_empty: bool = False) -> str:
        """Return a string; required when there is no default."""
        value = self.values.get(field)
        if value is None and field in self.values and default is not None and allow_empty:
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be a string")
        if value is None:
            if default is None:
                raise InvalidFieldError(self.full_name(field), "missing", f"{field} is required")
            return default
        if not isinstance(value, str):
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be a string")
        if not value.strip() and not allow_empty:
            raise InvalidFieldError(self.full_name(field), "empty", f"{field} must not be empty")
        return value

    def integer(self, field: str, default: int | None, minimum: int, maximum: int) -> int | None:
        """Return an integer within bounds, or the default when absent."""
        value = self.values.get(field)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be an integer")
        if not minimum <= value <= maximum:
            raise InvalidFieldError(self.full_name(field), "range", f"{field} must be between {minimum} and {maximum}")
        return value

    def number(self, field: str, default: float, minimum: float, maximum: float) -> float:
        """Return a number within bounds, or the default when absent."""
        value = self.values.get(field)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be a number")
        if not minimum <= value <= maximum:
            raise InvalidFieldError(
                self.full_name(field), "range", f"{field} must be between {minimum:g} and {maximum:g}"
            )
        return float(value)

    def choice(self, field: str, default: str, *options: str) -> str:
        """Return one of the options, or the default when absent."""
        value = self.string(field, default)
        if value not in options:
            raise InvalidFieldError(self.full_name(field), "choice", f"{field} must be one of: {', '.join(options)}")
        return value

    def boolean(self, field: str) -> bool:
        """Return a boolean, False when absent."""
        value = self.values.get(field, False)
        if not isinstance(value, bool):
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be a boolean")
        return value

    def nested(self, field: str) -> RequestFields:
        """Return a nested object, empty when absent."""
        value: Any = self.values.get(field)
        if value is None:
            return RequestFields({}, self.full_name(field))
        try:
            return RequestFields(msgspec.convert(value, dict[str, Any]), self.full_name(field))
        except msgspec.ValidationError as error:
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be an object") from error

    def strings(self, field: str) -> list[str]:
        """Return a list of strings, empty when absent."""
        try:
            return msgspec.convert(self.values.get(field) or [], list[str])
        except msgspec.ValidationError as error:
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be a list of strings") from error

    def objects(self, field: str) -> list[RequestFields]:
        """Return a list of objects, empty when absent."""
        try:
            rows = msgspec.convert(self.values.get(field) or [], list[dict[str, Any]])
        except msgspec.ValidationError as error:
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be a list of objects") from error
        return [RequestFields(row, f"{self.full_name(field)}.{index}") for index, row in enumerate(rows)]

    def size(
        self, field: str, default: tuple[int, int], separator: str = "x", minimum: int = 64, maximum: int = 4096
    ) -> tuple[int, int]:
        """Return (width, height) from a string such as "1024x1024"."""
        text = self.string(field, f"{default[0]}{separator}{default[1]}")
        match = re.fullmatch(rf"(\d{{1,5}}){re.escape(separator)}(\d{{1,5}})", text)
        if not match:
            raise InvalidFieldError(self.full_name(field), "size", f"{field} must look like 1024{separator}1024")
        width, height = int(match[1]), int(match[2])
        if not (minimum <= width <= maximum and minimum <= height <= maximum):
            raise InvalidFieldError(
                self.full_name(field), "range", f"{field}: each side must be between {minimum} and {maximum}"
            )
        return width, height
