"""The traps that real providers have laid, each with the test that remembers it.

Each test says the one thing that a plain reading would have got wrong.
"""

from __future__ import annotations

from typing import Any

import pytest

from hfmedia.core.http import HttpResponse
from hfmedia.core.protocol import Cancel, CancelResult, Completed, JobHandle, Pending, Poll, Submit
from hfmedia.core.request import Task
from hfmedia.providers import get_provider

from .cases import (
    IMAGE_URL,
    PIXELS,
    VIDEO_URL,
    adapted,
    fal_queued,
    fal_result,
    prediction,
    reply,
    route,
    sent,
)  # fmt: skip
from .decoding import decode_reply, expect_failure

STATUS, RESULT = (
    Poll(JobHandle("r-1", job_path="/fal-ai/kite/requests/r-1")),
    Poll(JobHandle("r-1", stage="result", job_path="/fal-ai/kite/requests/r-1")),
)


def test_together_without_a_status_is_still_at_work() -> None:
    """The status is optional in Together's own specification: missing means pending, not finished and not broken."""
    for said in ({"id": "v1"}, {"id": "v1", "status": None}, {"id": "v1", "status": "queued"}):
        assert decode_reply("together", "text-to-video", reply(said)) == Pending(handle=JobHandle("v1"))
    assert decode_reply("together", "text-to-video", reply({}), Poll(JobHandle("v9"))) == Pending(
        handle=JobHandle("v9")
    )


def test_togethers_retry_after_on_a_success_means_nothing() -> None:
    """The header stands on every reply: a 200 is done, and only an error is waited for."""
    said = reply({"id": "i1", "data": [{"b64_json": PIXELS}]}, retry_after="2")
    assert isinstance(decode_reply("together", "text-to-image", said), Completed)
    assert (
        expect_failure(
            "together", "text-to-image", reply({"error": {"message": "slow"}}, 429, retry_after="2")
        ).retry_after
        == 2
    )


def test_togethers_failed_video_has_three_shapes() -> None:
    """An error object, a string, or info.errors as in the documentation's samples."""
    shapes: tuple[tuple[Any, str], ...] = (
        ({"error": {"message": "bad prompt", "code": "x"}}, "bad prompt"),
        ({"error": "bad prompt"}, "bad prompt"),
        ({"info": {"errors": "bad prompt"}}, "bad prompt"),
        ({}, "the video is failed"),
    )
    for more, words in shapes:
        answer = expect_failure("together", "text-to-video", reply({"id": "v1", "status": "failed", **more}))
        assert (answer.kind, answer.message) == ("generation_failed", words)
    assert (
        expect_failure("together", "text-to-video", reply({"id": "v1", "status": "cancelled"})).kind
        == "generation_failed"
    )


def test_together_takes_an_empty_prompt_but_never_a_null() -> None:
    """An edit without a prompt sends an empty one; a video without one sends none."""
    cases: tuple[tuple[Task, dict[str, str]], ...] = (("image-to-image", {"prompt": ""}), ("image-to-video", {}))
    for task, expected in cases:
        asked = Submit(adapted("together", task, prompt=None))
        body = sent(get_provider("together").encode(asked, route("together", task)).body)
        assert {key: body[key] for key in body if key == "prompt"} == expected


def test_fal_completed_with_an_error_has_failed() -> None:
    """COMPLETED says that the job is over, not that it went well."""
    for more in ({"error": "runner gone", "error_type": "runner_disconnected"}, {"error_type": "runner_disconnected"}):
        answer = expect_failure("fal-ai", "text-to-video", reply({"status": "COMPLETED", **more}), STATUS)
        assert (answer.kind, answer.code) == ("generation_failed", "runner_disconnected")
    said = reply({"status": "COMPLETED", "error": "content_policy_violation: no", "error_type": "x"})
    assert expect_failure("fal-ai", "text-to-video", said, STATUS).kind == "content_policy"


FAL_RESULT_ERRORS: list[tuple[HttpResponse, str]] = [
    (
        reply({"detail": [{"loc": ["body", "prompt"], "msg": "too long", "type": "value_error"}]}, 422),
        "generation_failed",
    ),
    (reply({"detail": "bad"}, 400), "generation_failed"),
    (reply({"detail": [{"loc": ["body"], "msg": "no", "type": "content_policy_violation"}]}, 422), "content_policy"),
    (reply({"detail": "out of memory", "error_type": "runner_server_error"}, 500), "generation_failed"),
    (reply({"detail": "late"}, 504, x_fal_error_type="request_timeout"), "generation_failed"),
    (HttpResponse(status=503, headers={"x-fal-error-type": "runner_disconnected"}, body=b"oops"), "generation_failed"),
    (reply({"detail": "oops"}, 500), "server_error"),
    (reply({"error": {"message": "oops", "code": 502}}, 502), "gateway_error"),
    (reply({"detail": "who?"}, 401), "authentication"),
    (reply({"detail": "no"}, 403), "permission_denied"),
    (reply({"detail": "User is locked. Reason: Exhausted balance."}, 403), "insufficient_credit"),
    (reply({"detail": "gone"}, 404), "expired"),
    (reply({"detail": "slow"}, 408), "rate_limited"),
    (reply({"detail": "slow"}, 429), "rate_limited"),
]


@pytest.mark.parametrize(("said", "kind"), FAL_RESULT_ERRORS)
def test_an_error_of_fals_result_is_the_jobs_own_unless_it_is_about_asking(said: HttpResponse, kind: str) -> None:
    """The job ran and was billed: asking again changes nothing, but for a credential, a pace or a server in between."""
    assert expect_failure("fal-ai", "text-to-video", said, RESULT).kind == kind


def test_a_failure_of_fals_own_runner_at_submission_keeps_its_status() -> None:
    """Before acceptance the same words follow the usual table, since nothing runs yet."""
    said = reply({"detail": "busy", "error_type": "runner_scheduling_failure"}, 503)
    answer = expect_failure("fal-ai", "text-to-video", said)
    assert (answer.kind, answer.code) == ("server_error", "runner_scheduling_failure")


def test_fals_content_type_is_only_a_hint() -> None:
    """fal calls a .png image/jpeg and an mp4 application/octet-stream: both are handed on beside the address."""
    answer = decode_reply("fal-ai", "text-to-image", reply(fal_result("text-to-image")))
    assert isinstance(answer, Completed)
    assert (answer.outputs[0].mime, answer.outputs[0].url) == ("image/jpeg", IMAGE_URL)
    video = {"video": {"url": VIDEO_URL, "content_type": "application/octet-stream"}}
    answer = decode_reply("fal-ai", "text-to-video", reply(video), RESULT)
    assert isinstance(answer, Completed)
    assert answer.outputs[0].mime == "application/octet-stream"


@pytest.mark.parametrize("seed", [0, 2**53 + 1, 5818982679236452001, 17305399869835680003, 2**64 - 1])
def test_fals_seed_is_exact_beyond_what_a_double_holds(seed: int) -> None:
    """Not one digit of a seed is lost, or the picture could not be made again."""
    answer = decode_reply("fal-ai", "text-to-image", reply(fal_result("text-to-image", seed=seed)))
    assert isinstance(answer, Completed)
    assert answer.seed == seed


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, "x", [7], None])
def test_a_seed_that_makes_no_sense_is_unknown_and_costs_nothing(seed: Any) -> None:
    """A hint that cannot be read never takes a paid picture with it."""
    answer = decode_reply("fal-ai", "text-to-image", reply(fal_result("text-to-image", seed=seed, timings=[1])))
    assert isinstance(answer, Completed)
    assert (answer.seed, answer.timings) == (None, {})


def test_a_number_beyond_every_float_is_left_out() -> None:
    """Four hundred digits of a timing or a price are a hint that is no number."""
    said = reply(fal_result("text-to-image", timings={"inference": 10**400}), x_fal_billable_units="9" * 400)
    answer = decode_reply("fal-ai", "text-to-image", said)
    assert isinstance(answer, Completed)
    assert (answer.timings, answer.cost) == ({}, None)


def test_fals_addresses_are_shorter_than_the_models_id() -> None:
    """The job lives under owner/alias alone; the path comes from response_url, on the route's own host."""
    for via, base, query in (
        ("router", "https://router.huggingface.co/fal-ai", "?_subdomain=queue"),
        ("direct", "https://queue.fal.run", ""),
    ):
        way = route("fal-ai", "text-to-video", via)
        assert get_provider("fal-ai").encode(Submit(adapted("fal-ai", "text-to-video")), way).url == (
            f"{base}/fal-ai/kite/v2/turbo{query}"
        )
        said = fal_queued(response_url="https://evil.example/fal-ai/kite/requests/r-1?x=1#y")
        pending = decode_reply("fal-ai", "text-to-video", reply(said), via=via)
        assert isinstance(pending, Pending)
        job, also = f"{base}/fal-ai/kite/requests/r-1", "&" if query else "?"
        assert get_provider("fal-ai").encode(Poll(pending.handle), way).url == f"{job}/status{query}{also}logs=1"
        done = decode_reply("fal-ai", "text-to-video", reply({"status": "COMPLETED"}), Poll(pending.handle), via)
        assert isinstance(done, Pending)
        assert done.poll_after == 0
        assert get_provider("fal-ai").encode(Poll(done.handle), way).url == f"{job}{query}"
        cancel = get_provider("fal-ai").encode(Cancel(pending.handle), way)
        assert (cancel.method, cancel.url) == ("PUT", f"{job}/cancel{query}")


@pytest.mark.parametrize(
    "url", [None, "", "https://h/../../v1/me", "https://h/%2e%2e/me", "https://[broken", "https://h"]
)
def test_a_missing_or_hostile_address_of_fal_is_rebuilt_from_the_id(url: str | None) -> None:
    """Without a usable URL, owner, alias and ID make the path; workflows have one more part."""
    for model_id, path in (
        ("fal-ai/kite/v2/turbo", "/fal-ai/kite/requests/r-1"),
        ("workflows/acme/kite/v2", "/workflows/acme/kite/requests/r-1"),
    ):
        way = route("fal-ai", "text-to-video", model_id=model_id)
        said = reply(fal_queued(response_url=url))
        answer = get_provider("fal-ai").decode(Submit(adapted("fal-ai", "text-to-video")), way, said)
        assert isinstance(answer, Pending)
        assert answer.handle.job_path == path


def test_fal_blacks_out_a_picture_with_a_200() -> None:
    """has_nsfw_concepts marks the output and warns; the job is done all the same."""
    answer = decode_reply("fal-ai", "text-to-image", reply(fal_result("text-to-image", has_nsfw_concepts=[True])))
    assert isinstance(answer, Completed)
    assert answer.outputs[0].nsfw
    assert "not safe for work" in answer.warnings[0]


@pytest.mark.parametrize("word", ["FAILED", "CANCELED", "CANCELLED"])
def test_statuses_that_fals_clients_do_not_know_still_end_the_job(word: str) -> None:
    """Third parties list them: they are terminal, not unknown."""
    assert expect_failure("fal-ai", "text-to-video", reply({"status": word}), STATUS).kind == "generation_failed"


@pytest.mark.parametrize(
    ("said", "stopped"),
    [
        (reply({"status": "CANCELLATION_REQUESTED"}, 202), True),
        (reply({"status": "ALREADY_COMPLETED"}, 400), False),
        (reply({"detail": "ALREADY_COMPLETED"}, 400), False),
        (reply({"status": "NOT_FOUND"}, 404), False),
    ],
)
def test_fals_answers_to_a_cancel(said: HttpResponse, stopped: bool) -> None:
    """202 will stop it; a job that is over or unknown cannot be stopped, and that is no failure."""
    answer = decode_reply("fal-ai", "text-to-video", said, Cancel(STATUS.handle))
    assert isinstance(answer, CancelResult)
    assert answer.confirmed is stopped


def test_replicates_output_counts_although_the_status_says_processing() -> None:
    """A held reply brings the output before the status has caught up."""
    for output in (IMAGE_URL, [IMAGE_URL], {"image": IMAGE_URL, "note": "x"}, [[IMAGE_URL]], {"images": [IMAGE_URL]}):
        answer = decode_reply("replicate", "text-to-image", reply(prediction("processing", output), 201))
        assert isinstance(answer, Completed), output
        assert [one.url for one in answer.outputs] == [IMAGE_URL]
    answer = decode_reply("replicate", "text-to-image", reply(prediction("succeeded", [IMAGE_URL, VIDEO_URL])))
    assert isinstance(answer, Completed)
    assert len(answer.outputs) == 2


def test_replicate_goes_on_after_its_hold() -> None:
    """starting and no output after sixty seconds is a job like any other, asked for by its id."""
    made = get_provider("replicate").encode(
        Submit(adapted("replicate", "text-to-image")), route("replicate", "text-to-image")
    )
    assert (made.headers["Prefer"], made.server_wait) == ("wait=60", 60)
    pending = decode_reply("replicate", "text-to-image", reply(prediction("starting"), 201))
    assert isinstance(pending, Pending)
    asked = get_provider("replicate").encode(Poll(pending.handle), route("replicate", "text-to-image"))
    assert asked.url == "https://router.huggingface.co/replicate/v1/predictions/p1"


def test_replicates_version_has_its_own_address() -> None:
    """An id with a colon names a version: it goes into the body, to the address that all models share."""
    way = route("replicate", "text-to-image", model_id="acme/kite:5599ed")
    made = get_provider("replicate").encode(Submit(adapted("replicate", "text-to-image")), way)
    assert made.url == "https://router.huggingface.co/replicate/v1/predictions"
    assert sent(made.body) == {"version": "5599ed", "input": {"prompt": "a red kite"}}


@pytest.mark.parametrize("word", ["failed", "canceled", "aborted"])
def test_replicates_three_bad_ends(word: str) -> None:
    """Failed, canceled, and aborted before it started: each ends the job, in the model's words if there are some."""
    assert (
        expect_failure("replicate", "text-to-image", reply(prediction(word))).message
        == f"the prediction status is {word}"
    )
    said = reply(prediction(word, error="CUDA out of memory"))
    assert (expect_failure("replicate", "text-to-image", said).kind) == "generation_failed"


def test_replicate_tells_moderation_in_the_models_own_words() -> None:
    """A failed prediction that speaks of NSFW was stopped on purpose."""
    said = reply(prediction("failed", error="NSFW content detected. Try running it again, or try a different prompt."))
    assert expect_failure("replicate", "text-to-image", said, Poll(JobHandle("p1"))).kind == "content_policy"


@pytest.mark.parametrize("output", [[], "", {}, "just words", {"text": "words"}, 7])
def test_replicate_done_without_an_address_is_unreadable(output: Any) -> None:
    """Succeeded with nothing to download was billed and is reported, with the response kept."""
    assert (
        expect_failure("replicate", "text-to-image", reply(prediction("succeeded", output))).kind == "invalid_response"
    )


def test_replicates_rate_limit_is_in_the_message() -> None:
    """resets in ~30s counts over the window of the rate limit, and an explicit Retry-After over both."""
    said = {"detail": "Request was throttled. Your rate limit resets in ~30s.", "status": 429, "title": "Throttled"}
    assert expect_failure("replicate", "text-to-image", reply(said, 429, ratelimit_reset="1")).retry_after == 30
    assert expect_failure("replicate", "text-to-image", reply(said, 429, retry_after="4")).retry_after == 4
    assert expect_failure("replicate", "text-to-image", reply({}, 429, ratelimit_reset="9")).retry_after == 9
    assert expect_failure("replicate", "text-to-image", reply(said, 422, ratelimit_reset="1")).retry_after is None


@pytest.mark.parametrize(("word", "stopped"), [("canceled", True), ("processing", True), ("succeeded", False)])
def test_replicates_answer_to_a_cancel(word: str, stopped: bool) -> None:
    """It answers with the prediction: one that has succeeded did not stop."""
    asked = get_provider("replicate").encode(Cancel(JobHandle("p1")), route("replicate", "text-to-image", "direct"))
    assert (asked.method, asked.url) == ("POST", "https://api.replicate.com/v1/predictions/p1/cancel")
    answer = decode_reply("replicate", "text-to-image", reply(prediction(word)), Cancel(JobHandle("p1")))
    assert answer == CancelResult(stopped, f"the prediction status is {word}")
