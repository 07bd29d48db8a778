"""Fault specifications: details, counts, targets, and invalid ones.

An invalid specification is rejected immediately, with a reason, so that no test waits for a fault that never occurs.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from hfmedia.sandbox import Sandbox, faults
from hfmedia.sandbox.faults import FAULT_KINDS, SYNC_PROVIDERS, FaultSpecError, make_fault, parse_fault

from .conftest import PlainHttp
from .fault_scenario import REQUESTED, FaultScenario, read_json
from .provider_requests import all_strings, is_media, submit

# -- details ----------------------------------------------------------------------------------------------------------

NO_CREDIT = {
    "fal-ai": (403, "Exhausted balance"),
    "replicate": (402, "Insufficient credit"),
    "together": (402, "credit_limit"),
    "novita": (400, "BILLING_BALANCE_NOT_ENOUGH"),
    "nscale": (429, "insufficient_quota"),
    "wavespeed": (402, '"code":402'),
    "zai-org": (429, "1113"),
}


@pytest.mark.parametrize("via", ["direct", "router"])
@pytest.mark.parametrize("provider", NO_CREDIT)
async def test_each_provider_reports_missing_credit_in_its_own_format(
    sandbox: Sandbox, http: PlainHttp, provider: str, via: str
) -> None:
    """Always when called directly, and through the router with ``by=provider``."""
    task = "text-to-video" if provider == "novita" else "text-to-image"
    sandbox.fault(provider, "credit", by="provider")
    response = await submit(http, sandbox, provider, task, via)
    status, words = NO_CREDIT[provider]
    assert (response.status, words in response.body.decode()) == (status, True)
    assert not sandbox.submissions


@pytest.mark.parametrize(
    ("details", "expected"),
    [({}, "1"), ({"retry_after": 0.5}, "0.5"), ({"retry_after": "none"}, None)],
)
async def test_a_rate_limit_has_retry_after_unless_disabled(
    sandbox: Sandbox, http: PlainHttp, details: dict[str, Any], expected: str | None
) -> None:
    """In seconds by default."""
    sandbox.fault("wavespeed", "rate-limit", **details)
    assert (await submit(http, sandbox, *REQUESTED)).headers.get("Retry-After") == expected


async def test_retry_after_can_be_a_date(sandbox: Sandbox, http: PlainHttp) -> None:
    """As HTTP allows."""
    sandbox.fault("wavespeed", "rate-limit", retry_after=120, date=True)
    retry_at = parsedate_to_datetime((await submit(http, sandbox, *REQUESTED)).headers["Retry-After"]).timestamp()
    assert retry_at - time.time() == pytest.approx(120, abs=10)


async def test_a_rejection_can_hide_an_accepted_job(sandbox: Sandbox, http: PlainHttp) -> None:
    """``accepted=true``: the response is an error, but the job is billed."""
    sandbox.fault("wavespeed", "gateway", status=504, accepted=True)
    assert (await submit(http, sandbox, *REQUESTED)).status == 504
    assert dict(sandbox.submissions) == {"wavespeed": 1}


@pytest.mark.parametrize(
    ("times", "after", "statuses"),
    [
        (1, 0, [500, 200, 200, 200]),
        (2, 0, [500, 500, 200, 200]),
        (1, 2, [200, 200, 500, 200]),
        (2, 1, [200, 500, 500, 200]),
        (None, 1, [200, 500, 500, 500]),
    ],
)
async def test_a_fault_skips_and_counts_requests(
    sandbox: Sandbox, http: PlainHttp, times: int | None, after: int, statuses: list[int]
) -> None:
    """``after`` and ``times`` count the requests of its own step only."""
    sandbox.fault("wavespeed", "server", times=times, after=after)
    assert [(await submit(http, sandbox, *REQUESTED)).status for _ in statuses] == statuses


async def test_a_fault_for_any_provider_hits_the_first_request(sandbox: Sandbox, http: PlainHttp) -> None:
    """``*`` matches every provider; a fault for one does not affect others."""
    sandbox.fault("*", "server")
    sandbox.fault("novita", "server", times=None)
    assert (await submit(http, sandbox, "together", "text-to-image")).status == 500
    assert (await submit(http, sandbox, *REQUESTED)).status == 200


@pytest.mark.parametrize(
    ("header", "step", "test"),
    [
        ("server;status=503;step=poll", "poll", lambda response: response.status == 503),
        ("server;status=503;step=cdn", "cdn", lambda response: response.status == 503),
        ("html;step=poll", "poll", lambda response: response.type == "text/html"),
        ("moderated;step=poll", "poll", lambda response: response.json["code"] == 1200),
        ("job-not-found", "poll", lambda response: response.status == 404),
        ("cdn-empty", "cdn", lambda response: response.body == b""),
    ],
)
async def test_a_header_on_a_submission_can_hit_a_later_step_of_its_job(
    sandbox: Sandbox, http: PlainHttp, header: str, step: str, test: Any
) -> None:
    """Only that step of that job: the submission succeeds, and so does another job in between."""
    scenario, other = FaultScenario(sandbox, http, {"x-sandbox-fault": header}), FaultScenario(sandbox, http, {})
    submitted = await scenario.submit(with_fault=True)
    assert (submitted.status, submitted.json["message"]) == (200, "success")
    assert (await other.submit()).status == 200
    if step == "poll":
        good = await other.poll()
        assert (good.status, good.json["code"]) == (200, 200)
        assert test(await scenario.poll())
    (other.url,) = (await other.wait_done())["outputs"]
    assert len((await other.fetch()).body) > 1000
    if step == "cdn":
        (scenario.url,) = (await scenario.wait_done())["outputs"]
        assert test(await scenario.fetch())
        assert len((await scenario.fetch()).body) > 1000
    assert sandbox.state.faults.pending == []


@pytest.mark.parametrize(
    ("kind", "status"), [("rate-limit", 429), ("unauthorized", 401), ("server", 500), ("gateway", 502)]
)
async def test_faults_can_target_the_hub(sandbox: Sandbox, http: PlainHttp, kind: str, status: int) -> None:
    """``hub`` as the provider; the next request succeeds."""
    sandbox.fault("hub", kind)
    assert [(await http("GET", f"{sandbox.url}/api/models?limit=1")).status for _ in range(2)] == [status, 200]


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        ("truncated-json", lambda response: read_json(response.body) is None),
        ("html", lambda response: response.type == "text/html"),
        ("empty", lambda response: response.body == b""),
        ("truncated", lambda response: response.error == "ClientPayloadError"),
        ("disconnect", lambda response: response.error != ""),
    ],
)
async def test_the_connection_to_the_hub_can_break(sandbox: Sandbox, http: PlainHttp, kind: str, test: Any) -> None:
    """The same connection faults as for a provider."""
    sandbox.fault("hub", kind, times=2)  # aiohttp itself retries once when the connection closes without a response
    assert test(await http("GET", f"{sandbox.url}/api/models?limit=3"))


async def test_faults_can_target_the_media_files_of_every_provider(sandbox: Sandbox, http: PlainHttp) -> None:
    """``cdn`` as the provider matches media files of any provider."""
    sandbox.fault("cdn", "expired", status=403)
    payload = (await submit(http, sandbox, "together", "text-to-image")).json
    (url,) = [text for text in all_strings(payload) if is_media(sandbox, text)]
    assert [(await http("GET", url)).status for _ in range(2)] == [403, 200]


# -- validation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "kind", "details", "message"),
    [
        ("fal-ai", "earthquake", {}, "unknown fault 'earthquake'"),
        ("example", "rate-limit", {}, "unknown provider 'example'"),
        ("fal-ai", "rate-limit", {"step": "lunch"}, "unknown step 'lunch'"),
        ("fal-ai", "rate-limit", {"step": "cdn"}, "cannot occur at step cdn"),
        ("fal-ai", "cdn-html", {"step": "submit"}, "cannot occur at step submit"),
        ("hub", "cdn-html", {}, "cannot occur at step hub"),
        ("nscale", "job-not-found", {}, "has no jobs"),
        ("fal-ai", "rate-limit", {"times": 0}, "at least 1"),
    ],
)
async def test_an_invalid_fault_is_rejected_immediately(
    sandbox: Sandbox, http: PlainHttp, provider: str, kind: str, details: dict[str, Any], message: str
) -> None:
    """In Python and over HTTP, with the reason; nothing is registered."""
    with pytest.raises(FaultSpecError, match=message):
        sandbox.fault(provider, kind, **details)
    response = await http("POST", f"{sandbox.url}/sandbox/faults", json={"provider": provider, "kind": kind, **details})
    assert (response.status, message in response.json["error"]) == (400, True)
    assert sandbox.state.faults.pending == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fal-ai",
        "fal-ai:",
        ":busy:x",
        "fal-ai:rate-limit:soon",
        "fal-ai:rate-limit:1.5",
        "fal-ai:rate-limit;after=x",
        "a b",
    ],
)
def test_an_invalid_specification_is_rejected(text: str) -> None:
    """With FaultSpecError, which is a ValueError; never another error."""
    with pytest.raises(FaultSpecError):
        parse_fault(text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fal-ai:rate-limit", ("fal-ai", "rate-limit", "submit", 1, 0, {})),
        ("hub:server:all", ("hub", "server", "hub", None, 0, {})),
        ("cdn:slow:3;seconds=2", ("cdn", "slow", "cdn", 3, 0, {"seconds": "2"})),
        (" * : status : 2 ; status=418 ; after=4 ; step=poll", None),
        ("*:status:2; status=418; after=4; step=poll", ("*", "status", "poll", 2, 4, {"status": "418"})),
    ],
)
def test_a_specification_is_parsed_as_documented(line: str, expected: Any) -> None:
    """PROVIDER:KIND[:TIMES][;detail=value…]; spaces are allowed around details only."""
    if expected is None:
        with pytest.raises(FaultSpecError):
            parse_fault(line)
        return
    fault = parse_fault(line)
    assert (fault.provider, fault.kind, fault.step, fault.times, fault.after, fault.details) == expected


@pytest.mark.parametrize("header", ["earthquake", "", "rate-limit;step=lunch", "cdn-html;step=submit"])
async def test_an_invalid_header_is_reported_to_its_sender(sandbox: Sandbox, http: PlainHttp, header: str) -> None:
    """400 in plain text, and no job is accepted."""
    response = await submit(http, sandbox, *REQUESTED, extra_headers={"x-sandbox-fault": header})
    assert (response.status, response.type) == (400, "text/plain")
    assert response.body.startswith(b"hfmedia sandbox:")
    assert not sandbox.submissions


@pytest.mark.parametrize("body_", [b"", b"[]", b"{}", b'{"provider": "fal-ai"}', b'{"provider": 1, "kind": []}'])
async def test_an_invalid_admin_request_is_rejected(sandbox: Sandbox, http: PlainHttp, body_: bytes) -> None:
    """400 with the reason."""
    response = await http("POST", f"{sandbox.url}/sandbox/faults", data=body_)
    assert (response.status, "invalid fault" in response.json["error"]) == (400, True)


async def test_faults_can_be_listed_and_cleared_over_http(sandbox: Sandbox, http: PlainHttp) -> None:
    """GET lists pending faults, DELETE removes them."""
    sandbox.fault("wavespeed", "server", times=None)
    (pending,) = (await http("GET", f"{sandbox.url}/sandbox/faults")).json
    assert (pending["provider"], pending["kind"], pending["times"]) == ("wavespeed", "server", None)
    assert (await http("DELETE", f"{sandbox.url}/sandbox/faults")).json == {"ok": True}
    assert (await submit(http, sandbox, *REQUESTED)).status == 200


def test_each_kind_is_accepted_at_exactly_its_own_steps() -> None:
    """Every pair of kind and step, for a provider with jobs and for those without."""
    for kind in FAULT_KINDS.values():
        for step in faults.STEPS:
            possible = step in kind.steps
            try:
                assert make_fault("wavespeed", kind.name, step=step).step == step
            except FaultSpecError:
                assert not possible
            else:
                assert possible
        for provider in SYNC_PROVIDERS:
            try:
                make_fault(provider, kind.name)
            except FaultSpecError:
                assert kind.requires_jobs
            else:
                assert not kind.requires_jobs
