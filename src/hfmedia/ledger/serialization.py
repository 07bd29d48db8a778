"""Entries and jobs as rows: readable JSON that decodes to an equal value.

Inline media is never written, and a value that would not decode again is rejected before it is written.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from hfmedia.core.errors import StorageError
from hfmedia.core.job import AnyEntry, CompletedEntry, CreatedEntry, Job, LedgerEntry, RoutedEntry, entry_tag

from .base import idempotency_key_of

MAX_ENTRY_BYTES = (
    1 << 20
)  # bytes of JSON; the longest prompt is 32,000 characters, so a larger entry holds media in disguise
_encode = msgspec.json.Encoder().encode
_entry_decoder: msgspec.json.Decoder[LedgerEntry] = msgspec.json.Decoder(AnyEntry)
_job_decoder = msgspec.json.Decoder(Job)


class EncodedEntry(Struct, frozen=True):
    """An entry as it is written, and as it will be decoded again."""

    entry: LedgerEntry
    kind: str
    body: str
    key: str | None


def encode_entry(entry: LedgerEntry) -> EncodedEntry:
    """Encode an entry; raises StorageError when the ledger cannot keep it."""
    if _has_inline_media(entry):
        raise StorageError("the ledger keeps no inline media, only its name, length or digest", job_id=entry.job_id)
    kind = entry_tag(entry)
    try:
        body = _encode(entry)
        if len(body) > MAX_ENTRY_BYTES:
            raise StorageError(
                f"the {kind!r} entry has {len(body):,} bytes, more than the {MAX_ENTRY_BYTES:,} that the ledger keeps; "
                "pass media by URL",
                job_id=entry.job_id,
            )
        return EncodedEntry(_entry_decoder.decode(body), kind, body.decode(), idempotency_key_of(entry))
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise StorageError(
            f"the {kind!r} entry cannot be written as JSON: {str(error)[:200]}", job_id=entry.job_id
        ) from error


def decode_entry(job_id: str, body: Any) -> LedgerEntry:
    """Decode an entry; raises StorageError when it is damaged or from a newer version."""
    entry: LedgerEntry = _decode(_entry_decoder, job_id, body)
    return entry


def decode_job(job_id: str, body: Any) -> Job:
    """Decode a job; raises StorageError when it is damaged or from a newer version."""
    job: Job = _decode(_job_decoder, job_id, body)
    return job


def job_columns(job: Job) -> dict[str, Any]:
    """Build the columns of a job's row, without its idempotency key."""
    return {
        "id": job.id,
        "state": job.state,
        "is_terminal": int(job.is_terminal),
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "task": job.request.task,
        "model": job.request.model,
        "provider": job.route and job.route.provider,
        "attempts": job.attempts,
        "cost": job.cost and job.cost.amount,
        "unit": job.cost and job.cost.unit,
        "body": _encode(job).decode(),
    }


def _decode(decoder: msgspec.json.Decoder[Any], job_id: str, body: Any) -> Any:
    try:
        return decoder.decode(body)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        message = f"the ledger's record of job {job_id} cannot be read: {str(error)[:200]}"
        raise StorageError(message, job_id=job_id) from error


def _has_inline_media(entry: LedgerEntry) -> bool:
    if isinstance(entry, CreatedEntry | RoutedEntry):
        return entry.request.image is not None and entry.request.image.data is not None
    return isinstance(entry, CompletedEntry) and any(output.data is not None for output in entry.outputs)
