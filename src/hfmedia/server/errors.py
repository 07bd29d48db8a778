"""Errors as HTTP responses in OpenAI's format: one table from exceptions of the domain to statuses and codes.

A client's automatic retry must never submit again what may have been billed: ``x-should-retry`` says so for every
status.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from pydantic import BaseModel, ConfigDict

from hfmedia.core import errors as core_errors
from hfmedia.core.credentials import redact
from hfmedia.core.error_messages import HINTS

from .db.budgets import QuotaExceededError
from .db.generations import IdempotencyConflictError
from .jobs import errors as job_errors

INVALID_REQUEST, SERVER_ERROR, RATE_LIMIT = "invalid_request_error", "server_error", "rate_limit_error"
RETRYABLE_RESET_SECONDS = 60.0  # seconds: a limit that resets this soon is worth a client's automatic retry


class ErrorDetail(BaseModel):
    """An error in OpenAI's format; ``job_id``, ``provider`` and ``attempts`` are extensions and may be absent."""

    model_config = ConfigDict(extra="allow")

    message: str
    type: str
    param: str | None
    code: str | None
    job_id: str | None = None
    provider: str | None = None
    attempts: list[str] | None = None


class ErrorResponse(BaseModel):
    """Body of every error response."""

    error: ErrorDetail


class ApiError(Exception):
    """An error response.

    Attributes:
        status: HTTP status.
        message: what happened, and what to do next.
        type, code, param: OpenAI's fields; ``param`` is the invalid field.
        retry: whether the client can repeat the request automatically; None leaves that to the client's own rules.
        retry_after: in seconds.
        extra_headers: additional headers.
        extra: additional members of the error, such as ``job_id``.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = INVALID_REQUEST,  # noqa: A002 - OpenAI's name
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
        self.extra_headers, self.extra = dict(headers or {}), dict(extra or {})

    def body(self) -> dict[str, Any]:
        """Return the JSON body."""
        detail = {"message": redact(self.message), "type": self.type, "param": self.param, "code": self.code}
        return {"error": {**detail, **self.extra}}

    def response_headers(self) -> dict[str, str]:
        """Return the headers, including whether and when a client can retry."""
        headers = dict(self.extra_headers)
        if self.retry is not None:
            headers["x-should-retry"] = "true" if self.retry else "false"
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        return headers


class ErrorMapping(Struct, frozen=True):
    """HTTP form of an exception. ``retry`` True: nothing was billed, and the same request may succeed later."""

    status: int
    code: str | None
    type: str = INVALID_REQUEST
    retry: bool | None = None
    param: str | None = None


# The first row that matches counts, so subclasses precede their base classes.
ERROR_MAP: tuple[tuple[type[core_errors.HfmediaError], ErrorMapping], ...] = (
    # the gateway's own
    (QuotaExceededError, ErrorMapping(429, "rate_limit_exceeded", RATE_LIMIT, retry=False)),
    (IdempotencyConflictError, ErrorMapping(422, "idempotency_key_reused", retry=False)),
    (job_errors.IdempotencyRaceError, ErrorMapping(409, None, retry=True)),
    (job_errors.ModelNotAllowedError, ErrorMapping(403, "model_not_allowed", retry=False, param="model")),
    (job_errors.JobNotFoundError, ErrorMapping(404, "job_not_found")),
    (job_errors.TooManyJobsError, ErrorMapping(429, "too_many_jobs", RATE_LIMIT, retry=True)),
    (job_errors.ShuttingDownError, ErrorMapping(503, None, SERVER_ERROR, retry=True)),
    (job_errors.NotInDoubtError, ErrorMapping(400, "not_in_doubt", retry=False)),
    (job_errors.GenerationTimeoutError, ErrorMapping(504, "out_of_time", SERVER_ERROR, retry=False)),
    # the library's
    (core_errors.InvalidRequestError, ErrorMapping(400, "invalid_value")),
    (core_errors.MissingAuthError, ErrorMapping(503, "no_credential", SERVER_ERROR, retry=False)),
    (core_errors.ModelNotFoundError, ErrorMapping(404, "model_not_found")),
    (core_errors.ModelNotSupportedError, ErrorMapping(400, "model_not_supported")),
    (core_errors.AuthenticationError, ErrorMapping(503, "credential_refused", SERVER_ERROR, retry=False)),
    (core_errors.InsufficientCreditError, ErrorMapping(402, "insufficient_quota", "insufficient_quota", retry=False)),
    (core_errors.PermissionDeniedError, ErrorMapping(403, "provider_forbids")),
    (core_errors.RequestRejectedError, ErrorMapping(400, "provider_refused")),
    (core_errors.ContentPolicyError, ErrorMapping(400, "moderation_blocked")),
    (core_errors.ProviderBusyError, ErrorMapping(429, "provider_busy", RATE_LIMIT, retry=True)),
    # the gateway has retried where that is certainly free, and failed over to every other provider
    (core_errors.ProviderServerError, ErrorMapping(502, "provider_error", SERVER_ERROR, retry=False)),
    (core_errors.ProviderUnreachableError, ErrorMapping(502, "provider_unreachable", SERVER_ERROR, retry=True)),
    (core_errors.GenerationFailedError, ErrorMapping(502, "provider_failed", SERVER_ERROR, retry=False)),
    (core_errors.InvalidResponseError, ErrorMapping(502, "unreadable_reply", SERVER_ERROR, retry=False)),
    (core_errors.ResultExpiredError, ErrorMapping(502, "expired", SERVER_ERROR, retry=False)),
    (core_errors.DownloadError, ErrorMapping(502, "download_failed", SERVER_ERROR, retry=False)),
    (core_errors.ProviderError, ErrorMapping(502, "provider_error", SERVER_ERROR, retry=False)),
    (core_errors.HubError, ErrorMapping(503, "hub_unavailable", SERVER_ERROR, retry=True)),
    (core_errors.UnsafeUrlError, ErrorMapping(502, "unsafe_address", SERVER_ERROR, retry=False)),
    (core_errors.DeadlineExceededError, ErrorMapping(504, "out_of_time", SERVER_ERROR, retry=False)),
    (core_errors.InDoubtError, ErrorMapping(502, "in_doubt", SERVER_ERROR, retry=False)),
    (core_errors.JobCancelledError, ErrorMapping(409, "cancelled", retry=False)),
    (core_errors.StorageError, ErrorMapping(507, "storage_failed", SERVER_ERROR, retry=False)),
    (core_errors.HfmediaError, ErrorMapping(500, "internal_error", SERVER_ERROR, retry=False)),
)
CALLER_TOKEN_REJECTED = ErrorMapping(401, "invalid_api_key")  # the caller's own Hugging Face token was rejected
INTERNAL_ERROR = ApiError(
    500, "unexpected error; see the gateway's log", type=SERVER_ERROR, code="internal_error", retry=False
)
COMMAND_LINE_HINTS = (HINTS["no_response"].partition(".")[0], "Check the provider's dashboard")  # where they begin
IN_DOUBT_HINT = (
    "It is never resent automatically. Check the provider's own dashboard, then POST /v1/jobs/{job}/resolve with "
    "resend or drop"
)


def in_doubt_message(message: str, job_id: str) -> str:
    """Return the message of a job in doubt with the API's hint instead of the command line's."""
    for hint in COMMAND_LINE_HINTS:
        message = message.partition(hint)[0]
    return f"{message.rstrip(' .')}. {IN_DOUBT_HINT.format(job=job_id)}"


def mapping_for(error: core_errors.HfmediaError, *, uses_caller_token: bool = False) -> ErrorMapping:
    """Return the table row for an error; ``uses_caller_token``: the rejected credential is the caller's own."""
    if uses_caller_token and isinstance(error, core_errors.AuthenticationError):
        return CALLER_TOKEN_REJECTED
    return next(mapping for error_class, mapping in ERROR_MAP if isinstance(error, error_class))


def to_api_error(
    error: core_errors.HfmediaError, *, billable: bool = False, uses_caller_token: bool = False
) -> ApiError:
    """Return the response for an error. ``billable``: a provider may have accepted, so clients must not retry."""
    mapping = mapping_for(error, uses_caller_token=uses_caller_token)
    code, retry = mapping.code, False if billable else mapping.retry
    retry_after: float | None = getattr(error, "retry_after", None)
    details = {"job_id": error.job_id, "provider": error.provider, "model": error.model}
    extra: dict[str, Any] = {name: value for name, value in details.items() if value is not None}
    if error.attempts:
        extra["attempts"] = [redact(attempt) for attempt in error.attempts]
    message = error.message
    if isinstance(error, core_errors.InDoubtError) and error.job_id:
        message = in_doubt_message(message, error.job_id)
    elif isinstance(error, job_errors.GenerationTimeoutError):
        extra["job_ids"] = error.job_ids
    elif isinstance(error, QuotaExceededError):
        code = "insufficient_quota" if error.limit_name == "usd_per_month" else code
        retry = retry_after is not None and retry_after <= RETRYABLE_RESET_SECONDS
        extra |= {
            "limit": error.limit_name,
            "limit_value": error.limit,
            "used": error.used,
            "resets_at": error.resets_at,
        }
    return ApiError(mapping.status, message, type=mapping.type, code=code, param=mapping.param,
                    retry=retry, retry_after=retry_after, extra=extra)  # fmt: skip


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": description}
    for status, description in {
        400: "Invalid request; nothing was sent.",
        401: "Missing or invalid API key.",
        402: "Insufficient credit at the providers.",
        403: "The API key does not allow this.",
        404: "Not found.",
        405: "Method not allowed.",
        408: "The request did not arrive in time.",
        409: "Conflict: the job was cancelled, or requests with one idempotency key arrived at once.",
        410: "Gone: the resource was deleted.",
        413: "The request is too large.",
        415: "Unsupported content type.",
        416: "The requested range is not satisfiable.",
        422: "The idempotency key was used for a different request.",
        429: "A limit was exceeded; `retry-after` is when it resets.",
        500: "Unexpected error.",
        502: "The provider failed; `x-should-retry` is true if the same request can be sent again.",
        503: "Unavailable.",
        504: "Timeout; the job continues.",
        507: "Insufficient storage; the job can be resumed.",
    }.items()
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route, for the OpenAPI document."""
    return {status: ERROR_RESPONSES[status] for status in statuses}


CREATE_ERRORS = (400, 401, 402, 403, 404, 408, 409, 413, 415, 422, 429, 500, 502, 503, 504, 507)
READ_ERRORS = (400, 401, 403, 404, 429, 500, 503)
