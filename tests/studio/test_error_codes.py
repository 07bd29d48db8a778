"""Error codes and JSON fields that the page uses, compared with those that the server sends."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hfmedia.server
from hfmedia.core.parameters import Parameter
from hfmedia.server.studio import PAGE_FOLDER

SERVER = Path(hfmedia.server.__file__).parent
CODE = re.compile(r"[a-z][a-z0-9_]*")
BY_CODE = re.compile(r"^const BY_CODE = \{\n(.*?)^\};", re.DOTALL | re.MULTILINE)
KEY = re.compile(r"^  (\w+):", re.MULTILINE)
COMPARED = re.compile(r"\bcode\s*(?:===|!==|:)\s*[\"'](\w+)[\"']")
RAW_FIELD = re.compile(r"\braw\.(\w+)")


def codes_sent() -> set[str]:
    """Every error code in the server's sources: ``code="…"`` of a call, and the rows ``…(status, "code", …)``."""
    return {code for path in SERVER.rglob("*.py") for code in _codes(ast.parse(path.read_text()))}


def _codes(tree: ast.AST) -> Iterator[str]:
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        values: list[Any] = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
        if len(call.args) > 1 and _constant(call.args[0], int):
            values.append(call.args[1])
        yield from (value.value for value in values if _constant(value, str) and CODE.fullmatch(value.value))


def _constant(node: ast.AST, kind: type) -> Any:
    return isinstance(node, ast.Constant) and isinstance(node.value, kind)


def codes_named() -> dict[str, str]:
    """Every error code that the page names, with its file."""
    named: dict[str, str] = {}
    for path in sorted(PAGE_FOLDER.glob("*.js")):
        source = path.read_text()
        for table in BY_CODE.findall(source):
            named |= dict.fromkeys(KEY.findall(table), path.name)
        named |= dict.fromkeys(COMPARED.findall(source), path.name)
    return named


def test_the_page_names_only_error_codes_that_the_server_sends() -> None:
    """A code that is never sent is a message that is never shown."""
    sent, named = codes_sent(), codes_named()
    assert {"invalid_value", "too_large", "not_in_doubt"} <= sent  # otherwise nothing was collected
    assert {"error-messages.js", "submit.js"} <= set(named.values())
    assert not {code: where for code, where in named.items() if code not in sent}


def test_the_page_reads_only_fields_that_the_server_sends() -> None:
    """Its API client alone reads the server's JSON, as ``raw.…``; each of these is in the OpenAPI document."""
    from hfmedia.server.app import create_app
    from hfmedia.server.config import Config

    schemas = create_app(Config(port=0), {}, sandbox=True).openapi()["components"]["schemas"]
    sent = {name for schema in schemas.values() for name in schema.get("properties", ())}
    read = {path.name: set(RAW_FIELD.findall(path.read_text())) for path in PAGE_FOLDER.glob("*.js")}
    assert {name for name, fields in read.items() if fields} == {"api.js"}
    unspecified = {"capabilities", "size", "style"}  # of one model alone: they have no schema
    assert read["api.js"] - sent <= unspecified | set(Parameter.__struct_fields__)  # the table is part of the page
