"""What the images API understands of a body: OpenAI's fields, ours, and Cherry Studio's; pure.

Whatever can be made is made: an odd size becomes a legal one or none, an unknown name is told of in a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Literal, cast

from msgspec import Struct, field

from hfmedia.core.errors import HfmediaError
from hfmedia.core.request import LARGEST_SEED, LONGEST_PROMPT, Task, check_outputs
from hfmedia.core.sizes import shown
from hfmedia.server.books.orders import Ask
from hfmedia.server.config import Config

from .fields import Common, address, model_of, provider_of, sized, tell_default, typed, unknown, wrong

Shape = Literal["b64_json", "url", "both"]
Format = Literal["png", "jpeg", "webp", "gif"]
OURS = ("negative_prompt", "guidance_scale", "num_inference_steps", "resolution", "aspect_ratio", "scheduler",
        "width", "height")  # fmt: skip
ALIASES = {"image_size": "size", "batch_size": "n", "steps": "num_inference_steps", "cfg_scale": "guidance_scale"}
IMAGE_FIELDS = ("image", "images", "image_url")
B64_ONLY = "gpt-image*"  # what clients expect of models by this name when they name no response_format
FORMATS: dict[str, Format] = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "webp": "webp", "gif": "gif"}
MOST_PARTIALS = 3
NO_FILES: Mapping[str, int] = MappingProxyType({})
# Fields of OpenAI's that change what a model of its own would do; the values that ask for nothing need no warning.
IGNORED: dict[str, tuple[Any, ...]] = {
    "quality": ("auto", "standard"),
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
QUIET = frozenset({"user", "safety_identifier"})  # they change nothing that comes out, so nobody needs a warning


class Fields(Common, frozen=True, kw_only=True):
    """The fields that are understood, their types checked."""

    n: int = 1
    response_format: str | None = None
    output_format: str | None = None
    output_compression: int | None = None
    stream: bool = False
    partial_images: int = 0
    quality: str | None = None
    background: str | None = None


class Wish(Struct, frozen=True, kw_only=True):
    """What is to be made, without its image, and how the answer shall look.

    ``references`` are the images that came as text: URLs and data: URLs. ``format`` None: as the provider made it.
    """

    ask: Ask
    provider: str | None = None
    references: tuple[str, ...] = ()
    shape: Shape = "both"
    format: Format | None = None
    quality: int | None = None
    stream: bool = False
    told: dict[str, str] = field(default_factory=dict[str, str])
    warnings: tuple[str, ...] = ()


def image_wish(fields: Mapping[str, Any], config: Config, *, edits: bool, files: Mapping[str, int] = NO_FILES) -> Wish:
    """The wish in a body; Refusal 400 names the field that cannot be meant.

    ``files``: how many files came, by their fields' names.
    """
    warnings: list[str] = []
    uploaded = files.get("image", 0)
    given = _renamed(fields)
    told = typed(given, Fields)
    prompt = _prompt(told)
    references = _references(given) if edits else ()
    if edits and not references and not uploaded:
        raise wrong("image", "the image is missing; send it as a file, a URL or a data: URL")
    several = len(references) + uploaded
    if several > 1:
        warnings.append(f"{several} images came; only the first one is used")
    task: Task = "image-to-image" if edits else "text-to-image"
    model = model_of(told.model, task, config)
    if told.seed is not None and not 0 <= told.seed <= LARGEST_SEED:
        raise wrong("seed", f"seed is {shown(told.seed)}, but must be 0 to {LARGEST_SEED}")
    _counted(told)
    options = {name: value for name in OURS if (value := getattr(told, name)) not in (None, "")}
    if "width" not in options and "height" not in options:
        options = {**sized(told.size, warnings, of="an image"), **options}
    if told.extra_body:
        options["extra_body"] = told.extra_body
    tell_default(told.model, model, task, warnings)
    came = {**given, **{name: True for name in files if name != "image"}}
    warnings += _unmapped(came)
    if not edits:
        useless = [name for name in IMAGE_FIELDS if files.get(name) or given.get(name)]
        warnings += [f"{name} was ignored: send it to /v1/images/edits" for name in useless]
    warnings += unknown(came, {*Fields.__struct_fields__, *IMAGE_FIELDS, *IGNORED, *QUIET})
    if told.partial_images and told.stream:
        warnings.append("partial_images: no provider sends any; the finished image comes alone")
    return Wish(
        ask=Ask(prompt=prompt, model=model, task=task, n=told.n, seed=told.seed, options=options),
        provider=provider_of(told.model, told.provider, model, warnings),
        references=references,
        shape=_shape(told),
        format=_format(told),
        quality=_compression(told),
        stream=told.stream,
        told={name: value for name in ("quality", "background") if (value := getattr(told, name))},
        warnings=tuple(warnings),
    )


# -- inside -----------------------------------------------------------------------------------------------------------


def _renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields under OpenAI's names and ours; another client's name counts where ours is absent."""
    made = {name: value for name, value in fields.items() if name not in ALIASES}
    for name, ours in ALIASES.items():
        if fields.get(name) not in (None, "") and made.get(ours) in (None, ""):
            made[ours] = fields[name]
    return made


def _prompt(told: Fields) -> str:
    if told.prompt is None or not told.prompt.strip():
        raise wrong("prompt", "the prompt is missing; say what to make")
    if len(told.prompt) > LONGEST_PROMPT:
        raise wrong("prompt", f"the prompt has {len(told.prompt)} characters; at most {LONGEST_PROMPT} can be sent")
    return told.prompt


def _counted(told: Fields) -> None:
    try:
        check_outputs(told.n)
    except HfmediaError as error:
        raise wrong("n", error.message) from None
    if not 0 <= told.partial_images <= MOST_PARTIALS:
        raise wrong("partial_images", f"partial_images is {shown(told.partial_images)}, but must be 0 to 3")


def _shape(told: Fields) -> Shape:
    """What each item holds: what was asked for, else by the model's name what its clients look for."""
    match told.response_format:
        case None:
            return "b64_json" if told.model and fnmatchcase(told.model.lower(), B64_ONLY) else "both"
        case "b64_json" | "url" as shape:
            return shape
        case other:
            raise wrong("response_format", f"response_format is {shown(other)}, but must be b64_json or url")


def _format(told: Fields) -> Format | None:
    if told.output_format is None:
        return None
    known = FORMATS.get(told.output_format.lower())
    if known is None:
        words = f"output_format is {shown(told.output_format)}, but must be png, jpeg, webp or gif"
        raise wrong("output_format", words)
    return known


def _compression(told: Fields) -> int | None:
    if told.output_compression is not None and not 0 <= told.output_compression <= 100:
        words = f"output_compression is {shown(told.output_compression)}, but must be 0 to 100"
        raise wrong("output_compression", words)
    return told.output_compression


def _unmapped(fields: Mapping[str, Any]) -> list[str]:
    """A warning for each field of OpenAI's that was set to something no provider can do."""
    return [
        f"{name} was ignored: the models on Hugging Face's providers have no such thing"
        for name, neutral in IGNORED.items()
        if fields.get(name) not in (None, "", [], {}, *neutral)
    ]


def _references(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The images that a body names as text, in whichever of the ways that are in use."""
    found: list[str] = []
    for name in IMAGE_FIELDS:
        given: object = fields.get(name)
        if given in (None, "", [], {}):
            continue
        several = cast("list[object]", given) if isinstance(given, list) else [given]
        found += [address(name, one) for one in several]
    return tuple(found)
