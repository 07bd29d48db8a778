"""Runner: executes the programs in turns, each set in its own simulated environment, and collects their results."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from .cases import FAL_CLIENT, FLOOR, HFMEDIA, HUGGINGFACE_HUB, INSTRUCTIONS, MODULES, Case
from .venvs import ROOT, clean_environ

Numbers = dict[str, Any]
POLL_CLIENTS = (HFMEDIA, FLOOR, HUGGINGFACE_HUB, FAL_CLIENT)  # clients whose polls are counted


@contextmanager
def run_environment(folder: Path) -> Iterator[dict[str, str]]:
    """Start a simulated environment and yield the variables for its clients, with a temporary home."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.environment"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            host = f"127.0.0.1:{int(process.stdout.readline())}"
            home = mkdtemp(dir=folder)
            yield {
                **clean_environ(),
                "HF_ENDPOINT": f"http://{host}",
                "HFMEDIA_ROUTER": f"http://{host}/router",
                "HF_TOKEN": "hf_bench",
                "HFMEDIA_TRUSTED_HOSTS": host,
                "HFMEDIA_HOME": home,
                "HF_HOME": home,
                "BENCH_FOLDER": home,
                "PYTHONPATH": str(ROOT),
            }
        finally:
            process.kill()


def fetch_counts(environ: dict[str, str]) -> Numbers:
    """Fetch the request counts and completion times since the last call."""
    with urllib.request.urlopen(environ["HF_ENDPOINT"] + "/counts") as response:
        return json.loads(response.read())  # type: ignore[no-any-return]


def run_program(client: str, arguments: tuple[str, ...], environ: dict[str, str], pythons: dict[str, str]) -> Numbers:
    """Run a program and return the numbers it prints, or an ``error``."""
    if client not in pythons:
        return {"error": "not installed"}
    fetch_counts(environ)
    try:
        completed = subprocess.run(
            [pythons[client], "-m", *arguments], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=300
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": "timed out after five minutes"}
    if completed.returncode:
        return {"error": (completed.stderr.strip().splitlines() or ["failed without an error message"])[-1][:200]}
    numbers: Numbers = json.loads(completed.stdout.strip().splitlines()[-1])
    ends, finished_at = numbers.get("ends") or [], fetch_counts(environ)["finished_at"]
    if ends and len(finished_at) > len(ends):  # the first one was the warm-up
        finished_at = finished_at[-len(ends) :]
        numbers["lag"] = (sum(ends) - sum(finished_at)) / len(ends) * 1000
    return numbers


class Runs:
    """Results of all programs; a program shared by several cases runs once."""

    def __init__(self, folder: Path, pythons: dict[str, str]) -> None:
        self.folder, self.pythons = folder, pythons
        self.results: dict[tuple[tuple[str, ...], bool], list[Numbers]] = {}

    def results_for(self, case: Case, environ: dict[str, str]) -> dict[str, list[Numbers]]:
        """Return the results per client, measured in turns so that a slow minute affects all clients."""
        counts_instructions = case.metric == INSTRUCTIONS
        case_environ = {**environ, "BENCH_COUNT": "1"} if counts_instructions else environ
        for _ in range(case.rounds):
            for client, arguments in case.commands.items():
                results = self.results.setdefault((arguments, counts_instructions), [])
                if len(results) < case.rounds_by_client.get(client, case.rounds) and not any(
                    "error" in numbers for numbers in results
                ):
                    fresh_home = {"HFMEDIA_HOME": mkdtemp(dir=self.folder)} if "cold" in arguments else {}
                    results.append(run_program(client, arguments, {**case_environ, **fresh_home}, self.pythons))
                    if "cold" in arguments and client == HFMEDIA:  # its cache is used by the warm case
                        environ["HFMEDIA_HOME"] = fresh_home["HFMEDIA_HOME"]
        return {client: self.results[arguments, counts_instructions] for client, arguments in case.commands.items()}


def count_polls(folder: Path, pythons: dict[str, str], seconds: int) -> dict[str, Future[Numbers]]:
    """Count polls in the background, per client; hfmedia runs a second time with the ledger of the first."""
    pool = ThreadPoolExecutor(4)

    def count_client_polls(client: str) -> Numbers:
        arguments = ("bench.driver", MODULES[client], "video", "bench/video", "1", "1", f"cold, for {seconds} s")
        counts: list[float] = []
        with run_environment(folder) as environ:
            for _ in range(2 if client == HFMEDIA else 1):
                numbers = run_counting_polls(client, arguments, environ, pythons)
                if "error" in numbers:
                    return numbers
                counts.append(numbers["polls"])
        return {"polls": counts[0], "known": counts[-1]}

    return {client: pool.submit(count_client_polls, client) for client in POLL_CLIENTS}


def run_counting_polls(
    client: str, arguments: tuple[str, ...], environ: dict[str, str], pythons: dict[str, str]
) -> Numbers:
    """Run a program and count its status and result requests."""
    if client not in pythons:
        return {"error": "not installed"}
    completed = subprocess.run(
        [pythons[client], "-m", *arguments], env=environ, cwd=ROOT, capture_output=True, text=True
    )
    if completed.returncode:
        return {"error": (completed.stderr.strip().splitlines() or ["failed without an error message"])[-1][:200]}
    counts = fetch_counts(environ)["request_counts"]
    return {"polls": counts.get("poll", 0) + counts.get("result", 0)}
