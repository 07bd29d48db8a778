"""The shapes of our own API for its OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from .serializers import JobView


class JobList(BaseModel):
    """Jobs, newest first; the next page comes ``after`` the ``last_id``."""

    object: Literal["list"] = "list"
    data: list[JobView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedJob(BaseModel):
    """A job that is no longer shown."""

    id: str
    object: Literal["job.deleted"]
    deleted: bool


class PreviewView(BaseModel):
    """What one provider would be told; ``refusal`` says why it would not be asked at all."""

    provider: str
    model: str
    parameters: dict[str, Any]
    warnings: list[str]
    rejection: str | None


class PreviewList(BaseModel):
    """What each provider would be told, in the order in which they would be asked."""

    object: Literal["list"]
    data: list[PreviewView]


class ResolveRequest(BaseModel):
    """How to settle a doubt."""

    decision: Literal["ask", "resend", "drop"]


TEXT, NUMBER, INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
JOB_FIELD_SCHEMAS: dict[str, Any] = {
    "prompt": {**TEXT, "maxLength": 32000},
    "model": {**TEXT, "description": "org/name or org/name:provider; absent: the default of the task"},
    "provider": TEXT,
    "task": {**TEXT, "enum": ["text-to-image", "text-to-video", "image-to-image", "image-to-video"]},
    "n": {**INTEGER, "minimum": 1, "maximum": 100},
    "seed": {**INTEGER, "minimum": 0},
    "size": {**TEXT, "description": "WIDTHxHEIGHT in pixels"},
    "aspect_ratio": {**TEXT, "description": "WIDTH:HEIGHT"},
    "resolution": {**TEXT, "description": "480p, 720p, …"},
    "width": INTEGER,
    "height": INTEGER,
    "negative_prompt": TEXT,
    "num_inference_steps": INTEGER,
    "guidance_scale": NUMBER,
    "scheduler": TEXT,
    "num_frames": INTEGER,
    "seconds": NUMBER,
    "fps": INTEGER,
}
JSON_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        **JOB_FIELD_SCHEMAS,
        "image": {**TEXT, "description": "a URL or a data: URL"},
        "extra": {"type": "object", "description": "goes into the provider's own JSON as it stands"},
    },
}
FORM_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        **JOB_FIELD_SCHEMAS,
        "image": {**TEXT, "format": "binary"},
        "extra": {**TEXT, "description": "a JSON object"},
    },
}
CREATE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": JSON_BODY}, "multipart/form-data": {"schema": FORM_BODY}},
    }
}
EVENT_STREAM_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events named queued, position, running, downloading and done, and deleted in the stream of "
        "all jobs; the data of each is a JobView.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
