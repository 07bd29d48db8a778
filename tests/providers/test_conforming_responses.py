"""The conformance suite's other half: the same replies to every provider, and what each makes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.http import MAX_RAW_BYTES, HttpResponse
from hfmedia.core.protocol import Cancel, CancelResult, Failure, JobHandle, Poll, Route, Submit
from hfmedia.core.provider import Provider
from hfmedia.core.request import Task
from hfmedia.providers import PROVIDERS, get_provider

from .cases import (
    IMAGE_URL,
    PAIRS,
    PLACES,
    PROVIDER_NAMES,
    ROUTES,
    adapted,
    life,
    reply,
    route,
)  # fmt: skip
from .job_lifecycle import run_job

each_route = pytest.mark.parametrize(("name", "task", "via"), ROUTES)
each_pair = pytest.mark.parametrize(("name", "task"), PAIRS)


STATUSES = {
    400: "rejected", 401: "authentication", 402: "insufficient_credit", 403: "permission_denied", 404: "rejected",
    408: "rate_limited", 409: "rejected", 410: "expired", 413: "rejected", 422: "rejected", 425: "rate_limited",
    429: "rate_limited", 500: "server_error", 502: "gateway_error", 503: "server_error", 504: "gateway_error",
    524: "gateway_error",
}  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
@each_pair
def test_a_plain_error_means_what_its_status_says(name: str, task: Task, status: int) -> None:
    """Where a provider gives no better reason the HTTP status decides, and its words come along."""
    expected = "insufficient_credit" if (name, status) == ("nscale", 429) else STATUSES[status]
    for body in (reply({"error": "nope"}, status), HttpResponse(status=status, body=b"nope")):
        answer = get_provider(name).decode(Submit(adapted(name, task)), route(name, task), body)
        assert isinstance(answer, Failure)
        assert (answer.kind, answer.status, answer.message) == (expected, status, "nope")


@each_pair
def test_a_job_that_is_no_longer_known_is_gone(name: str, task: Task) -> None:
    """A 404 about a job means that the job is gone; a proxy that has no such address says nothing of it."""
    ask = Poll(JobHandle("j1"))
    answer = get_provider(name).decode(ask, route(name, task), reply({"detail": "not found"}, 404))
    assert isinstance(answer, Failure)
    assert answer.kind == "expired"
    answer = get_provider(name).decode(ask, route(name, task), HttpResponse(status=404, body=b"Cannot GET /v1/x"))
    assert isinstance(answer, Failure)
    assert answer.kind == "permission_denied"


UNREADABLE = {
    "nothing": HttpResponse(status=200),
    "half a JSON": HttpResponse(status=200, headers={"content-type": "application/json"}, body=b'{"id": "x", "stat'),
    "another JSON": reply([1, 2, 3]),
    "an empty object": reply({}),
    "an HTML page": HttpResponse(status=200, headers={"content-type": "text/html"}, body=b"<html>hello</html>"),
    "a redirect": HttpResponse(status=302, headers={"location": "https://elsewhere.example/"}, body=b"moved"),
    "not modified": HttpResponse(status=304),
    "deep JSON": HttpResponse(
        status=200, headers={"content-type": "application/json"}, body=b'{"data":' + b"[" * 100_000
    ),
    "bad text": HttpResponse(
        status=200, headers={"content-type": "application/json"}, body=b'{"id":"\xff","status":"\xff"}'
    ),
}


@pytest.mark.parametrize("what", UNREADABLE)
@each_pair
def test_a_success_that_makes_no_sense_is_unreadable_and_kept(name: str, task: Task, what: str) -> None:
    """It may be billed, so it is neither repeated nor thrown away: the raw bytes come along."""
    said = UNREADABLE[what]
    answer = get_provider(name).decode(Submit(adapted(name, task)), route(name, task), said)
    assert isinstance(answer, Failure)
    assert answer.kind == "invalid_response"
    assert answer.raw == said.body[:MAX_RAW_BYTES]
    assert answer.message


@each_pair
def test_only_so_much_of_an_unreadable_reply_is_kept(name: str, task: Task) -> None:
    """64 KiB are enough for a person to look at."""
    said = HttpResponse(status=200, headers={"content-type": "application/json"}, body=b"[" + b"1," * 100_000)
    answer = get_provider(name).decode(Submit(adapted(name, task)), route(name, task), said)
    assert isinstance(answer, Failure)
    assert answer.raw == said.body[:MAX_RAW_BYTES]


INVENTED: dict[str, Any] = {
    "fal-ai": {"status": "PONDERING", "request_id": "r-1"},
    "replicate": {"id": "p1", "status": "PONDERING", "output": None},
    "together": {"id": "v1", "status": "PONDERING"},
    "novita": {"task": {"task_id": "t1", "status": "TASK_STATUS_PONDERING"}},
    "wavespeed": {"code": 200, "data": {"id": "w1", "status": "PONDERING"}},
    "zai-org": {"id": "z1", "task_status": "PONDERING"},
}


@pytest.mark.parametrize("name", INVENTED)
def test_an_unknown_status_word_is_an_error_that_names_it(name: str) -> None:
    """An undocumented status does not cause endless polling."""
    task: Task = "text-to-image" if name == "zai-org" else "text-to-video"
    for ask in (Submit(adapted(name, task)), Poll(JobHandle("j1"))):
        answer = get_provider(name).decode(ask, route(name, task), reply(INVENTED[name]))
        assert isinstance(answer, Failure)
        assert answer.kind == "invalid_response"
        assert "PONDERING" in answer.message


@each_pair
def test_cancelling_exists_where_it_is_said_to(name: str, task: Task) -> None:
    """fal and Replicate can stop a job; the others say so beforehand, and asking them is a mistake of the caller."""
    speaker, way = get_provider(name), route(name, task)
    assert speaker.can_cancel == (name in ("fal-ai", "replicate"))
    if speaker.can_cancel:
        assert speaker.encode(Cancel(JobHandle("j1")), way).url.split("?")[0].endswith("/cancel")
        stopped = speaker.decode(Cancel(JobHandle("j1")), way, HttpResponse(status=202))
        assert stopped == CancelResult(True, stopped.message)  # type: ignore[union-attr]
        gone = speaker.decode(Cancel(JobHandle("j1")), way, reply({"detail": "NOT_FOUND"}, 404))
        assert gone == CancelResult(False, "NOT_FOUND")
    else:
        with pytest.raises(ValueError, match=r"cancel|no job"):
            speaker.encode(Cancel(JobHandle("j1")), way)


CLIMBERS = ("../../v1/me", "a/../../b", "a//b", "", "a/./b", "a\nb")


@pytest.mark.parametrize("model_id", CLIMBERS)
@pytest.mark.parametrize("name", ["fal-ai", "replicate", "novita", "wavespeed", "hf-inference"])
def test_a_model_id_that_climbs_is_refused_before_it_is_sent(name: str, model_id: str) -> None:
    """A mapping cannot lead a paid request out of the provider's own paths."""
    task = next(iter(get_provider(name).tasks))
    way = Route(
        provider=name, provider_id=model_id, model="m/m", task=task, base_url="https://h/p", credential="HF_TOKEN"
    )
    with pytest.raises(InvalidRequestError, match="not a valid provider model ID"):
        get_provider(name).encode(Submit(adapted(name, task)), way)


@pytest.mark.parametrize("known", ["..", ".", "", "a" * 600])
@pytest.mark.parametrize("name", ["fal-ai", "replicate", "together", "novita", "wavespeed", "zai-org"])
def test_an_id_that_cannot_stand_in_a_path_is_unreadable(name: str, known: str) -> None:
    """An id out of a reply never becomes a path that climbs."""
    task: Task = "text-to-image" if name == "zai-org" else "text-to-video"
    said = json.loads(life(name, task)[0].body.decode().replace('"r-1"', '"p1"'))
    holder = said.get("data", said)
    holder["request_id" if name == "fal-ai" else "task_id" if name == "novita" else "id"] = known
    answer = get_provider(name).decode(Submit(adapted(name, task)), route(name, task), reply(said))
    assert isinstance(answer, Failure)
    assert answer.kind == "invalid_response"


@pytest.mark.parametrize("known", ["a/b", "x?y=1", "r 1", "ü"])
@pytest.mark.parametrize("name", ["replicate", "together", "novita", "wavespeed", "zai-org", "fal-ai"])
def test_an_odd_id_is_quoted(name: str, known: str) -> None:
    """Whatever stands in an id stays one segment of the path."""
    task: Task = "text-to-image" if name == "zai-org" else "text-to-video"
    url = get_provider(name).encode(Poll(JobHandle(known)), route(name, task)).url
    assert known not in url
    assert url.isascii()
    assert url.count("?") == (1 if name in ("fal-ai", "novita") else 0)


def test_the_registry_knows_eight_providers_and_any_other_name() -> None:
    """Each provider answers to its own name; a stranger gets the OpenAI dialect through the router."""
    assert PROVIDER_NAMES == [
        "fal-ai",
        "replicate",
        "together",
        "novita",
        "nscale",
        "wavespeed",
        "zai-org",
        "hf-inference",
    ]
    assert all(get_provider(name).name == name for name in PROVIDER_NAMES)
    stranger = get_provider("acme-ai")
    assert (stranger.name, dict(stranger.base_urls), set(stranger.tasks)) == (
        "acme-ai",
        {},
        {"text-to-image", "image-to-image"},
    )


@pytest.mark.parametrize("one", PROVIDERS.values(), ids=PROVIDER_NAMES)
def test_a_provider_has_a_host_for_each_task_or_none_at_all(one: Provider) -> None:
    """hf-inference lives behind the router only; the others can be asked directly with a key of their own."""
    assert set(one.base_urls) in ({*one.tasks}, set())
    assert bool(one.base_urls) == bool(one.api_key_env_vars) == (one.name != "hf-inference")
    assert all(host.startswith("https://") and not host.endswith("/") for host in one.base_urls.values())
    for task, abilities in one.tasks.items():
        assert (abilities.image is not None) == task.startswith("image")


def test_what_a_finished_job_tells_is_read() -> None:
    """Seed, cost, timings and IDs are decoded where the provider reports them, and None elsewhere."""
    reported = {
        pair: (end.seed, str(end.cost) if end.cost else None, end.timings, end.id)
        for pair in PAIRS
        for end in [run_job(*pair, "router")[2]]
    }
    assert reported[("fal-ai", "text-to-image")] == (7, "1 fal-units", {"inference": 1.2}, None)
    assert reported[("fal-ai", "text-to-video")] == (7, "1 fal-units", {}, "r-1")
    assert reported[("replicate", "text-to-video")] == (7, "1.5 predict-seconds", {"predict_time": 1.5}, "p1")
    assert reported[("together", "text-to-video")] == (None, "$0.2", {}, "v1")
    assert reported[("together", "text-to-image")] == (None, None, {}, "i1")
    assert reported[("novita", "text-to-video")] == (7, None, {}, "t1")
    assert reported[("wavespeed", "text-to-image")] == (None, None, {"inference": 1.5}, "w1")
    assert reported[("zai-org", "text-to-image")] == (None, None, {}, "z1")
    assert reported[("hf-inference", "text-to-image")] == (None, None, {"compute": 2.5}, None)


def test_progress_is_decoded_as_far_as_the_provider_reports_it() -> None:
    """A place in the queue, a log line, a fraction and an estimate, each from the provider that has it."""
    waited = {
        name: run_job(name, "text-to-video", "router")[1] for name in ("fal-ai", "replicate", "novita", "wavespeed")
    }
    queued, working, completed = (pending.progress for pending in waited["fal-ai"])
    assert queued is not None
    assert queued.position == 3
    assert working is not None
    assert working.message == "step 4/20"
    assert completed is None
    assert [p.progress and p.progress.fraction for p in waited["replicate"]] == [None, 0.45]
    last = waited["novita"][-1].progress
    assert last is not None
    assert (last.fraction, last.eta) == (0.4, 12)
    assert [p.progress for p in waited["wavespeed"]] == [None, None]


def test_fal_output_hints_come_along() -> None:
    """The size and type that fal tells are hints beside the address."""
    (output,) = run_job("fal-ai", "text-to-image", "router")[2].outputs
    assert (output.url, output.mime, output.width, output.height) == (IMAGE_URL, "image/jpeg", 768, 512)


def test_places_are_those_of_the_table() -> None:
    """The one table of where parameters live names providers that exist."""
    assert set(PLACES) <= set(PROVIDERS)
