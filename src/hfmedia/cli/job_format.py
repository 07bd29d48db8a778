"""Text for jobs: state, age, cost, history and the next step; and parsing of what the user writes about jobs.

Pure: callers pass the time and which files exist. Secrets are redacted and control characters replaced.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from hfmedia.core import job as entry_types
from hfmedia.core.costs import cost_status, format_cost
from hfmedia.core.credentials import redact
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import STATES, Job, LedgerEntry, State
from hfmedia.core.protocol import Cost, Route
from hfmedia.core.text import single_line, strip_control
from hfmedia.providers import get_provider
from hfmedia.storage.sanitize import to_plain_json

from .progress import relative_path

STATE_LABELS: dict[State, str] = {
    "created": "not sent",
    "routed": "not sent",
    "submitting": "submitting",
    "in_doubt": "in doubt",
    "running": "running",
    "completed": "completed, download pending",
    "stored": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}  # seconds
AGE_UNITS = ((86_400 * 2, 86_400, "days"), (5400, 3600, "h"), (90, 60, "min"), (0, 1, "s"))  # from, seconds, unit
MAX_LISTED_IDS = 8  # ids in the message about an ambiguous one


class JobSnapshot(Struct, frozen=True, kw_only=True):
    """A job with what the ledger alone does not know.

    Attributes:
        job: the job.
        owner_pid: the id of the live process that runs it, empty where none does.
        missing_files: its stored files that do not exist any more.
        now: the current time, unix seconds.
    """

    job: Job
    owner_pid: str = ""
    missing_files: tuple[str, ...] = ()
    now: float = 0.0

    @property
    def can_look_up(self) -> bool:
        """Whether the provider offers a lookup of submitted jobs."""
        return self.job.route is not None and get_provider(self.job.route.provider).can_look_up


# -- parsing ----------------------------------------------------------------------------------------------------------


def parse_states(texts: Sequence[str]) -> tuple[State, ...] | None:
    """Parse states given by name (``stored``) or by the label that the list shows (``done``); None for no text."""
    states: list[State] = []
    for text in texts:
        name = text.strip().lower()
        matching: list[State] = [
            state for state in STATES if name in (state, STATE_LABELS[state], STATE_LABELS[state].replace(" ", "-"))
        ]
        if not matching:
            raise InvalidRequestError(f"unknown state {text!r}; valid states are {', '.join(STATES)}")
        states += matching
    return tuple(dict.fromkeys(states)) or None


def parse_when(text: str, now: float, *, option: str) -> float:
    """Parse a time span before now (``2d``, ``3h``) or a date, local unless it has a time zone, into unix seconds."""
    stripped = text.strip()
    if match := re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhdw])", stripped.lower()):
        return now - float(match[1]) * SECONDS_PER_UNIT[match[2]]
    try:
        return datetime.fromisoformat(stripped).timestamp()
    except (ValueError, OverflowError, OSError):
        raise InvalidRequestError(
            f"{option} {text!r} is neither a time span such as 30m, 3h, 2d or 4w nor a date such as 2025-11-03"
        ) from None


def select_job_id(text: str, ids: Collection[str]) -> str:
    """Return the one id with this prefix; InvalidRequestError for none, and for several, which it lists."""
    prefix = text.strip().lower()
    matching = [prefix] if prefix in ids else sorted(job_id for job_id in ids if prefix and job_id.startswith(prefix))
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise InvalidRequestError(f"no job ID starts with {text!r}; `hfmedia jobs list --all` lists every job")
    hidden = len(matching) - MAX_LISTED_IDS
    listing = ", ".join(matching[:MAX_LISTED_IDS]) + (f" and {hidden} more" if hidden > 0 else "")
    raise InvalidRequestError(f"{len(matching)} job IDs start with {text!r}: {listing}; use a longer prefix")


# -- values -----------------------------------------------------------------------------------------------------------


def format_line(text: str | None) -> str:
    """Return external text as one line, without secrets and control characters."""
    return strip_control(single_line(redact(text or "")))


def format_age(seconds: float) -> str:
    """Format an age: ``12 s``, ``3 min``, ``5 h``, ``2 days``; a negative one is ``0 s``."""
    elapsed = max(0.0, seconds)
    size, unit = next((size, unit) for threshold, size, unit in AGE_UNITS if elapsed >= threshold)
    return f"{elapsed / size:.0f} {unit}"


def format_time(timestamp: float) -> str:
    """Format a time in the local time zone: ``2025-11-03 14:05:01``."""
    return datetime.fromtimestamp(timestamp).strftime("%Y-%m-%d %H:%M:%S")


def format_day(timestamp: float) -> str:
    """Format the day of a time in the local time zone: ``2025-11-03``."""
    return datetime.fromtimestamp(timestamp).date().isoformat()


def format_iso(timestamp: float) -> str:
    """Format a time in UTC for programs: ``2025-11-03T13:05:01.250Z``."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_job_cost(job: Job) -> str:
    """Format a job's cost: as reported, ``unknown``, or ``nothing`` where no provider accepted it."""
    status = cost_status(job)
    if job.cost is None:
        return "nothing" if status == "free" else "unknown"
    amount = _format_cost(job.cost)
    return amount if status == "known" else f"{amount} plus an unknown amount"


def _format_cost(cost: Cost | None) -> str:
    return format_cost({cost.unit: cost.amount} if cost else {})


def provider_label(job: Job) -> str:
    """Return the name of a job's provider, or ``-`` before it has one."""
    return strip_control(job.route.provider) if job.route else "-"


def format_route(route: Route) -> str:
    """Format a route with its credential's name: ``replicate, through the router, with HF_TOKEN``."""
    return f"{route.provider}, {'through the router' if route.via == 'router' else 'directly'}, with {route.credential}"


def state_label(job: Job) -> str:
    """Return the label of a job's state."""
    return STATE_LABELS[job.state]


# -- reasons and next steps -------------------------------------------------------------------------------------------


def failure_reason(job: Job) -> str | None:
    """Return the error that explains a job's current state; None for one whose errors are past."""
    is_current = job.state in ("failed", "cancelled", "in_doubt", "routed")
    return format_line(job.error) if job.error and is_current else None


def next_step(snapshot: JobSnapshot) -> str | None:
    """Return what the user can do about a job, with the command to copy; None when nothing remains to be done."""
    job = snapshot.job
    provider = provider_label(job)
    resume = f"`hfmedia jobs resume {job.id}`"
    if job.state == "in_doubt":
        resolve = f"`hfmedia jobs resolve {job.id}"
        lookup = f"look it up with {resolve} --ask`, or " if snapshot.can_look_up else ""
        check = f"check {provider}'s own dashboard, then {resolve} --drop` or `--resend`, which may be billed twice"
        return lookup + check
    if snapshot.owner_pid and not job.is_terminal:
        return f"in progress in process {snapshot.owner_pid}"
    if reason := unrecoverable_reason(snapshot):
        return reason
    match job.state:
        case "created" | "routed":
            return f"run {resume} to send it, or `hfmedia jobs cancel {job.id}` to discard it"
        case "running":
            return f"{resume} continues it at no extra cost"
        case "completed":
            return f"{resume} downloads it, while {provider} still has it"
        case "stored" if snapshot.missing_files:
            return f"its file is missing; {resume} downloads it again, while {provider} still has it"
        case _:
            return None


def unrecoverable_reason(snapshot: JobSnapshot) -> str | None:
    """Return why resuming a job cannot succeed, None where it may."""
    job = snapshot.job
    if job.state in ("created", "routed") and job.request.image is not None and job.request.image.url is None:
        return f"its input image is not stored: submit the request again, and run `hfmedia jobs cancel {job.id}`"
    needs_download = job.state == "completed" or (job.state == "stored" and bool(snapshot.missing_files))
    if needs_download and not any(output.url for output in job.outputs):
        return f"{provider_label(job)} sent its media inline and they were not saved; they can only be generated again"
    return None


def list_hint(snapshot: JobSnapshot) -> str:
    """Return the last column of the list: the next step, else the reason of a failure, else the files."""
    return (
        next_step(snapshot)
        or failure_reason(snapshot.job)
        or ", ".join(strip_control(relative_path(Path(path))) for path in snapshot.job.stored_paths())
    )


# -- history and details ----------------------------------------------------------------------------------------------


def describe_entry(entry: LedgerEntry) -> str:
    """Describe a ledger entry in one sentence without a full stop."""
    match entry:
        case entry_types.CreatedEntry():
            model = entry.requested_model or entry.request.model
            return f"created: {entry.request.task} with {format_line(model)}"
        case entry_types.RoutedEntry():
            detail = "; ".join(format_line(warning) for warning in entry.warnings)
            return f"routed to {format_line(format_route(entry.route))}" + (f" ({detail})" if detail else "")
        case entry_types.SubmittingEntry():
            return f"submitted, attempt {entry.attempt}"
        case entry_types.AcceptedEntry():
            return f"accepted as provider job {format_line(entry.handle.id)}"
        case entry_types.RejectedEntry():
            return f"rejected: {format_line(entry.message)}"
        case entry_types.InDoubtEntry():
            return f"in doubt: {format_line(entry.message)}"
        case entry_types.ResolvedEntry():
            return "resolved: to be resent" if entry.decision == "resend" else "resolved: dropped"
        case entry_types.CompletedEntry():
            plural = "" if len(entry.outputs) == 1 else "s"
            return f"completed: {len(entry.outputs)} output{plural}, cost {_format_cost(entry.cost)}"
        case entry_types.StoredEntry():
            return f"stored: {', '.join(strip_control(str(file['path'])) for file in entry.media.get('files', ()))}"
        case entry_types.FailedEntry():
            return f"failed: {format_line(entry.message)}"
        case entry_types.CancelledEntry():
            return f"cancelled: {describe_cancellation(entry)}"
        case _:
            return type(entry).__name__.lower()


def describe_cancellation(entry: entry_types.CancelledEntry) -> str:
    """Describe whether the provider confirmed a cancellation, and what that means for the bill."""
    if entry.provider_confirmed is None:
        return "nothing was sent, so nothing is billed"
    if entry.provider_confirmed:
        return "the provider confirmed"
    message = format_line(entry.message) or "the provider did not confirm"
    return message if "billed" in message else f"{message}; it may still be billed"


def detail_rows(snapshot: JobSnapshot) -> list[tuple[str, str]]:
    """Return all details of a job except its history, as labels and texts; the text is empty where there is none."""
    job = snapshot.job
    request = job.provider_request or job.request
    parameters = ", ".join(f"{name} {value}" for name, value in to_plain_json(request.parameters()).items())
    return [
        ("job", job.id),
        ("state", state_label(job) + (f": {failure_reason(job)}" if failure_reason(job) else "")),
        ("next", next_step(snapshot) or ""),
        ("provider", format_line(format_route(job.route)) if job.route else "none selected yet"),
        ("provider job", format_line(job.handle.id) if job.handle else ""),
        ("model", f"{format_line(job.request.model)} ({job.request.task})"),
        ("prompt", format_line(job.request.prompt)),
        ("parameters", format_line(parameters)),
        ("seed", "" if job.seed is None else str(job.seed)),
        ("created", f"{format_time(job.created_at)} ({format_age(snapshot.now - job.created_at)} ago)"),
        ("attempts", str(job.attempts)),
        *(("rejected", format_line(text)) for text in job.rejections),
        ("cost", format_job_cost(job) + (" (reported by the provider)" if job.cost else "")),
        ("timings", ", ".join(f"{format_line(name)} {seconds:.3g} s" for name, seconds in job.timings.items())),
        *(
            ("file", strip_control(path) + (" (missing)" if path in snapshot.missing_files else ""))
            for path in job.stored_paths()
        ),
        *(("warning", format_line(text)) for text in job.warnings),
        ("idempotency key", format_line(job.idempotency_key)),
    ]
