"""A process that carries jobs is killed at every step of their lives; another one carries them on.

Whatever the step: nothing is paid twice, nothing paid is forgotten, and each job ends as a whole file or in words.
``HFMEDIA_CRASH_ROUNDS`` says how often it is tried; `make crash` takes its time.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from .crash_points import NOT_SENT, REQUESTS, STEPS
from .scenario import CrashScenario

ROUNDS = int(os.environ.get("HFMEDIA_CRASH_ROUNDS", "10"))
LONG = ROUNDS > 10
JOBS = 6  # side by side in each child
COUNTS = range(1, JOBS + 1) if LONG else (1, 4)
pytestmark = pytest.mark.timeout(3600 if LONG else 300)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", STEPS)
def test_a_kill_at_any_step_costs_nothing_twice_and_loses_nothing(
    scenario: CrashScenario, kind: str, count: int
) -> None:
    """The first job to come there dies, or a later one while others wait for their turn; and all others with it."""
    room = None if count == 1 else 3
    for step in STEPS[kind] if LONG or count == 1 else STEPS[kind][::2]:
        requests = scenario.new_requests(JOBS, **REQUESTS[kind])
        child = scenario.start("generate", requests=requests, kill_point=[step, count, count], concurrency=room)
        assert child.was_killed(), f"nothing came to {step}"
        scenario.run_command("resume")
        jobs = scenario.check_jobs(request["prompt"] for request in requests)
        scenario.check_files()
        if count == 1 and step in NOT_SENT:
            assert {job["state"] for job in jobs} <= {"stored"}, f"killed {step}, nothing was in doubt"


@pytest.mark.parametrize("kind", STEPS)
def test_a_resuming_process_may_be_killed_as_well(scenario: CrashScenario, kind: str) -> None:
    """The first is killed where jobs are unsent, sent or made; the second at the step under test; the third is not."""
    chance = random.Random(kind)
    steps = [step for step in STEPS[kind] if "created" not in step and "empty part of facts" not in step]
    for step in steps if LONG else chance.sample(steps, 6):
        requests = scenario.new_requests(JOBS, **REQUESTS[kind])
        first = chance.choice(["before routed", "before sending", "after made", "before keep"])
        scenario.start("generate", requests=requests, kill_point=[first, JOBS // 2, 1], concurrency=3).was_killed()
        scenario.start("resume", kill_point=[step, 2, chance.random()], concurrency=3).was_killed()
        scenario.run_command("resume")
        scenario.check_jobs(request["prompt"] for request in requests)
        scenario.check_files()


def test_kills_at_random_moments_leave_only_what_a_person_can_settle(scenario: CrashScenario) -> None:
    """All kinds in one process, killed up to three times whenever; then every doubt is looked up and settled."""
    chance = random.Random(os.environ.get("HFMEDIA_CRASH_SEED", "3"))
    for _ in range(ROUNDS):
        requests = [request for kind in REQUESTS for request in scenario.new_requests(4, **REQUESTS[kind])]
        prompts = [request["prompt"] for request in requests]
        scenario.start(
            "generate", requests=requests, kill_after=chance.uniform(0.02, 0.6), concurrency=chance.choice([2, 9])
        ).was_killed()
        for _ in range(chance.randrange(3)):
            scenario.start("resume", kill_after=chance.uniform(0.02, 0.4)).was_killed()
        scenario.run_command("resume")
        doubts = [job for job in scenario.check_jobs(prompts) if job["state"] == "in_doubt"]
        _settle(scenario, doubts)
        scenario.run_command("resume")
        jobs = scenario.check_jobs(prompts)
        assert not [job for job in jobs if job["state"] == "in_doubt"]
        scenario.check_files()


def _settle(scenario: CrashScenario, doubts: list[dict[str, Any]]) -> None:
    """As a person would: asks who can be asked, looks at the dashboard of the others, and decides."""
    paid = scenario.billed_by_prompt()
    asked = {job["id"]: "ask" for job in doubts if job["provider"] == "replicate"}
    for job_id, state in scenario.run_command("resolve", decisions=asked).items() if asked else ():
        job = next(job for job in doubts if job["id"] == job_id)
        assert (state in ("running", "completed")) == bool(paid[job["prompt"]]), (state, job)
        if state in ("running", "completed"):
            doubts.remove(job)
    decisions = {job["id"]: "drop" if paid[job["prompt"]] else "resend" for job in doubts}
    if decisions:
        states = scenario.run_command("resolve", decisions=decisions)
        assert {job_id: {"failed": "drop", "routed": "resend"}[state] for job_id, state in states.items()} == decisions
