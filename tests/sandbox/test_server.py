"""The sandbox server: its pages, its recorded state, reset, shutdown and command line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hfmedia.sandbox import Sandbox
from hfmedia.sandbox.catalog import PROVIDERS
from hfmedia.sandbox.faults import help_text

from .conftest import SPEED, PlainHttp
from .provider_requests import submit


async def test_the_front_page_says_that_nothing_is_real(sandbox: Sandbox, http: PlainHttp) -> None:
    """In plain text."""
    response = await http("GET", sandbox.url + "/")
    assert (response.status, response.type) == (200, "text/plain")
    assert "simulation" in response.body.decode()
    assert "Nothing is billed" in response.body.decode()


@pytest.mark.parametrize("path", ["/", "/cdn/x", "/api/models", "/router/fal-ai/x", "/direct/fal.run/x", "/nowhere"])
async def test_every_response_names_the_sandbox(sandbox: Sandbox, http: PlainHttp, path: str) -> None:
    """It cannot be mistaken for a real service."""
    assert (await http("GET", sandbox.url + path)).headers["Server"] == "hfmedia-sandbox"


async def test_the_help_is_served(sandbox: Sandbox, http: PlainHttp) -> None:
    """The same table as in Python."""
    assert (await http("GET", sandbox.url + "/sandbox/help")).body.decode() == help_text()


@pytest.mark.parametrize("path", ["/nowhere", "/sandbox/nothing", "/router/example/x", "/direct/example.org/x"])
async def test_an_unknown_path_is_404(sandbox: Sandbox, http: PlainHttp, path: str) -> None:
    """Below every prefix."""
    assert (await http("GET", sandbox.url + path)).status == 404


async def test_the_state_page_reports_requests_and_jobs(sandbox: Sandbox, http: PlainHttp) -> None:
    """Requests by kind, submissions by provider, jobs with their state; the same as in Python."""
    await submit(http, sandbox, "together", "text-to-image")
    await http("GET", sandbox.url + "/api/models")
    state = (await http("GET", sandbox.url + "/sandbox/state")).json
    assert (state["simulation"], state["submissions"], state["leaks"]) == (True, {"together": 1}, 0)
    assert state["requests"] == {"submit": 1, "hub": 1}
    (job,) = state["jobs"]
    assert (job["provider"], job["prompt"], job["state"]) == ("together", "a fox", "done")
    assert [(recorded.kind, recorded.provider) for recorded in sandbox.requests] == [
        ("submit", "together"),
        ("hub", None),
    ]
    assert sandbox.requests[0].json()["prompt"] == "a fox"
    sandbox.clear()
    assert (sandbox.requests, dict(sandbox.submissions)) == ([], {})


async def test_each_sandbox_has_its_own_state(http: PlainHttp) -> None:
    """Two at the same time do not affect each other."""
    async with Sandbox(speed=SPEED) as one, Sandbox(speed=SPEED) as other:
        assert one.url != other.url
        await submit(http, one, "together", "text-to-image")
        assert (sum(one.submissions.values()), sum(other.submissions.values())) == (1, 0)


async def test_shutdown_is_prompt_while_a_client_waits(http: PlainHttp) -> None:
    """A hanging request is released when the sandbox shuts down (a gross bound)."""
    async with Sandbox(speed=SPEED) as sandbox:
        sandbox.fault("together", "hang")
        waiting = asyncio.create_task(submit(http, sandbox, "together", "text-to-image"))
        async with asyncio.timeout(10):
            while not sandbox.requests:  # noqa: ASYNC110 - the sandbox has no notification
                await asyncio.sleep(0.01)
        started_at = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - started_at < 3
    await waiting


def test_it_has_no_url_before_it_is_started() -> None:
    """The error says how to start it."""
    with pytest.raises(RuntimeError, match="async with"):
        _ = Sandbox().url


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
async def test_an_invalid_speed_is_rejected(speed: float) -> None:
    """Speed must be above 0."""
    with pytest.raises(ValueError, match="above 0"):
        async with Sandbox(speed=speed):
            raise AssertionError("unreachable")


async def test_the_environment_contains_the_url_of_every_provider(sandbox: Sandbox, http: PlainHttp) -> None:
    """Each points to the sandbox, which requires its token and keys."""
    environment = sandbox.environment
    assert (environment["HF_ENDPOINT"], environment["HFMEDIA_ROUTER"]) == (sandbox.url, sandbox.url + "/router")
    assert environment["HFMEDIA_TRUSTED_HOSTS"] == sandbox.url.removeprefix("http://")
    addresses = dict(pair.split("=", 1) for pair in environment["HFMEDIA_BASE_URLS"].split(","))
    assert len(addresses) == len(PROVIDERS)  # fal-ai has two, hf-inference none
    for address in addresses.values():
        assert (await http("POST", address + "/x", json={})).status in (401, 403)
    assert set(sandbox.keys) >= set(PROVIDERS) - {"hf-inference"}


# -- as a command -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def started(
    *arguments: str, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, str]]]:
    """Run ``python -m hfmedia.sandbox`` and parse its exports."""
    command = [sys.executable, "-m", "hfmedia.sandbox", "--port", "0", "--speed", "200", *arguments]
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, **environment}
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
    assert process.stdout is not None
    try:
        exports: dict[str, str] = {}
        for _ in range(5):
            line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
            name, _, value = line.removeprefix("export ").strip().partition("=")
            exports[name] = value.strip("'")
        yield process, exports
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_command_prints_exports_and_serves(http: PlainHttp) -> None:
    """Shell exports; the exported token is valid at the exported router; Ctrl-C ends it without a traceback."""
    async with started("--fault", "together:credit") as (process, exports):
        names = {"HF_ENDPOINT", "HFMEDIA_ROUTER", "HF_TOKEN", "HFMEDIA_TRUSTED_HOSTS", "HFMEDIA_BASE_URLS"}
        assert set(exports) >= names
        headers = {"Authorization": f"Bearer {exports['HF_TOKEN']}"}
        body = {"model": "black-forest-labs/FLUX.1-schnell", "prompt": "a fox", "width": 256, "height": 256}
        url = f"{exports['HFMEDIA_ROUTER']}/together/v1/images/generations"
        assert [(await http("POST", url, json=body, headers=headers)).status for _ in range(2)] == [402, 200]
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 20)
        assert b"Traceback" not in err


async def test_the_command_reads_the_environment(http: PlainHttp) -> None:
    """HFMEDIA_SANDBOX_FAULTS, comma-separated."""
    async with started(HFMEDIA_SANDBOX_FAULTS="hub:rate-limit, hub:server;after=0") as (_, exports):
        statuses = [(await http("GET", exports["HF_ENDPOINT"] + "/api/models?limit=1")).status for _ in range(3)]
    assert statuses == [429, 500, 200]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--fault", "example:rate-limit"],
        ["--fault", "fal-ai:earthquake"],
        ["--fault", "fal-ai:rate-limit:soon"],
        ["--speed", "0"],
        ["--host", "192.0.2.1"],
    ],
    ids=" ".join,
)
async def test_invalid_arguments_end_the_command_with_a_reason(arguments: list[str]) -> None:
    """Before it serves; a message, not a traceback."""
    command = [sys.executable, "-m", "hfmedia.sandbox", "--port", "0", *arguments]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out) == (2, b"")
    assert b"Traceback" not in err
    assert err.strip()
