"""OpenAI's images API on a real gateway: every way to ask, every way to fail, and never a second purchase."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.support.gateway import RunningGateway, Serve
from tests.support.gateway_jobs import GENERATE, REPLICATE, TIMEOUT, TOGETHER, asked, ended, generated, png
from tests.support.models import FLUX, KONTEXT


def bomb() -> bytes:
    """A PNG of a few bytes that claims sixty thousand pixels a side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


async def test_a_response_has_all_that_is_known(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """OpenAI's fields, and beside them who made it, with what, and what that cost."""
    payload = {"prompt": "a fox", "model": TOGETHER, "seed": 7, "size": "512x512"}
    async with http.post(f"{gateway.api}/{GENERATE}", json=payload) as answer:
        assert answer.status == 200
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["x-request-id"]
        body = await answer.json()
    (one,) = body["data"]
    assert (one["provider"], one["model"], one["seed"]) == ("together", FLUX, 7)
    assert body["size"] == f"{one['width']}x{one['height']}"
    assert body["output_format"] == one["mime"].partition("/")[2]
    assert body["job_ids"] == [one["job_id"]]
    async with http.get(one["url"]) as answer:
        assert await answer.read() == base64.b64decode(one["b64_json"])


SHAPES = [
    ({}, {"b64_json", "url"}),
    ({"response_format": "url"}, {"url"}),
    ({"response_format": "b64_json"}, {"b64_json"}),
    ({"model": "gpt-image-1"}, {"b64_json"}),
    ({"model": "gpt-image-1", "response_format": "url"}, {"url"}),
]


@pytest.mark.parametrize(("fields", "holds"), SHAPES)
async def test_the_answer_has_the_shape_that_was_asked_for(
    gateway: RunningGateway, http: aiohttp.ClientSession, fields: dict[str, Any], holds: set[str]
) -> None:
    """Exactly that; by default what clients of the model expect."""
    status, body = await generated(http, gateway, **fields)
    assert status == 200
    assert {name for name in ("b64_json", "url") if name in body["data"][0]} == holds


async def test_several_outputs_are_several_pictures(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """With seeds of their own."""
    status, body = await generated(http, gateway, n=3, response_format="b64_json")
    assert status == 200
    assert len({one["b64_json"] for one in body["data"]}) == 3
    assert len({one["seed"] for one in body["data"]}) == 3


FORMATS = [("png", None, "PNG"), ("jpeg", 40, "JPEG"), ("webp", 80, "WEBP"), ("gif", None, "GIF")]


@pytest.mark.parametrize(("wanted", "compression", "found"), FORMATS)
async def test_the_provider_s_file_is_converted_to_another_format(
    gateway: RunningGateway, http: aiohttp.ClientSession, wanted: str, compression: int | None, found: str
) -> None:
    """The bytes are that format, at the address as well, and the original is kept as it came."""
    fields = {"output_format": wanted, **({"output_compression": compression} if compression is not None else {})}
    status, body = await generated(http, gateway, model=TOGETHER, **fields)
    assert status == 200, body
    (one,) = body["data"]
    data = base64.b64decode(one["b64_json"])
    assert Image.open(BytesIO(data)).format == found
    assert (one["mime"], body["output_format"]) == (f"image/{wanted}", wanted)
    async with http.get(one["url"]) as answer:
        assert answer.content_type == f"image/{wanted}"
        assert await answer.read() == data


async def test_ignored_or_changed_fields_are_reported(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """By its name."""
    odd = {"size": "1e9x1", "background": "transparent", "style": "vivid", "mask": "x", "colour": "red", "user": "me"}
    status, body = await generated(http, gateway, **odd)
    assert status == 200
    words = " ".join(body["warnings"])
    for name in ("1e9x1", "background", "style", "mask", "colour"):
        assert name in words
    assert "user" not in words


@pytest.mark.parametrize("way", ["file", "files", "url", "list"])
async def test_an_image_is_edited_however_it_comes(
    gateway: RunningGateway, http: aiohttp.ClientSession, way: str
) -> None:
    """Of several only the first is used, and a warning says so."""
    data = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    more: dict[str, Any]
    if way in ("file", "files"):
        form = aiohttp.FormData({"prompt": "autumn", "model": KONTEXT})
        for _ in range(2 if way == "files" else 1):
            form.add_field("image[]", png(), filename='../../x"; rm -rf .png', content_type="text/html")
        form.add_field("mask", png(), filename="mask.png")
        more = {"data": form}
    else:
        images = {"image": data} if way == "url" else {"images": [{"image_url": data}, {"image_url": data}]}
        more = {"json": {"prompt": "autumn", "model": KONTEXT, **images}}
    status, body = await asked(http, "POST", f"{gateway.api}/images/edits", **more)
    assert status == 200, body
    words = " ".join(body["warnings"])
    assert ("2 images" in words) == (way in ("files", "list"))
    assert ("mask" in words) == (way in ("file", "files"))


FAULTS = [
    # the provider's fault, status, code, x-should-retry
    ("together", "credit", 402, "insufficient_quota", "false"),
    ("together", "rate-limit", 429, "provider_busy", "true"),
    ("together", "unauthorized", 503, "credential_refused", "false"),
    ("together", "forbidden", 403, "provider_forbids", None),
    ("together", "moderated", 400, "moderation_blocked", None),
    ("replicate", "fail", 502, "provider_failed", "false"),
    ("together", "disconnect", 502, "in_doubt", "false"),
    ("together", "html", 502, "unreadable_reply", "false"),
    ("together", "server", 502, "provider_error", "false"),
]


@pytest.mark.parametrize(("provider", "fault", "status", "code", "retry"), FAULTS)
async def test_a_failure_says_what_it_was_and_whether_to_try_again(
    gateway: RunningGateway,
    http: aiohttp.ClientSession,
    provider: str,
    fault: str,
    status: int,
    code: str,
    retry: str | None,
) -> None:
    """In OpenAI's shape, with the job's id; what may have been bought is never to be sent again by itself."""
    gateway.fault(provider, fault, times=20)
    payload = {"prompt": "a fox", "model": f"{FLUX}:{provider}"}
    async with http.post(f"{gateway.api}/{GENERATE}", json=payload) as answer:
        body = (await answer.json())["error"]
        assert (answer.status, body["code"]) == (status, code), body
        assert answer.headers.get("x-should-retry") == retry
    assert body["job_id"]
    assert body["provider"] == provider


async def test_two_of_three_are_two_pictures_and_a_word(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """One output's failure costs no other."""
    gateway.fault("replicate", "fail", times=1)
    status, body = await generated(http, gateway, model=REPLICATE, n=3)
    assert status == 200, body
    assert (len(body["data"]), len(body["failures"])) == (2, 1)
    assert body["failures"][0]["code"] == "provider_failed"
    assert len(body["job_ids"]) == 3


async def test_a_client_that_hangs_up_finds_its_picture_again(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """Under its idempotency key; it was bought once."""
    gateway.fault("replicate", "cold", seconds=50)
    payload = {"prompt": "a fox", "model": REPLICATE, "response_format": "url"}
    headers = {"Idempotency-Key": "mine"}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await asked(http, "POST", f"{gateway.api}/{GENERATE}", json=payload, headers=headers)
    again = [asked(http, "POST", f"{gateway.api}/{GENERATE}", json=payload, headers=headers) for _ in range(3)]
    body = await asyncio.gather(*again)
    assert {status for status, _ in body} == {200}
    assert len({one["data"][0]["url"] for _, one in body}) == 1
    assert gateway.submissions == 1


async def test_requests_at_once_under_one_key_are_one_purchase(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """None of them was there before the others; without a key each is a picture of its own."""
    payload, headers = {"prompt": "a fox", "model": TOGETHER}, {"Idempotency-Key": "mine"}
    route = f"{gateway.api}/{GENERATE}"
    body = await asyncio.gather(*(asked(http, "POST", route, json=payload, headers=headers) for _ in range(8)))
    assert {status for status, _ in body} == {200}
    assert len({one["data"][0]["job_id"] for _, one in body}) == 1
    assert gateway.submissions == 1
    assert (await asked(http, "POST", route, json=payload))[0] == 200
    assert gateway.submissions == 2


async def test_a_timeout_says_where_to_poll(serve: Serve, http: aiohttp.ClientSession) -> None:
    """The job goes on, and no client sends it again by itself."""
    gateway = serve(max_wait_seconds=1.0)
    gateway.fault("replicate", "cold", seconds=100)
    async with http.post(f"{gateway.api}/{GENERATE}", json={"prompt": "a fox", "model": REPLICATE}) as answer:
        body = (await answer.json())["error"]
        assert (answer.status, body["code"], answer.headers["x-should-retry"]) == (504, "out_of_time", "false")
    assert (await ended(http, gateway, body["job_id"]))["status"] == "completed"


def multipart(*parts: tuple[str, str, bytes]) -> dict[str, Any]:
    """These files as a form, beside a prompt and a model; a form can be sent only once, so it is made when it is."""

    def form() -> aiohttp.FormData:
        made = aiohttp.FormData({"prompt": "x", "model": KONTEXT})
        for name, filename, data in parts:
            made.add_field(name, data, filename=filename)
        return made

    return {"data": form}


BROKEN = {"content-type": "multipart/form-data; boundary=a"}
LONG_KEY = {"Idempotency-Key": "x" * 300}
BAD: dict[str, tuple[str, dict[str, Any], int, str | None]] = {
    "no body": ("generations", {}, 415, None),
    "no JSON": ("generations", {"data": b"{", "headers": {"content-type": "application/json"}}, 400, None),
    "a list": ("generations", {"json": [1]}, 400, None),
    "not UTF-8": ("generations", {"data": b'{"a":"\xff"}', "headers": {"content-type": "application/json"}}, 400, None),
    "deep": ("generations", {"data": b'{"a":' * 9999, "headers": {"content-type": "application/json"}}, 400, None),
    "a type of its own": ("generations", {"data": b"x", "headers": {"content-type": "text/csv"}}, 415, None),
    "no boundary": ("edits", {"data": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, None),
    "broken form": ("edits", {"data": b"--a\r\nx: y\r\n\r\n", "headers": BROKEN}, 400, None),
    "no prompt": ("generations", {"json": {"model": FLUX}}, 400, "prompt"),
    "blank prompt": ("generations", {"json": {"prompt": " \n", "model": FLUX}}, 400, "prompt"),
    "huge prompt": ("generations", {"json": {"prompt": "x" * 32_001, "model": FLUX}}, 400, "prompt"),
    "prompt of a wrong type": ("generations", {"json": {"prompt": ["x"], "model": FLUX}}, 400, "prompt"),
    "n of nothing": ("generations", {"json": {"prompt": "x", "n": 0}}, 400, "n"),
    "n of thousands": ("generations", {"json": {"prompt": "x", "n": 1000}}, 400, "n"),
    "n of a wrong type": ("generations", {"json": {"prompt": "x", "n": {"a": 1}}}, 400, "n"),
    "size of a wrong type": ("generations", {"json": {"prompt": "x", "size": [1, 2]}}, 400, "size"),
    "seed below zero": ("generations", {"json": {"prompt": "x", "model": FLUX, "seed": -5}}, 400, "seed"),
    "seed beyond all": ("generations", {"json": {"prompt": "x", "model": FLUX, "seed": 2**70}}, 400, "seed"),
    "format of its own": ("generations", {"json": {"prompt": "x", "response_format": "xml"}}, 400, "response_format"),
    "a vector": ("generations", {"json": {"prompt": "x", "output_format": "svg"}}, 400, "output_format"),
    "quality of 101": ("generations", {"json": {"prompt": "x", "output_compression": 101}}, 400, "output_compression"),
    "unknown model": ("generations", {"json": {"prompt": "x", "model": "nobody/nothing"}}, 404, None),
    "a path as a model": ("generations", {"json": {"prompt": "x", "model": "../../etc/passwd"}}, 400, "model"),
    "header injection": ("generations", {"json": {"prompt": "x", "model": "a/b\r\nX-Evil: 1"}}, 400, "model"),
    "no image": ("edits", {"json": {"prompt": "x", "model": KONTEXT}}, 400, "image"),
    "a file by id": ("edits", {"json": {"prompt": "x", "images": [{"file_id": "file-1"}]}}, 400, "images"),
    "a path as an image": ("edits", {"json": {"prompt": "x", "image": "/etc/passwd"}}, 400, "image"),
    "an image that is none": ("edits", multipart(("image", "a.png", b"not a picture")), 400, "image"),
    "an empty image": ("edits", multipart(("image", "a.png", b"")), 400, "image"),
    "a bomb": ("edits", multipart(("image", "a.png", bomb())), 400, "image"),
    "twenty files": ("edits", multipart(*[("image[]", "../../a.png", png())] * 20), 400, None),
    "a large file": ("edits", multipart(("image", "a.png", b"x" * 300_000)), 413, None),
    "a large body": ("generations", {"json": {"prompt": "x" * 900_000}}, 413, None),
    "a name beyond all": ("generations", {"json": {"prompt": "x"}, "headers": LONG_KEY}, 400, "Idempotency-Key"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_gets_a_clear_answer_and_no_job(
    shared: RunningGateway, http: aiohttp.ClientSession, name: str
) -> None:
    """The right status, the field at fault, OpenAI's shape; nothing was sent, and nothing is left behind."""
    route, more, status, param = BAD[name]
    if callable(more.get("data")):
        more = {"data": more["data"]()}
    async with http.post(f"{shared.api}/images/{route}", **more) as answer:
        body = json.loads(await answer.read())["error"]
        assert answer.status == status, body
        assert "x-evil" not in {header.lower() for header in answer.headers}
    assert set(body) >= {"message", "type", "param", "code"}
    assert body["param"] == param
    assert "Traceback" not in body["message"]
    assert (await asked(http, "GET", f"{shared.api}/jobs"))[1]["data"] == []
    assert shared.submissions == 0


async def test_a_body_without_a_length_is_bounded_too(serve: Serve) -> None:
    """It is refused as soon as it is too large: its end, which never comes, is not waited for."""
    gateway = serve(max_body_bytes=100_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = "POST /v1/images/generations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    try:
        writer.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        for _ in range(11):
            writer.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        async with asyncio.timeout(TIMEOUT):
            assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
            assert b'"too_large"' in await reader.read()  # to its end: the connection is closed
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)
    assert gateway.submissions == 0


HANGS_UP = {
    "JSON": (b"content-type: application/json\r\ncontent-length: 900", b'{"prompt": "a f'),
    "a form": (b"content-type: multipart/form-data; boundary=XX\r\ncontent-length: 900", b"--XX\r\nContent-Dispo"),
    "nothing at all": (b"content-type: application/json\r\ntransfer-encoding: chunked", b""),
}


@pytest.mark.parametrize("name", HANGS_UP)
async def test_a_client_that_disconnects_while_sending_leaves_no_trace(
    gateway: RunningGateway, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """No job, no traceback; the next one is served."""
    head, started = HANGS_UP[name]
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /v1/images/edits HTTP/1.1\r\nhost: 127.0.0.1\r\n" + head + b"\r\n\r\n" + started)
    writer.write_eof()
    async with asyncio.timeout(TIMEOUT):
        await reader.read()
    writer.close()
    status, _ = await generated(http, gateway, model=TOGETHER)
    assert status == 200
    assert gateway.submissions == 1
    assert [record.message for record in caplog.records if record.exc_info or record.levelname == "ERROR"] == []
