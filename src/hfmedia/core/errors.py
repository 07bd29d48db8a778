"""Every error a user of hfmedia can meet; the class says who acts next, the words what to do.

HfmediaError                     anything this library raises on purpose            exit 1
├── InvalidRequestError          the request cannot be sent as it is (ValueError)   exit 2
├── MissingAuthError             no credential for what was asked                   exit 3
├── ModelNotFoundError           the Hub does not know the model                    exit 5
├── ModelNotSupportedError       no live provider, or not for this task             exit 5
├── ProviderError                a provider said no, or said nothing useful         exit 6
│   ├── CredentialError          401: the credential was refused                    exit 3
│   ├── CreditError              402 and its disguises: no credit there             exit 4
│   ├── ForbiddenError           403: not allowed
│   ├── RefusedError             400, 404, 422: refused as asked
│   ├── ContentRefusedError      refused on purpose, by a content policy
│   ├── BusyError                408, 425, 429: later, perhaps
│   ├── ServerError              5xx
│   ├── UnreachableError         could not connect: nothing was sent
│   ├── FailedError              accepted, then failed by the provider
│   ├── UnreadableReplyError     accepted (and billed), but the answer makes no sense
│   ├── ExpiredError             the job or its result is gone at the provider
│   └── DownloadError            the result exists, but its bytes did not arrive whole
├── HubError                     the Hub itself did not answer as it should          exit 6
├── UnsafeAddressError           a reply pointed into a private network              exit 6
├── OutOfTimeError               the deadline passed; the job is detached            exit 7
├── InDoubtError                 sent, fate unknown: never sent again by itself      exit 8
├── JobCancelledError            the job was cancelled                               exit 130
└── StoreError                   a file could not be written                         exit 1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class HfmediaError(Exception):
    """Base of every error raised on purpose.

    Attributes:
        provider: the provider concerned, if one is.
        model: the Hub id of the model concerned, if one is.
        job_id: the job concerned; with it a paid job can be found again.
        status: the HTTP status that led here, if one did.
        code: the provider's own word for the trouble, if it gave one.
        attempts: one sentence for each attempt that failed before this one, in order.
        retryable: whether the same request may succeed later, unchanged and without being paid twice.
    """

    exit_code: ClassVar[int] = 1
    retryable: bool = False

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
    """The request cannot be sent as it is; nothing was sent."""

    exit_code = 2


class MissingAuthError(HfmediaError):
    """There is no credential for what was asked; nothing was sent."""

    exit_code = 3


class ModelNotFoundError(HfmediaError):
    """The Hub does not know this model, or hides it from this token."""

    exit_code = 5


class ModelNotSupportedError(HfmediaError):
    """No live provider serves this model, or not for this task, or not the provider named."""

    exit_code = 5


class ProviderError(HfmediaError):
    """A provider said no, or said nothing useful."""

    exit_code = 6


class AuthenticationError(ProviderError):
    """The provider, the router or the Hub refused the credential (401)."""

    exit_code = 3


class InsufficientCreditError(ProviderError):
    """There is no credit left there (402, or what that provider says instead)."""

    exit_code = 4


class PermissionDeniedError(ProviderError):
    """The credential is good, but may not do this (403)."""


class RequestRejectedError(ProviderError):
    """The provider refused the request as it was asked (400, 404, 422)."""


class ContentPolicyError(ProviderError):
    """The provider refused the prompt, the image or the result by its content policy."""


class ProviderBusyError(ProviderError):
    """The provider is busy or limits the rate (408, 425, 429)."""

    retryable = True


class ProviderServerError(ProviderError):
    """The provider or the router failed on its own (5xx), before accepting anything."""

    retryable = True


class ProviderUnreachableError(ProviderError):
    """No connection could be made (DNS, TCP, TLS, proxy); nothing was sent."""

    retryable = True


class GenerationFailedError(ProviderError):
    """The provider accepted the job and then failed it."""


class InvalidResponseError(ProviderError):
    """The provider accepted, so it may bill, but its answer could not be understood.

    Attributes:
        raw: the reply's body as it came, cut to 64 KiB, so that nothing paid for is thrown away.
    """

    raw: bytes = b""


class ResultExpiredError(ProviderError):
    """The provider no longer has the job or its result."""


class DownloadError(ProviderError):
    """The result exists at the provider, but its bytes did not arrive whole; asking again is free."""

    retryable = True


class HubError(HfmediaError):
    """The Hugging Face Hub did not answer as it should."""

    exit_code = 6
    retryable = True


class UnsafeUrlError(HfmediaError):
    """An address that came out of a reply leads into a private network, and the host is not trusted."""

    exit_code = 6


class DeadlineExceededError(HfmediaError):
    """The deadline passed while the provider was at work; the job is detached, not lost."""

    exit_code = 7


class InDoubtError(HfmediaError):
    """A request that buys was sent and no complete answer came: it may or may not have been accepted."""

    exit_code = 8


class JobCancelledError(HfmediaError):
    """The job was cancelled before its media was ready."""

    exit_code = 130


class StorageError(HfmediaError):
    """A file could not be written or read where it should be."""


class RequestNotSentError(Exception):
    """Inside hfmedia: the transport could not connect, so nothing was sent."""


class ResponseLostError(Exception):
    """Inside hfmedia: the request went out, and no complete answer came back."""
