"""Job state machine: one table of which ledger entry is allowed in which state, and the state it leads to.

A job is what replaying its entries yields. Entries are only ever appended; resuming a job means replaying them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast, get_args

from msgspec import Struct, field, structs

from .protocol import Cost, FailureKind, JobHandle, Output, Route
from .request import GenerationRequest

State = Literal["created", "routed", "submitting", "in_doubt", "running", "completed", "stored", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
TERMINAL_STATES: frozenset[State] = frozenset({"stored", "failed", "cancelled"})


class LedgerEntry(Struct, frozen=True, kw_only=True, tag_field="fact"):
    """One thing that happened to one job, at a time in Unix seconds."""

    job_id: str
    timestamp: float


class CreatedEntry(LedgerEntry, frozen=True, kw_only=True, tag="created"):
    """A job was created for a request. The request contains no inline media here.

    Attributes:
        index: which of several outputs of the request this is, from 0.
        idempotency_key: the caller's, with the suffixes of idempotency.py.
        requested_model: the model as the user named it, with provider or policy.
        output_folder: where the media will be stored, also when another process resumes the job.
        output_file: the exact path, if the user chose one.
    """

    request: GenerationRequest
    index: int = 0
    idempotency_key: str | None = None
    requested_model: str | None = None
    output_folder: str | None = None
    output_file: str | None = None


class RoutedEntry(LedgerEntry, frozen=True, kw_only=True, tag="routed"):
    """A route was chosen; the request is adapted to its provider."""

    route: Route
    request: GenerationRequest
    warnings: tuple[str, ...] = ()


class SubmittingEntry(LedgerEntry, frozen=True, kw_only=True, tag="sending"):
    """A billable POST is about to be sent. Recorded before its first byte."""

    attempt: int


class AcceptedEntry(LedgerEntry, frozen=True, kw_only=True, tag="accepted"):
    """The provider accepted the job and returned its handle. Recorded before the first poll."""

    handle: JobHandle


class RejectedEntry(LedgerEntry, frozen=True, kw_only=True, tag="refused"):
    """This attempt was certainly not accepted; ``message`` names the provider."""

    kind: FailureKind
    message: str
    status: int | None = None


class InDoubtEntry(LedgerEntry, frozen=True, kw_only=True, tag="doubted"):
    """The request was sent and its outcome is unknown."""

    message: str


class ResolvedEntry(LedgerEntry, frozen=True, kw_only=True, tag="resolved"):
    """A person, or the provider's own list of jobs, resolved the in-doubt state."""

    decision: Literal["resend", "drop"]


class CompletedEntry(LedgerEntry, frozen=True, kw_only=True, tag="made"):
    """The provider completed the job. Outputs are recorded by URL only; inline media goes straight to its file."""

    outputs: tuple[Output, ...]
    seed: int | None = None
    cost: Cost | None = None
    timings: dict[str, float] = field(default_factory=dict[str, float])
    warnings: tuple[str, ...] = ()


class StoredEntry(LedgerEntry, frozen=True, kw_only=True, tag="stored"):
    """The media is completely stored in its file."""

    media: dict[str, Any]


class FailedEntry(LedgerEntry, frozen=True, kw_only=True, tag="failed"):
    """The job ended without media."""

    kind: str
    message: str
    status: int | None = None


class CancelledEntry(LedgerEntry, frozen=True, kw_only=True, tag="cancelled"):
    """The job was cancelled.

    ``provider_confirmed``: whether the provider confirmed; None if it was never requested to stop.
    """

    provider_confirmed: bool | None
    message: str = ""


AnyEntry = (
    CreatedEntry
    | RoutedEntry
    | SubmittingEntry
    | AcceptedEntry
    | RejectedEntry
    | InDoubtEntry
    | ResolvedEntry
    | CompletedEntry
    | StoredEntry
    | FailedEntry
    | CancelledEntry
)

TRANSITIONS: dict[State, dict[type[LedgerEntry], State]] = {
    "created": {RoutedEntry: "routed", FailedEntry: "failed", CancelledEntry: "cancelled"},
    "routed": {
        RoutedEntry: "routed",
        SubmittingEntry: "submitting",
        FailedEntry: "failed",
        CancelledEntry: "cancelled",
    },
    "submitting": {
        AcceptedEntry: "running",
        CompletedEntry: "completed",
        RejectedEntry: "routed",
        InDoubtEntry: "in_doubt",
        FailedEntry: "failed",
    },
    "in_doubt": {AcceptedEntry: "running", CompletedEntry: "completed", ResolvedEntry: "routed", FailedEntry: "failed"},
    "running": {
        AcceptedEntry: "running",
        CompletedEntry: "completed",
        FailedEntry: "failed",
        CancelledEntry: "cancelled",
    },
    "completed": {
        CompletedEntry: "completed",
        StoredEntry: "stored",
        FailedEntry: "failed",
        CancelledEntry: "cancelled",
    },
    "stored": {StoredEntry: "stored"},  # downloaded again because its file was missing
    "failed": {},
    "cancelled": {},
}


class Job(Struct, frozen=True, kw_only=True):
    """A job as its ledger entries describe it. Times are in Unix seconds.

    Attributes:
        request: what the user requested; ``provider_request`` is the same, adapted to the chosen provider.
        attempts: number of submissions that were started.
        submitted_at: when the last of them was started.
        completed_at: when the provider first reported completion.
        rejections: one message for each submission that was certainly not accepted.
    """

    id: str
    request: GenerationRequest
    state: State = "created"
    index: int = 0
    idempotency_key: str | None = None
    requested_model: str | None = None
    output_folder: str | None = None
    output_file: str | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    submitted_at: float | None = None
    completed_at: float | None = None
    provider_request: GenerationRequest | None = None
    route: Route | None = None
    handle: JobHandle | None = None
    attempts: int = 0
    rejections: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    seed: int | None = None
    cost: Cost | None = None
    timings: dict[str, float] = field(default_factory=dict[str, float])
    warnings: tuple[str, ...] = ()
    media: dict[str, Any] | None = None
    error: str | None = None

    @property
    def is_terminal(self) -> bool:
        """True if the job has ended: nothing more happens to it automatically."""
        return self.state in TERMINAL_STATES

    def stored_files(self) -> tuple[dict[str, Any], ...]:
        """Return the sidecar data of each stored file, in order; its ``path`` is where the file was stored."""
        return tuple((self.media or {}).get("files", ()))

    def stored_paths(self) -> tuple[str, ...]:
        """Return the path of each stored file, in order."""
        return tuple(str(file["path"]) for file in self.stored_files())


DROPPED_BY_USER = "dropped by the user"  # the error of a job in doubt that was dropped


def entry_tag(entry: LedgerEntry) -> str:
    """Return the tag under which an entry is persisted, such as ``accepted``."""
    return str(type(entry).__struct_config__.tag)


def entry_name(entry: LedgerEntry) -> str:
    """Return the name of an entry for programs, such as ``in_doubt``: its class's, since stored tags never change."""
    words = type(entry).__name__.removesuffix("Entry")
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in words).lstrip("_")


class InvalidTransitionError(Exception):
    """An entry that is not allowed in this state: the ledger or the engine is wrong, and continuing might pay twice."""


def create_job(entry: CreatedEntry) -> Job:
    """Return the job that this entry creates."""
    fields = {
        name: getattr(entry, name)
        for name in ("request", "index", "idempotency_key", "requested_model", "output_folder", "output_file")
    }
    return Job(id=entry.job_id, created_at=entry.timestamp, updated_at=entry.timestamp, **fields)


def apply_entry(job: Job, entry: LedgerEntry) -> Job:
    """Return the job after one more entry. Raises InvalidTransitionError when the table does not allow it."""
    state = TRANSITIONS[job.state].get(type(entry))
    if state is None or entry.job_id != job.id:
        raise InvalidTransitionError(f"job {job.id} is {job.state}: {entry_tag(entry)} is not allowed")
    if isinstance(entry, ResolvedEntry) and entry.decision == "drop":
        state = "failed"
    return structs.replace(job, state=state, updated_at=entry.timestamp, **_changes(job, entry))


def replay(entries: Iterable[LedgerEntry]) -> Job:
    """Return the job that these entries describe, in order.

    Raises InvalidTransitionError when they contradict the table.
    """
    remaining = iter(entries)
    first = next(remaining, None)
    if not isinstance(first, CreatedEntry):
        raise InvalidTransitionError("the first entry of a job must be its creation")
    job = create_job(first)
    for entry in remaining:
        job = apply_entry(job, entry)
    return job


def strip_inline_media(request: GenerationRequest) -> GenerationRequest:
    """Return the request as it may be stored: inline media only by name, digest or length, in ``extra`` too."""
    image = request.image and structs.replace(request.image, data=None, url=_strip_data_uri(request.image.url))
    return structs.replace(
        request, image=image, extra={name: _strip_inline_value(value) for name, value in request.extra.items()}
    )


def strip_inline_outputs(outputs: tuple[Output, ...]) -> tuple[Output, ...]:
    """Return the outputs as they may be stored: URLs stay, inline media is removed."""
    return tuple(structs.replace(output, data=None, url=_strip_data_uri(output.url)) for output in outputs)


def _strip_data_uri(url: str | None) -> str | None:
    return None if url is None or _is_data_uri(url) else url


def _is_data_uri(text: str) -> bool:
    return text[:64].lstrip().lower().startswith("data:")


def _strip_inline_value(value: Any) -> Any:
    """Return a value of ``extra`` with a placeholder for bytes and data: URIs at any depth."""
    match value:
        case str() if _is_data_uri(value):
            return f"(inline media of {len(value)} characters)"
        case bytes() | bytearray():
            return f"(inline media of {len(value)} bytes)"
        case dict():
            return {name: _strip_inline_value(item) for name, item in cast("dict[str, Any]", value).items()}
        case list() | tuple():
            return [_strip_inline_value(item) for item in cast("list[Any]", value)]
        case _:
            return value


def _changes(job: Job, entry: LedgerEntry) -> dict[str, Any]:
    match entry:
        case RoutedEntry():
            return {"route": entry.route, "provider_request": entry.request, "warnings": entry.warnings, "handle": None}
        case SubmittingEntry():
            return {"attempts": job.attempts + 1, "submitted_at": entry.timestamp}
        case AcceptedEntry():
            return {"handle": entry.handle}
        case RejectedEntry():
            return {"rejections": (*job.rejections, entry.message), "error": entry.message}
        case CompletedEntry():
            changes: dict[str, Any] = {"outputs": entry.outputs, "seed": entry.seed, "cost": entry.cost}
            changes |= {
                "timings": entry.timings,
                "completed_at": entry.timestamp if job.completed_at is None else job.completed_at,
            }
            warnings = tuple(dict.fromkeys((*job.warnings, *entry.warnings)))  # a result may be fetched twice
            return {**changes, "warnings": warnings, "error": None}
        case StoredEntry():
            return {"media": entry.media, "error": None}
        case InDoubtEntry() | FailedEntry() | CancelledEntry():
            return {"error": entry.message}
        case ResolvedEntry():
            return {"error": DROPPED_BY_USER if entry.decision == "drop" else None}
        case _:
            return {}
