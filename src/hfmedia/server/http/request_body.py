"""Request bodies: JSON or a form, limited while it arrives, parsed into plain data and files.

Field names follow the SDKs: ``image``, ``image[]`` and ``image[0]`` are one list, ``svg[model]`` is a member of an
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

BODY_TIMEOUT = 120.0  # seconds for a complete body to arrive: 64 MiB at half a megabyte per second
MAX_FIELDS = 200  # of a form; the images API has about twenty
MAX_FIELD_BYTES = 1024 * 1024  # bytes of a form field that is not a file; a prompt has at most 32,000 characters
MAX_JSON_MEMBERS = 100_000  # in JSON: brackets alone take twenty times their size in memory, and seconds to parse
MAX_TAIL_BYTES = 1024  # bytes searched for the end of a form; a boundary has at most 70 characters
_FIELD_NAME = re.compile(r"(?P<name>[^\[\]]+)(?P<keys>(?:\[[^\[\]]{0,64}\]){0,4})")
_FIELD_KEY = re.compile(r"\[([^\[\]]*)\]")
_SCAN_BYTES = 1024 * 1024  # bytes scanned at once


class Upload(Struct, frozen=True):
    """A file of a form. Name and type are claims of the client, so nothing depends on them."""

    name: str
    mime: str
    data: bytes

    def __repr__(self) -> str:
        return f"Upload({len(self.data)} bytes)"


class ParsedBody(Struct, frozen=True):
    """A parsed body: ``fields`` as JSON data (strings in a form), and files by field name."""

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    files: dict[str, list[Upload]] = field(default_factory=dict[str, list[Upload]])

    def uploads(self, name: str) -> list[Upload]:
        """Return the files of a field, in the order in which they arrived."""
        return self.files.get(name, [])


async def read_body(request: Request, config: Config) -> ParsedBody:
    """Read and parse a request's body. Raises ApiError: 400 malformed, 408 too slow, 413 too large, 415 wrong type."""
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
        message = f"the request body did not arrive within {BODY_TIMEOUT:.0f} s; nothing was sent"
        raise ApiError(408, message, code="timeout") from None
    except MultiPartException as error:
        raise ApiError(400, f"not a valid form: {error.message}", code="invalid_body") from None
    except ClientDisconnect:
        raise ApiError(400, "the request ended early", code="invalid_body") from None
    except (KeyError, UnicodeDecodeError, AssertionError):
        raise ApiError(400, "not a valid form", code="invalid_body") from None
    message = f"unsupported content type {content_type[:80] or '(none)'}; use application/json or multipart/form-data"
    raise ApiError(415, message, code="unsupported_media_type")


async def _read_multipart(request: Request, config: Config) -> FormData:
    """Parse the parts of a form; raise ApiError 400 if its end is missing, which the parser would accept."""
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
        raise ApiError(400, "the form is truncated", code="invalid_body")
    return form


async def _limited(request: Request, config: Config) -> AsyncGenerator[bytes, None]:
    """Yield the body as it arrives; raise ApiError 413 once it is too large, whatever its Content-Length."""
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
    size = f"{max_bytes / 1e6:.3g} MB ({max_bytes:,} bytes)"
    message = f"{subject} is larger than {size}; send smaller images or their URLs"
    return ApiError(413, message, code="too_large", retry=False, headers={"connection": "close"})


async def _read_all(request: Request, config: Config) -> bytes:
    body = bytearray()
    async for chunk in _limited(request, config):
        body += chunk
    return bytes(body)


def _has_too_many_members(body: bytes) -> bool:
    """Return True if JSON may have more members than any valid request; counted without parsing it."""
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
        raise ApiError(400, f"the body is not valid JSON: {error}", code="invalid_body") from None
    except (UnicodeDecodeError, RecursionError):
        raise ApiError(400, "the body is not valid JSON", code="invalid_body") from None
    if not isinstance(data, dict):
        raise ApiError(400, "the body must be a JSON object", code="invalid_body")
    return cast("dict[str, Any]", data)


async def _parse_form(form: FormData, config: Config) -> ParsedBody:
    """Return the form as plain data; its temporary files are always closed."""
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
    """Set a form field where its name points: ``a``, ``a[]`` (a list), ``a[b]`` (a member)."""
    match = _FIELD_NAME.fullmatch(name)
    if match is None or not match["keys"]:
        fields[name] = value
        return
    keys = _FIELD_KEY.findall(match["keys"])
    if keys[0] == "" or keys[0].isdecimal():
        existing: object = fields.setdefault(match["name"], [])
        if not isinstance(existing, list):
            raise ApiError(400, f"{name[:80]} is sent both as a single value and as a list", code="invalid_body")
        cast("list[object]", existing).append(value)
        return
    target: Any = fields.setdefault(match["name"], {})
    for key in keys[:-1]:
        target = target.setdefault(key, {}) if isinstance(target, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
    if not isinstance(target, dict):
        raise ApiError(400, f"{name[:80]} is sent both as a single value and as an object", code="invalid_body")
    target[keys[-1]] = value
