"""The shapes of the images API for its OpenAPI document: OpenAI's, and what is told beside them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class ImageCost(BaseModel):
    """A cost as the provider reported it; absent is unknown, never nothing."""

    amount: float
    unit: str


class ImageItem(BaseModel):
    """One image: inside the answer, by its address, or both; and where it came from."""

    model_config = ConfigDict(extra="allow")

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None
    mime: str
    width: int | None
    height: int | None
    provider: str
    model: str
    seed: int | None
    cost: ImageCost | None
    job_id: str
    warnings: list[str]


class FailureItem(BaseModel):
    """One of several outputs that did not come."""

    index: int
    job_id: str
    code: str
    message: str


class ImagesResponse(BaseModel):
    """The images of a request; ``failures`` tells which of several did not come, and why."""

    model_config = ConfigDict(extra="allow")

    created: int
    data: list[ImageItem]
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    warnings: list[str]
    failures: list[FailureItem]
    job_ids: list[str]


TEXT, NUMBER, INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
IMAGE_FIELD_SCHEMAS: dict[str, Any] = {
    "prompt": {**TEXT, "maxLength": 32000},
    "model": {**TEXT, "description": "org/name, org/name:provider, or an alias; absent: the default"},
    "n": {**INTEGER, "minimum": 1, "maximum": 100},
    "size": {**TEXT, "description": "WIDTHxHEIGHT, or auto; an illegal one becomes the nearest that is legal"},
    "response_format": {**TEXT, "enum": ["url", "b64_json"]},
    "output_format": {**TEXT, "enum": ["png", "jpeg", "webp", "gif"]},
    "output_compression": {**INTEGER, "minimum": 0, "maximum": 100},
    "stream": {"type": "boolean"},
    "partial_images": {**INTEGER, "minimum": 0, "maximum": 3},
    "seed": {**INTEGER, "minimum": 0},
    "provider": TEXT,
    "negative_prompt": TEXT,
    "guidance_scale": NUMBER,
    "num_inference_steps": INTEGER,
    "aspect_ratio": {**TEXT, "description": "WIDTH:HEIGHT"},
    "resolution": TEXT,
    "user": TEXT,
}


def _request_body(*, files: bool, images: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": ["prompt", *images], "properties": {**IMAGE_FIELD_SCHEMAS, **images}}
    content_type = "multipart/form-data" if files else "application/json"
    return {content_type: {"schema": schema}}


GENERATION_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": _request_body(files=False, images={})}}
EDIT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            **_request_body(files=True, images={"image": {**TEXT, "format": "binary"}}),
            **_request_body(
                files=False,
                images={
                    "images": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 16,
                        "items": {"type": "object", "properties": {"image_url": TEXT}, "required": ["image_url"]},
                    }
                },
            ),
        },
    }
}
IMAGES_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ImagesResponse,
        "description": "The images; with ``stream`` a stream of events, each of which has a ``type``.",
        "content": {"text/event-stream": {"schema": TEXT}},
    }
}
