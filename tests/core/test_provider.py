"""Adapting a request to a provider: drops are reported, impossible requests are rejected before anything is sent."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.parameters import OPTIONAL_PARAMETERS, PARAMETERS
from hfmedia.core.provider import AdaptedRequest, Capabilities, ImageConstraints, Provider, adapt_request
from hfmedia.core.request import TASKS, GenerationRequest, InputImage, Task, build_request
from hfmedia.core.sizes import AspectRatio, SizeConstraints, SizeSpec

SOME = SizeConstraints(style="pixels", multiple=64, min_side=256, max_side=1536)
SMALL_PNG = InputImage(data=b"x" * 100, mime="image/png", name="fox.png")
ANY_PNG = ImageConstraints(encoding="bytes", mimes=("image/png",))


def never(*_: object) -> Any:
    """Adapting a request neither encodes nor decodes."""
    raise AssertionError("adapt_request called a provider's function")


def provider(parameters: set[str] | None = None, size: SizeConstraints = SOME, image: ImageConstraints | None = None,
             tasks: tuple[Task, ...] = TASKS) -> Provider:  # fmt: skip
    """A provider called p."""
    capabilities = Capabilities(size=size, parameters=frozenset(parameters or ()), image=image)
    return Provider(name="p", encode=never, decode=never, tasks=dict.fromkeys(tasks, capabilities))


def make_request(task: Task = "text-to-image", **fields: Any) -> GenerationRequest:
    """A checked request."""
    return build_request(task, "a/b", **{"prompt": "a red fox", **fields})


FULL: dict[str, Any] = {
    "negative_prompt": "blurry", "seed": 0, "num_inference_steps": 4, "guidance_scale": 0.0, "scheduler": "ddim",
    "strength": 0.0, "quality": "high", "num_frames": 81, "seconds": 5.0, "fps": 24,
}  # fmt: skip


def full_request() -> GenerationRequest:
    """A request with every optional parameter, and with the input image that some of them need."""
    return make_request("image-to-image", image=SMALL_PNG, **FULL)


@pytest.mark.parametrize("name", OPTIONAL_PARAMETERS)
def test_a_parameter_that_the_provider_lacks_is_dropped_with_a_warning(name: str) -> None:
    """Zero is a value too: it is dropped with a warning, not ignored as absent."""
    adapted = adapt_request(full_request(), provider(parameters=set(OPTIONAL_PARAMETERS) - {name}, image=ANY_PNG))
    assert getattr(adapted.request, name) is None
    assert adapted.warnings == (f"p takes no {name} for image-to-image; it was dropped",)
    kept = {other: getattr(adapted.request, other) for other in OPTIONAL_PARAMETERS if other != name}
    assert kept == {other: value for other, value in FULL.items() if other != name}


def test_parameters_that_the_provider_takes_pass_without_a_warning() -> None:
    """The request is unchanged."""
    adapted = adapt_request(full_request(), provider(parameters=set(OPTIONAL_PARAMETERS), image=ANY_PNG))
    assert adapted == AdaptedRequest(full_request())
    assert set(FULL) == set(OPTIONAL_PARAMETERS)


@pytest.mark.parametrize("name", [row.name for row in PARAMETERS if row.needs_image])
def test_a_parameter_of_the_input_image_is_dropped_without_one(name: str) -> None:
    """Even where the provider takes it."""
    adapted = adapt_request(make_request(**{name: FULL[name]}), provider(parameters=set(OPTIONAL_PARAMETERS)))
    assert getattr(adapted.request, name) is None
    assert adapted.warnings == (f"{name} applies only with an input image; it was dropped",)


def test_an_absent_parameter_causes_no_warning() -> None:
    """The provider may lack it."""
    assert adapt_request(make_request(), provider()).warnings == ()


def test_sizes_follow_the_constraints_of_the_provider() -> None:
    """The rounded size is in the request, and its warning comes first."""
    adapted = adapt_request(make_request(width=1000, height=700, seed=1), provider())
    assert adapted.request.size_spec == SizeSpec(width=1024, height=704)
    assert ["1000x700" in adapted.warnings[0], "seed" in adapted.warnings[1], len(adapted.warnings)] == [True, True, 2]


def test_a_resolution_alone_is_wide_for_videos_and_square_for_images() -> None:
    """What people mean by 720p."""
    free = SizeConstraints(style="pixels")
    video = adapt_request(make_request("text-to-video", resolution="720p"), provider(size=free)).request
    image = adapt_request(make_request(resolution="720p"), provider(size=free)).request
    assert (video.width, video.height, image.width, image.height) == (1280, 720, 720, 720)
    ratio = adapt_request(
        make_request("text-to-video", aspect_ratio="16:9"), provider(size=SizeConstraints(style="ratio"))
    ).request
    assert ratio.aspect_ratio == AspectRatio(16, 9)


def test_extra_parameters_are_never_touched() -> None:
    """They belong to the provider's own API."""
    extra = {"seed": 5, "image_size": "square", "anything": [1, {"x": None}]}
    assert adapt_request(make_request(extra=extra), provider()).request.extra == extra


def test_a_task_that_the_provider_does_not_support_is_rejected() -> None:
    """The error names provider and model."""
    with pytest.raises(InvalidRequestError, match="p does not support text-to-video") as caught:
        adapt_request(make_request("text-to-video"), provider(tasks=("text-to-image",)))
    assert (caught.value.provider, caught.value.model) == ("p", "a/b")


BYTES, URL_RULE = (
    ImageConstraints(encoding="bytes", max_bytes=100, mimes=("image/png",)),
    ImageConstraints(encoding="url", max_bytes=100),
)
IMAGES: list[tuple[ImageConstraints | None, InputImage, str | None]] = [
    (BYTES, SMALL_PNG, None),
    (URL_RULE, SMALL_PNG, None),
    (URL_RULE, InputImage(url="https://a/fox.png"), None),
    (BYTES, InputImage(url="https://a/fox.png"), None),  # its bytes are fetched before it is sent
    (URL_RULE, InputImage(data=b"x" * 101, mime="image/png"), "has 101 bytes, and p takes at most 100"),
    (BYTES, InputImage(data=b"x" * 101, mime="image/png"), "make it smaller, or give its URL instead"),
    (BYTES, InputImage(data=b"x", mime="image/jpeg"), "p takes image/png, but the input image is image/jpeg"),
    (URL_RULE, InputImage(data=b"x", mime="image/gif"), "but the input image is image/gif"),
    (URL_RULE, InputImage(data=b"x"), "but the input image is None"),
    (None, SMALL_PNG, "p takes no input image for image-to-image"),
    (None, InputImage(url="https://a/fox.png"), "p takes no input image for image-to-image"),
]


@pytest.mark.parametrize(("constraints", "image", "message"), IMAGES)
def test_an_input_image_is_accepted_or_rejected_clearly(
    constraints: ImageConstraints | None, image: InputImage, message: str | None
) -> None:
    """By size, by type, or because the provider takes none."""
    request = make_request("image-to-image", image=image)
    if message is None:
        assert adapt_request(request, provider(image=constraints)).request.image == image
        return
    with pytest.raises(InvalidRequestError) as caught:
        adapt_request(request, provider(image=constraints))
    assert message in str(caught.value)
    assert caught.value.provider == "p"
    assert caught.value.exit_code == 2


parameter_sets = st.sets(st.sampled_from(OPTIONAL_PARAMETERS))
size_constraints = st.sampled_from(
    [
        SOME,
        SizeConstraints(style="ratio"),
        SizeConstraints(style="none"),
        SizeConstraints(style="passthrough"),
        SizeConstraints(style="pixels", multiple=32, min_side=1024, max_side=2048, max_pixels=2**22),
    ]
)
option_sets = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.just(value) for name, value in FULL.items()},
        "width": st.integers(16, 16_384),
        "height": st.integers(16, 16_384),
        "aspect_ratio": st.sampled_from(["1:1", "16:9", "8:1"]),
        "resolution": st.sampled_from(["480p", "2k"]),
    },
)


@given(option_sets, parameter_sets, size_constraints)
def test_an_adapted_request_needs_no_further_adaptation(
    options: dict[str, Any], kept: set[str], size: SizeConstraints
) -> None:
    """Adapting it again changes nothing, and it holds nothing that the provider does not take."""
    target = provider(parameters=kept, size=size)
    adapted = adapt_request(make_request(**options), target)
    assert adapt_request(adapted.request, target) == structs.replace(adapted, warnings=())
    needs_image = {row.name for row in PARAMETERS if row.needs_image}
    dropped = [name for name in OPTIONAL_PARAMETERS if name in options and (name not in kept or name in needs_image)]
    assert all(getattr(adapted.request, name) is None for name in dropped)
    assert sum("it was dropped" in warning for warning in adapted.warnings) == len(dropped)


def test_a_provider_is_data() -> None:
    """Frozen, so that no job changes it for another."""
    with pytest.raises(AttributeError):
        cast("Any", provider()).name = "q"
