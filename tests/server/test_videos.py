"""The videos API beyond what one client sends: every way to say it, every way it stands, and what each caller sees."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from hfmedia.core.errors import InvalidRequestError
from hfmedia.server.api.openai.parsing import resolve_model, with_provider
from hfmedia.server.api.openai.video_requests import parse_remix, parse_video_request
from hfmedia.server.config import Config
from hfmedia.server.errors import ApiError
from tests.support.gateway import RunningGateway, Serve
from tests.support.gateway_jobs import png
from tests.support.models import WAN

from ..support.short_videos import short_videos

__all__ = ["short_videos"]
FAL = f"{WAN}:fal-ai"
WHOLE = {"id", "object", "model", "status", "progress", "created_at", "completed_at", "expires_at", "prompt", "size",
         "seconds", "remixed_from_video_id", "error"}  # fmt: skip
OPEN = ("queued", "in_progress")


# -- what a body means ------------------------------------------------------------------------------------------------


def payload(**fields: Any) -> Any:
    """The request of a body with a prompt."""
    return parse_video_request({"prompt": "a fox"} | fields, Config(), uploaded=False)


SIZES = [
    ("1280x720", {"width": 1280, "height": 720}, False),
    (" 832 X 480 ", {"width": 832, "height": 480}, False),
    ("auto", {}, False),
    ("", {}, False),
    ("16:9", {"aspect_ratio": "16:9"}, False),
    ("720p", {"resolution": "720p"}, False),
    ("1e9x1", {}, True),
    ("1000000000x1", {}, True),
    ("0x0", {}, True),
    ("-5x10", {}, True),
    ("huge", {}, True),
    ("99:1", {}, True),
    ("32768x32768", {"width": 16384, "height": 16384}, True),
    ("40000x20000", {"width": 16384, "height": 8192}, True),
    ("8x4", {"width": 32, "height": 16}, True),
]


@pytest.mark.parametrize(("size", "options", "warned"), SIZES)
def test_any_size_becomes_one_that_can_be_asked_for(size: str, options: dict[str, Any], warned: bool) -> None:
    """Or none, with a warning; never an error."""
    body = payload(size=size)
    assert body.spec.options == options
    assert bool(body.warnings) == warned


@pytest.mark.parametrize(
    ("given", "seconds"), [("4", 4.0), (4, 4.0), ("5.5", 5.5), (0.5, 0.5), ("8s", 8.0), (" 12 ", 12.0), ("", None)]
)
def test_seconds_are_text_or_a_number(given: Any, seconds: float | None) -> None:
    """OpenAI's clients send text, others a number."""
    body = payload(seconds=given)
    assert body.spec.options.get("seconds") == seconds
    assert body.seconds == (f"{seconds:g}" if seconds is not None else None)


WRONG = [
    ({"prompt": ""}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": 7}, "prompt"),
    ({"prompt": ["a"]}, "prompt"),
    ({"seconds": "-1"}, "seconds"),
    ({"seconds": "nan"}, "seconds"),
    ({"seconds": "inf"}, "seconds"),
    ({"seconds": True}, "seconds"),
    ({"seconds": "soon"}, "seconds"),
    ({"seconds": 99999}, "seconds"),
    ({"seed": "x"}, "seed"),
    ({"seed": -1}, "seed"),
    ({"seed": 2**70}, "seed"),
    ({"fps": "fast"}, "fps"),
    ({"size": 5}, "size"),
    ({"size": {"a": 1}}, "size"),
    ({"model": "a b"}, "model"),
    ({"model": "../../etc"}, "model"),
    ({"model": 3}, "model"),
    ({"extra_body": "no json"}, "extra_body"),
    ({"extra_body": [1]}, "extra_body"),
    ({"input_reference": "/etc/passwd"}, "input_reference"),
    ({"input_reference": "file:///etc/passwd"}, "input_reference"),
    ({"input_reference": {"file_id": "file-1"}}, "input_reference"),
    ({"input_reference": {"image_url": {"a": 1}}}, "input_reference"),
    ({"input_reference": 7}, "input_reference"),
    ({"frame_images": [7]}, "frame_images"),
]


@pytest.mark.parametrize(("fields", "param"), WRONG)
def test_what_cannot_be_meant_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    """400, and the field at fault."""
    with pytest.raises(ApiError) as caught:
        payload(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


URL = "https://example.org/fox.png"
REFERENCES: list[dict[str, Any]] = [
    {"input_reference": URL},
    {"input_reference": {"image_url": URL}},
    {"input_reference[image_url]": URL},
    {"input_reference": {"type": "image_url", "image_url": {"url": URL}}},
    {"frame_images": [{"type": "image_url", "image_url": {"url": URL}, "frame_type": "first_frame"}]},
    {"input_references": [URL]},
    {"image_url": URL},
]


@pytest.mark.parametrize("fields", REFERENCES)
def test_an_image_may_be_named_in_every_way_in_use(fields: dict[str, Any]) -> None:
    """And makes the task image-to-video."""
    body = payload(**fields)
    assert (body.reference, body.spec.task, body.warnings) == (URL, "image-to-video", ())


def test_of_several_images_the_first_is_used() -> None:
    """And a warning says so."""
    body = payload(frame_images=[URL, "https://example.org/b.png"])
    assert body.reference == URL and "first" in body.warnings[0]


def test_texts_of_a_form_are_converted_and_unknown_names_reported() -> None:
    """A form has everything as text; unknown fields are ignored and named in a warning."""
    body = payload(
        seed="7", fps="24", num_frames="81", guidance_scale="3.5", num_inference_steps="30", negative_prompt="blur",
        extra_body='{"shift": 5}', user="u", style="vivid", **{"x\r\ny": "1"},
    )  # fmt: skip
    assert body.spec.seed == 7
    assert body.spec.options == {
        "fps": 24, "num_frames": 81, "guidance_scale": 3.5, "num_inference_steps": 30, "negative_prompt": "blur",
        "extra_body": {"shift": 5},
    }  # fmt: skip
    (warning,) = body.warnings
    assert "style" in warning and "user" not in warning and "\n" not in warning


ALIASES = Config(
    aliases={"film": "a/b", "both": {"text-to-video": "t/v:fal-ai", "image-to-video": "i/v"}, "sora-2": "s/o"}
)
NAMES: list[tuple[str | None, Any, Config, str | None]] = [
    (None, "text-to-video", Config(), None),
    ("sora-2-pro", "text-to-video", Config(), None),
    ("sora-2", "text-to-video", ALIASES, "s/o"),
    ("film", "text-to-video", ALIASES, "a/b"),
    ("film:fal-ai", "text-to-video", ALIASES, "a/b:fal-ai"),
    ("both", "text-to-video", ALIASES, "t/v:fal-ai"),
    ("both:novita", "text-to-video", ALIASES, "t/v:fal-ai"),
    ("both", "image-to-video", ALIASES, "i/v"),
    ("org/name:fastest", "text-to-video", Config(), "org/name:fastest"),
    ("sora-2", "text-to-video", Config(builtin_aliases=False), "sora-2"),
]


@pytest.mark.parametrize(("name", "task", "config", "model"), NAMES)
def test_a_name_is_resolved_to_a_model(name: str | None, task: Any, config: Config, model: str | None) -> None:
    """The operator's aliases go before the ones that are built in; None is the default of the task."""
    assert resolve_model(name, task, config) == model


def test_a_provider_may_be_named_apart() -> None:
    """Beside the model, unless that names one already."""
    assert with_provider("a/b", "fal-ai") == "a/b:fal-ai"
    assert with_provider("a/b:novita", "fal-ai") == "a/b:novita"
    assert with_provider("a/b", None) == "a/b"
    with pytest.raises(ApiError):
        with_provider("a/b", "no such thing")
    body = payload(model="a/b:novita", provider="fal-ai")
    assert body.provider is None and "ignored" in body.warnings[0]


def test_a_remix_takes_a_prompt_alone() -> None:
    """Whatever else is said is ignored in words."""
    ask = payload(model="a/b", seed=4, size="832x480").spec
    again, warnings = parse_remix(ask, {"prompt": "at night", "seconds": "8"})
    assert (again.prompt, again.model, again.seed, again.options) == ("at night", "a/b", 4, ask.options)
    assert "seconds" in warnings[0]
    with pytest.raises(ApiError):
        parse_remix(ask, {})


# -- served -----------------------------------------------------------------------------------------------------------


async def post(http: aiohttp.ClientSession, url: str, status: int = 200, headers: Any = None, **fields: Any) -> Any:
    """What a JSON body is answered with."""
    async with http.post(url, json=fields, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def ended(http: aiohttp.ClientSession, gateway: RunningGateway, video: str) -> Any:
    """The video once it has ended."""
    async with asyncio.timeout(30):
        while True:
            seen = await get(http, f"{gateway.api}/videos/{video}")
            if seen["status"] not in OPEN:
                return seen
            await asyncio.sleep(0.02)


async def get(http: aiohttp.ClientSession, url: str, status: int = 200) -> Any:
    """What it is answered with."""
    async with http.get(url) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


@pytest.mark.usefixtures("short_videos")
async def test_a_video_has_every_member_at_every_stage(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """All of OpenAI's members, ours beside them, progress that never falls, and a link that works without a key."""
    made = await post(http, f"{gateway.api}/videos", prompt="a fox", model=FAL, seconds=5, size="1280x720", style="x")
    assert made.keys() > WHOLE and made["size"] == "1280x720" and made["seconds"] == "5"
    assert "style" in made["warnings"][0]
    shown = [made["progress"]]
    async with asyncio.timeout(30):
        while (seen := await get(http, f"{gateway.api}/videos/{made['id']}"))["status"] in OPEN:
            shown.append(seen["progress"])
            await asyncio.sleep(0.01)
    assert shown == sorted(shown) and max(shown) < 100
    assert (seen["status"], seen["progress"], seen["provider"]) == ("completed", 100, "fal-ai")
    assert seen["size"] == "128x72", "the real one, once it is known"
    async with http.get(seen["url"]) as answer:
        assert answer.content_type == "video/mp4"
    async with http.get(seen["thumbnail_url"]) as answer:
        assert answer.content_type == "image/webp"
    async with http.get(f"{gateway.api}/videos/{made['id']}/content", headers={"range": "bytes=4-7"}) as answer:
        assert (answer.status, await answer.read()) == (206, b"ftyp")


@pytest.mark.usefixtures("short_videos")
async def test_a_form_is_as_good_as_json(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """With a picture as a file, whatever its name and type claim."""
    form = aiohttp.FormData({"prompt": "a fox", "seconds": "4", "provider": "fal-ai"})
    form.add_field("input_reference", png(), filename="../../x.txt", content_type="text/plain")
    async with http.post(f"{gateway.api}/videos", data=form) as answer:
        made = await answer.json()
    assert answer.status == 200 and "I2V" in made["model"], made
    assert (await ended(http, gateway, made["id"]))["status"] == "completed"
    remix = await post(http, f"{gateway.api}/videos/{made['id']}/remix", prompt="at night")
    assert remix["remixed_from_video_id"] == made["id"]
    assert (await ended(http, gateway, remix["id"]))["status"] == "completed", "its picture was kept"


async def test_a_cancelled_video_has_failed_and_says_so(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """OpenAI's clients know no status for it; the code does."""
    gateway.fault("fal-ai", "cold", seconds=600)
    made = await post(http, f"{gateway.api}/videos", prompt="a fox", model=FAL)
    await asyncio.sleep(0.1)
    stopped = await post(http, f"{gateway.api}/videos/{made['id']}/cancel")
    assert (stopped["status"], stopped["error"]["code"]) == ("failed", "cancelled")
    assert await post(http, f"{gateway.api}/videos/{made['id']}/cancel") == stopped
    assert (await get(http, f"{gateway.api}/videos/{made['id']}/content", 404))["error"]["code"] == "video_failed"


async def test_a_video_in_doubt_says_what_to_do(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Nobody knows whether it was bought; it is never bought again by itself."""
    gateway.fault("fal-ai", "disconnect")
    made = await post(http, f"{gateway.api}/videos", prompt="a fox", model=FAL)
    seen = await ended(http, gateway, made["id"])
    assert (seen["status"], seen["error"]["code"]) == ("failed", "in_doubt")
    assert f"/v1/jobs/{seen['job_id']}/resolve" in seen["error"]["message"] and seen["may_be_billed"]
    assert gateway.submissions == 1


async def test_a_list_has_edges(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Empty, of no length, after a deleted one, and out of bounds."""
    videos = f"{gateway.api}/videos"
    empty: dict[str, Any] = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert await get(http, videos) == empty
    ids = [(await post(http, videos, prompt=f"fox {n}", model=FAL))["id"] for n in range(3)]
    assert await get(http, f"{videos}?limit=0") == {**empty, "has_more": True}
    async with http.delete(f"{videos}/{ids[1]}") as answer:
        assert answer.status == 200
    assert [video["id"] for video in (await get(http, videos))["data"]] == [ids[2], ids[0]]
    assert [video["id"] for video in (await get(http, f"{videos}?after={ids[1]}"))["data"]] == [ids[0]]
    for wrong in ("limit=101", "limit=-1", "limit=x", "order=sideways"):
        assert (await get(http, f"{videos}?{wrong}", 400))["error"]["param"] == wrong.partition("=")[0]
    assert (await get(http, f"{videos}?after=video_nothing", 404))["error"]["code"] == "video_not_found"


async def test_ids_that_are_none_are_404(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """So is an image's job: it is no video."""
    async with http.post(f"{gateway.api}/jobs", json={"prompt": "a fox", "task": "text-to-image"}) as answer:
        image = (await answer.json())["data"][0]["id"]
    for wrong in ("x", "video_", f"video_{image}", image, "video_%00", "video_" + "9" * 70):
        for path in ("", "/content"):
            assert (await get(http, f"{gateway.api}/videos/{wrong}{path}", 404))["error"]["code"] == "video_not_found"


async def test_what_cannot_be_done_says_so(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Neither 404 nor 501, which clients would try again."""
    for path in ("edits", "extensions", "characters"):
        answer = await post(http, f"{gateway.api}/videos/{path}", 400, prompt="x")
        assert answer["error"]["code"] == "not_supported"
    assert (await get(http, f"{gateway.api}/videos/characters/x", 400))["error"]["code"] == "not_supported"


async def test_a_picture_that_is_none_is_refused_before_anything_is_bought(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """A broken file, a broken data: URL, an empty one."""
    for wrong in ("data:image/png;base64,AAAA", "data:image/png;base64,%%%", "data:,"):
        answer = await post(http, f"{gateway.api}/videos", 400, prompt="a fox", input_reference=wrong)
        assert (answer["error"]["code"], answer["error"]["param"]) == ("invalid_image", "input_reference")
    assert gateway.submissions == 0


async def test_no_caller_sees_a_video_of_another_one(serve: Serve, http: aiohttp.ClientSession) -> None:
    """Neither in the list, nor by its id, nor to delete or remix it."""
    from hfmedia.server.db.api_keys import ApiKey, generate_api_key

    gateway = serve()
    headers: list[dict[str, str]] = []
    for name in ("ada", "bob"):
        key, text, digest = generate_api_key()
        gateway.gateway.database.add_key(ApiKey(id=key, name=name, created_at=1.0), digest)
        headers.append({"authorization": f"Bearer {text}"})
    ada, bob = headers
    made = await post(http, f"{gateway.api}/videos", headers=ada, prompt="a fox", model=FAL)
    url = f"{gateway.api}/videos/{made['id']}"
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", ""), ("POST", "/cancel")):
        async with http.request(method, url + path, headers=bob) as answer:
            assert answer.status == 404, (method, path)
    await post(http, f"{url}/remix", 404, headers=bob, prompt="x")
    for who, count in ((ada, 1), (bob, 0)):
        async with http.get(f"{gateway.api}/videos", headers=who) as answer:
            assert len((await answer.json())["data"]) == count
    async with http.get(url) as answer:
        assert answer.status == 401


async def test_a_key_may_use_its_models_only(serve: Serve, http: aiohttp.ClientSession) -> None:
    """The default model counts as well, whatever alias it was asked for by."""
    from hfmedia.server.db.api_keys import ApiKey, KeyLimits, generate_api_key

    gateway = serve()
    key, text, digest = generate_api_key()
    limits = KeyLimits(models=("Lightricks/*",))
    gateway.gateway.database.add_key(ApiKey(id=key, name="ada", created_at=1.0, limits=limits), digest)
    headers = {"authorization": f"Bearer {text}"}
    for model in ("sora-2", FAL, WAN):
        answer = await post(http, f"{gateway.api}/videos", 403, headers=headers, prompt="a fox", model=model)
        assert answer["error"]["code"] == "model_not_allowed"
    await post(http, f"{gateway.api}/videos", headers=headers, prompt="a fox", model="Lightricks/LTX-Video")


def test_a_model_that_is_none_is_no_crash() -> None:
    """What the core refuses becomes a refusal of the field."""
    with pytest.raises(ApiError) as caught:
        resolve_model("a/b/c", "text-to-video", Config())
    assert caught.value.param == "model" and not isinstance(caught.value, InvalidRequestError)
