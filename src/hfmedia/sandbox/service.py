"""What every simulated service is made of: a call, an answer, routes, and fields read strictly.

Nothing here knows a provider; nothing here touches a socket.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .catalogue import Mapping as Offer
    from .catalogue import Model
    from .faults import Fault
    from .world import Job, World


class Answer(msgspec.Struct, frozen=True):
    """A reply, whole."""

    status: int = 200
    body: bytes = b""
    type: str = "application/json"
    headers: dict[str, str] = {}


def told(
    value: object, status: int = 200, headers: dict[str, str] | None = None, media: str = "application/json"
) -> Answer:
    """A JSON answer."""
    return Answer(status, msgspec.json.encode(value), media, headers or {})


def plain(text: str, status: int = 200, media: str = "text/plain; charset=utf-8") -> Answer:
    """A text answer."""
    return Answer(status, text.encode(), media)


class Call(msgspec.Struct, frozen=True):
    """One request to a provider, its address already taken apart."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    host: str
    routed: bool
    found: Mapping[str, str]
    fault: Fault | None = None

    def fields(self) -> Fields:
        """The JSON object in the body. Wrong if it is none."""
        try:
            return Fields(msgspec.json.decode(self.body, type=dict[str, Any]))
        except msgspec.DecodeError as error:
            raise WrongError("", "json", "the body is not a JSON object") from error


class WrongError(Exception):
    """A request that the provider refuses to understand: which field, what sort of trouble, and words."""

    def __init__(self, field: str, sort: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.field, self.sort, self.message, self.code = field, sort, message, code


class RefusedError(Exception):
    """An answer given instead of the expected one."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class NoEncoderError(RuntimeError):
    """PyAV, which writes the films, is not installed."""


class Fields:
    """A JSON object, read field by field; whatever has the wrong type is WrongError, never guessed."""

    def __init__(self, values: dict[str, Any], place: str = "") -> None:
        self.values, self.place = values, place

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def name(self, field: str) -> str:
        """A field's full name."""
        return f"{self.place}.{field}" if self.place else field

    def only(self, *names: str) -> None:
        """WrongError, if there is a field of another name."""
        for field in self.values:
            if field not in names:
                raise WrongError(self.name(field), "extra", f"Additional property {field} is not allowed")

    def text(self, field: str, default: str | None = None, *, empty: bool = False) -> str:
        """A string; required when there is no default."""
        value = self.values.get(field)
        if value is None and field in self.values and default is not None and empty:
            raise WrongError(self.name(field), "type", f"{field} must be a string")
        if value is None:
            if default is None:
                raise WrongError(self.name(field), "missing", f"{field} is required")
            return default
        if not isinstance(value, str):
            raise WrongError(self.name(field), "type", f"{field} must be a string")
        if not value.strip() and not empty:
            raise WrongError(self.name(field), "empty", f"{field} must not be empty")
        return value

    def whole(self, field: str, default: int | None, low: int, high: int) -> int | None:
        """An integer within bounds, or the default where absent."""
        value = self.values.get(field)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongError(self.name(field), "type", f"{field} must be an integer")
        if not low <= value <= high:
            raise WrongError(self.name(field), "range", f"{field} must be between {low} and {high}")
        return value

    def number(self, field: str, default: float, low: float, high: float) -> float:
        """A number within bounds, or the default where absent."""
        value = self.values.get(field)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WrongError(self.name(field), "type", f"{field} must be a number")
        if not low <= value <= high:
            raise WrongError(self.name(field), "range", f"{field} must be between {low:g} and {high:g}")
        return float(value)

    def choice(self, field: str, default: str, *options: str) -> str:
        """One of the words."""
        value = self.text(field, default)
        if value not in options:
            raise WrongError(self.name(field), "choice", f"{field} must be one of: {', '.join(options)}")
        return value

    def flag(self, field: str) -> bool:
        """A boolean, false where absent."""
        value = self.values.get(field, False)
        if not isinstance(value, bool):
            raise WrongError(self.name(field), "type", f"{field} must be a boolean")
        return value

    def inner(self, field: str) -> Fields:
        """An object within; an empty one where absent."""
        value: Any = self.values.get(field)
        if value is None:
            return Fields({}, self.name(field))
        try:
            return Fields(msgspec.convert(value, dict[str, Any]), self.name(field))
        except msgspec.ValidationError as error:
            raise WrongError(self.name(field), "type", f"{field} must be an object") from error

    def texts(self, field: str) -> list[str]:
        """A list of strings; empty where absent."""
        try:
            return msgspec.convert(self.values.get(field) or [], list[str])
        except msgspec.ValidationError as error:
            raise WrongError(self.name(field), "type", f"{field} must be a list of strings") from error

    def rows(self, field: str) -> list[Fields]:
        """A list of objects; empty where absent."""
        try:
            rows = msgspec.convert(self.values.get(field) or [], list[dict[str, Any]])
        except msgspec.ValidationError as error:
            raise WrongError(self.name(field), "type", f"{field} must be a list of objects") from error
        return [Fields(row, f"{self.name(field)}.{index}") for index, row in enumerate(rows)]

    def size(
        self, field: str, default: tuple[int, int], mark: str = "x", low: int = 64, high: int = 4096
    ) -> tuple[int, int]:
        """WIDTH mark HEIGHT in one string."""
        text = self.text(field, f"{default[0]}{mark}{default[1]}")
        found = re.fullmatch(rf"(\d{{1,5}}){re.escape(mark)}(\d{{1,5}})", text)
        if not found:
            raise WrongError(self.name(field), "size", f"{field} must look like 1024{mark}1024")
        width, height = int(found[1]), int(found[2])
        if not (low <= width <= high and low <= height <= high):
            raise WrongError(self.name(field), "range", f"{field}: each side must be between {low} and {high}")
        return width, height


Handle = "Callable[[Call], Awaitable[Answer]]"


class Route(msgspec.Struct, frozen=True):
    """One address of a provider: which call it takes, which step of a job it is, who answers."""

    method: str
    pattern: re.Pattern[str]
    step: str
    answer: Callable[[Call], Awaitable[Answer]]
    host: str = ""


def route(method: str, pattern: str, step: str, answer: Callable[[Call], Awaitable[Answer]], host: str = "") -> Route:
    """A route whose pattern matches the whole path."""
    return Route(method, re.compile(pattern), step, answer, host)


class Service:
    """A provider as it behaves. Subclasses give the tables; `world` does what has to be remembered."""

    name: str = ""
    hosts: tuple[str, ...] = ()
    scheme = "Bearer"
    status_path: tuple[str, ...] = ()

    def __init__(self, world: World) -> None:
        self.world = world
        self.routes: tuple[Route, ...] = ()

    def place(self, call: Call) -> str:
        """The direct host that a call is for."""
        return call.host or next(iter(self.hosts), "")

    def absent(self, call: Call) -> Answer:
        """An address that does not exist."""
        return self.refuse(404, f"Not found: {call.method} {call.path}", "no-route")

    def wrong(self, error: WrongError) -> Answer:
        """A request not understood."""
        return self.refuse(400, error.message, "invalid")

    def refuse(self, status: int, text: str, sort: str) -> Answer:
        """An error in this provider's shape; `sort` says which trouble it is."""
        raise NotImplementedError

    def headers(self, call: Call) -> dict[str, str]:
        """Headers that this provider sets on every answer."""
        return {}

    def find(self, provider_id: str) -> tuple[Model, Offer]:
        """The model and mapping that this provider knows by this id. Refused where it has none."""
        entry = self.world.served[self.name].get(provider_id)
        if entry is None:
            raise RefusedError(self.unknown(provider_id))
        if entry[1].status == "error":
            raise RefusedError(self.refuse(500, "This model is not healthy at the moment.", "server"))
        return entry

    def unknown(self, provider_id: str) -> Answer:
        """A model that this provider does not have."""
        return self.refuse(404, f"Model {provider_id} does not exist", "model")

    def job(self, job_id: str) -> Job:
        """A job of this provider. RefusedError as lost where there is none."""
        job = self.world.jobs.get(job_id)
        if job is None or job.service != self.name:
            raise RefusedError(self.forgotten(job_id))
        return job

    def forgotten(self, job_id: str) -> Answer:
        """A job nobody remembers."""
        return self.refuse(404, f"Job {job_id} not found", "lost")

    async def image(self, value: str, field: str) -> bytes:
        """The picture that an input names (URL, data URI, or base64), as bytes. Wrong where it is none."""
        return await self.world.input_image(value, field)


TROUBLES: dict[str, tuple[int, str]] = {
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
