"""Whatever arrives: decode raises nothing, answers in the vocabulary, and leaves a handle that can be asked with.

Real shapes are broken at random, and bytes without any shape are thrown in.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfmedia.core.http import MAX_RAW_BYTES, HttpResponse
from hfmedia.core.protocol import Cancel, CancelResult, Completed, Failure, JobHandle, Operation, Pending, Poll, Submit
from hfmedia.core.request import Task
from hfmedia.providers import get_provider

from .cases import PAIRS, adapted, envelope, fal_queued, fal_result, life, novita_task, prediction, route

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(10**400), max_value=10**400),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [
            "",
            "..",
            "completed",
            "COMPLETED",
            "succeeded",
            "SUCCESS",
            "TASK_STATUS_SUCCEED",
            "failed",
            "data:,",
            "https://[",
            "https://h/x",
            "a" * 2000,
            "\ud800",
            "\u0000",
            "9" * 30,
            "1e999",
        ]
    ),
    st.text(max_size=20),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ERRORS: list[Any] = [
    {"error": {"message": "no", "type": "t", "code": "1113"}},
    {"detail": [{"loc": ["body", "prompt"], "msg": "missing", "type": "missing"}], "error_type": "runner_gone"},
    {"title": "t", "detail": "d", "status": 422, "invalid_fields": []},
    {"code": 400, "reason": "ILLEGAL_PROMPT", "message": "no", "estimated_time": 3.5},
]


def samples(name: str, task: Task) -> list[Any]:
    """Real shapes of this provider, to be broken, and some of the others' beside them."""
    lives = [json.loads(one.body) for one in life(name, task) if one.mime == "application/json"]
    others = [
        fal_queued(),
        fal_result(task),
        prediction("processing"),
        envelope("completed", ["https://h/x"]),
        novita_task("FAILED"),
    ]
    return [*lives, *lives, *ERRORS, *others]


@st.composite
def broken(draw: st.DrawFn, value: Any) -> Any:
    """A value of JSON with some of its parts, at any depth, replaced, dropped or doubled."""
    if draw(st.integers(0, 31)) == 31:
        return draw(JSON)
    if isinstance(value, dict):
        kept = {key: draw(broken(inner)) for key, inner in value.items() if draw(st.integers(0, 31)) < 31}
        return kept | (
            draw(st.dictionaries(st.sampled_from(["error", "status", "data", "id", "url"]), JSON, max_size=1))
        )
    if isinstance(value, list):
        return [draw(broken(inner)) for inner in value] * draw(st.sampled_from([1, 1, 1, 0, 2]))
    return value


@st.composite
def bodies(draw: st.DrawFn, name: str, task: Task) -> bytes:
    """A reply's body: a broken shape, any JSON, JSON cut short, deep nesting, or plain noise."""
    kind = draw(st.sampled_from(["broken"] * 9 + ["json", "cut", "deep", "noise"]))
    if kind == "noise":
        return draw(st.binary(max_size=200))
    if kind == "deep":
        key = draw(st.sampled_from([b"data", b"output", b"error", b"detail", b"images", b"task", b"logs"]))
        return b'{"' + key + b'":' + draw(st.sampled_from([b"[", b'{"a":'])) * draw(st.sampled_from([100, 5000])) + b"1"
    value = draw(JSON) if kind == "json" else draw(broken(draw(st.sampled_from(samples(name, task)))))
    body = json.dumps(value).encode()
    return body[: draw(st.integers(0, len(body)))] if kind == "cut" else body


HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "retry-after",
            "retry-after-ms",
            "ratelimit-reset",
            "x-fal-error-type",
            "x-fal-billable-units",
            "x-compute-time",
            "x-request-id",
        ]
    ),
    st.sampled_from(["", "7", "-1", "nan", "inf", "1e400", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "9" * 500])
    | st.text(),
    max_size=3,
)
MIMES = st.sampled_from(
    ["application/json", "image/png", "text/html", "", "application/problem+json", ";", "video/mp4"]
)
HANDLES = st.builds(
    JobHandle,
    st.text(max_size=20),
    st.sampled_from(["status", "result", "?"]),
    st.sampled_from([None, "/fal-ai/kite/requests/r-1"]),
)
STATUSES = st.sampled_from(
    [200, 200, 200, 200, 201, 202, 204, 301, 302, 400, 403, 404, 422, 429, 500, 503, 504]
) | st.integers(0, 999)


@settings(max_examples=700, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_no_reply_makes_decode_raise(data: st.DataObject) -> None:
    """Any status, headers and body, for any ask, become an answer of the vocabulary."""
    name, task = data.draw(st.sampled_from(PAIRS))
    speaker, way = get_provider(name), route(name, task)
    handle = data.draw(HANDLES)
    asks: list[Operation] = [Submit(adapted(name, task)), Poll(handle), Cancel(handle)]
    ask = data.draw(st.sampled_from(asks))
    headers = {"content-type": data.draw(MIMES), **data.draw(HEADERS)}
    said = HttpResponse(status=data.draw(STATUSES), headers=headers, body=data.draw(bodies(name, task)))
    answer = speaker.decode(ask, way, said)
    assert answer == speaker.decode(ask, way, said)
    match answer:
        case Pending(handle=then):
            asked = speaker.encode(Poll(then), way)
            assert asked.url.startswith(way.base_url + "/")
            assert asked.url.isascii()
            assert said.ok
        case Completed(outputs=outputs):
            assert outputs
            assert all((one.data or one.url) and not (one.data and one.url) for one in outputs)
            assert said.ok
        case Failure(kind=kind, message=message, raw=raw):
            assert message
            assert len(message) <= 600
            assert len(raw) <= MAX_RAW_BYTES
            assert kind != "invalid_response" or raw == said.body[:MAX_RAW_BYTES] or not said.ok
        case CancelResult():
            assert isinstance(ask, Cancel)


@settings(max_examples=200, deadline=None)
@given(status=st.integers(200, 299), noise=st.binary(max_size=100_000), pair=st.sampled_from(PAIRS))
def test_noise_is_never_taken_for_a_job_or_a_picture(status: int, noise: bytes, pair: tuple[str, Task]) -> None:
    """Arbitrary bytes with a JSON content type complete nothing and start nothing."""
    said = HttpResponse(status=status, headers={"content-type": "application/json"}, body=b"\x00" + noise)
    answer = get_provider(pair[0]).decode(Submit(adapted(*pair)), route(*pair), said)
    assert isinstance(answer, Failure)
    assert (answer.kind, answer.raw) == ("invalid_response", said.body[:MAX_RAW_BYTES])
