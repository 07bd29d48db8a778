"""The OpenAPI document is true: asked at random after it, the gateway answers as it says, and never with a crash."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from tests.support.gateway import RunningGateway

STREAMS = ("/v1/events", "/v1/jobs/{job_id}/events")  # these never end
COSTLY = (
    "/v1/jobs",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
    "/sdapi/v1/txt2img",
    "/sdapi/v1/img2img",
)


async def document(gateway: RunningGateway) -> dict[str, Any]:
    """The document as it is served."""
    async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/openapi.json") as answer:
        body: dict[str, Any] = await answer.json()
        return body


async def test_every_route_says_how_it_fails(gateway: RunningGateway) -> None:
    """In OpenAI's shape, and nowhere in the shape that the framework would have used."""
    body = await document(gateway)
    text = json.dumps(body)
    assert "HTTPValidationError" not in text
    assert len(body["paths"]) > 30
    for path, operations in body["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            for status, answer in operation["responses"].items():
                if status.startswith(("4", "5")) and path not in ("/readyz",):
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorResponse"}, (method, path, status)


KEPT = ["status_code_conformance", "content_type_conformance", "response_headers_conformance",
        "response_schema_conformance"]  # fmt: skip
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


@pytest.mark.timeout(240)
def test_the_document_is_kept(gateway: RunningGateway) -> None:
    """Requests drawn from it, right and wrong ones; every answer has a status, a type and a shape that it names.

    What would be carried out costs time, so of the routes that make something only wrong requests are sent.
    """
    schema = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")
    checks = [schemathesis.checks.CHECKS.get_one(name) for name in KEPT]
    seen: dict[str, int] = {}
    for result in schema.exclude(path=list(STREAMS)).get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]
        for mode in MODES[operation.path in COSTLY :]:

            @settings(
                max_examples=5,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                answer = case.call(timeout=60)
                assert answer.status_code != 500, answer.text
                case.validate_response(answer, checks=checks)
                seen[case.operation.label] = seen.get(case.operation.label, 0) + 1

            with suppress(Unsatisfiable):  # nothing can be wrong about a request without parameters
                ask()
    assert sum(seen.values()) > 120, seen
    assert len(seen) > 25, seen
