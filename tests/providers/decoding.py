"""One response, decoded by one provider."""

from __future__ import annotations

from hfmedia.core.http import HttpResponse
from hfmedia.core.protocol import Failure, Operation, OperationResult, Submit
from hfmedia.core.request import Task
from hfmedia.providers import get_provider

from .cases import adapted, route


def decode_reply(
    name: str, task: Task, reply: HttpResponse, operation: Operation | None = None, via: str = "router"
) -> OperationResult:
    """Decode a response to an operation, a submission by default."""
    return get_provider(name).decode(operation or Submit(adapted(name, task)), route(name, task, via), reply)


def expect_failure(name: str, task: Task, reply: HttpResponse, operation: Operation | None = None) -> Failure:
    """Decode a response that must be a failure."""
    answer = decode_reply(name, task, reply, operation)
    assert isinstance(answer, Failure), answer
    return answer
