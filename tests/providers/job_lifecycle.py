"""A job run from its submission to its end with encode, decode and the responses of the cases alone."""

from __future__ import annotations

from typing import Any

from hfmedia.core.http import HttpRequest
from hfmedia.core.protocol import Completed, Pending, Poll, Route, Submit
from hfmedia.core.request import Task
from hfmedia.providers import get_provider

from .cases import adapted, life, route


def encode_submit(
    name: str, task: Task, via: str = "router", *, endpoint_route: Route | None = None, **parameters: Any
) -> HttpRequest:
    """Encode the submission of a request with these parameters."""
    return get_provider(name).encode(
        Submit(adapted(name, task, **parameters)), endpoint_route or route(name, task, via)
    )


def run_job(name: str, task: Task, via: str) -> tuple[list[HttpRequest], list[Pending], Completed]:
    """Run a job to its end; return its requests, its pending results and its completed result."""
    provider_module, job_route = get_provider(name), route(name, task, via)
    requests: list[HttpRequest] = []
    pending_results: list[Pending] = []
    operation: Submit | Poll = Submit(adapted(name, task))
    for reply in life(name, task):
        requests.append(provider_module.encode(operation, job_route))
        result = provider_module.decode(operation, job_route, reply)
        if isinstance(result, Completed):
            return requests, pending_results, result
        assert isinstance(result, Pending), result
        pending_results.append(result)
        operation = Poll(result.handle)
    raise AssertionError("the job never ended")
