"""What each error is over HTTP, in OpenAI's shape, as one table.

A client's own retry must never buy again what was bought: ``x-should-retry`` tells it so, whatever the status.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from pydantic import BaseModel, ConfigDict

from hfmedia.core import errors as ours
from hfmedia.core.wire import redact

REQUEST, SERVER, LIMIT = "invalid_request_error", "server_error", "rate_limit_error"


class ErrorFacts(BaseModel):
    """An error in OpenAI's shape; ``job_id``, ``provider`` and ``attempts`` are ours and may be absent."""

    model_config = ConfigDict(extra="allow")

    message: str
    type: str
    param: str | None
    code: str | None
    job_id: str | None = None
    provider: str | None = None
    attempts: list[str] | None = None


class ErrorBody(BaseModel):
    """What every answer that is an error holds."""

    error: ErrorFacts


class Refusal(Exception):  # noqa: N818 - it is an answer as much as an error
    """An answer that is an error.

    Attributes:
        status: of HTTP.
        message: what happened, and what to do.
        type, code, param: OpenAI's words; ``param`` is the field at fault.
        retry: whether the client may send the same again by itself; None leaves that to its own rules.
        retry_after: in seconds.
        headers: more headers.
        extra: more facts beside the message, ``job_id`` for one.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = REQUEST,  # noqa: A002 - OpenAI's word
        code: str | None = None,
        param: str | None = None,
        retry: bool | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.type, self.code, self.param = type, code, param
        self.retry, self.retry_after = retry, retry_after
        self.headers, self.extra = dict(headers or {}), dict(extra or {})

    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        told = {"message": redact(self.message), "type": self.type, "param": self.param, "code": self.code}
        return {"error": {**told, **self.extra}}

    def all_headers(self) -> dict[str, str]:
        """The answer's headers: what a client may do next."""
        made = dict(self.headers)
        if self.retry is not None:
            made["x-should-retry"] = "true" if self.retry else "false"
        if self.retry_after is not None:
            made["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        return made


class Meaning(Struct, frozen=True):
    """What an error of the library is over HTTP. ``retry``: nothing was bought, and the same may succeed later."""

    status: int
    code: str
    type: str = REQUEST
    retry: bool | None = None


# The first row whose class fits is taken, so what is special stands before what is general.
MEANINGS: tuple[tuple[type[ours.HfmediaError], Meaning], ...] = (
    (ours.InvalidRequestError, Meaning(400, "invalid_value")),
    (ours.MissingAuthError, Meaning(503, "no_credential", SERVER, retry=False)),
    (ours.ModelNotFoundError, Meaning(404, "model_not_found")),
    (ours.ModelNotSupportedError, Meaning(400, "model_not_supported")),
    (ours.CredentialError, Meaning(503, "credential_refused", SERVER, retry=False)),
    (ours.CreditError, Meaning(402, "insufficient_quota", "insufficient_quota", retry=False)),
    (ours.ForbiddenError, Meaning(403, "provider_forbids")),
    (ours.RefusedError, Meaning(400, "provider_refused")),
    (ours.ContentRefusedError, Meaning(400, "moderation_blocked")),
    (ours.BusyError, Meaning(429, "provider_busy", LIMIT, retry=True)),
    # the gateway has tried again where that is certain to be free, and asked every other provider
    (ours.ServerError, Meaning(502, "provider_error", SERVER, retry=False)),
    (ours.UnreachableError, Meaning(502, "provider_unreachable", SERVER, retry=True)),
    (ours.FailedError, Meaning(502, "provider_failed", SERVER, retry=False)),
    (ours.UnreadableReplyError, Meaning(502, "unreadable_reply", SERVER, retry=False)),
    (ours.ExpiredError, Meaning(502, "expired", SERVER, retry=False)),
    (ours.DownloadError, Meaning(502, "download_failed", SERVER, retry=False)),
    (ours.ProviderError, Meaning(502, "provider_error", SERVER, retry=False)),
    (ours.HubError, Meaning(503, "hub_unavailable", SERVER, retry=True)),
    (ours.UnsafeAddressError, Meaning(502, "unsafe_address", SERVER, retry=False)),
    (ours.OutOfTimeError, Meaning(504, "out_of_time", SERVER, retry=False)),
    (ours.InDoubtError, Meaning(502, "in_doubt", SERVER, retry=False)),
    (ours.JobCancelledError, Meaning(409, "cancelled", retry=False)),
    (ours.StoreError, Meaning(507, "storage_failed", SERVER, retry=False)),
    (ours.HfmediaError, Meaning(500, "internal_error", SERVER, retry=False)),
)
OWN_TOKEN = Meaning(401, "invalid_api_key")  # a caller's own Hugging Face token was refused
DOUBT = "Look at the provider's own dashboard, then POST /v1/jobs/{job}/resolve with resend or drop"


def meaning_of(error: ours.HfmediaError, *, own_token: bool = False) -> Meaning:
    """The row of the table for an error; ``own_token``: the credential at fault is the caller's own."""
    if own_token and isinstance(error, ours.CredentialError):
        return OWN_TOKEN
    return next(meaning for kind, meaning in MEANINGS if isinstance(error, kind))


def refusal_of(error: ours.HfmediaError, *, bought: bool = False, own_token: bool = False) -> Refusal:
    """The answer for an error. ``bought``: a provider may have accepted, so nothing is to be sent again by itself."""
    told = getattr(error, "refusal", None)  # an error of the gateway's own says itself what it is over HTTP
    if isinstance(told, Refusal):
        return told
    meaning = meaning_of(error, own_token=own_token)
    facts = {"job_id": error.job_id, "provider": error.provider, "model": error.model}
    extra: dict[str, Any] = {name: value for name, value in facts.items() if value is not None}
    if error.attempts:
        extra["attempts"] = [redact(attempt) for attempt in error.attempts]
    message = error.message
    if isinstance(error, ours.InDoubtError) and error.job_id:
        message = f"{message.split('. Look at')[0]}. {DOUBT.format(job=error.job_id)}"
    retry = False if bought else meaning.retry
    return Refusal(meaning.status, message, type=meaning.type, code=meaning.code, retry=retry, extra=extra)


ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": words}
    for status, words in {
        400: "It cannot be done as it was asked for; nothing was sent.",
        401: "No usable key.",
        402: "There is no credit at the providers.",
        403: "The key may not do this.",
        404: "There is no such thing.",
        405: "This method is not understood here.",
        408: "The request did not arrive in time.",
        409: "It was cancelled.",
        410: "It was there once, and was removed.",
        413: "The request is too large.",
        415: "The request is of a type that is not understood.",
        416: "There is no such range.",
        422: "The idempotency key belongs to another request.",
        429: "Over a limit; ``retry-after`` tells when it resets.",
        500: "Something unexpected.",
        502: "The provider failed; ``x-should-retry`` tells whether the same may be sent again.",
        503: "Not now.",
        504: "Out of time; the job goes on.",
        507: "The disk refuses the file; the job can be resumed.",
    }.items()
}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a route may answer with, for the OpenAPI document."""
    return {status: ANSWERS[status] for status in statuses}


MAKING = (400, 401, 402, 403, 404, 408, 409, 413, 415, 422, 429, 500, 502, 503, 504, 507)
READING = (400, 401, 403, 404, 429, 500, 503)
