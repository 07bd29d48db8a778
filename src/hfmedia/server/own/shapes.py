"""The shapes of our own API for its OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from .views import JobView


class JobList(BaseModel):
    """Jobs, newest first; the next page comes ``after`` the ``last_id``."""

    object: Literal["list"] = "list"
    data: list[JobView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Deleted(BaseModel):
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
    refusal: str | None


class Previews(BaseModel):
    """What each provider would be told, in the order in which they would be asked."""

    object: Literal["list"]
    data: list[PreviewView]


class Resolving(BaseModel):
    """How to settle a doubt."""

    decision: Literal["ask", "resend", "drop"]


TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
FIELDS: dict[str, Any] = {
    "prompt": {**TEXT, "maxLength": 32000},
    "model": {**TEXT, "description": "org/name or org/name:provider; absent: the default of the task"},
    "provider": TEXT,
    "task": {**TEXT, "enum": ["text-to-image", "text-to-video", "image-to-image", "image-to-video"]},
    "n": {**WHOLE, "minimum": 1, "maximum": 100},
    "seed": {**WHOLE, "minimum": 0},
    "size": {**TEXT, "description": "WIDTHxHEIGHT in pixels"},
    "aspect_ratio": {**TEXT, "description": "WIDTH:HEIGHT"},
    "resolution": {**TEXT, "description": "480p, 720p, …"},
    "width": WHOLE,
    "height": WHOLE,
    "negative_prompt": TEXT,
    "num_inference_steps": WHOLE,
    "guidance_scale": NUMBER,
    "scheduler": TEXT,
    "num_frames": WHOLE,
    "seconds": NUMBER,
    "fps": WHOLE,
}
JSON_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        **FIELDS,
        "image": {**TEXT, "description": "a URL or a data: URL"},
        "extra": {"type": "object", "description": "goes into the provider's own JSON as it stands"},
    },
}
FORM_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {**FIELDS, "image": {**TEXT, "format": "binary"}, "extra": {**TEXT, "description": "a JSON object"}},
}
MAKING_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": JSON_BODY}, "multipart/form-data": {"schema": FORM_BODY}},
    }
}
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events named queued, position, running, downloading and done, and deleted in the stream of "
        "all jobs; the data of each is a JobView.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
