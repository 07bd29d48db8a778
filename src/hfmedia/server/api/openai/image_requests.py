"""Requests of the images API: OpenAI's fields, the generation parameters, and Cherry Studio's names for both; pure."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Annotated, Any, Literal, cast

from msgspec import Meta, structs

from hfmedia.core.parameters import PARAMETERS_BY_NAME
from hfmedia.core.request import Task
from hfmedia.core.text import truncated_repr
from hfmedia.server.api.fields import OutputCount, invalid_field, parse_as
from hfmedia.server.config import Config
from hfmedia.server.db.generations import GenerationSpec
from hfmedia.server.media.variants import IMAGE_FORMATS, ImageFormat, parse_image_format

from .parsing import (
    NO_EFFECT_FIELDS,
    PARAMETER_ALIASES,
    CommonFields,
    normalize_names,
    parse_image_url,
    parse_spec,
    unknown_fields_warning,
)

ImageContent = Literal["b64_json", "url", "both"]
FIELD_ALIASES = {"image_size": "size", "batch_size": "n", **PARAMETER_ALIASES}
IMAGE_FIELDS = ("image", "images", "image_url")
B64_ONLY_MODELS = "gpt-image*"  # clients of models by this name expect b64_json unless they set response_format
VIDEO_PARAMETERS = frozenset(name for name, row in PARAMETERS_BY_NAME.items() if row.video_only)
MAX_PARTIAL_IMAGES = 3
NO_FILES: Mapping[str, int] = MappingProxyType({})
UNSET_QUALITIES = ("auto", "standard")  # OpenAI's words for the model's own quality
# OpenAI's fields that no provider supports, each with the values that request nothing and need no warning.
IGNORED_FIELDS: dict[str, tuple[Any, ...]] = {
    "background": ("auto", "opaque"),
    "moderation": ("auto",),
    "style": (),
    "complexity": (),
    "frame_count": (),
    "frame_duration_ms": (),
    "svg": (),
    "input_fidelity": (),
    "mask": (),
    "markup": (),
}


class ImageRequest(CommonFields, frozen=True, kw_only=True):
    """A request of the images API: the fields of its body, and what they mean.

    Attributes:
        spec: the generation, without its input image.
        references: URLs and data: URLs of input images.
        quality: as the client sent it; the response repeats it.
        warnings: one sentence for each field that was changed or ignored.
    """

    n: OutputCount = 1
    response_format: Annotated[
        Literal["url", "b64_json"] | None, Meta(description="What each image holds; absent: both.")
    ] = None
    output_format: Annotated[
        str | None,
        Meta(
            extra_json_schema={"enum": [*IMAGE_FORMATS, None]}, description="File format; absent: the provider's own."
        ),
    ] = None
    output_compression: (
        Annotated[int, Meta(ge=0, le=100, description="Quality of JPEG and WebP files; higher is larger.")] | None
    ) = None
    stream: Annotated[bool, Meta(description="Send events instead of one response.")] = False
    partial_images: Annotated[
        int, Meta(ge=0, le=MAX_PARTIAL_IMAGES, description="Accepted; no provider sends any.")
    ] = 0
    background: Annotated[str | None, Meta(description="Ignored: no provider supports it.")] = None
    quality: str | None = None
    spec: GenerationSpec = GenerationSpec()
    references: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def content(self) -> ImageContent:
        """What each image of the response holds: as requested, else what clients of this model expect."""
        if self.response_format is not None:
            return self.response_format
        return "b64_json" if self.model and fnmatchcase(self.model.lower(), B64_ONLY_MODELS) else "both"

    @property
    def format(self) -> ImageFormat | None:
        """The requested file format; None for the provider's own."""
        return None if self.output_format is None else parse_image_format(self.output_format)


BODY_FIELDS = tuple(
    name
    for name in ImageRequest.__struct_fields__
    if name not in (*PARAMETERS_BY_NAME, "spec", "references", "warnings")
)


def parse_image_request(
    fields: Mapping[str, Any], config: Config, *, edits: bool, files: Mapping[str, int] = NO_FILES
) -> ImageRequest:
    """Return the request of a body; raise ApiError 400 with the invalid field.

    ``files``: the number of uploaded files by field.
    """
    warnings: list[str] = []
    uploaded = files.get("image", 0)
    normalized = normalize_names(fields, FIELD_ALIASES)
    parsed = parse_as(normalized, ImageRequest, (*BODY_FIELDS, "quality"), json_field="extra_body")
    if parsed.output_format is not None and parsed.format is None:
        formats = ", ".join(IMAGE_FORMATS)
        message = f"output_format is {truncated_repr(parsed.output_format)}, but must be one of {formats}"
        raise invalid_field("output_format", message)
    references = _parse_references(normalized) if edits else ()
    if edits and not references and not uploaded:
        raise invalid_field("image", "the image is missing; send it as a file, a URL or a data: URL")
    image_count = len(references) + uploaded
    if image_count > 1:
        warnings.append(f"{image_count} images were sent; only the first one is used")
    task: Task = "image-to-image" if edits else "text-to-image"
    unset: dict[str, tuple[str, ...]] = {"quality": UNSET_QUALITIES}
    levels = PARAMETERS_BY_NAME["quality"].choices
    if parsed.quality and parsed.quality not in levels:  # a hint of OpenAI's API: not worth a rejection
        warnings.append(f"quality {truncated_repr(parsed.quality)} was ignored: it is not one of {', '.join(levels)}")
        unset = {"quality": (*UNSET_QUALITIES, parsed.quality)}
    spec, provider = parse_spec(parsed, normalized, task, config, warnings, n=parsed.n, unset=unset)
    if for_videos := sorted(name for name in spec.options if name in VIDEO_PARAMETERS):
        warnings.append(f"{', '.join(for_videos)}: ignored, for videos only")
        spec = structs.replace(spec, options={n: v for n, v in spec.options.items() if n not in VIDEO_PARAMETERS})
    received = {**normalized, **{name: True for name in files if name != "image"}}
    warnings += _field_warnings(received, parsed, files, edits=edits)
    return structs.replace(parsed, spec=spec, provider=provider, references=references, warnings=tuple(warnings))


# -- inside -----------------------------------------------------------------------------------------------------------


def _field_warnings(
    received: Mapping[str, Any], parsed: ImageRequest, files: Mapping[str, int], *, edits: bool
) -> list[str]:
    """Return a warning for each field that has no effect."""
    warnings = [
        f"{name} was ignored: no provider supports it"
        for name, neutral in IGNORED_FIELDS.items()
        if received.get(name) not in (None, "", [], {}, *neutral)
    ]
    if not edits:
        misplaced = [name for name in IMAGE_FIELDS if files.get(name) or received.get(name)]
        warnings += [f"{name} was ignored: send it to /v1/images/edits" for name in misplaced]
    known = {*BODY_FIELDS, *PARAMETERS_BY_NAME, *IMAGE_FIELDS, *IGNORED_FIELDS, *NO_EFFECT_FIELDS}
    warnings += unknown_fields_warning(received, known)
    if parsed.partial_images and parsed.stream:
        warnings.append("partial_images was ignored: no provider sends partial images")
    return warnings


def _parse_references(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the input images that the body names as text, in any of the notations in use."""
    urls: list[str] = []
    for name in IMAGE_FIELDS:
        value: object = fields.get(name)
        if value in (None, "", [], {}):
            continue
        images = cast("list[object]", value) if isinstance(value, list) else [value]
        urls += [parse_image_url(name, image) for image in images]
    return tuple(urls)
