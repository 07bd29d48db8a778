"""A failure in words for a person: what happened, at which provider, on which job, and what to do next.

Pure: the words come from one table, the class of the error from another.
"""

from __future__ import annotations

from collections.abc import Sequence

from .errors import HfmediaError, InvalidResponseError
from .failure_policy import ERROR_CLASSES
from .http import MAX_RAW_BYTES
from .protocol import Failure, FailureKind, Route

DESCRIPTIONS: dict[FailureKind, str] = {
    "not_sent": "could not be reached, nothing was sent",
    "no_response": "was sent the request, and no complete answer came: it may or may not have been accepted and billed",
    "invalid_response": "accepted the request, but its answer could not be understood, and it may be billed",
    "rejected": "refused the request",
    "content_policy": "refused it by its content policy",
    "authentication": "refused the credential",
    "insufficient_credit": "says that there is no credit left for it",
    "permission_denied": "does not allow it with this credential",
    "rate_limited": "is busy or limits the rate",
    "server_error": "failed on its side before accepting anything",
    "gateway_error": "failed on its side before accepting anything",
    "generation_failed": "accepted the job and then failed it",
    "expired": "no longer has the job or its result",
}

HINTS: dict[FailureKind, str] = {
    "not_sent": "Check the network and the proxy with `hfmedia doctor`, then try again.",
    "no_response": "It is never sent again by itself. Look at the provider's own dashboard, then decide: "
    "`hfmedia jobs resolve {job} --resend` or `--drop`.",
    "invalid_response": "The raw answer is kept with this error. Look at the provider's dashboard before you repeat it.",
    "rejected": "Change the parameters, or choose another provider with MODEL:PROVIDER.",
    "content_policy": "Change the prompt or the image; another provider is not asked, since this was a decision.",
    "authentication": "Check the token with `hfmedia doctor`; make one at https://huggingface.co/settings/tokens.",
    "insufficient_credit": "Add credit at https://huggingface.co/settings/billing or with the provider, or choose another provider.",
    "permission_denied": "The token needs the permission to make calls to Inference Providers, and the model may be gated.",
    "rate_limited": "Try again later, or choose another provider with MODEL:PROVIDER.",
    "server_error": "Try again later, or choose another provider with MODEL:PROVIDER.",
    "gateway_error": "Try again later, or choose another provider with MODEL:PROVIDER.",
    "generation_failed": "It may be billed. Try again, or choose another provider with MODEL:PROVIDER.",
    "expired": "It can only be made again.",
}

RESUME_HINT = "Job {job} still stands: `hfmedia jobs resume {job}` carries it on, without paying again."

# While a job runs, the same kinds of trouble are about asking for it, not about buying it.
POLL_DESCRIPTIONS: dict[FailureKind, str] = {
    "not_sent": "could not be reached",
    "no_response": "did not answer completely",
    "invalid_response": "answered something that could not be understood",
    "server_error": "failed on its side",
    "gateway_error": "failed on its side",
}


def describe_failure(failure: Failure, provider: str, *, polling: bool = False) -> str:
    """One sentence on a failure: ``fal-ai refused the request: prompt is missing (HTTP 422)``."""
    description = (POLL_DESCRIPTIONS if polling else {}).get(failure.kind) or DESCRIPTIONS[failure.kind]
    status = f" (HTTP {failure.status})" if failure.status else ""
    message = " ".join(failure.message.split())
    return f"{provider} {description}{': ' + message if message else ''}{status}"


def describe_without_provider_text(message: str, provider: str) -> str:
    """A sentence on a failure without the provider's own words, which may quote what was asked for."""
    descriptions = (
        f"{provider} {description}" for description in (*DESCRIPTIONS.values(), *POLL_DESCRIPTIONS.values())
    )
    return next(
        (candidate for candidate in descriptions if message.startswith(candidate)),
        f"{provider} refused or failed a request",
    )


def build_error(
    failure: Failure, route: Route, *, job_id: str, attempts: Sequence[str] = (), polling: bool = False
) -> HfmediaError:
    """The error to raise for a failure, typed and worded. ``asking``: it met a job that runs, and that still runs."""
    description = describe_failure(failure, route.provider, polling=polling)
    hint = (RESUME_HINT if polling else HINTS[failure.kind]).replace("{job}", job_id)
    error = ERROR_CLASSES[failure.kind](
        f"{description}. {hint}",
        provider=route.provider,
        model=route.model,
        job_id=job_id,
        status=failure.status,
        code=failure.code,
        attempts=attempts,
    )
    if polling:
        error.retryable = True
    if isinstance(error, InvalidResponseError):
        error.raw = failure.raw[:MAX_RAW_BYTES]
    return error
