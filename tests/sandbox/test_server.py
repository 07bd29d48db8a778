"""The sandbox as a server: it says what it is, tells what it saw, forgets when told, and leaves nothing behind."""

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


async def test_its_first_page_says_that_nothing_is_real(sandbox: Sandbox, http: PlainHttp) -> None:
    """In plain words, before anything else."""
    response = await http("GET", sandbox.url + "/")
    assert (response.status, response.type) == (200, "text/plain")
    assert "simulation" in response.body.decode()
    assert "Nothing is billed" in response.body.decode()


@pytest.mark.parametrize("path", ["/", "/cdn/x", "/api/models", "/router/fal-ai/x", "/direct/fal.run/x", "/nowhere"])
async def test_every_answer_says_who_gave_it(sandbox: Sandbox, http: PlainHttp, path: str) -> None:
    """Nobody mistakes it for the real ones."""
    assert (await http("GET", sandbox.url + path)).headers["Server"] == "hfmedia-sandbox"


async def test_the_help_is_served(sandbox: Sandbox, http: PlainHttp) -> None:
    """The same table as in Python."""
    assert (await http("GET", sandbox.url + "/sandbox/help")).body.decode() == help_text()


@pytest.mark.parametrize("path", ["/nowhere", "/sandbox/nothing", "/router/example/x", "/direct/example.org/x"])
async def test_an_unknown_address_is_404(sandbox: Sandbox, http: PlainHttp, path: str) -> None:
    """Whatever lies before it."""
    assert (await http("GET", sandbox.url + path)).status == 404


async def test_its_state_tells_what_was_asked(sandbox: Sandbox, http: PlainHttp) -> None:
    """Requests by kind, submissions by provider, jobs with their state; and Python sees the same."""
    await submit(http, sandbox, "together", "text-to-image")
    await http("GET", sandbox.url + "/api/models")
    state = (await http("GET", sandbox.url + "/sandbox/state")).json
    assert (state["simulation"], state["submissions"], state["leaks"]) == (True, {"together": 1}, 0)
    assert state["requests"] == {"submit": 1, "hub": 1}
    (job,) = state["jobs"]
    assert (job["provider"], job["prompt"], job["state"]) == ("together", "a fox", "done")
    assert [(seen.kind, seen.provider) for seen in sandbox.requests] == [("submit", "together"), ("hub", None)]
    assert sandbox.requests[0].json()["prompt"] == "a fox"
    sandbox.clear()
    assert (sandbox.requests, dict(sandbox.submissions)) == ([], {})


async def test_each_world_has_its_own_memory(http: PlainHttp) -> None:
    """Two at once do not hear of each other."""
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


def test_before_it_is_started_it_has_no_address() -> None:
    """A sentence that says how to start it."""
    with pytest.raises(RuntimeError, match="async with"):
        _ = Sandbox().url


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
async def test_a_speed_that_makes_no_sense_is_refused(speed: float) -> None:
    """Time goes forward."""
    with pytest.raises(ValueError, match="above 0"):
        async with Sandbox(speed=speed):
            raise AssertionError("unreachable")


async def test_the_environment_names_every_provider_with_its_own_address(sandbox: Sandbox, http: PlainHttp) -> None:
    """Each leads back here; the token and the keys open them."""
    told = sandbox.environment
    assert (told["HF_ENDPOINT"], told["HFMEDIA_ROUTER"]) == (sandbox.url, sandbox.url + "/router")
    assert told["HFMEDIA_TRUSTED_HOSTS"] == sandbox.url.removeprefix("http://")
    addresses = dict(pair.split("=", 1) for pair in told["HFMEDIA_BASE_URLS"].split(","))
    assert len(addresses) == len(PROVIDERS)  # fal-ai has two, hf-inference none
    for address in addresses.values():
        assert (await http("POST", address + "/x", json={})).status in (401, 403)
    assert set(sandbox.keys) >= set(PROVIDERS) - {"hf-inference"}


# -- as a command -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def started(
    *arguments: str, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, str]]]:
    """``python -m hfmedia.sandbox`` and what it exports."""
    command = [sys.executable, "-m", "hfmedia.sandbox", "--port", "0", "--speed", "200", *arguments]
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, **environment}
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
    assert process.stdout is not None
    try:
        told: dict[str, str] = {}
        for _ in range(5):
            line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
            name, _, value = line.removeprefix("export ").strip().partition("=")
            told[name] = value.strip("'")
        yield process, told
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_as_a_command_it_prints_what_to_export_and_serves(http: PlainHttp) -> None:
    """Lines for a shell; the exported token opens the exported router; Ctrl-C ends it without a traceback."""
    async with started("--fault", "together:credit") as (process, told):
        assert set(told) >= {"HF_ENDPOINT", "HFMEDIA_ROUTER", "HF_TOKEN", "HFMEDIA_TRUSTED_HOSTS", "HFMEDIA_BASE_URLS"}
        headers = {"Authorization": f"Bearer {told['HF_TOKEN']}"}
        provider_request = {"model": "black-forest-labs/FLUX.1-schnell", "prompt": "a fox", "width": 256, "height": 256}
        url = f"{told['HFMEDIA_ROUTER']}/together/v1/images/generations"
        assert [(await http("POST", url, json=provider_request, headers=headers)).status for _ in range(2)] == [
            402,
            200,
        ]
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 20)
        assert b"Traceback" not in err


async def test_as_a_command_it_reads_the_environment_too(http: PlainHttp) -> None:
    """HFMEDIA_SANDBOX_FAULTS, comma separated."""
    async with started(HFMEDIA_SANDBOX_FAULTS="hub:rate-limit, hub:server;after=0") as (_, told):
        statuses = [(await http("GET", told["HF_ENDPOINT"] + "/api/models?limit=1")).status for _ in range(3)]
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
async def test_what_makes_no_sense_ends_the_command_with_a_reason(arguments: list[str]) -> None:
    """Before it serves; a sentence, not a traceback."""
    command = [sys.executable, "-m", "hfmedia.sandbox", "--port", "0", *arguments]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out) == (2, b"")
    assert b"Traceback" not in err
    assert err.strip()
