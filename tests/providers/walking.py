"""A job walked from its submission to its end, with nothing but encode, decode and the replies of the cases."""

from __future__ import annotations

from typing import Any

from hfmedia.core.answers import Check, Finished, Pending, Route, Submit
from hfmedia.core.request import Task
from hfmedia.core.wire import HttpRequest
from hfmedia.providers import provider

from .cases import life, route, wish


def submit(name: str, task: Task, via: str = "router", *, way: Route | None = None, **words: Any) -> HttpRequest:
    """The submission of a wish in these words."""
    return provider(name).encode(Submit(wish(name, task, **words)), way or route(name, task, via))


def walk(name: str, task: Task, via: str) -> tuple[list[HttpRequest], list[Pending], Finished]:
    """A job from its submission to its end: what was asked, what was answered on the way, and the end."""
    speaker, way = provider(name), route(name, task, via)
    asked: list[HttpRequest] = []
    waited: list[Pending] = []
    ask: Submit | Check = Submit(wish(name, task))
    for said in life(name, task):
        asked.append(speaker.encode(ask, way))
        answer = speaker.decode(ask, way, said)
        if isinstance(answer, Finished):
            return asked, waited, answer
        assert isinstance(answer, Pending), answer
        waited.append(answer)
        ask = Check(answer.handle)
    raise AssertionError("the job never ended")
