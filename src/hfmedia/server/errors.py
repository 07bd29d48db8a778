"""What each error is over HTTP, in OpenAI's shape, as one table.

A client's own retry must never buy again what was bought: ``x-should-retry`` tells it so, whatever the status.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from pydantic import BaseModel, ConfigDict

from hfmedia.core import errors as core_errors
from hfmedia.core.credentials import redact

INVALID_REQUEST, SERVER_ERROR, RATE_LIMIT = "invalid_request_error", "server_error", "rate_limit_error"


class ErrorDetail(BaseModel):
    """An error in OpenAI's shape; ``job_id``, ``provider`` and ``attempts`` are ours and may be absent."""

    model_config = ConfigDict(extra="allow")

    message: str
    type: str
    param: str | None
    code: str | None
    job_id: str | None = None
    provider: str | None = None
    attempts: list[str] | None = None


class ErrorResponse(BaseModel):
    """What every answer that is an error holds."""

    error: ErrorDetail


class ApiError(Exception):
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
        type: str = INVALID_REQUEST,  # noqa: A002 - OpenAI's word
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
        """The answer's JSON."""
        detail = {"message": redact(self.message), "type": self.type, "param": self.param, "code": self.code}
        return {"error": {**detail, **self.extra}}

    def response_headers(self) -> dict[str, str]:
        """The answer's headers: what a client may do next."""
        headers = dict(self.extra_headers)
        if self.retry is not None:
            headers["x-should-retry"] = "true" if self.retry else "false"
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        return headers


class ErrorMapping(Struct, frozen=True):
    """What an error of the library is over HTTP. ``retry``: nothing was bought, and the same may succeed later."""

    status: int
    code: str
    type: str = INVALID_REQUEST
    retry: bool | None = None


# The first row whose class fits is taken, so what is special stands before what is general.
ERROR_MAP: tuple[tuple[type[core_errors.HfmediaError], ErrorMapping], ...] = (
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
    # the gateway has tried again where that is certain to be free, and asked every other provider
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
CALLER_TOKEN_REJECTED = ErrorMapping(401, "invalid_api_key")  # a caller's own Hugging Face token was refused
IN_DOUBT_HINT = "Look at the provider's own dashboard, then POST /v1/jobs/{job}/resolve with resend or drop"


def mapping_for(error: core_errors.HfmediaError, *, uses_caller_token: bool = False) -> ErrorMapping:
    """The row of the table for an error; ``own_token``: the credential at fault is the caller's own."""
    if uses_caller_token and isinstance(error, core_errors.AuthenticationError):
        return CALLER_TOKEN_REJECTED
    return next(mapping for error_class, mapping in ERROR_MAP if isinstance(error, error_class))


def to_api_error(
    error: core_errors.HfmediaError, *, billable: bool = False, uses_caller_token: bool = False
) -> ApiError:
    """The answer for an error. ``bought``: a provider may have accepted, so nothing is to be sent again by itself."""
    api_error = getattr(error, "refusal", None)  # an error of the gateway's own says itself what it is over HTTP
    if isinstance(api_error, ApiError):
        return api_error
    mapping = mapping_for(error, uses_caller_token=uses_caller_token)
    details = {"job_id": error.job_id, "provider": error.provider, "model": error.model}
    extra: dict[str, Any] = {name: value for name, value in details.items() if value is not None}
    if error.attempts:
        extra["attempts"] = [redact(attempt) for attempt in error.attempts]
    message = error.message
    if isinstance(error, core_errors.InDoubtError) and error.job_id:
        message = f"{message.split('. Look at')[0]}. {IN_DOUBT_HINT.format(job=error.job_id)}"
    retry = False if billable else mapping.retry
    return ApiError(mapping.status, message, type=mapping.type, code=mapping.code, retry=retry, extra=extra)


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": words}
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


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a route may answer with, for the OpenAPI document."""
    return {status: ERROR_RESPONSES[status] for status in statuses}


CREATE_ERRORS = (400, 401, 402, 403, 404, 408, 409, 413, 415, 422, 429, 500, 502, 503, 504, 507)
READ_ERRORS = (400, 401, 403, 404, 429, 500, 503)
