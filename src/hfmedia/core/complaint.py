"""A failure in words for a person: what happened, at which provider, on which job, and what to do next.

Pure: the words come from one table, the class of the error from another.
"""

from __future__ import annotations

from collections.abc import Sequence

from .answers import Failed, FailureKind, Route
from .errors import HfmediaError, UnreadableReplyError
from .verdict import ERRORS
from .wire import RAW_LIMIT

WHAT: dict[FailureKind, str] = {
    "unsent": "could not be reached, nothing was sent",
    "lost": "was sent the request, and no complete answer came: it may or may not have been accepted and billed",
    "unreadable": "accepted the request, but its answer could not be understood, and it may be billed",
    "refused": "refused the request",
    "content": "refused it by its content policy",
    "credential": "refused the credential",
    "credit": "says that there is no credit left for it",
    "forbidden": "does not allow it with this credential",
    "busy": "is busy or limits the rate",
    "server": "failed on its side before accepting anything",
    "gateway": "failed on its side before accepting anything",
    "failed": "accepted the job and then failed it",
    "gone": "no longer has the job or its result",
}

NEXT: dict[FailureKind, str] = {
    "unsent": "Check the network and the proxy with `hfmedia doctor`, then try again.",
    "lost": "It is never sent again by itself. Look at the provider's own dashboard, then decide: "
    "`hfmedia jobs resolve {job} --resend` or `--drop`.",
    "unreadable": "The raw answer is kept with this error. Look at the provider's dashboard before you repeat it.",
    "refused": "Change the parameters, or choose another provider with MODEL:PROVIDER.",
    "content": "Change the prompt or the image; another provider is not asked, since this was a decision.",
    "credential": "Check the token with `hfmedia doctor`; make one at https://huggingface.co/settings/tokens.",
    "credit": "Add credit at https://huggingface.co/settings/billing or with the provider, or choose another provider.",
    "forbidden": "The token needs the permission to make calls to Inference Providers, and the model may be gated.",
    "busy": "Try again later, or choose another provider with MODEL:PROVIDER.",
    "server": "Try again later, or choose another provider with MODEL:PROVIDER.",
    "gateway": "Try again later, or choose another provider with MODEL:PROVIDER.",
    "failed": "It may be billed. Try again, or choose another provider with MODEL:PROVIDER.",
    "gone": "It can only be made again.",
}

STANDS = "Job {job} still stands: `hfmedia jobs resume {job}` carries it on, without paying again."

# While a job runs, the same kinds of trouble are about asking for it, not about buying it.
ASKING: dict[FailureKind, str] = {
    "unsent": "could not be reached",
    "lost": "did not answer completely",
    "unreadable": "answered something that could not be understood",
    "server": "failed on its side",
    "gateway": "failed on its side",
}


def sentence(failed: Failed, provider: str, *, asking: bool = False) -> str:
    """One sentence on a failure: ``fal-ai refused the request: prompt is missing (HTTP 422)``."""
    what = (ASKING if asking else {}).get(failed.kind) or WHAT[failed.kind]
    status = f" (HTTP {failed.status})" if failed.status else ""
    words = " ".join(failed.message.split())
    return f"{provider} {what}{': ' + words if words else ''}{status}"


def in_general(words: str, provider: str) -> str:
    """A sentence on a failure without the provider's own words, which may quote what was asked for."""
    ours = (f"{provider} {what}" for what in (*WHAT.values(), *ASKING.values()))
    return next((one for one in ours if words.startswith(one)), f"{provider} refused or failed a request")


def complaint(
    failed: Failed, route: Route, *, job_id: str, attempts: Sequence[str] = (), asking: bool = False
) -> HfmediaError:
    """The error to raise for a failure, typed and worded. ``asking``: it met a job that runs, and that still runs."""
    words = sentence(failed, route.provider, asking=asking)
    follow = (STANDS if asking else NEXT[failed.kind]).replace("{job}", job_id)
    error = ERRORS[failed.kind](
        f"{words}. {follow}",
        provider=route.provider,
        model=route.model,
        job_id=job_id,
        status=failed.status,
        code=failed.code,
        attempts=attempts,
    )
    if asking:
        error.retryable = True
    if isinstance(error, UnreadableReplyError):
        error.raw = failed.raw[:RAW_LIMIT]
    return error
