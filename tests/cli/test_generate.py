"""``hfmedia generate``: stdout, stderr and exit codes of every outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.cli import Hfmedia
from tests.support.models import FLUX
from tests.support.sandbox_thread import SandboxThread

FAL = f"{FLUX}:fal-ai"


def image_size(path: Path) -> tuple[int, int]:
    """The size of an image that decodes completely."""
    with Image.open(path) as image:
        image.load()
        return image.size


def leftovers(folder: Path) -> list[str]:
    """Files that are neither an image, a video nor a sidecar."""
    return [
        p.name for p in folder.rglob("*") if p.is_file() and p.suffix not in (".png", ".jpg", ".mp4", ".json", ".webp")
    ]


def test_a_prompt_becomes_an_image_and_stdout_its_path(hfmedia: Hfmedia) -> None:
    """One line on stdout, nothing on stderr when it is not a terminal."""
    result = hfmedia("a red fox", "-m", FAL)
    assert (result.exit_code, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    assert "red-fox" in line
    assert image_size(Path(line))[0] > 0
    assert leftovers(Path()) == []


def test_several_words_need_no_quotes_and_a_model_need_not_be_named(hfmedia: Hfmedia) -> None:
    """The words are joined, and a well-known live model is used."""
    result = hfmedia("a", "red", "fox", "--json")
    assert result.exit_code == 0, result.stderr
    (media,) = map(json.loads, result.stdout.splitlines())
    assert media["prompt"] == "a red fox"
    assert media["model"] == FLUX


def test_json_has_every_field_of_each_result(hfmedia: Hfmedia) -> None:
    """One object per line, with the documented fields."""
    result = hfmedia("a fox", "-m", FAL, "-n", "3", "--seed", "5", "--size", "512x512", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    results = [json.loads(line) for line in result.stdout.splitlines()]
    fields = {"path", "mime", "width", "height", "bytes", "provider", "model", "seed", "cost", "job_id", "warnings"}
    assert len(results) == 3
    assert all(fields <= set(media) for media in results)
    assert sorted(media["seed"] for media in results) == [5, 6, 7]
    assert {(media["width"], media["height"], media["provider"]) for media in results} == {(512, 512, "fal-ai")}
    for media in results:
        assert Path(media["path"]).stat().st_size == media["bytes"]


OUTPUTS = (
    ("fox.jpg", 1, {"fox.jpg"}),
    ("fox.jpg", 3, {"fox-1.jpg", "fox-2.jpg", "fox-3.jpg"}),
    ("sub/dir/fox.jpg", 1, {"sub/dir/fox.jpg"}),
)


@pytest.mark.parametrize(("output", "n", "files"), OUTPUTS)
def test_a_file_is_written_to_its_output_path(hfmedia: Hfmedia, output: str, n: int, files: set[str]) -> None:
    """Several outputs with one name are numbered."""
    result = hfmedia("a fox", "-m", FAL, "-n", str(n), "-o", output)
    assert result.exit_code == 0, result.stderr
    assert set(result.stdout.splitlines()) == files
    assert all(image_size(Path(name)) for name in files)


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_exists_or_ends_in_a_slash(hfmedia: Hfmedia, exists: bool) -> None:
    """Names in it come from the prompt."""
    if exists:
        Path("out").mkdir()
    result = hfmedia("a fox", "-m", FAL, "-n", "2", "-o", "out" if exists else "out/")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(set(lines)) == 2
    assert all(Path(line).parent == Path("out") and "fox" in line for line in lines)


def test_the_prompt_may_come_on_stdin(hfmedia: Hfmedia) -> None:
    """- reads it, without the last line break."""
    result = hfmedia("-", "-m", FAL, "--json", stdin="a blue fox\n")
    assert json.loads(result.stdout)["prompt"] == "a blue fox"


def test_an_input_image_selects_the_task(hfmedia: Hfmedia) -> None:
    """The model's own task for an image is found without --task."""
    Image.new("RGB", (64, 64), "orange").save("day.png")
    result = hfmedia("make it night", "--image", "day.png", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["task"] == "image-to-image"


def test_params_reach_the_provider_as_json_or_text(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Known parameters by name; anything else goes into the provider's JSON unchanged."""
    pairs = ("num_inference_steps=3", "enable_safety_checker=false", "output_format=png", "acceleration=regular")
    result = hfmedia("a fox", "-m", FAL, *(word for pair in pairs for word in ("-p", pair)))
    assert result.exit_code == 0, result.stderr
    sent = sandbox.run(lambda: next(request.json() for request in sandbox.sandbox.requests if request.kind == "submit"))
    assert sent["num_inference_steps"] == 3
    assert sent["enable_safety_checker"] is False
    assert (sent["output_format"], sent["acceleration"]) == ("png", "regular")


def test_adapted_parameters_are_warned_about_on_stderr(hfmedia: Hfmedia) -> None:
    """Once; in JSON as part of the result; with --quiet not at all."""
    odd = ("a fox", "-m", f"{FLUX}:zai-org", "--size", "1001x777", "-n", "2")
    result = hfmedia(*odd)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert result.stderr.count("1001x777") >= 1
    assert all(line.startswith("warning: ") for line in result.stderr.splitlines())
    assert len(set(result.stderr.splitlines())) == len(result.stderr.splitlines())
    as_json = hfmedia(*odd, "--json")
    assert as_json.stderr == ""
    assert all("1001x777" in str(json.loads(line)["warnings"]) for line in as_json.stdout.splitlines())
    assert hfmedia(*odd, "--quiet").stderr == ""


BAD: tuple[tuple[tuple[str, ...], int, str], ...] = (
    (("",), 2, "prompt is empty"),
    (("   ",), 2, "prompt is empty"),
    (("generate",), 2, "prompt is empty"),
    (("x" * 32_001,), 2, "32000"),
    (("a fox", "--task", "text-to-music"), 2, "text-to-video"),
    (("a fox", "-m", "unknown/model"), 5, "unknown/model"),
    (("a fox", "-m", "a b"), 2, "org/name"),
    (("a fox", "-m", f"{FLUX}:unknown"), 5, "fal-ai"),
    (("a fox", "-m", f"{FLUX}:"), 2, "org/name:provider"),
    (("a fox", "-m", FAL, "--task", "text-to-video"), 5, "text-to-image"),
    (("a fox", "-n", "0"), 2, "1 to 100"),
    (("a fox", "-n", "-3"), 2, "1 to 100"),
    (("a fox", "-n", "101"), 2, "1 to 100"),
    (("a fox", "-n", "many"), 2, "valid integer"),
    (("a fox", "--size", "0x0"), 2, "width"),
    (("a fox", "--size", "-5x512"), 2, "width"),
    (("a fox", "--size", "999999x512"), 2, "width"),
    (("a fox", "--size", "big"), 2, "1024x768"),
    (("a fox", "--aspect-ratio", "16/9"), 2, "16:9"),
    (("a fox", "--aspect-ratio", "banana"), 2, "16:9"),
    (("a fox", "--resolution", "blurry"), 2, "480p"),
    (("a fox", "--image", "absent.png"), 2, "absent.png"),
    (("a fox", "--image", "text.png"), 2, "text.png"),
    (("a fox", "--proxy", "banana://x"), 2, "proxy"),
    (("a fox", "--proxy", "http://"), 2, "proxy"),
    (("a fox", "--timeout", "-1"), 2, "timeout"),
    (("a fox", "--timeout", "nan"), 2, "timeout"),
    (("a fox", "--timeout", "soon"), 2, "valid number"),
    (("a fox", "--seed", "-1"), 2, "seed"),
    (("a fox", "--steps", "0"), 2, "num_inference_steps"),
    (("a fox", "--bill-to", "two words"), 2, "bill_to"),
    (("a fox", "--strength", "2"), 2, "strength is 2.0, but must be 0 to 1"),
    (("a fox", "--quality", "best"), 2, "must be one of"),
    (("a fox", "--frames", "0"), 2, "num_frames"),
    (("a fox", "-p", "strength"), 2, "KEY=VALUE"),
    (("a fox", "-p", "=1"), 2, "KEY=VALUE"),
)


@pytest.mark.parametrize(("args", "code", "text"), BAD, ids=[" ".join(args)[:40] for args, *_ in BAD])
def test_invalid_input_is_one_message_and_nothing_is_sent(
    hfmedia: Hfmedia, sandbox: SandboxThread, args: tuple[str, ...], code: int, text: str
) -> None:
    """The right exit code, a message with valid values, no traceback, no submission."""
    Path("text.png").write_text("not an image")
    result = hfmedia(*args)
    assert result.exit_code == code, result.stderr
    assert text in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert sandbox.request_count("submit") == 0


TOKENS: tuple[tuple[dict[str, str | None], int, str], ...] = (
    ({"HF_TOKEN": None}, 3, "--sandbox"),
    ({"HF_TOKEN": None}, 3, "https://huggingface.co/settings/tokens"),
    ({"HF_TOKEN": "hf_two words"}, 3, "white space"),
    ({"HF_TOKEN": "hf_thisTokenIsRefusedEverywhere0000"}, 3, "token"),
)


@pytest.mark.parametrize(("env", "code", "text"), TOKENS)
def test_without_a_valid_token_the_message_says_how_to_get_one(
    hfmedia: Hfmedia, sandbox: SandboxThread, env: dict[str, str | None], code: int, text: str
) -> None:
    """And that the sandbox needs none; the token itself is not printed."""
    result = hfmedia("a fox", "-m", FAL, env=env)
    assert result.exit_code == code, result.stderr
    assert text in result.stderr
    assert "RefusedEverywhere" not in result.stderr
    assert sandbox.run(lambda: sum(sandbox.sandbox.submissions.values())) == 0


def test_a_folder_that_cannot_be_written_costs_nothing(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """It is an error before anything is sent."""
    Path("file").write_text("not a folder")
    result = hfmedia("a fox", "-m", FAL, "-o", "file/below/")
    assert result.exit_code == 1, result.stderr
    assert result.stderr.startswith("error: file/below cannot be written")
    assert sandbox.request_count("submit") == 0


FAILURES: tuple[tuple[str, dict[str, Any], int, str], ...] = (
    ("unauthorized", {}, 3, "AuthenticationError"),
    ("credit", {}, 4, "InsufficientCreditError"),
    ("forbidden", {}, 6, "PermissionDeniedError"),
    ("status", {"status": 422}, 6, "RequestRejectedError"),
    ("moderated", {"step": "submit"}, 6, "ContentPolicyError"),
    ("server", {}, 6, "ProviderServerError"),
    ("fail", {}, 6, "GenerationFailedError"),
    ("html", {}, 6, "InvalidResponseError"),
    ("disconnect", {}, 8, "InDoubtError"),
    ("truncated", {}, 8, "InDoubtError"),
)


@pytest.mark.parametrize(("kind", "fault", "code", "name"), FAILURES, ids=[kind for kind, *_ in FAILURES])
def test_each_failure_of_a_provider_has_its_exit_code(
    hfmedia: Hfmedia, sandbox: SandboxThread, kind: str, fault: dict[str, Any], code: int, name: str
) -> None:
    """One JSON object on stderr has class, job and provider; nothing is on stdout or on the disk."""
    sandbox.fault("replicate", kind, times=None, **fault)
    result = hfmedia("a fox", "-m", f"{FLUX}:replicate", "--json", "--timeout", "20")
    assert result.exit_code == code, result.stderr
    error = json.loads(result.stderr)
    assert (error["error"], error["exit_code"]) == (name, code)
    assert error["provider"] == "replicate"
    assert error["job_id"]
    assert result.stdout == ""
    assert list(Path().rglob("*")) == []


def test_a_timeout_names_the_job(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Exit code 7: the job is still running at the provider."""
    sandbox.fault("novita", "cold", times=None, seconds=100_000)
    # in real time, and long enough for the submission to be accepted before
    result = hfmedia("a fox", "--task", "text-to-video", "-m", "Wan-AI/Wan2.1-T2V-14B:novita", "--timeout", "5")
    assert result.exit_code == 7, result.stderr
    assert result.stderr.startswith("error: the time limit was reached while novita was running the job. Job ")
    assert result.stdout == ""


def test_results_are_saved_although_another_output_fails(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Three paths, one error that names its output, and its exit code."""
    sandbox.fault("replicate", "fail", times=1)
    result = hfmedia("a fox", "-m", f"{FLUX}:replicate", "-n", "4")
    assert result.exit_code == 6
    assert len(result.stdout.splitlines()) == 3
    assert all(image_size(Path(line)) for line in result.stdout.splitlines())
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert "/4: " in line


def test_a_failover_is_a_warning(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """Without credit at the first provider, the next one generates, and a warning says so."""
    first = json.loads(hfmedia("a fox", "-m", FLUX, "--json").stdout)["provider"]
    sandbox.fault(first, "credit", times=None)
    result = hfmedia("a fox", "-m", FLUX)
    assert result.exit_code == 0, result.stderr
    assert f"moved from {first} to " in result.stderr
    assert len(result.stdout.splitlines()) == 1


def test_the_sandbox_needs_no_account_and_is_announced(hfmedia: Hfmedia, sandbox: SandboxThread) -> None:
    """No token, no network, one line on stderr; real keys in the environment are ignored."""
    result = hfmedia(
        "a fox", "--sandbox", env={"HF_TOKEN": None, "FAL_KEY": "real", "HF_ENDPOINT": "http://127.0.0.1:9"}
    )
    assert result.exit_code == 0, result.stderr
    (line,) = result.stderr.splitlines()
    assert line == "sandbox: simulated on this machine; nothing is billed."
    assert image_size(Path(result.stdout.strip()))
    assert sandbox.run(lambda: len(sandbox.sandbox.requests)) == 0


def test_faults_in_the_environment_apply_to_the_sandbox(hfmedia: Hfmedia) -> None:
    """As its help says; an invalid fault is a usage error."""
    args = ("a fox", "--sandbox", "-m", FAL)
    assert hfmedia(*args, env={"HFMEDIA_SANDBOX_FAULTS": "fal-ai:credit:all"}).exit_code == 4
    invalid = hfmedia(*args, env={"HFMEDIA_SANDBOX_FAULTS": "fal-ai:earthquake"})
    assert invalid.exit_code == 2
    assert "earthquake" in invalid.stderr


def test_an_internal_error_is_one_message_and_a_traceback_only_on_demand(
    hfmedia: Hfmedia, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, and how to see the traceback."""

    def broken(*_: object) -> None:
        raise RuntimeError("this should not be")

    monkeypatch.setattr("hfmedia.cli.generating.validate_options", broken)
    result = hfmedia("a fox")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: unexpected: RuntimeError: this should not be")
    assert "HFMEDIA_DEBUG=1" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in hfmedia("a fox", env={"HFMEDIA_DEBUG": "1"}).stderr
