"""More traps that real providers have laid: money, codes, envelopes, strangers, and outputs that are none.

Each test says the one thing that a plain reading would have got wrong.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from hfmedia.core.http import HttpResponse
from hfmedia.core.protocol import Completed, Failure, JobHandle, Pending, Poll, Submit
from hfmedia.core.request import Task
from hfmedia.providers import get_provider

from .cases import (
    IMAGE_URL,
    PIXELS,
    VIDEO_URL,
    adapted,
    envelope,
    novita_task,
    prediction,
    reply,
    route,
    sent,
)
from .decoding import decode_reply, expect_failure

NO_CREDIT: list[tuple[str, Task, HttpResponse]] = [
    ("nscale", "text-to-image", reply({"error": {"message": "Insufficient credit", "type": "x"}}, 429)),
    (
        "novita",
        "text-to-video",
        reply({"code": 400, "reason": "BILLING_BALANCE_NOT_ENOUGH", "message": "balance"}, 400),
    ),
    ("novita", "text-to-video", reply({"code": "BILLING_BALANCE_NOT_ENOUGH", "message": "balance"}, 400)),
    ("fal-ai", "text-to-image", reply({"detail": "User is locked. Reason: Exhausted balance. Top up at fal.ai"}, 403)),
    ("zai-org", "text-to-image", reply({"error": {"code": "1113", "message": "Insufficient balance"}}, 429)),
    ("replicate", "text-to-image", reply({"title": "Insufficient credit", "detail": "add some", "status": 402}, 402)),
    ("together", "text-to-image", reply({"error": {"message": "spend limit", "type": "credit_limit"}}, 402)),
    ("wavespeed", "text-to-image", reply({"code": 402, "message": "insufficient credits"})),
    ("hf-inference", "text-to-image", reply({"error": "You have exceeded your monthly included credits"}, 402)),
]


@pytest.mark.parametrize(("name", "task", "said"), NO_CREDIT)
def test_no_credit_is_recognised_in_all_its_disguises(name: str, task: Task, said: HttpResponse) -> None:
    """402 means no credit everywhere; so do nscale's 429, novita's 400, fal's 403 and Z.ai's 429 with 1113."""
    answer = expect_failure(name, task, said)
    assert (answer.kind, answer.retry_after) == ("insufficient_credit", None)


ZAI_CODES = {
    "1000": "authentication",
    "1004": "authentication",
    "1113": "insufficient_credit",
    "1301": "content_policy",
    "1302": "rate_limited",
    "1305": "rate_limited",
    "1211": "rejected",
    "1214": "rejected",
    "1231": "rejected",
}


@pytest.mark.parametrize("code", ZAI_CODES)
def test_zai_is_read_by_its_code(code: str) -> None:
    """One status covers concurrency, rate and an empty balance; the code tells them apart, as text or as a number."""
    for status in (400, 401, 429):
        for spelled in (code, int(code)):
            answer = expect_failure(
                "zai-org", "text-to-image", reply({"error": {"code": spelled, "message": "no"}}, status)
            )
            assert (answer.kind, answer.code) == (ZAI_CODES[code], code)


def test_a_number_in_zais_words_is_no_code() -> None:
    """A message about 1113 pixels is not about money."""
    assert (
        expect_failure(
            "zai-org", "text-to-image", reply({"error": {"message": "1113 pixels are not allowed"}}, 400)
        ).kind
        == "rejected"
    )


def test_zais_failed_task_is_over() -> None:
    """FAIL ends the job, whatever code stands beside it; an error inside a 200 is read as one."""
    said = reply({"id": "z1", "task_status": "FAIL", "error": {"code": "1302", "message": "busy"}})
    assert expect_failure("zai-org", "text-to-image", said, Poll(JobHandle("z1"))).kind == "generation_failed"
    assert (
        expect_failure("zai-org", "text-to-image", reply({"error": {"code": "1113", "message": "empty"}})).kind
        == "insufficient_credit"
    )
    assert (
        expect_failure("zai-org", "text-to-image", reply({"error": {"code": "9", "message": "?"}})).kind
        == "invalid_response"
    )


WAVESPEED_CODES = {
    1200: "content_policy",
    1400: "rejected",
    1402: "rejected",
    1405: "rejected",
    5000: "server_error",
    5003: "server_error",
    5004: "generation_failed",
    401: "authentication",
    402: "insufficient_credit",
    429: "rate_limited",
    500: "server_error",
    7: "invalid_response",
}


@pytest.mark.parametrize("code", WAVESPEED_CODES)
def test_wavespeeds_envelope_fails_inside_a_200(code: int) -> None:
    """The envelope's own code counts as much as the HTTP status."""
    answer = expect_failure("wavespeed", "text-to-image", reply({"code": code, "message": "no", "data": None}))
    assert (answer.kind, answer.status) == (WAVESPEED_CODES[code], 200)
    assert str(code) in (answer.code or answer.message)
    assert bool(answer.raw) == (answer.kind == "invalid_response")  # which may be billed, so its bytes are kept


def test_wavespeeds_bad_ends() -> None:
    """A failed job, a job that was deleted, and moderation, which is a failed job with the code 1200."""
    said = reply(envelope("failed", error="worker crashed"))
    assert (expect_failure("wavespeed", "text-to-image", said).kind) == "generation_failed"
    assert expect_failure("wavespeed", "text-to-image", reply(envelope("deleted"))).kind == "expired"
    assert (
        expect_failure("wavespeed", "text-to-image", reply(envelope("failed", error="no", code=1200))).kind
        == "content_policy"
    )
    assert expect_failure("wavespeed", "text-to-image", reply(envelope("completed", []))).kind == "invalid_response"


def test_wavespeed_marks_what_is_not_safe() -> None:
    """has_nsfw_contents stands beside the outputs, one flag each."""
    answer = decode_reply(
        "wavespeed", "text-to-image", reply(envelope("completed", [IMAGE_URL] * 2, has_nsfw_contents=[False, True]))
    )
    assert isinstance(answer, Completed)
    assert [one.nsfw for one in answer.outputs] == [False, True]
    assert "1 of 2 outputs" in answer.warnings[0]


def test_wavespeeds_address_keeps_the_routers_prefix() -> None:
    """The address it tells is its own host's: only the path is used, below the route."""
    pending = decode_reply("wavespeed", "text-to-image", reply(envelope("created")))
    assert isinstance(pending, Pending)
    url = get_provider("wavespeed").encode(Poll(pending.handle), route("wavespeed", "text-to-image")).url
    assert url == "https://router.huggingface.co/wavespeed/api/v3/predictions/w1/result"


def test_novita_answers_one_task_in_two_shapes() -> None:
    """A video at once from one address, a task from the other: either is understood."""
    answer = decode_reply("novita", "text-to-video", reply({"video": {"video_url": VIDEO_URL}}))
    assert isinstance(answer, Completed)
    assert answer.outputs[0].url == VIDEO_URL
    pending = decode_reply("novita", "text-to-video", reply({"task_id": "t1"}))
    assert pending == Pending(handle=JobHandle("t1"))
    asked = get_provider("novita").encode(Poll(JobHandle("t1")), route("novita", "text-to-video"))
    assert asked.url == "https://router.huggingface.co/novita/v3/async/task-result?task_id=t1"


NOVITA_ERRORS = {
    (400, "INVALID_REQUEST_BODY"): "rejected",
    (400, "ILLEGAL_PROMPT"): "content_policy",
    (400, "MISSING_API_KEY"): "authentication",
    (400, "ILLEGAL_IMAGE_CONTENT"): "content_policy",
    (403, "INVALID_API_KEY"): "authentication",
    (403, "API_NOT_ALLOWED"): "permission_denied",
    (404, "TASK_NOT_FOUND"): "expired",
    (404, "API_NOT_FOUND"): "rejected",
    (429, "RATE_LIMIT_EXCEEDED"): "rate_limited",
    (500, "CREATE_TASK_FAILED"): "server_error",
    (500, "GET_RESULT_FAILED"): "server_error",
    (500, "TASK_FAILED"): "generation_failed",
}


@pytest.mark.parametrize("known", [["t1"], True, 7, {"id": "t1"}])
def test_an_id_of_a_task_that_is_no_text_is_unreadable(known: Any) -> None:
    """It was accepted, so it may be billed; but nothing can be asked with it."""
    said = reply({"task": {"task_id": known, "status": "TASK_STATUS_PROCESSING"}})
    assert expect_failure("novita", "text-to-video", said).kind == "invalid_response"


@pytest.mark.parametrize(("status", "reason"), NOVITA_ERRORS)
def test_novita_is_read_by_its_reason(status: int, reason: str) -> None:
    """Its reasons tell what its statuses do not."""
    answer = expect_failure(
        "novita", "text-to-video", reply({"code": status, "reason": reason, "message": "no"}, status)
    )
    assert (answer.kind, answer.code) == (NOVITA_ERRORS[(status, reason)], reason)


def test_novitas_failed_task_is_over() -> None:
    """FAILED ends the job; a reason about the prompt means that it was stopped on purpose."""
    said = reply(novita_task("FAILED", reason="worker crashed"))
    assert expect_failure("novita", "text-to-video", said, Poll(JobHandle("t1"))).kind == "generation_failed"
    said = reply(novita_task("FAILED", reason="ILLEGAL_PROMPT"))
    assert expect_failure("novita", "text-to-video", said, Poll(JobHandle("t1"))).kind == "content_policy"


def test_hf_inference_says_how_long_a_model_loads() -> None:
    """Its 503 while loading is rate limiting with a retry delay; any other 503 is a server error."""
    said = {"error": "Model acme/kite is currently loading", "estimated_time": 20.0}
    answer = expect_failure("hf-inference", "text-to-image", reply(said, 503))
    assert (answer.kind, answer.retry_after) == ("rate_limited", 20)
    assert expect_failure("hf-inference", "text-to-image", reply({"error": "overloaded"}, 503)).kind == "server_error"


@pytest.mark.parametrize("body", [{"data": [{"b64_json": PIXELS}]}, {"output": [IMAGE_URL]}, {"output": IMAGE_URL}])
def test_hf_inference_may_answer_in_json(body: dict[str, Any]) -> None:
    """A model's own handler answers with base64 or an address instead of raw bytes."""
    answer = decode_reply("hf-inference", "text-to-image", reply(body))
    assert isinstance(answer, Completed)
    assert answer.outputs[0].data == b"the pixels of a picture" or answer.outputs[0].url == IMAGE_URL


@pytest.mark.parametrize("mime", ["text/html", "text/plain"])
def test_hf_inferences_page_is_no_picture(mime: str) -> None:
    """Bytes with a text content type are not returned as an image."""
    said = HttpResponse(status=200, headers={"content-type": mime}, body=b"<html>")
    assert expect_failure("hf-inference", "text-to-image", said).kind == "invalid_response"


@pytest.mark.parametrize("name", ["black-forest-labs", "nebius", "hyperbolic"])
def test_a_provider_that_the_hub_removed_is_spoken_to_as_a_stranger(name: str) -> None:
    """A mapping of yesterday that names one of them does not break: it hears the OpenAI dialect through the router."""
    speaker = get_provider(name)
    base = f"https://router.huggingface.co/{name}"
    way = structs.replace(route("unknown-ai", "text-to-image"), provider=name, base_url=base)
    made = speaker.encode(Submit(adapted("unknown-ai", "text-to-image", width=512, height=512)), way)
    assert made.url == f"https://router.huggingface.co/{name}/v1/images/generations"
    assert sent(made.body) == {
        "model": "acme/kite",
        "prompt": "a red kite",
        "response_format": "b64_json",
        "size": "512x512",
    }
    asked = Submit(adapted("unknown-ai", "text-to-image"))
    said: dict[str, Any]
    for said in ({"data": [{"b64_json": PIXELS}]}, {"data": [{"url": IMAGE_URL}]}):
        assert isinstance(speaker.decode(asked, way, reply(said)), Completed)
    for said in (
        {"id": "b1", "polling_url": "https://api.bfl.ai/v1/get_result?id=b1"},
        {"images": [{"image": PIXELS}]},
    ):
        answer = speaker.decode(asked, way, reply(said))
        assert isinstance(answer, Failure)
        assert answer.kind == "invalid_response"


@pytest.mark.parametrize("bad", ["aGVsbG8", "not base64!", "aGVs\nbG8=", 7, ""])
@pytest.mark.parametrize("name", ["together", "nscale", "unknown-ai"])
def test_base64_that_is_none_is_unreadable(name: str, bad: Any) -> None:
    """Half a picture is not a picture."""
    assert expect_failure(name, "text-to-image", reply({"data": [{"b64_json": bad}]})).kind == "invalid_response"


@pytest.mark.parametrize("bad", ["", "file:///etc/passwd", "ftp://h/x", "//h/x", "javascript:1"])
def test_an_output_that_is_no_address_is_unreadable(bad: str) -> None:
    """Only http(s) and data: addresses are handed on to be fetched."""
    said: dict[tuple[str, Task], Any] = {
        ("fal-ai", "text-to-image"): {"images": [{"url": bad}]},
        ("wavespeed", "text-to-image"): envelope("completed", [bad]),
        ("together", "text-to-video"): {"id": "v1", "status": "completed", "outputs": {"video_url": bad}},
        ("novita", "text-to-video"): {"video": {"video_url": bad}},
        ("zai-org", "text-to-image"): {"id": "z1", "task_status": "SUCCESS", "image_result": [{"url": bad}]},
        ("nscale", "text-to-image"): {"data": [{"url": bad}]},
        ("hf-inference", "text-to-image"): {"output": [bad]},
        ("replicate", "text-to-image"): prediction("succeeded", [bad]),
    }
    for (name, task), body in said.items():
        assert expect_failure(name, task, reply(body)).kind == "invalid_response", name
