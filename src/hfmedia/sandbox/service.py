"""What every simulated service is made of: a call, an answer, routes, and fields read strictly.

Nothing here knows a provider; nothing here touches a socket.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .catalog import ModelOffer as Offer
    from .catalog import SandboxModel
    from .faults import Fault
    from .state import SandboxJob, SandboxState


class SandboxResponse(msgspec.Struct, frozen=True):
    """A reply, whole."""

    status: int = 200
    body: bytes = b""
    media_type: str = "application/json"
    headers: dict[str, str] = {}


def json_response(
    value: object, status: int = 200, headers: dict[str, str] | None = None, media_type: str = "application/json"
) -> SandboxResponse:
    """A JSON answer."""
    return SandboxResponse(status, msgspec.json.encode(value), media_type, headers or {})


def text_response(text: str, status: int = 200, media_type: str = "text/plain; charset=utf-8") -> SandboxResponse:
    """A text answer."""
    return SandboxResponse(status, text.encode(), media_type)


class SandboxRequest(msgspec.Struct, frozen=True):
    """One request to a provider, its address already taken apart."""

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
        """The JSON object in the body. Wrong if it is none."""
        try:
            return RequestFields(msgspec.json.decode(self.body, type=dict[str, Any]))
        except msgspec.DecodeError as error:
            raise InvalidFieldError("", "json", "the body is not a JSON object") from error


class InvalidFieldError(Exception):
    """A request that the provider refuses to understand: which field, what sort of trouble, and words."""

    def __init__(self, field: str, error_kind: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.field, self.error_kind, self.message, self.code = field, error_kind, message, code


class EarlyResponseError(Exception):
    """An answer given instead of the expected one."""

    def __init__(self, response: SandboxResponse) -> None:
        super().__init__(response.status)
        self.response = response


class NoEncoderError(RuntimeError):
    """PyAV, which writes the films, is not installed."""


class RequestFields:
    """A JSON object, read field by field; whatever has the wrong type is WrongError, never guessed."""

    def __init__(self, values: dict[str, Any], path: str = "") -> None:
        self.values, self.path = values, path

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def full_name(self, field: str) -> str:
        """A field's full name."""
        return f"{self.path}.{field}" if self.path else field

    def require_only(self, *names: str) -> None:
        """WrongError, if there is a field of another name."""
        for field in self.values:
            if field not in names:
                raise InvalidFieldError(self.full_name(field), "extra", f"Additional property {field} is not allowed")

    def string(self, field: str, default: str | None = None, *, allow_empty: bool = False) -> str:
        """A string; required when there is no default."""
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
        """An integer within bounds, or the default where absent."""
        value = self.values.get(field)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be an integer")
        if not minimum <= value <= maximum:
            raise InvalidFieldError(self.full_name(field), "range", f"{field} must be between {minimum} and {maximum}")
        return value

    def number(self, field: str, default: float, minimum: float, maximum: float) -> float:
        """A number within bounds, or the default where absent."""
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
        """One of the words."""
        value = self.string(field, default)
        if value not in options:
            raise InvalidFieldError(self.full_name(field), "choice", f"{field} must be one of: {', '.join(options)}")
        return value

    def boolean(self, field: str) -> bool:
        """A boolean, false where absent."""
        value = self.values.get(field, False)
        if not isinstance(value, bool):
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be a boolean")
        return value

    def nested(self, field: str) -> RequestFields:
        """An object within; an empty one where absent."""
        value: Any = self.values.get(field)
        if value is None:
            return RequestFields({}, self.full_name(field))
        try:
            return RequestFields(msgspec.convert(value, dict[str, Any]), self.full_name(field))
        except msgspec.ValidationError as error:
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be an object") from error

    def strings(self, field: str) -> list[str]:
        """A list of strings; empty where absent."""
        try:
            return msgspec.convert(self.values.get(field) or [], list[str])
        except msgspec.ValidationError as error:
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be a list of strings") from error

    def objects(self, field: str) -> list[RequestFields]:
        """A list of objects; empty where absent."""
        try:
            rows = msgspec.convert(self.values.get(field) or [], list[dict[str, Any]])
        except msgspec.ValidationError as error:
            raise InvalidFieldError(self.full_name(field), "type", f"{field} must be a list of objects") from error
        return [RequestFields(row, f"{self.full_name(field)}.{index}") for index, row in enumerate(rows)]

    def size(
        self, field: str, default: tuple[int, int], separator: str = "x", minimum: int = 64, maximum: int = 4096
    ) -> tuple[int, int]:
        """WIDTH mark HEIGHT in one string."""
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


RouteHandler = "Callable[[Call], Awaitable[Answer]]"


class SandboxRoute(msgspec.Struct, frozen=True):
    """One address of a provider: which call it takes, which step of a job it is, who answers."""

    method: str
    pattern: re.Pattern[str]
    step: str
    handler: Callable[[SandboxRequest], Awaitable[SandboxResponse]]
    host: str = ""


def make_route(
    method: str,
    pattern: str,
    step: str,
    handler: Callable[[SandboxRequest], Awaitable[SandboxResponse]],
    host: str = "",
) -> SandboxRoute:
    """A route whose pattern matches the whole path."""
    return SandboxRoute(method, re.compile(pattern), step, handler, host)


class Service:
    """A provider as it behaves. Subclasses give the tables; `world` does what has to be remembered."""

    name: str = ""
    hosts: tuple[str, ...] = ()
    scheme = "Bearer"
    status_path: tuple[str, ...] = ()

    def __init__(self, state: SandboxState) -> None:
        self.state = state
        self.routes: tuple[SandboxRoute, ...] = ()

    def direct_host(self, request: SandboxRequest) -> str:
        """The direct host that a call is for."""
        return request.host or next(iter(self.hosts), "")

    def not_found(self, request: SandboxRequest) -> SandboxResponse:
        """An address that does not exist."""
        return self.reject(404, f"Not found: {request.method} {request.path}", "no-route")

    def invalid_field(self, error: InvalidFieldError) -> SandboxResponse:
        """A request not understood."""
        return self.reject(400, error.message, "invalid")

    def reject(self, status: int, text: str, error_kind: str) -> SandboxResponse:
        """An error in this provider's shape; `sort` says which trouble it is."""
        raise NotImplementedError

    def headers(self, request: SandboxRequest) -> dict[str, str]:
        """Headers that this provider sets on every answer."""
        return {}

    def find_offer(self, provider_id: str) -> tuple[SandboxModel, Offer]:
        """The model and mapping that this provider knows by this id. Refused where it has none."""
        entry = self.state.offers[self.name].get(provider_id)
        if entry is None:
            raise EarlyResponseError(self.unknown_model(provider_id))
        if entry[1].status == "error":
            raise EarlyResponseError(self.reject(500, "This model is not healthy at the moment.", "server"))
        return entry

    def unknown_model(self, provider_id: str) -> SandboxResponse:
        """A model that this provider does not have."""
        return self.reject(404, f"Model {provider_id} does not exist", "model")

    def job(self, job_id: str) -> SandboxJob:
        """A job of this provider. RefusedError as lost where there is none."""
        job = self.state.jobs.get(job_id)
        if job is None or job.service != self.name:
            raise EarlyResponseError(self.unknown_job(job_id))
        return job

    def unknown_job(self, job_id: str) -> SandboxResponse:
        """A job nobody remembers."""
        return self.reject(404, f"Job {job_id} not found", "lost")

    async def load_image(self, value: str, field: str) -> bytes:
        """The picture that an input names (URL, data URI, or base64), as bytes. Wrong where it is none."""
        return await self.state.load_input_image(value, field)


DEFAULT_ERRORS: dict[str, tuple[int, str]] = {
    "credential": (401, "The API key is not valid."),
    "forbidden": (403, "This account may not use this model."),
    "credit": (402, "Insufficient balance: please add credit to your account."),
    "busy": (429, "Too many requests, please slow down."),
    "server": (500, "Something went wrong on our side."),
    "gateway": (502, "Bad gateway"),
    "loading": (503, "The model is being loaded, please retry."),
    "moderated": (400, "The request was flagged by the content filter."),
    "fail": (500, "The generation failed: the worker stopped."),
    "status": (500, "The sandbox was told to answer this."),
    "no-route": (404, "Not found"),
}
