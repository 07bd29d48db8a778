"""Errors of the generation service; ``server.errors`` maps them to HTTP responses."""

from __future__ import annotations

from collections.abc import Sequence

from hfmedia.core.errors import DeadlineExceededError, HfmediaError, InvalidRequestError


class ModelNotAllowedError(HfmediaError):
    """The caller's API key does not allow this model."""

    def __init__(self, key_name: str, model: str, patterns: Sequence[str]) -> None:
        allowed, name = ", ".join(patterns)[:1000], model.strip().partition(":")[0][:200]
        super().__init__(f"the key {key_name!r} does not allow the model {name!r}; it allows {allowed}")


class JobNotFoundError(HfmediaError):
    """No job has this ID, or it belongs to another caller, or it was deleted."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id[:64]!r} not found")


class TooManyJobsError(HfmediaError):
    """The caller has as many active jobs as the gateway allows.

    Attributes:
        retry_after: seconds until another attempt is worthwhile.
    """

    def __init__(self, active: int, limit: int) -> None:
        super().__init__(f"too many active jobs: {active} of at most {limit} are active; retry when some have ended")
        self.retry_after = 10.0


class ShuttingDownError(HfmediaError):
    """The gateway accepts no new generations because it is shutting down.

    Attributes:
        retry_after: seconds until another attempt is worthwhile.
    """

    def __init__(self) -> None:
        super().__init__("the gateway is shutting down; retry in a moment")
        self.retry_after = 5.0


class IdempotencyRaceError(HfmediaError):
    """Requests with the same idempotency key arrived at once, and their order is not decided yet.

    Attributes:
        retry_after: seconds until another attempt is worthwhile.
    """

    def __init__(self) -> None:
        super().__init__("several requests with this idempotency key arrived at once; retry in a moment")
        self.retry_after = 1.0


class GenerationTimeoutError(DeadlineExceededError):
    """A generation has not ended within the time that its caller waits; its jobs continue.

    Attributes:
        job_ids: its jobs, in the order of their outputs.
    """

    def __init__(self, job_ids: Sequence[str], seconds: float) -> None:
        message = f"not ready after {seconds:.0f} s; the job continues, poll GET /v1/jobs/{job_ids[0]}"
        super().__init__(message, job_id=job_ids[0])
        self.job_ids = list(job_ids)


class NotInDoubtError(InvalidRequestError):
    """The job is not in doubt, so there is nothing to resolve."""
