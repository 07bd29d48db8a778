"""Public exceptions: the class says what failed, the message what to do next.

HfmediaError                        base class of all hfmedia errors                   exit 1
├── InvalidRequestError             the request is invalid; also a ValueError          exit 2
├── MissingAuthError                no credential for the request                      exit 3
├── ModelNotFoundError              the Hub does not know the model                    exit 5
├── ModelNotSupportedError          no live provider for the model and task            exit 5
├── ProviderError                   a provider rejected the request or failed          exit 6
│   ├── AuthenticationError         401: the credential was rejected                   exit 3
│   ├── InsufficientCreditError     402, or the provider's own equivalent              exit 4
│   ├── PermissionDeniedError       403: the credential lacks permission
│   ├── RequestRejectedError        400, 404, 422: the request was rejected
│   ├── ContentPolicyError          rejected under a content policy
│   ├── ProviderBusyError           408, 425, 429: busy or rate limited
│   ├── ProviderServerError         5xx
│   ├── ProviderUnreachableError    no connection: nothing was sent
│   ├── GenerationFailedError       accepted, then failed at the provider
│   ├── InvalidResponseError        accepted (and billed), but the response is invalid
│   ├── ResultExpiredError          the provider no longer has the job or its result
│   └── DownloadError               the result exists, but its download failed
├── HubError                        the Hub is unreachable or failed                   exit 6
├── UnsafeUrlError                  a URL in a response points to a private network    exit 6
├── DeadlineExceededError           a time limit passed; the job is detached           exit 7
├── InDoubtError                    sent, outcome unknown: never resent automatically  exit 8
├── JobCancelledError               the job was cancelled                              exit 130
└── StorageError                    a file could not be written or read                exit 1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class HfmediaError(Exception):
    """Base class of all hfmedia errors.

    Attributes:
        message: what happened and what to do next.
        provider: the provider concerned; None if there is none.
        model: Hub id of the model concerned; None if there is none.
        job_id: the job concerned; use it to find a paid job again.
        status: the HTTP status that caused the error; None if there is none.
        code: the provider's own error code; None if it sent none.
        attempts: one sentence for each earlier attempt that failed, in order.
        summary: the message without the provider's text, which may quote the request; None where there is none.
        retryable: True if the same request may succeed later, unchanged and without being billed twice.
    """

    exit_code: ClassVar[int] = 1
    retryable: bool = False
    summary: str | None = None

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        job_id: str | None = None,
        status: int | None = None,
        code: str | None = None,
        attempts: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.model = model
        self.job_id = job_id
        self.status = status
        self.code = code
        self.attempts = tuple(attempts)

    def __str__(self) -> str:
        earlier = "".join(f"\n  before that, {attempt}" for attempt in self.attempts)
        return f"{self.message}{earlier}"


class InvalidRequestError(HfmediaError, ValueError):
    """The request is invalid; nothing was sent."""

    exit_code = 2


class MissingAuthError(HfmediaError):
    """No credential is available for the request; nothing was sent."""

    exit_code = 3


class ModelNotFoundError(HfmediaError):
    """The Hub does not know the model, or the token has no access to it."""

    exit_code = 5


class ModelNotSupportedError(HfmediaError):
    """No live provider serves the model for this task, or the requested provider does not."""

    exit_code = 5


class ProviderError(HfmediaError):
    """A provider rejected the request or gave an unusable response."""

    exit_code = 6


class AuthenticationError(ProviderError):
    """The provider, the router or the Hub rejected the credential (401)."""

    exit_code = 3


class InsufficientCreditError(ProviderError):
    """The account has insufficient credit (402, or the provider's own equivalent)."""

    exit_code = 4


class PermissionDeniedError(ProviderError):
    """The credential is valid but lacks permission (403)."""


class RequestRejectedError(ProviderError):
    """The provider rejected the request (400, 404, 422)."""


class ContentPolicyError(ProviderError):
    """The provider rejected the prompt, the image or the result under its content policy."""


class ProviderBusyError(ProviderError):
    """The provider is busy or limits the request rate (408, 425, 429)."""

    retryable = True


class ProviderServerError(ProviderError):
    """The provider or the router failed (5xx) before accepting the request."""

    retryable = True


class ProviderUnreachableError(ProviderError):
    """No connection could be established (DNS, TCP, TLS, proxy); nothing was sent."""

    retryable = True


class GenerationFailedError(ProviderError):
    """The provider accepted the job, but generation failed."""


class InvalidResponseError(ProviderError):
    """The provider accepted the request, so it may be billed, but its response is invalid.

    Attributes:
        raw: the response body, truncated to 64 KiB, so that a result that was paid for can still be recovered.
    """

    raw: bytes = b""


class ResultExpiredError(ProviderError):
    """The provider no longer has the job or its result."""


class DownloadError(ProviderError):
    """The result exists at the provider, but its download failed; retrying is free."""

    retryable = True


class HubError(HfmediaError):
    """The Hugging Face Hub is unreachable or sent an unexpected response."""

    exit_code = 6
    retryable = True


class UnsafeUrlError(HfmediaError):
    """A URL in a response points to a private network, and its host is not trusted."""

    exit_code = 6


class DeadlineExceededError(HfmediaError):
    """A time limit passed while the job was running; the job is detached, not lost."""

    exit_code = 7


class InDoubtError(HfmediaError):
    """A billable request was sent and no complete response arrived: it may or may not have been accepted."""

    exit_code = 8


class JobCancelledError(HfmediaError):
    """The job was cancelled before its media was ready."""

    exit_code = 130


class StorageError(HfmediaError):
    """A file could not be written or read."""


class RequestNotSentError(Exception):
    """Internal: the transport could not connect, so nothing was sent."""


class ResponseLostError(Exception):
    """Internal: the request was sent, and no complete response arrived."""
