"""``hfmedia batch``: its output, its files, and that killing it neither loses a result nor submits one twice."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hfmedia.cli.batching import to_column_defaults, validate_limits
from hfmedia.cli.help import EXAMPLES
from hfmedia.cli.progress import format_batch_stats, format_duration
from hfmedia.core.errors import InvalidRequestError, RequestRejectedError
from hfmedia.core.protocol import Cost
from tests.support.cli import STUCK, Hfmedia, Start, polled
from tests.support.models import FLUX
from tests.support.sandbox_thread import SandboxThread

RERUN = "run the same command again"
TIMEOUT = 60.0
SMALL = ("--size", "256x256")  # generated quickly


def write(*prompts: str, name: str = "prompts.txt") -> str:
    """A file of prompts, and its name."""
    Path(name).write_text("".join(f"{prompt}\n" for prompt in prompts))
    return name


def media_files(folder: str = "out") -> list[Path]:
    """The media in a folder."""
    return sorted(path for path in Path(folder).rglob("*") if path.suffix in (".jpg", ".png", ".webp", ".mp4"))


def index(folder: str = "out") -> list[dict[str, Any]]:
    """The lines of the index."""
    return [json.loads(line) for line in Path(folder, "index.jsonl").read_text().splitlines()]


def submitted(sandbox: SandboxThread) -> int:
    """The number of jobs that all providers accepted."""
    return int(sandbox.run(lambda: sandbox.sandbox.submissions.total()))


def test_each_line_becomes_a_file_and_a_second_run_does_nothing(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """Paths on stdout as they arrive, the totals on stderr, an index in the folder."""
    args = ("batch", write("a fox", "", "a whale", "# no comment"), "-o", "out", "-m", f"{FLUX}:together")
    first = hfmedia(*args)
    assert first.exit_code == 0, first.stderr
    assert sorted(first.stdout.splitlines()) == [str(path) for path in media_files()]
    assert "3 of 3 done; cost" in first.stderr
    assert {line["line"]: line["prompt"] for line in index()} == {1: "a fox", 3: "a whale", 4: "# no comment"}
    second = hfmedia(*args)
    assert (second.exit_code, second.stdout) == (0, "")
    assert "3 of 3 done (3 already existed); cost" in second.stderr
    assert submitted(sandbox) == 3


def test_with_json_each_line_on_either_stream_is_an_object(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """Results with their line and key, failures with their line."""
    sandbox.fault("fal-ai", "moderated", times=1)
    args = ("-o", "out", "-m", f"{FLUX}:fal-ai", "--json", "--concurrency", "1")
    result = hfmedia("batch", "-", *args, stdin='{"prompt": "a fox"}\n{"prompt": "a whale", "seed": 7}\n')
    assert result.exit_code == 6
    (media,) = (json.loads(line) for line in result.stdout.splitlines())
    assert (media["line"], media["seed"], media["key"][:6]) == (2, 7, "batch-")
    messages = [json.loads(line) for line in result.stderr.splitlines()]
    errors = [(message["error"], message["line"]) for message in messages if "error" in message]
    assert errors == [("ContentPolicyError", 1)]


def test_quiet_prints_only_results_and_errors(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """Each error with its line."""
    sandbox.fault("fal-ai", "moderated", times=1)
    args = ("-o", "out", "-m", f"{FLUX}:fal-ai", "-q", "--concurrency", "1")
    result = hfmedia("batch", write("a fox", "a whale"), *args)
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr.startswith("error: line 1: ")


def test_invalid_lines_are_listed_and_nothing_is_sent(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """A usage error, exit code 2."""
    Path("a.csv").write_text("prompt,seed\na fox,7\na fox,x\n,8\n")
    result = hfmedia("batch", "a.csv", "-o", "out")
    assert result.exit_code == 2
    assert "a.csv: 2 of 3 lines are invalid; nothing was sent" in result.stderr
    assert "line 3: seed is 'x'" in result.stderr
    assert "line 4: the prompt is empty" in result.stderr
    assert not sandbox.run(lambda: sandbox.sandbox.requests)


INVALID: list[tuple[tuple[str, ...], str]] = [
    (("gone.txt", "-o", "out"), "gone.txt cannot be read"),
    (("prompts.txt", "-o", " "), "-o is empty; name a folder"),
    (("prompts.txt", "-o", "prompts.txt/out"), "cannot be written"),
    (("prompts.txt", "-o", "out", "--size", "big"), "size 'big'"),
    (("prompts.txt", "-o", "out", "--max-cost", "0"), "--max-cost is 0"),
    (("prompts.txt", "-o", "out", "--max-failures", "0"), "--max-failures is 0"),
    (("prompts.txt", "-o", "out", "--concurrency", "0"), "--concurrency is 0"),
    (("prompts.txt", "-o", "out", "--per-provider", "0"), "concurrency is 0"),
    (("prompts.txt", "-o", "out", "--format", "xls"), "format 'xls' is not one of"),
    (("prompts.txt", "-o", "out", "-p", "nothing"), "is not KEY=VALUE"),
]


@pytest.mark.parametrize(("args", "text"), INVALID)
def test_invalid_arguments_are_rejected_before_anything_is_sent(
    args: tuple[str, ...], text: str, sandbox: SandboxThread, hfmedia: Hfmedia
) -> None:
    """With one message."""
    write("a fox")
    result = hfmedia("batch", *args)
    assert result.exit_code in (1, 2)
    assert text in result.stderr
    assert submitted(sandbox) == 0


def test_options_are_defaults_for_the_lines(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """And an unknown column is passed to the provider, with a warning."""
    Path("a.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b", "size": "512x256", "heigth": 3}\n')
    result = hfmedia("batch", "a.jsonl", "-o", "out", "-m", f"{FLUX}:together", "--size", "256x512", "-p", "steps=3")
    assert result.exit_code == 0, result.stderr
    assert "did you mean height?" in result.stderr
    assert {line["line"]: (line["width"], line["height"]) for line in index()} == {1: (256, 512), 2: (512, 256)}


def test_a_dry_run_shows_what_remains_to_be_done(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """Providers, existing results, estimated costs; nothing is sent, no folder is created."""
    file, args = write("a fox", "a whale"), ("-o", "out", "-m", f"{FLUX}:wavespeed")
    result = hfmedia("batch", file, *args, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("2 lines, 2 outputs\n  2 to be generated\n")
    assert f"2 x {FLUX}:wavespeed, text-to-image: wavespeed" in result.stdout
    assert "estimated cost: 2 outputs of unknown cost" in result.stdout
    assert result.stdout.endswith("nothing was sent\n")
    assert not Path("out").exists()
    assert submitted(sandbox) == 0
    hfmedia("batch", file, *args)
    write("a fox", "a bear")
    plan = json.loads(hfmedia("batch", file, *args, "--dry-run", "--json").stdout)
    assert (plan["outputs"], plan["done"], plan["pending"]) == (2, 1, 1)
    (group,) = plan["groups"]
    assert group["provider"] == "wavespeed"
    assert plan["unknown_cost"] == (0 if group["unit_cost"] else 1)


def test_it_stops_at_a_cost_and_continues_when_that_is_raised(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """The cost of earlier runs counts."""
    file, model = write("a fox", "a whale", "a bear", "an owl"), "Wan-AI/Wan2.2-T2V-A14B:together"
    args = ("batch", file, "-o", "out", "-m", model, "--task", "text-to-video", "--concurrency", "1", *SMALL)
    first = hfmedia(*args, "--max-cost", "0.000001")
    assert first.exit_code == 4
    assert "stopped at --max-cost; raise it and run the same command again to continue" in first.stderr
    assert submitted(sandbox) == 1
    before = submitted(sandbox)
    again = hfmedia(*args, "--max-cost", "0.000001")
    assert (again.exit_code, submitted(sandbox)) == (4, before)
    last = hfmedia(*args)
    assert (last.exit_code, submitted(sandbox)) == (0, 4)


def test_it_stops_at_a_number_of_failures(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """With the exit code of the failures; the next run retries them."""
    sandbox.fault("fal-ai", "moderated", times=None)
    args = ("batch", write(*map(str, range(20))), "-o", "out", "-m", f"{FLUX}:fal-ai", "--concurrency", "2")
    first = hfmedia(*args, "--max-failures", "3")
    assert first.exit_code == 6
    assert "stopped at --max-failures" in first.stderr
    sandbox.run(sandbox.sandbox.clear)
    last = hfmedia(*args)
    assert last.exit_code == 0, last.stderr
    assert len(media_files()) == 20


def test_results_of_the_sandbox_do_not_count_as_real_ones(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """A simulated run in the same folder does not replace the real one."""
    args = ("batch", write("a fox"), "-o", "out", "-m", f"{FLUX}:together")
    assert hfmedia(*args, "--sandbox").exit_code == 0
    assert hfmedia(*args, "--sandbox").stdout == ""
    assert submitted(sandbox) == 0
    assert hfmedia(*args).exit_code == 0
    assert submitted(sandbox) == 1
    assert len(media_files()) == 2


@pytest.mark.parametrize("line", EXAMPLES["batch"])
def test_each_example_of_the_help_works(line: str, hfmedia: Hfmedia) -> None:
    """Unchanged, with a file of each kind in the folder."""
    write("a red fox", "a blue whale")
    Path("requests.csv").write_text("prompt,seed\na red fox,7\na blue whale,\n")
    Path("requests.jsonl").write_text('{"prompt": "a red fox", "size": "256x256"}\n')
    command, arrow, piped = line.partition(" < ")
    result = hfmedia(*shlex.split(command)[1:], stdin=Path(piped).read_text() if arrow else None)
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) >= 2
    assert len(media_files()) == (0 if "--dry-run" in line else 2)


def jobs_in_doubt(environ: Mapping[str, str]) -> list[str]:
    """The ids of the jobs in doubt."""
    command = [sys.executable, "-m", "hfmedia", "jobs", "list", "--state", "in_doubt", "--all", "--json"]
    listing = subprocess.run(command, env=dict(environ), capture_output=True, text=True, timeout=TIMEOUT, check=True)
    return [json.loads(line)["job_id"] for line in listing.stdout.splitlines()]


def killed(process: subprocess.Popen[str], sandbox: SandboxThread, after: int, rest: float) -> None:
    """Kill the process some time after N more submissions."""
    goal, end = submitted(sandbox) + after, time.monotonic() + TIMEOUT
    while submitted(sandbox) < goal and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(rest)
    process.kill()
    process.wait(TIMEOUT)


@pytest.mark.skipif(os.name != "posix", reason="processes are killed by POSIX signals")
def test_killed_five_times_it_needs_one_submission_per_file(
    sandbox: SandboxThread, start: Start, environ: Mapping[str, str]
) -> None:
    """Interrupted submissions are looked up at the provider, and nothing is submitted twice."""
    count = 300
    file = write(*(f"fox {number}" for number in range(count)))
    args = ("batch", file, "-o", "out", "-m", f"{FLUX}:replicate", "--concurrency", "16", "-q", *SMALL)
    dice = random.Random(7)
    for _ in range(5):
        process = start(*args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        killed(process, sandbox, dice.randrange(10, 50), dice.random() * 0.2)
    last = start(*args)
    _, err = last.communicate(timeout=TIMEOUT)
    for job in jobs_in_doubt(environ):  # the lookup found none of these at the provider, so it is safe to resend them
        command = [sys.executable, "-m", "hfmedia", "jobs", "resolve", job, "--resend", "--yes"]
        subprocess.run(command, env=dict(environ), capture_output=True, timeout=TIMEOUT, check=True)
    if last.returncode:
        last = start(*args)
        _, err = last.communicate(timeout=TIMEOUT)
    assert (last.returncode, err) == (0, ""), err
    lines = index()
    assert submitted(sandbox) == count
    assert len(lines) == len({line["key"] for line in lines}) == count
    assert sorted(line["line"] for line in lines) == list(range(1, count + 1))
    files = {Path("out", line["path"]) for line in lines}
    assert all(path.stat().st_size == line["bytes"] for line in lines if (path := Path("out", line["path"])))
    assert not list(Path("out").glob(".*"))
    # a process killed between the rename of a file and its ledger entry may leave a duplicate; nothing else remains
    digests = {path.read_bytes() for path in files}
    assert all(path.read_bytes() in digests for path in set(media_files()) - files)
    assert len(media_files()) <= count + 5
    assert jobs_in_doubt(environ) == []


@pytest.mark.skipif(os.name != "posix", reason="processes are killed by POSIX signals")
def test_killed_without_a_lookup_it_reports_jobs_in_doubt_and_submits_nothing_twice(
    sandbox: SandboxThread, start: Start, environ: Mapping[str, str]
) -> None:
    """Every line is a file or a job in doubt, in every run."""
    count = 60
    file = write(*(f"fox {number}" for number in range(count)))
    args = ("batch", file, "-o", "out", "-m", f"{FLUX}:fal-ai", "--concurrency", "16", *SMALL)
    dice = random.Random(11)
    for _ in range(3):
        process = start(*args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        killed(process, sandbox, dice.randrange(5, 15), dice.random() * 0.1)
    for _ in range(2):
        last = start(*args)
        _, err = last.communicate(timeout=TIMEOUT)
        unknown = jobs_in_doubt(environ)
        assert last.returncode == (8 if unknown else 0), err
        assert len({line["key"] for line in index() if "path" in line}) == count - len(unknown)
        assert count - len(unknown) <= submitted(sandbox) <= count
        assert all(job in err for job in unknown)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_detaches_from_accepted_jobs_and_the_next_run_finds_them(
    sandbox: SandboxThread, start: Start, number: int
) -> None:
    """Nothing is cancelled and nothing is lost; exit code 130, and how to continue."""
    sandbox.fault("replicate", "cold", times=4, seconds=STUCK)
    args = ("batch", write(*map(str, range(12))), "-o", "out", "-m", f"{FLUX}:replicate", "--concurrency", "4")
    process = start(*args)
    end = time.monotonic() + TIMEOUT
    while (submitted(sandbox) < 4 or len(polled(sandbox)) < 4) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, err
    assert f"interrupted; {RERUN} to continue" in err
    assert "still running at their providers" in err
    assert sandbox.request_count("cancel") == 0
    sandbox.finish_waiting_jobs()
    last = start(*args)
    _, err = last.communicate(timeout=TIMEOUT)
    assert last.returncode == 0, err
    assert submitted(sandbox) == 12
    assert len(media_files()) == 12


@pytest.mark.skipif(os.name != "posix", reason="POSIX can move a folder that is in use")
def test_a_batch_continues_when_its_vanished_folder_is_restored(sandbox: SandboxThread, start: Start) -> None:
    """The error names the folder, and nothing is submitted twice."""
    args = ("batch", write(*map(str, range(200))), "-o", "out", "-m", f"{FLUX}:replicate", "--concurrency", "4", *SMALL)
    process = start(*args)
    end = time.monotonic() + TIMEOUT
    while submitted(sandbox) < 12 and time.monotonic() < end:
        time.sleep(0.01)
    Path("out").rename("away")
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert "out is gone, so nothing new is started" in err
    assert RERUN in err
    assert submitted(sandbox) < 60
    if Path("out").exists():  # jobs in progress created the folder again
        for path in Path("out").iterdir():
            path.rename(Path("away", path.name))
        Path("out").rmdir()
    Path("away").rename("out")
    last = start(*args)
    _, err = last.communicate(timeout=TIMEOUT)
    assert last.returncode == 0, err
    assert submitted(sandbox) == 200


def peak(*args: str, environ: Mapping[str, str]) -> int:
    """The peak memory of a command, in MB."""
    program = (
        "import resource, subprocess, sys; ended = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(ended.returncode)"
    )
    command = [sys.executable, "-c", program, sys.executable, "-m", "hfmedia", *args]
    result = subprocess.run(command, env=dict(environ), capture_output=True, text=True, timeout=110, check=True)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return int(result.stdout) // unit


@pytest.mark.skipif(os.name != "posix", reason="memory is measured by POSIX means")
def test_a_hundred_thousand_lines_take_the_memory_of_ten(environ: Mapping[str, str]) -> None:
    """In a dry run, which reads, validates and looks up every line."""
    files = [write(*(f"fox {n}" for n in range(lines)), name=f"{lines}.txt") for lines in (10, 100_000)]
    small, large = (peak("batch", file, "-o", "out", "--dry-run", environ=environ) for file in files)
    assert large < small + 25


def test_limits_and_defaults_are_validated(tmp_path: Path) -> None:
    """The path of an image becomes absolute."""
    validate_limits({"concurrency": 1, "max_cost": 0.5, "max_failures": None})
    with pytest.raises(InvalidRequestError, match="--max-cost is nan"):
        validate_limits({"concurrency": 1, "max_cost": float("nan"), "max_failures": None})
    defaults = to_column_defaults({"image": "fox.png", "model": None, "seed": 7}, ["fps=8", "strength=0.5", "shift=2"])
    named = {"image": str(Path.cwd() / "fox.png"), "seed": 7, "fps": 8, "strength": 0.5}
    assert defaults == {**named, "extra": {"shift": 2}}
    assert to_column_defaults({"image": "https://x.test/a.png"}, ())["image"] == "https://x.test/a.png"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (40, "40 s"), (600, "10 min"), (7200, "2 h")])
def test_a_duration_has_its_largest_unit(seconds: float, text: str) -> None:
    """Not 7200 s."""
    assert format_duration(seconds) == text


def test_the_progress_of_a_batch_is_one_line() -> None:
    """Done of all, rate, failures, cost with unknown ones, remaining time."""
    from hfmedia.batch import BatchStats

    stats = BatchStats(100)
    assert format_batch_stats(stats, 0.0) == "0/100"
    stats.start(0.0)
    for second in range(1, 31):
        stats.add_success(Cost(0.5) if second % 2 else None, float(second))
    stats.add_failure(RequestRejectedError("no"), 31.0)
    assert format_batch_stats(stats, 31.0) == "30/100, 60/min, 1 failed, cost $7.5 (15 unknown), 69 s left"
