"""What a request brings: JSON or a form, bounded while it arrives, as plain data and files.

Names are those that SDKs send: ``image``, ``image[]`` and ``image[0]`` are one list, ``svg[model]`` is a member of an
object.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable
from typing import Any, cast

import msgspec
from msgspec import Struct, field
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from hfmedia.server.config import Config
from hfmedia.server.errors import ApiError

BODY_TIMEOUT = 120.0  # seconds for a whole body to arrive: 64 MiB at half a megabyte a second
MAX_FIELDS = 200  # of a form; the images API has about twenty
MAX_FIELD_BYTES = 1024 * 1024  # bytes of one field of a form that is no file; a prompt has at most 32,000 characters
MAX_JSON_MEMBERS = 100_000  # of JSON: brackets alone take twenty times their size in memory, and seconds to read
MAX_TAIL_BYTES = 1024  # bytes looked at for the end of a form; a boundary has at most 70 characters
_FIELD_NAME = re.compile(r"(?P<name>[^\[\]]+)(?P<keys>(?:\[[^\[\]]{0,64}\]){0,4})")
_FIELD_KEY = re.compile(r"\[([^\[\]]*)\]")
_SCAN_BYTES = 1024 * 1024  # bytes that are counted at once


class Upload(Struct, frozen=True):
    """A file of a form. Its name and type are what the client says, so nothing is decided by them."""

    name: str
    mime: str
    data: bytes

    def __repr__(self) -> str:
        return f"Upload({len(self.data)} bytes)"


class ParsedBody(Struct, frozen=True):
    """What a request brought: ``fields`` as JSON data (texts out of a form), and files by their fields' names."""

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    files: dict[str, list[Upload]] = field(default_factory=dict[str, list[Upload]])

    def uploads(self, name: str) -> list[Upload]:
        """The files under a name, in the order in which they came."""
        return self.files.get(name, [])


async def read_body(request: Request, config: Config) -> ParsedBody:
    """The body of a request. Refusal: 400 broken, 408 too slow, 413 too large, 415 of a type not understood."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            if content_type == "application/json" or content_type.endswith("+json"):
                return ParsedBody(_parse_json(await _read_all(request, config)))
            if content_type == "multipart/form-data":
                return await _parse_form(await _read_multipart(request, config), config)
            if content_type == "application/x-www-form-urlencoded":
                form = FormParser(request.headers, _limited(request, config), max_fields=MAX_FIELDS)
                return await _parse_form(await form.parse(), config)
    except TimeoutError:
        raise ApiError(408, "the request did not arrive in time; nothing was sent", code="timeout") from None
    except MultiPartException as error:
        raise ApiError(400, f"the form cannot be read: {error.message}", code="invalid_body") from None
    except ClientDisconnect:
        raise ApiError(400, "the request broke off", code="invalid_body") from None
    except (KeyError, UnicodeDecodeError, AssertionError):
        raise ApiError(400, "the form cannot be read", code="invalid_body") from None
    message = f"send application/json or multipart/form-data, not {content_type[:80] or 'nothing'}"
    raise ApiError(415, message, code="unsupported_media_type")


async def _read_multipart(request: Request, config: Config) -> FormData:
    """The parts of a form; Refusal 400 for one that lacks its end, which the parser would take for whole."""
    tail = b""

    async def chunks() -> AsyncGenerator[bytes, None]:
        nonlocal tail
        async for chunk in _limited(request, config):
            tail = (tail + chunk)[-MAX_TAIL_BYTES:]
            yield chunk

    parser = MultiPartParser(
        request.headers,
        chunks(),
        max_files=config.max_files,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    form = await parser.parse()
    _, options = parse_options_header(request.headers["content-type"])
    if b"--" + options[b"boundary"] + b"--" not in tail:
        await form.close()
        raise ApiError(400, "the form breaks off before its end", code="invalid_body")
    return form


async def _limited(request: Request, config: Config) -> AsyncGenerator[bytes, None]:
    """The body as it arrives; Refusal 413 as soon as it is too large, whatever its Content-Length said."""
    content_length = request.headers.get("content-length", "")
    if content_length.isdecimal() and int(content_length) > config.max_body_bytes:
        raise _too_large("the request", config.max_body_bytes)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > config.max_body_bytes:
            raise _too_large("the request", config.max_body_bytes)
        yield chunk


def _too_large(subject: str, max_bytes: int) -> ApiError:
    message = f"{subject} is larger than {max_bytes / 1e6:.3g} MB ({max_bytes:,} bytes); make its images smaller, or give their URLs"
    return ApiError(413, message, code="too_large", retry=False, headers={"connection": "close"})


async def _read_all(request: Request, config: Config) -> bytes:
    body = bytearray()
    async for chunk in _limited(request, config):
        body += chunk
    return bytes(body)


def _has_too_many_members(body: bytes) -> bool:
    """Whether JSON may have more members than any request does; found out without reading it."""
    members = 0
    for start in range(0, len(body), _SCAN_BYTES):
        members += sum(body.count(mark, start, start + _SCAN_BYTES) for mark in (b",", b"[", b"{"))
        if members > MAX_JSON_MEMBERS:
            return True
    return False


def _parse_json(body: bytes) -> dict[str, Any]:
    if _has_too_many_members(body):
        raise ApiError(400, f"the body has more than {MAX_JSON_MEMBERS:,} members", code="invalid_body")
    try:
        data = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ApiError(400, f"the body is no JSON: {error}", code="invalid_body") from None
    except (UnicodeDecodeError, RecursionError):
        raise ApiError(400, "the body is no JSON that can be read", code="invalid_body") from None
    if not isinstance(data, dict):
        raise ApiError(400, "the body must be a JSON object", code="invalid_body")
    return cast("dict[str, Any]", data)


async def _parse_form(form: FormData, config: Config) -> ParsedBody:
    """The form as plain data; its temporary files are closed whatever happens."""
    try:
        fields: dict[str, Any] = {}
        files: dict[str, list[Upload]] = {}
        for name, value in cast("Iterable[tuple[str, UploadFile | str]]", form.multi_items()):
            if isinstance(value, UploadFile):
                if (value.size or 0) > config.max_upload_bytes:
                    raise _too_large("a file", config.max_upload_bytes)
                upload = Upload(value.filename or "", value.content_type or "", await value.read())
                files.setdefault(name.partition("[")[0], []).append(upload)
            else:
                _set_field(fields, name, value)
        return ParsedBody(fields, files)
    finally:
        await form.close()


def _set_field(fields: dict[str, Any], name: str, value: str) -> None:
    """Adds a field of a form where its name says: ``a``, ``a[]`` (a list), ``a[b]`` (a member)."""
    match = _FIELD_NAME.fullmatch(name)
    if match is None or not match["keys"]:
        fields[name] = value
        return
    keys = _FIELD_KEY.findall(match["keys"])
    if keys[0] == "" or keys[0].isdecimal():
        existing: object = fields.setdefault(match["name"], [])
        if not isinstance(existing, list):
            raise ApiError(400, f"{name[:80]} is sent both alone and as a list", code="invalid_body")
        cast("list[object]", existing).append(value)
        return
    target: Any = fields.setdefault(match["name"], {})
    for key in keys[:-1]:
        target = target.setdefault(key, {}) if isinstance(target, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
    if not isinstance(target, dict):
        raise ApiError(400, f"{name[:80]} is sent both alone and with members", code="invalid_body")
    target[keys[-1]] = value
