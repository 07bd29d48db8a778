"""The life of a job, as one table: which fact may follow in which state, and where it leads.

A job is the fold of its facts. Facts are only ever appended; resuming is reading them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast, get_args

from msgspec import Struct, field, structs

from .answers import Cost, FailureKind, Handle, Output, Route
from .request import Request

State = Literal["new", "ready", "sending", "doubt", "running", "finished", "stored", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
ENDED: frozenset[State] = frozenset({"stored", "failed", "cancelled"})


class Fact(Struct, frozen=True, kw_only=True, tag_field="fact"):
    """One thing that happened to one job, at a time in unix seconds."""

    job: str
    at: float


class Created(Fact, frozen=True, kw_only=True, tag="created"):
    """A wish became a job. The request carries no inline media here; ``index`` tells which of several outputs it is.

    ``key`` is the caller's idempotency key. ``choice`` is the model as the user named it, with provider or policy.
    ``folder`` and ``file`` tell where the media shall lie, so that whoever carries the job on puts it there.
    """

    request: Request
    index: int = 0
    key: str | None = None
    choice: str | None = None
    folder: str | None = None
    file: str | None = None


class Routed(Fact, frozen=True, kw_only=True, tag="routed"):
    """A way to a provider was chosen; the request is as that provider takes it."""

    route: Route
    request: Request
    warnings: tuple[str, ...] = ()


class Sending(Fact, frozen=True, kw_only=True, tag="sending"):
    """The next thing that happens is the first byte of a POST that buys. Written before it."""

    attempt: int


class Accepted(Fact, frozen=True, kw_only=True, tag="accepted"):
    """The provider took the job and said how to ask for it. Written before the first such asking."""

    handle: Handle


class Refused(Fact, frozen=True, kw_only=True, tag="refused"):
    """This attempt was certainly not accepted; ``message`` names the provider."""

    kind: FailureKind
    message: str
    status: int | None = None


class Doubted(Fact, frozen=True, kw_only=True, tag="doubted"):
    """The request went out and nobody knows what became of it."""

    message: str


class Resolved(Fact, frozen=True, kw_only=True, tag="resolved"):
    """A person (or the provider's own list of jobs) settled a doubt."""

    decision: Literal["resend", "drop"]


class Made(Fact, frozen=True, kw_only=True, tag="made"):
    """The provider is done. Outputs are kept here by URL only; inline media goes straight to its file."""

    outputs: tuple[Output, ...]
    seed: int | None = None
    cost: Cost | None = None
    timings: dict[str, float] = field(default_factory=dict[str, float])
    warnings: tuple[str, ...] = ()


class Stored(Fact, frozen=True, kw_only=True, tag="stored"):
    """The media lies whole at its place."""

    media: dict[str, Any]


class Broken(Fact, frozen=True, kw_only=True, tag="failed"):
    """The job is over without media."""

    kind: str
    message: str
    status: int | None = None


class Stopped(Fact, frozen=True, kw_only=True, tag="cancelled"):
    """The job was cancelled; ``reached`` tells whether the provider agreed to stop, None that it was never asked."""

    reached: bool | None
    message: str = ""


AnyFact = Created | Routed | Sending | Accepted | Refused | Doubted | Resolved | Made | Stored | Broken | Stopped

LIFE: dict[State, dict[type[Fact], State]] = {
    "new": {Routed: "ready", Broken: "failed", Stopped: "cancelled"},
    "ready": {Routed: "ready", Sending: "sending", Broken: "failed", Stopped: "cancelled"},
    "sending": {
        Accepted: "running",
        Made: "finished",
        Refused: "ready",
        Doubted: "doubt",
        Broken: "failed",
    },
    "doubt": {Accepted: "running", Made: "finished", Resolved: "ready", Broken: "failed"},
    "running": {Accepted: "running", Made: "finished", Broken: "failed", Stopped: "cancelled"},
    "finished": {Made: "finished", Stored: "stored", Broken: "failed", Stopped: "cancelled"},
    "stored": {Stored: "stored"},  # downloaded again, because its file was missing
    "failed": {},
    "cancelled": {},
}


class Job(Struct, frozen=True, kw_only=True):
    """A job as its facts tell it. Times are unix seconds; ``attempts`` counts the submissions that were begun.

    ``sent`` is when the last of them was, ``made`` when the provider was first seen to be done.

    ``request`` is the user's wish, ``sent_request`` the same as the chosen provider takes it.
    """

    id: str
    request: Request
    state: State = "new"
    index: int = 0
    key: str | None = None
    choice: str | None = None
    folder: str | None = None
    file: str | None = None
    created: float = 0.0
    updated: float = 0.0
    sent: float | None = None
    made: float | None = None
    sent_request: Request | None = None
    route: Route | None = None
    handle: Handle | None = None
    attempts: int = 0
    refusals: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    seed: int | None = None
    cost: Cost | None = None
    timings: dict[str, float] = field(default_factory=dict[str, float])
    warnings: tuple[str, ...] = ()
    media: dict[str, Any] | None = None
    error: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in ENDED


DROPPED = "dropped by the user"  # the error of a job whose doubt was settled so


class ImpossibleError(Exception):
    """A fact that cannot follow in this state: the ledger or the engine is wrong, and going on might pay twice."""


def begin(fact: Created) -> Job:
    """The job that this fact creates."""
    told = {name: getattr(fact, name) for name in ("request", "index", "key", "choice", "folder", "file")}
    return Job(id=fact.job, created=fact.at, updated=fact.at, **told)


def follow(job: Job, fact: Fact) -> Job:
    """The job after one more fact; ImpossibleError when the table does not allow it."""
    state = LIFE[job.state].get(type(fact))
    if state is None or fact.job != job.id:
        raise ImpossibleError(f"job {job.id} is {job.state}: {type(fact).__name__.lower()} cannot follow")
    if isinstance(fact, Resolved) and fact.decision == "drop":
        state = "failed"
    return structs.replace(job, state=state, updated=fact.at, **_changes(job, fact))


def fold(facts: Iterable[Fact]) -> Job:
    """The job that these facts tell, in their order; ImpossibleError when they contradict the table."""
    told = iter(facts)
    first = next(told, None)
    if not isinstance(first, Created):
        raise ImpossibleError("a job begins with its creation")
    job = begin(first)
    for fact in told:
        job = follow(job, fact)
    return job


def without_media(wish: Request) -> Request:
    """The request as it may be written down: inline media only by its name, digest or length, in ``extra`` too."""
    image = wish.image and structs.replace(wish.image, data=None, url=_link(wish.image.url))
    return structs.replace(wish, image=image, extra={name: _slim(value) for name, value in wish.extra.items()})


def links(outputs: tuple[Output, ...]) -> tuple[Output, ...]:
    """The outputs as they may be written down: URLs stay, inline media does not."""
    return tuple(structs.replace(output, data=None, url=_link(output.url)) for output in outputs)


def _link(url: str | None) -> str | None:
    return None if url is None or _is_inline(url) else url


def _is_inline(text: str) -> bool:
    return text[:64].lstrip().lower().startswith("data:")


def _slim(value: Any) -> Any:
    """A value of ``extra`` with a few words in place of bytes and data: URIs, however deep."""
    match value:
        case str() if _is_inline(value):
            return f"(inline media of {len(value)} characters)"
        case bytes() | bytearray():
            return f"(inline media of {len(value)} bytes)"
        case dict():
            return {name: _slim(item) for name, item in cast("dict[str, Any]", value).items()}
        case list() | tuple():
            return [_slim(item) for item in cast("list[Any]", value)]
        case _:
            return value


def _changes(job: Job, fact: Fact) -> dict[str, Any]:
    match fact:
        case Routed():
            return {"route": fact.route, "sent_request": fact.request, "warnings": fact.warnings, "handle": None}
        case Sending():
            return {"attempts": job.attempts + 1, "sent": fact.at}
        case Accepted():
            return {"handle": fact.handle}
        case Refused():
            return {"refusals": (*job.refusals, fact.message), "error": fact.message}
        case Made():
            told: dict[str, Any] = {"outputs": fact.outputs, "seed": fact.seed, "cost": fact.cost}
            told |= {"timings": fact.timings, "made": fact.at if job.made is None else job.made}
            warnings = tuple(dict.fromkeys((*job.warnings, *fact.warnings)))  # a result may be asked for twice
            return {**told, "warnings": warnings, "error": None}
        case Stored():
            return {"media": fact.media, "error": None}
        case Doubted() | Broken() | Stopped():
            return {"error": fact.message}
        case Resolved():
            return {"error": DROPPED if fact.decision == "drop" else None}
        case _:
            return {}
