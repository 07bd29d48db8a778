"""Schemas of the native API for its OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from hfmedia.server.api.fields import FILE_SCHEMA, TEXT_SCHEMA, request_body, request_schema, struct_properties

from .requests import CreateJobsRequest
from .serializers import JobView

JSON_TEXT_SCHEMA = {**TEXT_SCHEMA, "description": "A JSON object: passed through to the provider's own JSON."}


class JobList(BaseModel):
    """A page of jobs, newest first; pass ``last_id`` as ``after`` for the next one."""

    object: Literal["list"] = "list"
    data: list[JobView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedJob(BaseModel):
    """A deleted job."""

    id: str
    object: Literal["job.deleted"]
    deleted: bool


class PreviewView(BaseModel):
    """What one provider would receive; ``rejection`` says why nothing can be sent to it."""

    provider: str
    model: str
    parameters: dict[str, Any]
    warnings: list[str]
    rejection: str | None


class PreviewList(BaseModel):
    """What each provider would receive, in the order of failover."""

    object: Literal["list"]
    data: list[PreviewView]


class ResolveRequest(BaseModel):
    """How to resolve a job in doubt."""

    decision: Literal["ask", "resend", "drop"]


PROPERTIES: dict[str, Any] = struct_properties(CreateJobsRequest, CreateJobsRequest.__struct_fields__)
JSON_BODY = request_schema(PROPERTIES)
CREATE_BODY = request_body(JSON_BODY, request_schema({**PROPERTIES, "image": FILE_SCHEMA, "extra": JSON_TEXT_SCHEMA}))
EVENT_STREAM_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events named queued, position, running, downloading and done, and deleted in the stream of "
        "all jobs; the data of each is a JobView.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
