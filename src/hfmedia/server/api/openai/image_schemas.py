"""Schemas of the images API for its OpenAPI document: OpenAI's, with additional fields."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from hfmedia.server.api.costs import CostSchema
from hfmedia.server.api.fields import FILE_SCHEMA, TEXT_SCHEMA, request_body, request_schema, struct_properties

from .image_requests import BODY_FIELDS, ImageRequest


class ImageItem(BaseModel):
    """One image, inline, by URL, or both, and how it was generated."""

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
    cost: CostSchema | None
    job_id: str
    warnings: list[str]


class FailureItem(BaseModel):
    """One of several outputs that failed."""

    index: int
    job_id: str
    code: str
    message: str


class ImagesResponse(BaseModel):
    """The images of a request; ``failures`` lists the outputs that failed, and why."""

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


PROPERTIES: dict[str, Any] = {**struct_properties(ImageRequest, BODY_FIELDS), "user": TEXT_SCHEMA}
URL_LIST_SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": 16,
    "items": {"type": "object", "properties": {"image_url": TEXT_SCHEMA}, "required": ["image_url"]},
}
GENERATION_BODY = request_body(request_schema(PROPERTIES, ["prompt"]))
EDIT_BODY = request_body(
    request_schema({**PROPERTIES, "images": URL_LIST_SCHEMA}, ["prompt", "images"]),
    request_schema({**PROPERTIES, "image": FILE_SCHEMA}, ["prompt", "image"]),
)
IMAGES_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ImagesResponse,
        "description": "The images; with ``stream`` a stream of events, each of which has a ``type``.",
        "content": {"text/event-stream": {"schema": TEXT_SCHEMA}},
    }
}
