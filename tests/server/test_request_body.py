"""Request bodies: the field names of all SDKs, and the limits on size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs
from starlette.requests import Request

from hfmedia.server.config import Config
from hfmedia.server.errors import ApiError
from hfmedia.server.http import request_body
from hfmedia.server.http.request_body import ParsedBody, read_body

FORM = "multipart/form-data; boundary=XX"


def request(body: bytes, headers: Mapping[str, str], *, piece: int = 7, stall: bool = False) -> Request:
    """Return a request whose body arrives in small pieces, or never completely."""
    pieces = [body[start : start + piece] for start in range(0, len(body), piece)] or [b""]

    async def receive() -> dict[str, Any]:
        if len(pieces) == 1 and stall:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw, "query_string": b""}, receive)


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """Return a multipart body of fields (without a file name) and files."""
    body = b""
    for name, filename, value in parts:
        file = f'; filename="{filename}"' if filename is not None else ""
        body += f'--XX\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"
    return body + b"--XX--\r\n"


async def read(body: bytes, content_type: str = FORM, config: Config | None = None, **options: Any) -> ParsedBody:
    """Parse a body."""
    return await read_body(request(body, {"content-type": content_type}, **options), config or Config())


NAMES: list[tuple[list[tuple[str, str | None, bytes]], dict[str, Any], dict[str, int]]] = [
    ([("prompt", None, b"a fox")], {"prompt": "a fox"}, {}),
    ([("image", "upload", b"1")], {}, {"image": 1}),
    ([("image[]", "a", b"1"), ("image[]", "b", b"2")], {}, {"image": 2}),
    ([("image[0]", "a", b"1"), ("image[1]", "b", b"2")], {}, {"image": 2}),
    ([("mask[]", "a", b"1")], {}, {"mask": 1}),
    ([("loras[]", None, b"a"), ("loras[]", None, b"b")], {"loras": ["a", "b"]}, {}),
    ([("svg[model]", None, b"x"), ("svg[reasoning][effort]", None, b"low")],
     {"svg": {"model": "x", "reasoning": {"effort": "low"}}}, {}),
    ([("input_reference[image_url]", None, b"https://a/b")], {"input_reference": {"image_url": "https://a/b"}}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "fields", "files"), NAMES)
async def test_a_form_is_parsed_under_the_names_that_sdks_send(
    parts: list[tuple[str, str | None, bytes]], fields: dict[str, Any], files: dict[str, int]
) -> None:
    """Lists, members and files, a few bytes at a time."""
    body = await read(form(*parts))
    assert body.fields == fields
    assert {name: len(uploads) for name, uploads in body.files.items()} == files


async def test_json_and_urlencoded_bodies_are_parsed_too() -> None:
    """The first as it is, the second as strings."""
    assert (await read(b'{"a": [1]}', "application/json; charset=utf-8")).fields == {"a": [1]}
    assert (await read(b"a=1&b=x%20y", "application/x-www-form-urlencoded")).fields == {"a": "1", "b": "x y"}


INVALID: list[tuple[bytes, str, int]] = [
    (b"x", "text/plain", 415),
    (b"", "", 415),
    (b"[1]", "application/json", 400),
    (b'"x"', "application/json", 400),
    (b"{", "application/json", 400),
    (b"\xff", "application/json", 400),
    (b'{"a":' * 5000 + b"1" + b"}" * 5000, "application/json", 400),
    (b'{"a":[' + b"[]," * 200_000 + b"[]]}", "application/json", 400),
    (b'{"a":[' + b"{}," * 200_000 + b"{}]}", "application/json", 400),
    (b'{"a":[' + b"0," * 200_000 + b"0]}", "application/json", 400),
    (b"--XX\r\nnonsense", FORM, 400),
    (b"x", "multipart/form-data", 400),
    (form(("a", None, b"x"), ("a[b]", None, b"y")), FORM, 400),
    (form(("a", None, b"x"), ("a[]", None, b"y")), FORM, 400),
    (form(*[(f"f{n}", None, b"x") for n in range(300)]), FORM, 400),
    (form(*[("image[]", "a", b"x")] * 17), FORM, 400),
]


@pytest.mark.parametrize(("body", "content_type", "status"), INVALID)
async def test_an_invalid_body_is_rejected(body: bytes, content_type: str, status: int) -> None:
    """The status says why."""
    with pytest.raises(ApiError) as caught:
        await read(body, content_type, piece=997)
    assert caught.value.status == status


async def test_json_with_too_many_members_is_rejected_without_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty megabytes of brackets would need more than a gigabyte of memory; a large image needs only its own size."""
    monkeypatch.setattr("msgspec.json.decode", lambda _: pytest.fail("it was parsed"))
    with pytest.raises(ApiError, match="members"):
        await read(b'{"a":[' + b"[]," * 200_000 + b"[]]}", "application/json", piece=65_536)
    monkeypatch.undo()
    image = "A" * 5_000_000
    body = await read(b'{"image":"%b"}' % image.encode(), "application/json", piece=65_536)
    assert body.fields["image"] == image


LIMITS = structs.replace(Config(), max_body_bytes=1000, max_upload_bytes=100)


@pytest.mark.parametrize("announced", ["", "5000", "10", "x", "-1"])
async def test_a_large_body_is_rejected_whatever_its_content_length(announced: str) -> None:
    """At once for a correct length, and when the limit is passed for a wrong or missing one."""
    headers = {"content-type": "application/json", **({"content-length": announced} if announced else {})}
    with pytest.raises(ApiError) as caught:
        await read_body(request(b"x" * 5000, headers, piece=100), LIMITS)
    assert caught.value.status == 413


async def test_a_large_file_is_rejected() -> None:
    """Although the whole body would be small enough."""
    with pytest.raises(ApiError) as caught:
        await read(form(("image", "a.png", b"x" * 101)), config=LIMITS)
    assert caught.value.status == 413


async def test_a_body_that_stalls_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 408, which clients retry automatically; nothing was billed."""
    monkeypatch.setattr(request_body, "BODY_TIMEOUT", 0.05)
    with pytest.raises(ApiError) as caught:
        await read(b'{"prompt": "x"}', "application/json", stall=True)
    assert caught.value.status == 408
