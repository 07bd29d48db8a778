"""What the tests of traps ask with: one reply, read by one provider."""

from __future__ import annotations

from hfmedia.core.answers import Answer, Ask, Failed, Submit
from hfmedia.core.request import Task
from hfmedia.core.wire import HttpReply
from hfmedia.providers import provider

from .cases import route, wish


def decode(name: str, task: Task, said: HttpReply, ask: Ask | None = None, via: str = "router") -> Answer:
    """What this provider's module makes of the reply; without an ask it answers a submission."""
    return provider(name).decode(ask or Submit(wish(name, task)), route(name, task, via), said)


def failed(name: str, task: Task, said: HttpReply, ask: Ask | None = None) -> Failed:
    """The same, where it must be a failure."""
    answer = decode(name, task, said, ask)
    assert isinstance(answer, Failed), answer
    return answer
