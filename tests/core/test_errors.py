"""Exceptions: the tree in the docstring is the tree of the classes, line by line."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator

import pytest

from hfmedia.core import errors
from hfmedia.core.errors import HfmediaError, InvalidRequestError, RequestNotSentError, ResponseLostError

LINE = re.compile(r"^(?P<tree>[│ ├└─]*)(?P<name>\w+Error)\s+(?P<text>.+?)(?:\s+exit (?P<code>\d+))?$")


def documented_tree() -> list[tuple[str, str | None, int | None]]:
    """Return for each line of the tree in the docstring: class, parent, and exit code if there is one."""
    rows: list[tuple[str, str | None, int | None]] = []
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = LINE.match(line)
        if match:
            depth = len(match["tree"]) // 4
            rows.append(
                (match["name"], above[depth - 1] if depth else None, int(match["code"]) if match["code"] else None)
            )
            above[depth:] = [match["name"]]
    return rows


def class_tree(root: type[HfmediaError]) -> Iterator[type[HfmediaError]]:
    """Yield the class and its subclasses, in order of definition."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from class_tree(child)


CLASSES = list(class_tree(HfmediaError))


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    """Same classes, same parents, same order."""
    real = [
        (cls.__name__, next((base.__name__ for base in cls.__bases__ if issubclass(base, HfmediaError)), None))
        for cls in CLASSES
    ]
    assert [(name, parent) for name, parent, _ in documented_tree()] == real
    assert len(real) > 20


def test_the_exit_codes_in_the_docstring_are_those_of_the_classes() -> None:
    """A line without a code has its parent's."""
    codes: dict[str | None, int] = {}
    for name, parent, code in documented_tree():
        codes[name] = code if code is not None else codes[parent]
    assert codes == {cls.__name__: cls.exit_code for cls in CLASSES}


def test_every_exit_code_is_a_documented_one() -> None:
    """1 unexpected, 2 usage, 3 credential, 4 credit, 5 model, 6 provider, 7 deadline, 8 in doubt, 130 cancelled."""
    assert {cls.exit_code for cls in CLASSES} == {1, 2, 3, 4, 5, 6, 7, 8, 130}


def test_every_error_is_documented() -> None:
    """Each class has its own docstring, and its name ends in Error."""
    docstrings = [cls.__doc__ for cls in CLASSES]
    assert all(docstrings)
    assert len(set(docstrings)) == len(docstrings)
    assert all(cls.__name__.endswith("Error") for cls in CLASSES)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_keeps_its_fields(cls: type[HfmediaError]) -> None:
    """Also in a copy, and from one process to another."""
    error = cls(
        "no", provider="fal-ai", model="a/b", job_id="j1", status=422, code="x", attempts=["nscale was busy", "zai too"]
    )
    for same in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(same) is cls
        assert (same.message, same.provider, same.model, same.job_id) == ("no", "fal-ai", "a/b", "j1")
        assert (same.status, same.code, same.attempts) == (422, "x", ("nscale was busy", "zai too"))
        assert str(same) == "no\n  before that, nscale was busy\n  before that, zai too"


def test_an_error_without_attempts_is_one_sentence() -> None:
    """Nothing is appended."""
    assert str(HfmediaError("no")) == "no"
    assert HfmediaError("no").attempts == ()


def test_a_bad_request_is_a_value_error_too() -> None:
    """Callers that do not know hfmedia catch it."""
    assert issubclass(InvalidRequestError, ValueError)


def test_internal_exceptions_are_outside_the_tree() -> None:
    """Those between transport and engine are never caught as errors of the library."""
    assert not issubclass(RequestNotSentError, HfmediaError)
    assert not issubclass(ResponseLostError, HfmediaError)
    assert not issubclass(RequestNotSentError, ResponseLostError)
    assert not issubclass(ResponseLostError, RequestNotSentError)
