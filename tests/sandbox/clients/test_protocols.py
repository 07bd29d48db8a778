"""Each provider's protocol as documented: queues, held requests, envelopes, progress and validation.

With plain HTTP, without any client library.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from hfmedia.sandbox import Sandbox

from .conftest import FLUX, Web, eventually, opened, slow_down

SMALL = {"prompt": "a kite", "width": 128, "height": 128, "seed": 7}
WAN = "/direct/queue.fal.run/fal-ai/wan/v2.2-a14b/text-to-video"


def read(reply: tuple[int, dict[str, str], bytes]) -> Any:
    """Decode the body as JSON."""
    return json.loads(reply[2])


# -- fal-ai -------------------------------------------------------------------------------------------------------


async def test_the_fal_queue_reports_position_logs_and_completion(sandbox: Sandbox, web: Web) -> None:
    """202 until it has ended, then 200; URLs contain two segments of a longer model ID."""
    key = f"Key {sandbox.keys['fal-ai']}"
    ticket = read(await web.post(WAN, {"prompt": "waves"}, key=key))
    slow_down(sandbox, ticket["request_id"])
    assert ticket["status"] == "IN_QUEUE"
    assert ticket["response_url"] == f"https://queue.fal.run/fal-ai/wan/requests/{ticket['request_id']}"
    path = "/direct/queue.fal.run" + urlsplit(ticket["response_url"]).path
    early = await web("GET", path, key=key)
    assert early[0] == 400
    replies = await eventually(lambda: web("GET", path + "/status?logs=1", key=key), lambda reply: reply[0] == 200)
    statuses = [read(reply)["status"] for reply in replies]
    assert list(dict.fromkeys(statuses)) == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    positions = [read(reply)["queue_position"] for reply in replies if read(reply)["status"] == "IN_QUEUE"]
    assert positions == sorted(positions, reverse=True)
    assert "%|" in read(replies[-1])["logs"][-1]["message"]
    status, headers, body = await web("GET", path, key=key)
    assert (status, headers["x-fal-billable-units"]) == (200, "1")
    video = json.loads(body)["video"]
    assert (await web("GET", video["url"], key=""))[2][4:8] == b"ftyp"
    assert len((await web("GET", video["url"], key=""))[2]) == video["file_size"]


async def test_the_fal_queue_behind_the_router_requires_its_query_on_every_request(sandbox: Sandbox, web: Web) -> None:
    """Without ``_subdomain=queue`` the request is not found."""
    app = "/router/fal-ai/fal-ai/wan/v2.2-a14b/text-to-video"
    ticket = read(await web.post(app + "?_subdomain=queue", {"prompt": "waves"}))
    path = "/router/fal-ai" + urlsplit(ticket["status_url"]).path
    assert (await web("GET", path + "?_subdomain=queue"))[0] == 202
    assert (await web("GET", path))[0] == 404
    assert (await web("PUT", path.replace("/status", "/cancel") + "?_subdomain=queue"))[0] == 202
    assert read(await web("GET", path + "?_subdomain=queue"))["error_type"] == "client_cancelled"
    assert (await web("PUT", path.replace("/status", "/cancel") + "?_subdomain=queue"))[0] == 400
    assert sandbox.jobs[ticket["request_id"]].is_cancelled


async def test_fal_labels_a_png_as_jpeg_and_its_seeds_exceed_a_double(web: Web) -> None:
    """As in recorded responses; the bytes decide."""
    payload = read(await web.post("/router/fal-ai/fal-ai/flux/dev", {"prompt": "a kite", "image_size": "square"}))
    image = payload["images"][0]
    assert (image["content_type"], image["width"], payload["has_nsfw_concepts"]) == ("image/jpeg", 512, [False])
    assert image["url"].endswith(".png")
    assert payload["seed"] > 2**53
    assert opened((await web("GET", image["url"], key=""))[2]).format == "PNG"


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/direct/fal.run/fal-ai/flux/schnell", {}, 422, "missing"),
        ("/direct/fal.run/fal-ai/flux/schnell", {"prompt": "x", "image_size": "huge"}, 422, "image_size"),
        ("/direct/fal.run/fal-ai/flux-lora", {"prompt": "x", "loras": [{"path": {}}]}, 422, "str type expected"),
        ("/direct/fal.run/fal-ai/lora", {"prompt": "x"}, 422, "model_name"),
        ("/direct/fal.run/fal-ai/no-such-model", {"prompt": "x"}, 404, "not found"),
        ("/router/fal-ai/fal-ai/flux", {"prompt": "x"}, 400, "Model not supported by provider fal-ai"),
        (
            "/direct/queue.fal.run/fal-ai/qwen-image-edit",
            {"prompt": "x", "image_url": "data:image/tiff;base64,AAAA"},
            400,
            "Unsupported data URL",
        ),
        (
            "/direct/queue.fal.run/fal-ai/qwen-image-edit",
            {"prompt": "x", "image_url": "data:image/png;base64,AAAA"},
            422,
            "image_load_error",
        ),
    ],
)
async def test_fal_rejects_invalid_requests(
    sandbox: Sandbox, web: Web, path: str, body: Any, status: int, message: str
) -> None:
    """In its own formats, and nothing is billed."""
    key = f"Key {sandbox.keys['fal-ai']}" if "direct" in path else None
    got = await web.post(path, body, key=key)
    assert (got[0], message in got[2].decode()) == (status, True), got
    assert sandbox.submissions.total() == 0


async def test_a_black_image_of_fal_is_flagged(sandbox: Sandbox, web: Web) -> None:
    """has_nsfw_concepts is true, the status 200, and every pixel black."""
    sandbox.fault("fal-ai", "nsfw")
    payload = read(await web.post("/router/fal-ai/fal-ai/flux/schnell", {"prompt": "x", "image_size": "square"}))
    assert payload["has_nsfw_concepts"] == [True]
    image = opened((await web("GET", payload["images"][0]["url"], key=""))[2])
    assert image.convert("L").getextrema() == (0, 0)


async def test_fal_returns_inline_images_in_sync_mode(web: Web) -> None:
    """sync_mode returns data URIs."""
    body = {"prompt": "x", "image_size": {"width": 96, "height": 64}, "sync_mode": True, "num_images": 2}
    payload = read(await web.post("/router/fal-ai/fal-ai/flux/schnell", body))
    sizes = [opened(base64.b64decode(image["url"].partition(",")[2])).size for image in payload["images"]]
    assert sizes == [(96, 64)] * 2


# -- replicate ----------------------------------------------------------------------------------------------------


async def test_replicate_holds_a_request_and_its_status_lags_behind(web: Web) -> None:
    """`processing` with the output already present, then succeeded; the output is an array or one string."""
    body = {"input": {"prompt": "a kite", "width": 128, "height": 128, "seed": 7}}
    path = "/router/replicate/v1/models/black-forest-labs/flux-schnell/predictions"
    status, headers, raw = await web.post(path, body, headers={"Prefer": "wait"})
    held = json.loads(raw)
    assert (status, headers["preference-applied"], held["status"]) == (201, "wait=60", "processing")
    assert isinstance(held["output"], list)
    assert "100%|" in held["logs"]
    later = read(await web("GET", "/router/replicate" + urlsplit(held["urls"]["get"]).path))
    assert (later["status"], later["output"]) == ("succeeded", held["output"])
    other = path.replace("flux-schnell", "flux-kontext-dev")
    image_url = held["output"][0]
    single = read(await web.post(other, {"input": {"prompt": "x", "image": image_url}}, headers={"Prefer": "wait"}))
    assert isinstance(single["output"], str)


async def test_replicate_responds_after_its_wait(sandbox: Sandbox, web: Web) -> None:
    """A cold model: starting and null at first while the job continues; the logs contain percentages."""
    sandbox.fault("replicate", "cold", seconds=3)  # longer than a wait of 1 s at this sandbox's speed
    path = "/router/replicate/v1/models/black-forest-labs/flux-schnell/predictions"
    held = read(await web.post(path, {"input": {"prompt": "x"}}, headers={"Prefer": "wait=1"}))
    assert (held["status"], held["output"]) == ("starting", None)
    get = "/router/replicate" + urlsplit(held["urls"]["get"]).path
    replies = await eventually(lambda: web("GET", get), lambda reply: read(reply)["status"] == "succeeded")
    assert "100%|" in read(replies[-1])["logs"]
    assert sandbox.submissions == {"replicate": 1}


async def test_replicate_cancels_on_request_and_at_a_deadline(sandbox: Sandbox, web: Web) -> None:
    """canceled on request; aborted when its deadline passes before it has started."""
    path = "/router/replicate/v1/models/wan-video/wan-2.2-t2v-fast/predictions"
    job = read(await web.post(path, {"input": {"prompt": "x"}}))
    done = read(await web("POST", f"/router/replicate/v1/predictions/{job['id']}/cancel"))
    assert (done["status"], done["output"]) == ("canceled", None)
    sandbox.fault("replicate", "cold", seconds=500)
    job = read(await web.post(path, {"input": {"prompt": "x"}}, headers={"Cancel-After": "1s"}))
    get = f"/router/replicate/v1/predictions/{job['id']}"
    last = (await eventually(lambda: web("GET", get), lambda reply: read(reply)["status"] != "starting"))[-1]
    assert read(last)["status"] == "aborted"


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/models/black-forest-labs/flux-schnell/predictions", {"input": {}}, 422, "prompt is required"),
        (
            "/v1/models/black-forest-labs/flux-schnell/predictions",
            {"input": {"prompt": "x"}, "model": "m"},
            422,
            "additional_property_not_allowed",
        ),
        ("/v1/models/acme/none/predictions", {"input": {"prompt": "x"}}, 404, "could not be found"),
        ("/v1/predictions", {"input": {"prompt": "x"}, "version": "0" * 64}, 422, "version does not exist"),
        ("/v1/predictions", {"input": {"prompt": "x"}}, 422, "version is required"),
    ],
)
async def test_replicate_rejects_invalid_requests(
    sandbox: Sandbox, web: Web, path: str, body: Any, status: int, message: str
) -> None:
    """problem+json, and nothing is billed."""
    got = await web.post("/router/replicate" + path, body)
    assert (got[0], got[1]["content-type"], message in got[2].decode()) == (status, "application/problem+json", True)
    assert sandbox.submissions.total() == 0


# -- together -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response_format", "field"), [("base64", "b64_json"), ("b64_json", "b64_json"), ("url", "url")]
)
async def test_together_returns_base64_or_urls(web: Web, response_format: str, field: str) -> None:
    """With a `retry-after` on a 200."""
    body = {**SMALL, "model": FLUX, "response_format": response_format, "n": 2}
    status, headers, raw = await web.post("/router/together/v1/images/generations", body)
    rows = json.loads(raw)["data"]
    assert (status, headers["retry-after"]) == (200, "2")
    assert [row["index"] for row in rows] == [0, 1]
    assert all(field in row for row in rows)


async def test_together_videos_are_queued_run_and_have_a_cost(sandbox: Sandbox, web: Web) -> None:
    """The status may be missing in between; the final response contains the cost."""
    body = {"model": "Wan-AI/Wan2.2-T2V-A14B", "prompt": "waves", "seconds": "1", "width": 320, "height": 192}
    job = read(await web.post("/router/together/v2/videos", body))
    slow_down(sandbox, job["id"])
    get = f"/router/together/v2/videos/{job['id']}"
    replies = await eventually(lambda: web("GET", get), lambda reply: "outputs" in read(reply))
    statuses = [read(reply).get("status", "(none)") for reply in replies]
    assert set(statuses) <= {"queued", "in_progress", "completed", "(none)"}
    assert "(none)" in statuses
    assert read(replies[-1])["outputs"]["cost"] == 0.2
    assert job["status"] == "queued"
    assert sandbox.submissions == {"together": 1}


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/images/generations", {"model": FLUX}, "prompt"),
        ("/v1/images/generations", {"model": FLUX, "prompt": None}, "prompt must be a string"),
        ("/v1/images/generations", {"prompt": "x"}, "model"),
        ("/v1/images/generations", {"model": "black-forest-labs/FLUX.2-dev", "prompt": "x"}, "reference_images"),
        ("/v2/videos", {"model": "Wan-AI/Wan2.2-T2V-A14B", "prompt": "x", "seconds": 5}, "seconds"),
        ("/v2/videos", {"model": "Wan-AI/Wan2.2-I2V-A14B", "prompt": "x"}, "frame_images"),
        (
            "/v2/videos",
            {
                "model": "Wan-AI/Wan2.2-I2V-A14B",
                "frame_images": [{"input_image": "data:image/png;base64," + "A" * 61440, "frame": "first"}],
            },
            "[1, 61440]",
        ),
    ],
)
async def test_together_rejects_invalid_requests(
    sandbox: Sandbox, web: Web, path: str, body: Any, message: str
) -> None:
    """400 with the parameter's name."""
    status, _, raw = await web.post("/router/together" + path, body)
    assert (status, message in raw.decode()) == (400, True), raw
    assert sandbox.submissions.total() == 0


# -- novita, nscale, wavespeed, zai-org, hf-inference, acme-images ---------------------------------------------------


async def test_novita_responds_synchronously_or_with_a_task_that_reports_progress(sandbox: Sandbox, web: Web) -> None:
    """Two response formats for one model."""
    sync_result = read(await web.post("/router/novita/v3/hf/wan-2.2-t2v", {"prompt": "waves", "num_frames": 9}))
    assert sync_result["video"]["video_url"].endswith(".mp4")
    task = read(await web.post("/router/novita/v3/async/wan-2.2-t2v", {"prompt": "waves", "num_frames": 9}))
    slow_down(sandbox, task["task_id"])
    get = f"/router/novita/v3/async/task-result?task_id={task['task_id']}"
    replies = [
        read(reply) for reply in await eventually(lambda: web("GET", get), lambda reply: bool(read(reply)["videos"]))
    ]
    statuses = list(dict.fromkeys(reply["task"]["status"] for reply in replies))
    assert statuses == ["TASK_STATUS_QUEUED", "TASK_STATUS_PROCESSING", "TASK_STATUS_SUCCEED"]
    percentages = [reply["task"]["progress_percent"] for reply in replies]
    assert percentages == sorted(percentages)
    assert percentages[-1] == 100
    assert (await web("GET", get.replace(task["task_id"], "none")))[0] == 404


async def test_nscale_returns_base64_only(web: Web) -> None:
    """512x512 by default; a URL is rejected."""
    body = {"model": FLUX, "prompt": "a kite", "response_format": "b64_json"}
    payload = read(await web.post("/router/nscale/v1/images/generations", body))
    assert opened(base64.b64decode(payload["data"][0]["b64_json"])).size == (512, 512)
    rejected = await web.post("/router/nscale/v1/images/generations", {**body, "response_format": "url"})
    assert rejected[0] == 400
    assert (await web.post("/router/nscale/v1/images/generations", {**body, "model": "none"}))[0] == 404


async def test_wavespeed_wraps_every_response(sandbox: Sandbox, web: Web) -> None:
    """created, processing, completed; a moderated job fails inside an HTTP 200."""
    path = "/router/wavespeed/api/v3/wavespeed-ai/flux-schnell"
    first = read(await web.post(path, {"prompt": "a kite", "size": "256*256"}))
    assert (first["code"], first["data"]["status"]) == (200, "created")
    get = "/router/wavespeed" + urlsplit(first["data"]["urls"]["get"]).path
    replies = await eventually(lambda: web("GET", get), lambda reply: bool(read(reply)["data"]["outputs"]))
    assert {read(reply)["data"]["status"] for reply in replies} <= {"created", "processing", "completed"}
    sandbox.fault("wavespeed", "moderated")
    job = read(await web.post(path, {"prompt": "x", "enable_sync_mode": True}))
    assert (job["code"], job["data"]["status"]) == (1200, "failed")
    assert (await web.post(path, {"prompt": "x", "size": "256x256"}))[0] == 400
    assert (await web.post(path, {}))[0] == 400
    assert (await web.post(path + "-no", {"prompt": "x"}))[0] == 404


@pytest.mark.parametrize(
    ("size", "is_valid"),
    [
        ("1024x1024", True),
        ("1280x1056", True),
        ("1000x1024", False),
        ("2048x2080", False),
        ("512x512", False),
        ("big", False),
    ],
)
async def test_zai_accepts_only_its_own_sizes(web: Web, size: str, is_valid: bool) -> None:
    """1024 to 2048 in steps of 32."""
    body = {"model": "glm-image", "prompt": "a kite", "size": size}
    status, _, raw = await web.post("/router/zai-org/api/paas/v4/async/images/generations", body)
    if is_valid:
        assert (status, json.loads(raw)["task_status"]) == (200, "PROCESSING")
    else:
        assert (status, json.loads(raw)["error"]["code"]) == (400, "1214")


async def test_zai_error_codes_are_more_specific_than_the_status(sandbox: Sandbox, web: Web) -> None:
    """429 is an empty balance (1113) or a rate limit (1302); an unknown model is 1211; content is 1301."""
    path = "/direct/api.z.ai/api/paas/v4/async/images/generations"
    key = f"Bearer {sandbox.keys['zai-org']}"
    codes: dict[str, tuple[int, str]] = {}
    for kind in ("credit", "rate-limit"):
        sandbox.fault("zai-org", kind)
        got = await web.post(path, {"model": "glm-image", "prompt": "x"}, key=key)
        codes[kind] = got[0], read(got)["error"]["code"]
    got = await web.post(path, {"model": "none", "prompt": "x"}, key=key)
    codes["model"] = got[0], read(got)["error"]["code"]
    assert codes == {"credit": (429, "1113"), "rate-limit": (429, "1302"), "model": (400, "1211")}


async def test_hf_inference_returns_the_raw_image(web: Web, photo: bytes) -> None:
    """Bytes with their type; an input image is base64 with parameters; JPEG unless PNG is accepted."""
    path = f"/router/hf-inference/models/{FLUX}"
    status, headers, raw = await web.post(path, {"inputs": "a kite", "parameters": {"width": 128, "height": 96}})
    assert (status, headers["content-type"], opened(raw).size) == (200, "image/jpeg", (128, 96))
    edit = "/router/hf-inference/models/black-forest-labs/FLUX.1-Kontext-dev"
    body = {"inputs": base64.b64encode(photo).decode(), "parameters": {"prompt": "at night"}}
    status, headers, raw = await web.post(edit, body, headers={"Accept": "image/png"})
    assert (status, headers["content-type"], opened(raw).format) == (200, "image/png", "PNG")
    broken = await web("POST", edit, data=b"not an image", headers={"Content-Type": "image/png"})
    assert broken[0] == 422


async def test_an_unknown_provider_speaks_the_openai_dialect(web: Web) -> None:
    """URLs unless base64 is requested, several images per request, `auto` as a size."""
    path = "/router/acme-images/v1/images/generations"
    body = {"model": "kite-diffusion-1", "prompt": "a kite", "size": "128x128", "n": 2}
    payload = read(await web.post(path, body))
    assert [list(row) for row in payload["data"]] == [["url"], ["url"]]
    payload = read(await web.post(path, {**body, "response_format": "b64_json", "n": 1}))
    assert opened(base64.b64decode(payload["data"][0]["b64_json"])).size == (128, 128)
    assert read(await web.post(path, {"model": "kite-diffusion-1"}))["error"]["param"] == "prompt"


# -- authentication ---------------------------------------------------------------------------------------------

DIRECT_PATHS = [
    ("fal-ai", "/direct/fal.run/fal-ai/flux/schnell"),
    ("replicate", "/direct/api.replicate.com/v1/models/black-forest-labs/flux-schnell/predictions"),
    ("together", "/direct/api.together.xyz/v1/images/generations"),
    ("novita", "/direct/api.novita.ai/v3/hf/wan-2.2-t2v"),
    ("nscale", "/direct/inference.api.nscale.com/v1/images/generations"),
    ("wavespeed", "/direct/api.wavespeed.ai/api/v3/wavespeed-ai/flux-schnell"),
    ("zai-org", "/direct/api.z.ai/api/paas/v4/async/images/generations"),
]


@pytest.mark.parametrize(("provider", "path"), DIRECT_PATHS)
async def test_a_provider_accepts_its_own_key_only(sandbox: Sandbox, web: Web, provider: str, path: str) -> None:
    """Not the HF token, another key, no key, or its key in another scheme."""
    valid = sandbox.keys[provider]
    scheme, other = ("Key", "Bearer") if provider == "fal-ai" else ("Bearer", "Key")
    for key in (f"Bearer {sandbox.token}", f"{scheme} another-key", "", f"{other} {valid}"):
        assert (await web.post(path, {}, key=key))[0] in (401, 403), key
    assert (await web.post(path, {}, key=f"{scheme} {valid}"))[0] in (
        400,
        422,
    )  # authenticated, then rejected as invalid
    assert sandbox.submissions.total() == 0


@pytest.mark.parametrize("key", ["", "Bearer hf_wrong", "Key sandbox-key-for-fal-ai"])
async def test_the_router_accepts_the_hf_token_only(web: Web, key: str) -> None:
    """401 in the router's format for everything else, for any provider."""
    for path in ("/router/fal-ai/fal-ai/flux/schnell", "/router/together/v1/images/generations"):
        status, _, raw = await web.post(path, {"prompt": "x"}, key=key)
        assert (status, json.loads(raw)) == (401, {"error": "Invalid username or password."})


async def test_the_billed_organization_is_recorded(sandbox: Sandbox, web: Web) -> None:
    """On the job; and every response names the sandbox."""
    path = "/router/together/v1/images/generations"
    got = await web.post(path, {**SMALL, "model": FLUX}, headers={"X-HF-Bill-To": "acme"})
    assert [job.bill_to for job in sandbox.jobs.values()] == ["acme"]
    assert got[1]["server"] == "hfmedia-sandbox"
    assert "inference-id" in got[1]
    assert [(recorded.kind, recorded.provider) for recorded in sandbox.requests] == [("submit", "together")]


async def test_inputs_by_url_are_read_from_its_cdn_and_never_from_elsewhere(sandbox: Sandbox, web: Web) -> None:
    """Its own media files are used; another host yields a stand-in; one under .invalid is unreachable."""
    path = "/router/wavespeed/api/v3/wavespeed-ai/flux-kontext-dev"
    for address, status in (("https://example.org/a-red-barn.jpg", 200), ("https://nowhere.invalid/a.jpg", 400)):
        assert (await web.post(path, {"prompt": "x", "image": address}))[0] == status
    assert (await web.post(path, {"prompt": "x", "image": f"{sandbox.url}/cdn/none.png"}))[0] == 400


async def test_many_parallel_jobs_are_each_counted(sandbox: Sandbox, web: Web) -> None:
    """Two hundred parallel submissions create two hundred jobs with distinct IDs."""
    path = "/router/wavespeed/api/v3/wavespeed-ai/flux-schnell"
    replies = await asyncio.gather(*(web.post(path, {"prompt": f"kite {number}"}) for number in range(200)))
    assert len({read(reply)["data"]["id"] for reply in replies}) == 200
    assert sandbox.submissions == {"wavespeed": 200}
