"""Error messages for people: what happened, at which provider, for which job, and what to do next.

Pure: the text comes from the tables below, the exception class from the failure policy.
"""

from __future__ import annotations

from collections.abc import Sequence

from .errors import HfmediaError, InvalidResponseError
from .failure_policy import ERROR_CLASSES, submit_policy
from .http import MAX_RAW_BYTES
from .protocol import Failure, FailureKind, Route
from .text import single_line

OUTCOME_UNKNOWN = "it may or may not have been accepted and billed"

# {provider}: its name; {account}: the provider, or Hugging Face on a route through the router; {credential}: its name;
# {details}: the HTTP status and the provider's own message, as far as there are any.
DESCRIPTIONS: dict[FailureKind, str] = {
    "not_sent": "{provider} could not be reached{details}; nothing was sent",
    "no_response": "{provider} sent no complete response to the request{details}; " + OUTCOME_UNKNOWN,
    "invalid_response": "{provider} accepted the request but sent an invalid response{details}; it may be billed",
    "rejected": "{provider} rejected the request{details}",
    "content_policy": "{provider} rejected the request under its content policy{details}",
    "authentication": "{account} rejected {credential}{details}",
    "insufficient_credit": "{provider} reports insufficient credit{details}",
    "permission_denied": "{provider} does not permit this with {credential}{details}",
    "rate_limited": "{provider} is busy or limits the request rate{details}",
    "server_error": "{provider}: server error{details}; nothing was accepted",
    "gateway_error": "{provider}: gateway error{details}; nothing was accepted",
    "generation_failed": "{provider} accepted the job, but generation failed{details}",
    "expired": "{provider} no longer has the job or its result{details}",
}

HINTS: dict[FailureKind, str] = {
    "not_sent": "Check the network and the proxy with `hfmedia doctor`, then try again.",
    "no_response": "It is never resent automatically. Check the provider's dashboard, then run "
    "`hfmedia jobs resolve {job} --resend` or `--drop`.",
    "invalid_response": "The raw response is attached to this error. Check the provider's dashboard before retrying.",
    "rejected": "Change the parameters, or choose another provider with MODEL:PROVIDER.",
    "content_policy": "Change the prompt or the image; a content decision is not retried with another provider.",
    "authentication": "Check the token with `hfmedia doctor`; create one at https://huggingface.co/settings/tokens.",
    "insufficient_credit": "Add credit at https://huggingface.co/settings/billing or with the provider, "
    "or choose another provider.",
    "permission_denied": "The token needs permission to call Inference Providers; the model may also be gated.",
    "rate_limited": "Try again later, or choose another provider with MODEL:PROVIDER.",
    "server_error": "Try again later, or choose another provider with MODEL:PROVIDER.",
    "gateway_error": "Try again later, or choose another provider with MODEL:PROVIDER.",
    "generation_failed": "It may be billed. Try again, or choose another provider with MODEL:PROVIDER.",
    "expired": "Submit the request again to generate a new result.",
}
DIRECT_KEY_HINT = "Check {credential}, the provider's own key, in your account there."

RESUME_HINT = "Job {job} is still running at the provider; `hfmedia jobs resume {job}` continues it at no extra cost."

# While a job runs, these kinds of failure concern a poll, not the submission.
POLL_DESCRIPTIONS: dict[FailureKind, str] = {
    "not_sent": "{provider} could not be reached{details}",
    "no_response": "{provider} sent no complete response{details}",
    "invalid_response": "{provider} sent an invalid response{details}",
    "server_error": "{provider}: server error{details}",
    "gateway_error": "{provider}: gateway error{details}",
}


def describe_failure(
    failure: Failure, route: Route, *, polling: bool = False, include_provider_text: bool = True
) -> str:
    """Describe a failure in one sentence without a period: ``fal-ai rejected the request (HTTP 422): empty prompt``.

    Without the provider's text, which may quote the request, the sentence may be shown to others than the caller.
    """
    template = (POLL_DESCRIPTIONS if polling else {}).get(failure.kind) or DESCRIPTIONS[failure.kind]
    if (
        not polling
        and failure.kind == "gateway_error"
        and submit_policy(failure.kind, via=route.via).outcome != "rejected"
    ):
        template = template.replace("nothing was accepted", OUTCOME_UNKNOWN)
    status = f" (HTTP {failure.status})" if failure.status else ""
    message = single_line(failure.message).rstrip(".") if include_provider_text else ""
    return template.format(
        provider=route.provider,
        account="Hugging Face" if route.via == "router" else route.provider,
        credential=route.credential,
        details=f"{status}: {message}" if message else status,
    )


def build_error(
    failure: Failure, route: Route, *, job_id: str, attempts: Sequence[str] = (), polling: bool = False
) -> HfmediaError:
    """Return the exception to raise for a failure. ``polling``: it concerns a poll of a job that is still running."""
    hint = RESUME_HINT if polling else HINTS[failure.kind]
    if not polling and failure.kind == "authentication" and route.via == "direct":
        hint = DIRECT_KEY_HINT.format(credential=route.credential)
    description = describe_failure(failure, route, polling=polling)
    error = ERROR_CLASSES[failure.kind](
        f"{description}. {hint.replace('{job}', job_id)}",
        provider=route.provider,
        model=route.model,
        job_id=job_id,
        status=failure.status,
        code=failure.code,
        attempts=attempts,
    )
    error.summary = describe_failure(failure, route, polling=polling, include_provider_text=False)
    if polling:
        error.retryable = True
    if isinstance(error, InvalidResponseError):
        error.raw = failure.raw[:MAX_RAW_BYTES]
    return error
