"""``hfmedia batch``: what it says, what it leaves, and that nothing that kills it costs a picture or pays one twice."""

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

AGAIN = "run the same command again"
PATIENCE = 60.0
SMALL = ("--size", "256x256")  # drawn in no time


def write(*prompts: str, name: str = "prompts.txt") -> str:
    """A file of prompts, and its name."""
    Path(name).write_text("".join(f"{prompt}\n" for prompt in prompts))
    return name


def pictures(folder: str = "out") -> list[Path]:
    """The media in a folder."""
    return sorted(path for path in Path(folder).rglob("*") if path.suffix in (".jpg", ".png", ".webp", ".mp4"))


def index(folder: str = "out") -> list[dict[str, Any]]:
    """What the index says."""
    return [json.loads(line) for line in Path(folder, "index.jsonl").read_text().splitlines()]


def submitted(sandbox: SandboxThread) -> int:
    """How many jobs all providers accepted."""
    return int(sandbox.run(lambda: sandbox.sandbox.submissions.total()))


def test_each_line_becomes_a_file_and_a_second_start_does_nothing(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """Paths on stdout as they arrive, the totals on stderr, an index in the folder."""
    args = ("batch", write("a fox", "", "a whale", "# no comment"), "-o", "out", "-m", f"{FLUX}:together")
    first = hfmedia(*args)
    assert first.exit_code == 0, first.stderr
    assert sorted(first.stdout.splitlines()) == [str(path) for path in pictures()]
    assert "3 of 3 there, cost" in first.stderr
    assert {line["line"]: line["prompt"] for line in index()} == {1: "a fox", 3: "a whale", 4: "# no comment"}
    second = hfmedia(*args)
    assert (second.exit_code, second.stdout) == (0, "")
    assert "3 of 3 there, 3 of them from before" in second.stderr
    assert submitted(sandbox) == 3


def test_as_json_each_line_on_either_stream_is_an_object(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """Results with their line and key, failures with their line."""
    sandbox.fault("fal-ai", "moderated", times=1)
    args = ("-o", "out", "-m", f"{FLUX}:fal-ai", "--json", "--concurrency", "1")
    told = hfmedia("batch", "-", *args, given='{"prompt": "a fox"}\n{"prompt": "a whale", "seed": 7}\n')
    assert told.exit_code == 6
    (made,) = (json.loads(line) for line in told.stdout.splitlines())
    assert (made["line"], made["seed"], made["key"][:6]) == (2, 7, "batch-")
    errors = [json.loads(line) for line in told.stderr.splitlines()]
    assert [(one["error"], one["line"]) for one in errors if "error" in one] == [("ContentRefusedError", 1)]


def test_quiet_says_results_and_errors_alone(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """Each error with its line."""
    sandbox.fault("fal-ai", "moderated", times=1)
    args = ("-o", "out", "-m", f"{FLUX}:fal-ai", "-q", "--concurrency", "1")
    told = hfmedia("batch", write("a fox", "a whale"), *args)
    assert len(told.stdout.splitlines()) == 1
    assert told.stderr.startswith("error: line 1: ")


def test_broken_lines_are_named_and_nothing_is_sent(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """Usage, exit code 2."""
    Path("a.csv").write_text("prompt,seed\na fox,7\na fox,x\n,8\n")
    told = hfmedia("batch", "a.csv", "-o", "out")
    assert told.exit_code == 2
    assert "2 of 3 lines of a.csv are broken; nothing was sent" in told.stderr
    assert "line 3: seed is 'x'" in told.stderr
    assert "line 4: the prompt is empty" in told.stderr
    assert not sandbox.run(lambda: sandbox.sandbox.requests)


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("gone.txt", "-o", "out"), "gone.txt cannot be read"),
    (("prompts.txt", "-o", " "), "-o names no folder"),
    (("prompts.txt", "-o", "prompts.txt/out"), "cannot be written"),
    (("prompts.txt", "-o", "out", "--size", "big"), "size 'big'"),
    (("prompts.txt", "-o", "out", "--max-cost", "0"), "--max-cost is 0"),
    (("prompts.txt", "-o", "out", "--max-failures", "0"), "--max-failures is 0"),
    (("prompts.txt", "-o", "out", "--concurrency", "0"), "--concurrency is 0"),
    (("prompts.txt", "-o", "out", "--per-provider", "0"), "concurrency is 0"),
    (("prompts.txt", "-o", "out", "--format", "xls"), "format 'xls' is not one of"),
    (("prompts.txt", "-o", "out", "-p", "nothing"), "is not KEY=VALUE"),
]


@pytest.mark.parametrize(("args", "words"), WRONG)
def test_what_cannot_be_done_is_said_before_anything_is_sent(
    args: tuple[str, ...], words: str, sandbox: SandboxThread, hfmedia: Hfmedia
) -> None:
    """In one sentence."""
    write("a fox")
    told = hfmedia("batch", *args)
    assert told.exit_code in (1, 2)
    assert words in told.stderr
    assert submitted(sandbox) == 0


def test_options_are_for_the_lines_that_do_not_say_them(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """And a column that nobody knows goes to the provider, with a word about it."""
    Path("a.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b", "size": "512x256", "heigth": 3}\n')
    told = hfmedia("batch", "a.jsonl", "-o", "out", "-m", f"{FLUX}:together", "--size", "256x512", "-p", "steps=3")
    assert told.exit_code == 0, told.stderr
    assert "did you mean height?" in told.stderr
    assert {line["line"]: (line["width"], line["height"]) for line in index()} == {1: (256, 512), 2: (512, 256)}


def test_a_dry_run_tells_what_there_is_to_do(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """Who would be asked, what is there already, what is known of the cost; nothing is sent, no folder is made."""
    file, args = write("a fox", "a whale"), ("-o", "out", "-m", f"{FLUX}:wavespeed")
    told = hfmedia("batch", file, *args, "--dry-run")
    assert told.exit_code == 0, told.stderr
    assert told.stdout.startswith("2 lines, 2 outputs\n  2 to be made\n")
    assert f"2 x {FLUX}:wavespeed, text-to-image: wavespeed" in told.stdout
    assert "estimate for what is to be made: 2 outputs of unknown cost" in told.stdout
    assert told.stdout.endswith("nothing was sent\n")
    assert not Path("out").exists()
    assert submitted(sandbox) == 0
    hfmedia("batch", file, *args)
    write("a fox", "a bear")
    plan = json.loads(hfmedia("batch", file, *args, "--dry-run", "--json").stdout)
    assert (plan["outputs"], plan["done"], plan["to do"]) == (2, 1, 1)
    (group,) = plan["groups"]
    assert group["provider"] == "wavespeed"
    assert plan["unknown_cost"] == (0 if group["each"] else 1)


def test_it_stops_at_a_cost_and_goes_on_when_that_is_raised(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """What earlier starts cost counts; what is unknown is told."""
    file, model = write("a fox", "a whale", "a bear", "an owl"), "Wan-AI/Wan2.2-T2V-A14B:together"
    args = ("batch", file, "-o", "out", "-m", model, "--task", "text-to-video", "--concurrency", "1", *SMALL)
    first = hfmedia(*args, "--max-cost", "0.000001")
    assert first.exit_code == 4
    assert "stopped at --max-cost; raise it and run the same command again to go on" in first.stderr
    assert submitted(sandbox) == 1
    before = submitted(sandbox)
    again = hfmedia(*args, "--max-cost", "0.000001")
    assert (again.exit_code, submitted(sandbox)) == (4, before)
    last = hfmedia(*args)
    assert (last.exit_code, submitted(sandbox)) == (0, 4)


def test_it_stops_at_a_number_of_failures(sandbox: SandboxThread, hfmedia: Hfmedia) -> None:
    """With the exit code of the failures; the next start tries them anew."""
    sandbox.fault("fal-ai", "moderated", times=None)
    args = ("batch", write(*map(str, range(20))), "-o", "out", "-m", f"{FLUX}:fal-ai", "--concurrency", "2")
    first = hfmedia(*args, "--max-failures", "3")
    assert first.exit_code == 6
    assert "stopped at --max-failures" in first.stderr
    sandbox.run(sandbox.sandbox.clear)
    last = hfmedia(*args)
    assert last.exit_code == 0, last.stderr
    assert len(pictures()) == 20


def test_in_the_sandbox_of_the_command_nothing_stands_for_the_real_world(
    sandbox: SandboxThread, hfmedia: Hfmedia
) -> None:
    """A rehearsal in the same folder is not taken for the play."""
    args = ("batch", write("a fox"), "-o", "out", "-m", f"{FLUX}:together")
    assert hfmedia(*args, "--sandbox").exit_code == 0
    assert hfmedia(*args, "--sandbox").stdout == ""
    assert submitted(sandbox) == 0
    assert hfmedia(*args).exit_code == 0
    assert submitted(sandbox) == 1
    assert len(pictures()) == 2


@pytest.mark.parametrize("line", EXAMPLES["batch"])
def test_each_example_of_the_help_does_what_it_says(line: str, hfmedia: Hfmedia) -> None:
    """As it stands, with a file of each sort in the folder."""
    write("a red fox", "a blue whale")
    Path("requests.csv").write_text("prompt,seed\na red fox,7\na blue whale,\n")
    Path("requests.jsonl").write_text('{"prompt": "a red fox", "size": "256x256"}\n')
    command, arrow, piped = line.partition(" < ")
    told = hfmedia(*shlex.split(command)[1:], given=Path(piped).read_text() if arrow else None)
    assert told.exit_code == 0, told.stderr
    assert len(told.stdout.splitlines()) >= 2
    assert len(pictures()) == (0 if "--dry-run" in line else 2)


def doubts(environ: Mapping[str, str]) -> list[str]:
    """The ids of the jobs in doubt."""
    words = [sys.executable, "-m", "hfmedia", "jobs", "list", "--state", "doubt", "--all", "--json"]
    told = subprocess.run(words, env=dict(environ), capture_output=True, text=True, timeout=PATIENCE, check=True)
    return [json.loads(line)["job_id"] for line in told.stdout.splitlines()]


def killed(process: subprocess.Popen[str], sandbox: SandboxThread, after: int, rest: float) -> None:
    """Kills the process some time after so many more submissions."""
    goal, end = submitted(sandbox) + after, time.monotonic() + PATIENCE
    while submitted(sandbox) < goal and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(rest)
    process.kill()
    process.wait(PATIENCE)


@pytest.mark.skipif(os.name != "posix", reason="processes are killed as POSIX knows it")
def test_killed_five_times_it_makes_three_hundred_files_of_three_hundred_submissions(
    sandbox: SandboxThread, start: Start, environ: Mapping[str, str]
) -> None:
    """What was on its way when the process died is asked for at the provider, and nothing is bought twice."""
    count = 300
    file = write(*(f"fox {number}" for number in range(count)))
    args = ("batch", file, "-o", "out", "-m", f"{FLUX}:replicate", "--concurrency", "16", "-q", *SMALL)
    dice = random.Random(7)
    for _ in range(5):
        process = start(*args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        killed(process, sandbox, dice.randrange(10, 50), dice.random() * 0.2)
    last = start(*args)
    _, err = last.communicate(timeout=PATIENCE)
    for job in doubts(environ):  # the provider was asked and has none of these, so it is safe to send them again
        words = [sys.executable, "-m", "hfmedia", "jobs", "resolve", job, "--resend", "--yes"]
        subprocess.run(words, env=dict(environ), capture_output=True, timeout=PATIENCE, check=True)
    if last.returncode:
        last = start(*args)
        _, err = last.communicate(timeout=PATIENCE)
    assert (last.returncode, err) == (0, ""), err
    told = index()
    assert submitted(sandbox) == count
    assert len(told) == len({line["key"] for line in told}) == count
    assert sorted(line["line"] for line in told) == list(range(1, count + 1))
    files = {Path("out", line["path"]) for line in told}
    assert all(path.stat().st_size == line["bytes"] for line in told if (path := Path("out", line["path"])))
    assert not list(Path("out").glob(".*"))
    # killed after a file got its name and before the ledger knew of it, a twin of it may lie there; nothing else does
    digests = {path.read_bytes() for path in files}
    assert all(path.read_bytes() in digests for path in set(pictures()) - files)
    assert len(pictures()) <= count + 5
    assert doubts(environ) == []


@pytest.mark.skipif(os.name != "posix", reason="processes are killed as POSIX knows it")
def test_killed_where_nobody_can_be_asked_it_tells_the_doubts_and_buys_nothing_twice(
    sandbox: SandboxThread, start: Start, environ: Mapping[str, str]
) -> None:
    """Every line is a file or a told doubt; started again it stays so."""
    count = 60
    file = write(*(f"fox {number}" for number in range(count)))
    args = ("batch", file, "-o", "out", "-m", f"{FLUX}:fal-ai", "--concurrency", "16", *SMALL)
    dice = random.Random(11)
    for _ in range(3):
        process = start(*args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        killed(process, sandbox, dice.randrange(5, 15), dice.random() * 0.1)
    for _ in range(2):
        last = start(*args)
        _, err = last.communicate(timeout=PATIENCE)
        unknown = doubts(environ)
        assert last.returncode == (8 if unknown else 0), err
        assert len({line["key"] for line in index() if "path" in line}) == count - len(unknown)
        assert count - len(unknown) <= submitted(sandbox) <= count
        assert all(job in err for job in unknown)


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX knows them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_what_a_provider_has_and_the_next_start_finds_it(
    sandbox: SandboxThread, start: Start, number: int
) -> None:
    """Nothing is cancelled and nothing is lost; exit code 130, and how to go on."""
    sandbox.fault("replicate", "cold", times=4, seconds=STUCK)
    args = ("batch", write(*map(str, range(12))), "-o", "out", "-m", f"{FLUX}:replicate", "--concurrency", "4")
    process = start(*args)
    end = time.monotonic() + PATIENCE
    while (submitted(sandbox) < 4 or len(polled(sandbox)) < 4) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert f"interrupted; {AGAIN} to go on" in err
    assert "go on at their providers" in err
    assert sandbox.request_count("cancel") == 0
    sandbox.finish_waiting_jobs()
    last = start(*args)
    _, err = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0, err
    assert submitted(sandbox) == 12
    assert len(pictures()) == 12


@pytest.mark.skipif(os.name != "posix", reason="folders are moved away under an open process as POSIX knows it")
def test_a_folder_that_vanishes_half_way_is_told_and_brought_back_it_goes_on(
    sandbox: SandboxThread, start: Start
) -> None:
    """Nothing is bought twice."""
    args = ("batch", write(*map(str, range(200))), "-o", "out", "-m", f"{FLUX}:replicate", "--concurrency", "4", *SMALL)
    process = start(*args)
    end = time.monotonic() + PATIENCE
    while submitted(sandbox) < 12 and time.monotonic() < end:
        time.sleep(0.01)
    Path("out").rename("away")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "out is gone; nothing new is begun" in err
    assert AGAIN in err
    assert submitted(sandbox) < 60
    if Path("out").exists():  # what was under way then made itself a folder
        for path in Path("out").iterdir():
            path.rename(Path("away", path.name))
        Path("out").rmdir()
    Path("away").rename("out")
    last = start(*args)
    _, err = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0, err
    assert submitted(sandbox) == 200


def peak(*args: str, environ: Mapping[str, str]) -> int:
    """The most memory that a command took, in MB."""
    program = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
    )
    words = [sys.executable, "-c", program, sys.executable, "-m", "hfmedia", *args]
    told = subprocess.run(words, env=dict(environ), capture_output=True, text=True, timeout=110, check=True)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return int(told.stdout) // unit


@pytest.mark.skipif(os.name != "posix", reason="memory is measured as POSIX knows it")
def test_a_hundred_thousand_lines_take_the_memory_of_ten(environ: Mapping[str, str]) -> None:
    """In a dry run, which reads, checks and looks up every line."""
    files = [write(*(f"fox {n}" for n in range(lines)), name=f"{lines}.txt") for lines in (10, 100_000)]
    small, large = (peak("batch", file, "-o", "out", "--dry-run", environ=environ) for file in files)
    assert large < small + 25


def test_limits_and_defaults_are_read_at_the_door(tmp_path: Path) -> None:
    """A path of an image becomes one that can be found from anywhere."""
    validate_limits({"concurrency": 1, "max_cost": 0.5, "max_failures": None})
    with pytest.raises(InvalidRequestError, match="--max-cost is nan"):
        validate_limits({"concurrency": 1, "max_cost": float("nan"), "max_failures": None})
    made = to_column_defaults({"image": "fox.png", "model": None, "seed": 7}, ["fps=8", "strength=0.5"])
    assert made == {"image": str(Path.cwd() / "fox.png"), "seed": 7, "fps": 8, "extra": {"strength": 0.5}}
    assert to_column_defaults({"image": "https://x.test/a.png"}, ())["image"] == "https://x.test/a.png"


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (40, "40 s"), (600, "10 min"), (7200, "2 h")])
def test_a_span_is_told_in_its_largest_unit(seconds: float, words: str) -> None:
    """Nobody reads 7200 s."""
    assert format_duration(seconds) == words


def test_the_line_of_a_batch_tells_all_that_is_known() -> None:
    """Done of all, rate, failures, cost with the unknown, time left."""
    from hfmedia.batch import BatchStats

    tally = BatchStats(100)
    assert format_batch_stats(tally, 0.0) == "0/100"
    tally.start(0.0)
    for second in range(1, 31):
        tally.add_success(Cost(0.5) if second % 2 else None, float(second))
    tally.add_failure(RequestRejectedError("no"), 31.0)
    assert format_batch_stats(tally, 31.0) == "30/100, 60/min, 1 failed, cost $7.5 (15 not told), 69 s left"
