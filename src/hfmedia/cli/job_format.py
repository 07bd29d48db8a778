"""A job in words: its state, its age, its cost, what happened to it, and what to do next.

Pure: the time, and what is there of its files, are told by the caller. Nothing secret gets through.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from hfmedia.core import job as entry_types
from hfmedia.core.costs import cost_status
from hfmedia.core.credentials import redact
from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.job import STATES, Job, LedgerEntry, State
from hfmedia.core.protocol import Route
from hfmedia.providers import get_provider as get_provider
from hfmedia.storage.sanitize import to_plain_json as to_plain_json

from .reporter import strip_control

STATE_LABELS: dict[State, str] = {
    "new": "not sent",
    "ready": "not sent",
    "sending": "being sent",
    "doubt": "in doubt",
    "running": "running",
    "finished": "made, not here yet",
    "stored": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}  # seconds
AGE_UNITS = ((86_400 * 2, 86_400, "days"), (5400, 3600, "h"), (90, 60, "min"), (0, 1, "s"))  # from, seconds, unit
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


class JobSnapshot(Struct, frozen=True, kw_only=True):
    """A job with what the ledger cannot tell of it.

    ``carrier``: the number of the living process that carries it, empty where none does. ``gone``: files of it that
    are no longer where they were put. ``now``: unix seconds.
    """

    job: Job
    owner_pid: str = ""
    missing_files: tuple[str, ...] = ()
    now: float = 0.0

    @property
    def can_look_up(self) -> bool:
        """Whether the provider can be asked which jobs it has."""
        return self.job.route is not None and get_provider(self.job.route.provider).can_look_up


# -- reading what a person wrote --------------------------------------------------------------------------------------


def parse_states(texts: Sequence[str]) -> tuple[State, ...] | None:
    """The states that are meant, by name (``stored``) or in the words of the list (``done``); None for none named."""
    states: list[State] = []
    for text in texts:
        name = text.strip().lower()
        matching: list[State] = [
            state for state in STATES if name in (state, STATE_LABELS[state], STATE_LABELS[state].replace(" ", "-"))
        ]
        if not matching:
            raise InvalidRequestError(f"unknown state {text!r}; there are {', '.join(STATES)}")
        states += matching
    return tuple(dict.fromkeys(states)) or None


def parse_when(text: str, now: float, *, option: str) -> float:
    """The time that is meant, in unix seconds: so long ago (``2d``, ``3h``), or a date, local unless it says more."""
    stripped = text.strip()
    if match := re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhdw])", stripped.lower()):
        return now - float(match[1]) * SECONDS_PER_UNIT[match[2]]
    try:
        return datetime.fromisoformat(stripped).timestamp()
    except (ValueError, OverflowError, OSError):
        raise InvalidRequestError(
            f"{option} {text!r} is neither a span such as 30m, 3h, 2d or 4w nor a date such as 2025-11-03"
        ) from None


def select_job_id(text: str, ids: Collection[str]) -> str:
    """The one id that begins so; InvalidRequestError for none or several, which it lists."""
    prefix = text.strip().lower()
    matching = [prefix] if prefix in ids else sorted(job_id for job_id in ids if prefix and job_id.startswith(prefix))
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise InvalidRequestError(f"no job begins with {text!r}; `hfmedia jobs list --all` shows every job")
    listing = ", ".join(matching[:8]) + (f" and {len(matching) - 8} more" if len(matching) > 8 else "")
    raise InvalidRequestError(f"{len(matching)} jobs begin with {text!r}: {listing}; write more of it")


# -- telling ----------------------------------------------------------------------------------------------------------


def format_line(text: str | None) -> str:
    """Words from elsewhere as one line, with no secret and nothing that a terminal obeys."""
    return strip_control(" ".join(redact(text or "").split()))


def truncate(text: str, width: int) -> str:
    """The beginning of a text that fits into so many characters."""
    return text if len(text) <= width else text[: max(0, width - 1)].rstrip() + ELLIPSIS


def format_age(seconds: float) -> str:
    """``12 s``, ``3 min``, ``5 h``, ``2 days``; a clock that jumped back makes nothing younger than 0 s."""
    elapsed = max(0.0, seconds)
    size, unit = next((size, unit) for threshold, size, unit in AGE_UNITS if elapsed >= threshold)
    return f"{elapsed / size:.0f} {unit}"


def format_time(timestamp: float) -> str:
    """A time as the person here writes it: ``2025-11-03 14:05:01``."""
    return datetime.fromtimestamp(timestamp).strftime("%Y-%m-%d %H:%M:%S")


def format_day(timestamp: float) -> str:
    """The day of a time, here: ``2025-11-03``."""
    return datetime.fromtimestamp(timestamp).date().isoformat()


def format_iso(timestamp: float) -> str:
    """A time for programs: ``2025-11-03T13:05:01.250Z``."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_money(amounts: Mapping[str, float]) -> str:
    """Amounts by unit: ``$0.03 + 2 fal-units``; ``unknown`` where nothing was told."""
    formatted = {unit: f"{amount:.6g}" for unit, amount in amounts.items()}
    for unit, digits in formatted.items():
        if "e-" in digits:  # nobody reads $1.25e-06
            formatted[unit] = f"{amounts[unit]:.12f}".rstrip("0").rstrip(".")
    return (
        " + ".join(f"${digits}" if unit == "USD" else f"{digits} {unit}" for unit, digits in formatted.items())
        or "unknown"
    )


def format_cost(job: Job) -> str:
    """What a job cost: as reported, ``unknown``, or ``nothing`` where no provider ever accepted it."""
    status = cost_status(job)
    if job.cost is None:
        return "nothing" if status == "free" else "unknown"
    amount = format_money({job.cost.unit: job.cost.amount})
    return amount if status == "known" else f"{amount} and what nobody told"


def provider_label(job: Job) -> str:
    """Who has the job, or ``-`` where nobody had it yet."""
    return strip_control(job.route.provider) if job.route else "-"


def file_paths(job: Job) -> tuple[str, ...]:
    """Where the media of a job were put."""
    return tuple(str(file["path"]) for file in (job.media or {}).get("files", ()))


def format_route(route: Route) -> str:
    """``replicate, through the router, with HF_TOKEN``: the credential by its name."""
    return f"{route.provider}, {'through the router' if route.via == 'router' else 'directly'}, with {route.credential}"


def state_label(job: Job) -> str:
    """The state of a job, in a word or two."""
    return STATE_LABELS[job.state]


def failure_reason(job: Job) -> str | None:
    """What went wrong, where that is how the job stands; what was refused before and is over is not told."""
    return format_line(job.error) if job.error and job.state in ("failed", "cancelled", "doubt", "ready") else None


def next_step(snapshot: JobSnapshot) -> str | None:
    """What a person can do for this job now; None where nothing is left to do."""
    job = snapshot.job
    provider_name = provider_label(job)
    resume_command = f"`hfmedia jobs resume {job.id}`"
    if job.state == "doubt":
        resolve_command = f"`hfmedia jobs resolve {job.id}"
        first_step = f"ask {provider_name} with {resolve_command} --ask`, or look" if snapshot.can_look_up else "look"
        return f"{first_step} at {provider_name}'s own dashboard, then {resolve_command} --drop`, or `--resend`, which may be paid twice"
    if snapshot.owner_pid and not job.is_terminal:
        return f"wait: process {snapshot.owner_pid} is carrying it"
    if reason := unrecoverable_reason(snapshot):
        return reason
    match job.state:
        case "new" | "ready":
            return f"{resume_command} sends it, `hfmedia jobs cancel {job.id}` does not"
        case "running":
            return f"{resume_command} carries it on, without paying again"
        case "finished":
            return f"{resume_command} fetches it, while {provider_name} still has it"
        case "stored" if snapshot.missing_files:
            return f"its file is gone; {resume_command} fetches it again, while {provider_name} still has it"
        case _:
            return None


def unrecoverable_reason(snapshot: JobSnapshot) -> str | None:
    """Why carrying a job on would come to nothing, where that can be told beforehand."""
    job = snapshot.job
    if job.state in ("new", "ready") and job.request.image is not None and job.request.image.url is None:
        return f"its input image is not kept: ask for it again, and `hfmedia jobs cancel {job.id}`"
    needs_download = job.state == "finished" or (job.state == "stored" and bool(snapshot.missing_files))
    if needs_download and not any(output.url for output in job.outputs):
        return f"its media came inside {provider_label(job)}'s answer and is not here: it can only be made again"
    return None


def list_hint(snapshot: JobSnapshot) -> str:
    """The last column of a list: what to do, else why it failed, else where the file lies."""
    return (
        next_step(snapshot)
        or failure_reason(snapshot.job)
        or ", ".join(_short_path(path) for path in file_paths(snapshot.job))
    )


def describe_entry(entry: LedgerEntry) -> str:
    """What happened, in a sentence without a full stop."""
    match entry:
        case entry_types.CreatedEntry():
            model = entry.requested_model or entry.request.model
            return f"created: {entry.request.task} with {format_line(model)}"
        case entry_types.RoutedEntry():
            detail = "; ".join(format_line(warning) for warning in entry.warnings)
            return f"goes to {format_line(format_route(entry.route))}" + (f" ({detail})" if detail else "")
        case entry_types.SubmittingEntry():
            return f"sent, attempt {entry.attempt}"
        case entry_types.AcceptedEntry():
            return f"accepted; the provider's id for it: {format_line(entry.handle.id)}"
        case entry_types.RejectedEntry():
            return f"not accepted: {format_line(entry.message)}"
        case entry_types.InDoubtEntry():
            return f"in doubt: {format_line(entry.message)}"
        case entry_types.ResolvedEntry():
            return "resolved: " + ("to be sent again" if entry.decision == "resend" else "dropped")
        case entry_types.CompletedEntry():
            detail = format_money({entry.cost.unit: entry.cost.amount}) if entry.cost else "not told"
            return f"made: {len(entry.outputs)} output{'s' if len(entry.outputs) != 1 else ''}, cost {detail}"
        case entry_types.StoredEntry():
            return f"stored: {', '.join(strip_control(str(file['path'])) for file in entry.media.get('files', ()))}"
        case entry_types.FailedEntry():
            return f"failed: {format_line(entry.message)}"
        case entry_types.CancelledEntry():
            return f"cancelled: {describe_cancellation(entry)}"
        case _:
            return type(entry).__name__.lower()


def describe_cancellation(entry: entry_types.CancelledEntry) -> str:
    """Whether a cancel reached the provider, and what that means for the bill."""
    if entry.provider_confirmed is None:
        return "nothing was sent, so there is nothing to pay"
    if entry.provider_confirmed:
        return "the provider agreed to stop"
    message = format_line(entry.message) or "the provider did not say that it would stop"
    return message if "billed" in message else f"{message}; it may still be billed"


def detail_rows(snapshot: JobSnapshot) -> list[tuple[str, str]]:
    """Everything that is known of a job beside what happened, as names and words; empty words where nothing is."""
    job = snapshot.job
    request = job.provider_request or job.request
    parameters = ", ".join(f"{name} {value}" for name, value in to_plain_json(request.parameters()).items())
    return [
        ("job", job.id),
        ("state", state_label(job) + (f": {failure_reason(job)}" if failure_reason(job) else "")),
        ("next", next_step(snapshot) or ""),
        ("provider", format_line(format_route(job.route)) if job.route else "none chosen yet"),
        ("the provider's id", format_line(job.handle.id) if job.handle else ""),
        ("model", f"{format_line(job.request.model)} ({job.request.task})"),
        ("prompt", format_line(job.request.prompt)),
        ("asked for", format_line(parameters)),
        ("seed", "" if job.seed is None else str(job.seed)),
        ("created", f"{format_time(job.created_at)} ({format_age(snapshot.now - job.created_at)} ago)"),
        ("attempts", str(job.attempts)),
        *(("refused", format_line(text)) for text in job.rejections),
        ("cost", format_cost(job) + (" (as the provider reported it)" if job.cost else "")),
        ("took", ", ".join(f"{format_line(name)} {seconds:.3g} s" for name, seconds in job.timings.items())),
        *(
            ("file", strip_control(path) + (" (no longer there)" if path in snapshot.missing_files else ""))
            for path in file_paths(job)
        ),
        *(("warning", format_line(text)) for text in job.warnings),
        ("idempotency key", format_line(job.idempotency_key)),
    ]


# -- as plain data ----------------------------------------------------------------------------------------------------


def job_to_dict(snapshot: JobSnapshot) -> dict[str, Any]:
    """A job as plain JSON data. An unknown cost is null; ``next`` is null where there is nothing to do."""
    job = snapshot.job
    return {
        "job_id": job.id,
        "state": job.state,
        "words": state_label(job),
        "carried_by": snapshot.owner_pid or None,
        "provider": job.route.provider if job.route else None,
        "model": job.request.model,
        "task": job.request.task,
        "prompt": job.request.prompt,
        "index": job.index,
        "key": job.idempotency_key,
        "created": format_iso(job.created_at),
        "updated": format_iso(job.updated_at),
        "age": round(max(0.0, snapshot.now - job.created_at), 3),
        "attempts": job.attempts,
        "cost": {"amount": job.cost.amount, "unit": job.cost.unit} if job.cost else None,
        "cost_known": cost_status(job) != "unknown",
        "files": [{"path": path, "there": path not in snapshot.missing_files} for path in file_paths(job)],
        "error": failure_reason(job),
        "next": next_step(snapshot),
    }


def details_to_dict(job: Job) -> dict[str, Any]:
    """What is told of one job alone, as plain JSON data."""
    route = job.route
    request = job.provider_request or job.request
    return {
        "via": route.via if route else None,
        "key_name": route.credential if route else None,
        "provider_model": route.provider_id if route else None,
        "provider_job": job.handle.id if job.handle else None,
        "parameters": request.parameters(),
        "seed": job.seed,
        "timings": job.timings,
        "refusals": [format_line(text) for text in job.rejections],
        "warnings": [format_line(text) for text in job.warnings],
    }


def entry_to_dict(entry: LedgerEntry) -> dict[str, Any]:
    """A fact as plain JSON data."""
    return {
        "event": str(type(entry).__struct_config__.tag),
        "at": format_iso(entry.timestamp),
        "words": describe_entry(entry),
    }


def _short_path(path: str) -> str:
    """A path from the current folder, where it lies below it."""
    from .progress import relative_path

    return strip_control(relative_path(Path(path)))
