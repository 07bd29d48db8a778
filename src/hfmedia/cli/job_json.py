"""Jobs and ledger entries as plain JSON data, for ``--json``."""

from __future__ import annotations

from typing import Any

from hfmedia.core.costs import cost_status
from hfmedia.core.job import Job, LedgerEntry, entry_name

from .job_format import (
    JobSnapshot,
    describe_entry,
    failure_reason,
    format_iso,
    format_line,
    next_step,
    state_label,
)


def job_to_dict(snapshot: JobSnapshot) -> dict[str, Any]:
    """Return a job as JSON data; an unknown cost is null, and so is ``hint`` when nothing remains to be done."""
    job = snapshot.job
    return {
        "job_id": job.id,
        "state": job.state,
        "label": state_label(job),
        "owner": snapshot.owner_pid or None,
        "provider": job.route.provider if job.route else None,
        "model": job.request.model,
        "task": job.request.task,
        "prompt": job.request.prompt,
        "index": job.index,
        "idempotency_key": job.idempotency_key,
        "created_at": format_iso(job.created_at),
        "updated_at": format_iso(job.updated_at),
        "age": round(max(0.0, snapshot.now - job.created_at), 3),
        "attempts": job.attempts,
        "cost": {"amount": job.cost.amount, "unit": job.cost.unit} if job.cost else None,
        "cost_known": cost_status(job) != "unknown",
        "files": [{"path": path, "exists": path not in snapshot.missing_files} for path in job.stored_paths()],
        "error": failure_reason(job),
        "hint": next_step(snapshot),
    }


def details_to_dict(job: Job) -> dict[str, Any]:
    """Return the details that ``jobs show`` adds, as JSON data."""
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
        "rejections": [format_line(text) for text in job.rejections],
        "warnings": [format_line(text) for text in job.warnings],
    }


def entry_to_dict(entry: LedgerEntry) -> dict[str, Any]:
    """Return a ledger entry as JSON data."""
    return {
        "event": entry_name(entry),
        "timestamp": format_iso(entry.timestamp),
        "message": describe_entry(entry),
    }
