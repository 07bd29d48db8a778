"""Facts and jobs as rows: JSON that a person can read, and that reads back as the same thing.

Inline media never gets in; what would not read back is refused before it is written.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from hfmedia.core.errors import StoreError
from hfmedia.core.job import AnyFact, Created, Fact, Job, Made, Routed

from .port import key_of

LARGEST_FACT = 1 << 20  # bytes of JSON; the longest prompt is 32,000 characters, so beyond it is media in disguise
_encode = msgspec.json.Encoder().encode
_facts: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(AnyFact)
_jobs = msgspec.json.Decoder(Job)


class Entry(Struct, frozen=True):
    """A fact as it goes into the ledger, and as it will come out of it."""

    fact: Fact
    kind: str
    body: str
    key: str | None


def entry(fact: Fact) -> Entry:
    """The fact, written; StoreError when the ledger cannot keep it."""
    if _has_media(fact):
        raise StoreError("the ledger keeps no inline media; only its name, length or digest", job_id=fact.job)
    kind = str(type(fact).__struct_config__.tag)
    try:
        body = _encode(fact)
        if len(body) > LARGEST_FACT:
            raise StoreError(
                f"the fact {kind!r} has {len(body):,} bytes; the ledger takes {LARGEST_FACT:,}: give media by its URL",
                job_id=fact.job,
            )
        return Entry(_facts.decode(body), kind, body.decode(), key_of(fact))
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise StoreError(f"the fact {kind!r} cannot be written as JSON: {str(error)[:200]}", job_id=fact.job) from error


def read_fact(job_id: str, body: Any) -> Fact:
    """The fact that was written; StoreError when it is damaged, or of a version that knows more."""
    fact: Fact = _read(_facts, job_id, body)
    return fact


def read_job(job_id: str, body: Any) -> Job:
    """The job that was written; StoreError when it is damaged, or of a version that knows more."""
    job: Job = _read(_jobs, job_id, body)
    return job


def job_columns(job: Job) -> dict[str, Any]:
    """What the table of jobs says of a job, but for its key."""
    return {
        "id": job.id,
        "state": job.state,
        "ended": int(job.ended),
        "created": job.created,
        "updated": job.updated,
        "task": job.request.task,
        "model": job.request.model,
        "provider": job.route and job.route.provider,
        "attempts": job.attempts,
        "cost": job.cost and job.cost.amount,
        "unit": job.cost and job.cost.unit,
        "body": _encode(job).decode(),
    }


def _read(decoder: msgspec.json.Decoder[Any], job_id: str, body: Any) -> Any:
    try:
        return decoder.decode(body)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        message = f"what the ledger says of job {job_id} cannot be read: {str(error)[:200]}"
        raise StoreError(message, job_id=job_id) from error


def _has_media(fact: Fact) -> bool:
    if isinstance(fact, Created | Routed):
        return fact.request.image is not None and fact.request.image.data is not None
    return isinstance(fact, Made) and any(output.data is not None for output in fact.outputs)
