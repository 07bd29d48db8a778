"""What operators see: health, readiness, numbers for Prometheus, and one line of log a request, without secrets."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hfmedia.core.errors import HfmediaError
from hfmedia.engine import Accepted, Event, JobFailed, Running, Started, Submitting
from hfmedia.server.observability.logs import JsonFormatter
from tests.support.gateway import RunningGateway, Serve
from tests.support.gateway_jobs import asked, bearer, key_for
from tests.support.models import FLUX

LABELS = ("route", "provider", "state")
WISH = {"prompt": "a fox", "model": f"{FLUX}:together"}


async def samples(http: aiohttp.ClientSession, gateway: RunningGateway, **headers: str) -> dict[tuple[str, str], float]:
    """The numbers, by name and by what tells them apart."""
    async with http.get(f"{gateway.url}/metrics", headers=headers) as answer:
        assert answer.status == 200
        text = await answer.text()
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, next((sample.labels[name] for name in LABELS if name in sample.labels), ""))
            found[key] = found.get(key, 0) + sample.value
    return found


async def test_it_says_that_it_lives_and_is_ready(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Without a key: monitoring has none."""
    status, body = await asked(http, "GET", f"{gateway.url}/healthz")
    assert (status, body["status"], body["sandbox"], body["keys"]) == (200, "ok", True, False)
    assert await asked(http, "GET", f"{gateway.url}/readyz") == (200, {"ready": True, "reasons": []})


async def test_it_is_not_ready_without_a_credential(serve: Serve, http: aiohttp.ClientSession) -> None:
    """And says what is missing."""
    gateway = serve(environ={"HF_TOKEN": ""})
    status, body = await asked(http, "GET", f"{gateway.url}/readyz")
    assert status == 503
    assert "credential" in body["reasons"][0]
    assert (await asked(http, "GET", f"{gateway.url}/healthz"))[0] == 200


async def test_it_counts(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Requests by the template of their path, jobs, moves, failures, and what they cost."""
    gateway.fault("fal-ai", "credit", times=2)
    await asked(http, "POST", f"{gateway.api}/images/generations", json={"prompt": "a fox", "model": FLUX})
    await asked(http, "GET", f"{gateway.api}/jobs/unknown")
    await asked(http, "GET", f"{gateway.url}/wp-admin/x.php")
    found = await samples(http, gateway)
    assert found["hfmedia_requests_total", "/v1/images/generations"] == 1
    assert found["hfmedia_requests_total", "/v1/jobs/{job_id}"] == 1
    assert found["hfmedia_requests_total", "(none)"] == 1
    assert found["hfmedia_failovers_total", "fal-ai"] == 1
    assert sum(value for (name, _), value in found.items() if name == "hfmedia_jobs_ended_total") == 1
    assert found["hfmedia_jobs_active", ""] == 0
    assert found["hfmedia_response_bytes_total", ""] > 0
    assert not any("wp-admin" in label for _, label in found)


async def test_an_invented_method_has_no_label_of_its_own(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Whoever sends a thousand of them fills no memory."""
    for name in ("BREW", "STEEP"):
        await asked(http, name, f"{gateway.api}/models")
    async with http.get(f"{gateway.url}/metrics") as answer:
        text = await answer.text()
    assert "BREW" not in text
    assert 'method="other",route="/v1/models",status="405"} 2.0' in text


async def test_jobs_are_counted_by_state(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """While they are under way; at the end they stand nowhere."""
    events: list[Event] = [
        Started(job_id="a", model=FLUX),
        Submitting(job_id="b", provider="together"),
        Accepted(job_id="c", provider="together", provider_job_id="1"),
        Running(job_id="c", provider="together"),
        Running(job_id="d", provider="together"),
        JobFailed(job_id="d", error=HfmediaError("broken", provider="together")),
    ]
    order: Any = SimpleNamespace(kind="image")
    for event in events:
        gateway.app.state.metrics.job_event(order, event)
    found = await samples(http, gateway)
    states = {state: value for (name, state), value in found.items() if name == "hfmedia_jobs"}
    assert states == {"waiting": 1, "submitting": 1, "queued": 0, "running": 1, "downloading": 0}
    assert found["hfmedia_failures_total", "together"] == 1


async def test_its_numbers_are_the_operators(serve: Serve, http: aiohttp.ClientSession) -> None:
    """With keys, an admin's key is needed, unless the configuration opens them."""
    gateway = serve()
    plain, boss = key_for(gateway, "plain"), key_for(gateway, "boss", admin=True)
    assert (await asked(http, "GET", f"{gateway.url}/metrics"))[0] == 401
    assert (await asked(http, "GET", f"{gateway.url}/metrics", headers=bearer(plain)))[0] == 403
    assert await samples(http, gateway, **bearer(boss))
    gateway.close()
    assert await samples(http, serve(public_metrics=True))


class Caught(logging.Handler):
    """Keeps the lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """One more."""
        self.lines.append(self.format(record))


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What the gateway writes down while a test runs."""
    caught, logger = Caught(), logging.getLogger("hfmedia.server")
    before = logger.level
    logger.addHandler(caught)
    logger.setLevel(logging.INFO)
    yield caught.lines
    logger.removeHandler(caught)
    logger.setLevel(before)


async def test_each_request_is_one_line_without_secrets(
    gateway: RunningGateway, http: aiohttp.ClientSession, lines: list[str]
) -> None:
    """With its id, the name of its key and its jobs; no query, no prompt, no key."""
    key = key_for(gateway, "alice")
    headers = {**bearer(key), "x-request-id": "mine-1"}
    async with http.post(f"{gateway.api}/images/generations?token=hidden", json=WISH, headers=headers) as answer:
        body = await answer.json()
        assert answer.headers["x-request-id"] == "mine-1"
    for _ in range(1000):  # it is written after the answer, so that may be here before
        if found := [json.loads(line) for line in lines if "/v1/images" in line]:
            break
        await asyncio.sleep(0.01)
    (line,) = found
    assert (line["request_id"], line["key"], line["status"]) == ("mine-1", "alice", 200)
    assert line["jobs"] == body["job_ids"]
    for secret in (key, "hidden", "a fox", gateway.sandbox.token):
        assert not any(secret in one for one in lines)


async def test_the_name_of_a_file_is_not_written_down_whole(
    gateway: RunningGateway, http: aiohttp.ClientSession, lines: list[str]
) -> None:
    """Whoever has it may have the file: the job stays, what opens it does not."""
    async with http.post(f"{gateway.api}/images/generations", json=WISH) as answer:
        body = await answer.json()
    url = body["data"][0]["url"]
    async with http.get(url) as answer:
        assert answer.status == 200
    for _ in range(1000):
        if found := [json.loads(line) for line in lines if "/media/" in line]:
            break
        await asyncio.sleep(0.01)
    (line,) = found
    assert line["path"].startswith(f"/media/{body['job_ids'][0]}.") and line["path"].endswith(".o.…")
    assert not any(url.rsplit(".", 2)[1] in one for one in lines)


@pytest.mark.parametrize("name", ["", "a b", "x" * 200, "<script>", "é"])
async def test_a_request_id_that_is_none_is_replaced(
    gateway: RunningGateway, http: aiohttp.ClientSession, name: str
) -> None:
    """By one of ours."""
    async with http.get(f"{gateway.url}/healthz", headers={"x-request-id": name} if name else {}) as answer:
        assert answer.headers["x-request-id"].startswith("req_")


async def test_a_defect_is_reported_in_the_usual_format(
    gateway: RunningGateway, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    """500, never to be sent again by itself, and nothing of the inside in it; what it was is logged once."""

    def broken(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(gateway.gateway.database, "usage", broken)
    async with http.get(f"{gateway.api}/usage") as answer:
        body = await answer.json()
        assert (answer.status, body["error"]["code"]) == (500, "internal_error")
        assert answer.headers["x-should-retry"] == "false"
        name = answer.headers["x-request-id"]
    assert "inside" not in str(body)
    (line,) = [body for body in map(json.loads, lines) if "traceback" in body]
    assert line["request_id"] == name
    assert "a secret of the inside" in line["traceback"]


NOT_THERE = [
    ("GET", "/v1/nothing", 404, "not_found"),
    ("GET", "/", None, None),
    ("PUT", "/v1/models", 405, "method_not_allowed"),
    ("DELETE", "/v1/images/generations", 405, "method_not_allowed"),
    ("GET", "/v1/jobs?limit=0", 400, "invalid_value"),
    ("GET", "/v1/jobs?limit=many", 400, "invalid_value"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), NOT_THERE)
async def test_a_missing_route_is_reported_in_the_usual_format(
    gateway: RunningGateway, http: aiohttp.ClientSession, method: str, path: str, status: int | None, code: str | None
) -> None:
    """No ``detail`` of the framework, which no client reads."""
    if status is None:
        return
    got, body = await asked(http, method, f"{gateway.url}{path}")
    assert (got, body["error"]["code"]) == (status, code)
