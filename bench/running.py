"""Runs programs by turns in worlds of their own, and keeps every number they print."""

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

from .cases import COUNT, FAL, FLOOR, HUB, MODULES, OURS, Case
from .peers import ROOT, plain_environ

Numbers = dict[str, Any]
COUNTED = (OURS, FLOOR, HUB, FAL)  # whose polls are counted


@contextmanager
def world(folder: Path) -> Iterator[dict[str, str]]:
    """A world in a process of its own, and the environment of those who live there, with a home of its own."""
    with subprocess.Popen([sys.executable, "-m", "bench.world"], stdout=subprocess.PIPE, text=True, cwd=ROOT) as served:
        try:
            assert served.stdout is not None
            host = f"127.0.0.1:{int(served.stdout.readline())}"
            home = mkdtemp(dir=folder)
            yield {
                **plain_environ(),
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
            served.kill()


def told(environ: dict[str, str]) -> Numbers:
    """What a world was asked since the last time."""
    with urllib.request.urlopen(environ["HF_ENDPOINT"] + "/told") as reply:
        return json.loads(reply.read())  # type: ignore[no-any-return]


def once(who: str, words: tuple[str, ...], environ: dict[str, str], pythons: dict[str, str]) -> Numbers:
    """The numbers that one program prints; an ``error`` when it fails."""
    if who not in pythons:
        return {"error": "not installed"}
    told(environ)
    try:
        done = subprocess.run(
            [pythons[who], "-m", *words], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=300
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": "took more than five minutes"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["failed without a word"])[-1][:200]}
    numbers: Numbers = json.loads(done.stdout.strip().splitlines()[-1])
    ends, done_at = numbers.get("ends") or [], told(environ)["done"]
    if ends and len(done_at) > len(ends):  # the first one was the warm-up
        done_at = done_at[-len(ends) :]
        numbers["lag"] = (sum(ends) - sum(done_at)) / len(ends) * 1000
    return numbers


class Runs:
    """Everything that was run, each set of programs once however many cases read it."""

    def __init__(self, folder: Path, pythons: dict[str, str]) -> None:
        self.folder, self.pythons = folder, pythons
        self.seen: dict[tuple[tuple[str, ...], bool], list[Numbers]] = {}

    def of(self, case: Case, environ: dict[str, str]) -> dict[str, list[Numbers]]:
        """The numbers of each program of a case, round by round, taken by turns so that a slow minute hits all."""
        counts = case.read == COUNT
        there = {**environ, "BENCH_COUNT": "1"} if counts else environ
        for _ in range(case.rounds):
            for who, words in case.run.items():
                taken = self.seen.setdefault((words, counts), [])
                if len(taken) < case.less.get(who, case.rounds) and not any("error" in numbers for numbers in taken):
                    fresh = {"HFMEDIA_HOME": mkdtemp(dir=self.folder)} if "cold" in words else {}
                    taken.append(once(who, words, {**there, **fresh}, self.pythons))
                    if "cold" in words and who == OURS:  # what it leaves is what the warm one finds
                        environ["HFMEDIA_HOME"] = fresh["HFMEDIA_HOME"]
        return {who: self.seen[words, counts] for who, words in case.run.items()}


def polled(folder: Path, pythons: dict[str, str], seconds: int) -> dict[str, Future[Numbers]]:
    """Counts polls in the background: each client in a world of its own, ours a second time with what it has learnt."""
    pool = ThreadPoolExecutor(4)

    def count(who: str) -> Numbers:
        words = ("bench.driver", MODULES[who], "video", "bench/video", "1", "1", f"cold, for {seconds} s")
        counts: list[float] = []
        with world(folder) as environ:
            for _ in range(2 if who == OURS else 1):
                numbers = once_counted(who, words, environ, pythons)
                if "error" in numbers:
                    return numbers
                counts.append(numbers["polls"])
        return {"polls": counts[0], "known": counts[-1]}

    return {who: pool.submit(count, who) for who in COUNTED}


def once_counted(who: str, words: tuple[str, ...], environ: dict[str, str], pythons: dict[str, str]) -> Numbers:
    """The numbers of a program, and how often it asked for its job and for its result."""
    if who not in pythons:
        return {"error": "not installed"}
    done = subprocess.run([pythons[who], "-m", *words], env=environ, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["failed without a word"])[-1][:200]}
    asked = told(environ)["asked"]
    return {"polls": asked.get("poll", 0) + asked.get("result", 0)}
