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
from hfmedia.server.errors import Refusal

PATIENCE = 120.0  # seconds for a whole body to arrive: 64 MiB at half a megabyte a second
MOST_FIELDS = 200  # of a form; the images API has about twenty
LONGEST_FIELD = 1024 * 1024  # bytes of one field of a form that is no file; a prompt has at most 32,000 characters
MOST_MEMBERS = 100_000  # of JSON: brackets alone take twenty times their size in memory, and seconds to read
LONGEST_END = 1024  # bytes looked at for the end of a form; a boundary has at most 70 characters
_MEMBER = re.compile(r"(?P<name>[^\[\]]+)(?P<keys>(?:\[[^\[\]]{0,64}\]){0,4})")
_KEY = re.compile(r"\[([^\[\]]*)\]")
_SLICE = 1024 * 1024  # bytes that are counted at once


class Upload(Struct, frozen=True):
    """A file of a form. Its name and type are what the client says, so nothing is decided by them."""

    name: str
    mime: str
    data: bytes

    def __repr__(self) -> str:
        return f"Upload({len(self.data)} bytes)"


class Body(Struct, frozen=True):
    """What a request brought: ``fields`` as JSON data (texts out of a form), and files by their fields' names."""

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    files: dict[str, list[Upload]] = field(default_factory=dict[str, list[Upload]])

    def uploads(self, name: str) -> list[Upload]:
        """The files under a name, in the order in which they came."""
        return self.files.get(name, [])


async def read_body(request: Request, config: Config) -> Body:
    """The body of a request. Refusal: 400 broken, 408 too slow, 413 too large, 415 of a type not understood."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(PATIENCE):
            if kind == "application/json" or kind.endswith("+json"):
                return Body(_json(await _whole(request, config)))
            if kind == "multipart/form-data":
                return await _form(await _multipart(request, config), config)
            if kind == "application/x-www-form-urlencoded":
                form = FormParser(request.headers, _counted(request, config), max_fields=MOST_FIELDS)
                return await _form(await form.parse(), config)
    except TimeoutError:
        raise Refusal(408, "the request did not arrive in time; nothing was sent", code="timeout") from None
    except MultiPartException as error:
        raise Refusal(400, f"the form cannot be read: {error.message}", code="invalid_body") from None
    except ClientDisconnect:
        raise Refusal(400, "the request broke off", code="invalid_body") from None
    except (KeyError, UnicodeDecodeError, AssertionError):
        raise Refusal(400, "the form cannot be read", code="invalid_body") from None
    words = f"send application/json or multipart/form-data, not {kind[:80] or 'nothing'}"
    raise Refusal(415, words, code="unsupported_media_type")


async def _multipart(request: Request, config: Config) -> FormData:
    """The parts of a form; Refusal 400 for one that lacks its end, which the parser would take for whole."""
    tail = b""

    async def pieces() -> AsyncGenerator[bytes, None]:
        nonlocal tail
        async for piece in _counted(request, config):
            tail = (tail + piece)[-LONGEST_END:]
            yield piece

    parser = MultiPartParser(
        request.headers,
        pieces(),
        max_files=config.most_files,
        max_fields=MOST_FIELDS,
        max_part_size=LONGEST_FIELD,
    )
    form = await parser.parse()
    _, options = parse_options_header(request.headers["content-type"])
    if b"--" + options[b"boundary"] + b"--" not in tail:
        await form.close()
        raise Refusal(400, "the form breaks off before its end", code="invalid_body")
    return form


async def _counted(request: Request, config: Config) -> AsyncGenerator[bytes, None]:
    """The body as it arrives; Refusal 413 as soon as it is too large, whatever its Content-Length said."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > config.most_body:
        raise _too_large("the request", config.most_body)
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > config.most_body:
            raise _too_large("the request", config.most_body)
        yield piece


def _too_large(what: str, most: int) -> Refusal:
    words = f"{what} is larger than {most / 1e6:.3g} MB ({most:,} bytes); make its images smaller, or give their URLs"
    return Refusal(413, words, code="too_large", retry=False, headers={"connection": "close"})


async def _whole(request: Request, config: Config) -> bytes:
    body = bytearray()
    async for piece in _counted(request, config):
        body += piece
    return bytes(body)


def _crowded(body: bytes) -> bool:
    """Whether JSON may have more members than any request does; found out without reading it."""
    members = 0
    for start in range(0, len(body), _SLICE):
        members += sum(body.count(mark, start, start + _SLICE) for mark in (b",", b"[", b"{"))
        if members > MOST_MEMBERS:
            return True
    return False


def _json(body: bytes) -> dict[str, Any]:
    if _crowded(body):
        raise Refusal(400, f"the body has more than {MOST_MEMBERS:,} members", code="invalid_body")
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise Refusal(400, f"the body is no JSON: {error}", code="invalid_body") from None
    except (UnicodeDecodeError, RecursionError):
        raise Refusal(400, "the body is no JSON that can be read", code="invalid_body") from None
    if not isinstance(told, dict):
        raise Refusal(400, "the body must be a JSON object", code="invalid_body")
    return cast("dict[str, Any]", told)


async def _form(form: FormData, config: Config) -> Body:
    """The form as plain data; its temporary files are closed whatever happens."""
    try:
        fields: dict[str, Any] = {}
        files: dict[str, list[Upload]] = {}
        for name, value in cast("Iterable[tuple[str, UploadFile | str]]", form.multi_items()):
            if isinstance(value, UploadFile):
                if (value.size or 0) > config.most_upload:
                    raise _too_large("a file", config.most_upload)
                upload = Upload(value.filename or "", value.content_type or "", await value.read())
                files.setdefault(name.partition("[")[0], []).append(upload)
            else:
                _put(fields, name, value)
        return Body(fields, files)
    finally:
        await form.close()


def _put(fields: dict[str, Any], name: str, value: str) -> None:
    """Adds a field of a form where its name says: ``a``, ``a[]`` (a list), ``a[b]`` (a member)."""
    found = _MEMBER.fullmatch(name)
    if found is None or not found["keys"]:
        fields[name] = value
        return
    keys = _KEY.findall(found["keys"])
    if keys[0] == "" or keys[0].isdecimal():
        there: object = fields.setdefault(found["name"], [])
        if not isinstance(there, list):
            raise Refusal(400, f"{name[:80]} is sent both alone and as a list", code="invalid_body")
        cast("list[object]", there).append(value)
        return
    place: Any = fields.setdefault(found["name"], {})
    for key in keys[:-1]:
        place = place.setdefault(key, {}) if isinstance(place, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
    if not isinstance(place, dict):
        raise Refusal(400, f"{name[:80]} is sent both alone and with members", code="invalid_body")
    place[keys[-1]] = value
