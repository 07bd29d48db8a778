"""Fitting a request to a provider: what is dropped is told, what cannot be is refused before anything is sent."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.provider import OPTIONAL_PARAMETERS, Capabilities, ImageConstraints, Provider, adapt_request
from hfmedia.core.request import TASKS, GenerationRequest, InputImage, Task, build_request
from hfmedia.core.sizes import AspectRatio, SizeConstraints, SizeSpec

SOME = SizeConstraints(style="pixels", multiple=64, min_side=256, max_side=1536)
SMALL_PNG = InputImage(data=b"x" * 100, mime="image/png", name="fox.png")


def never(*_: object) -> Any:
    """Fitting asks for no encoding and no decoding."""
    raise AssertionError("fit must only think")


def provider(takes: set[str] | None = None, size: SizeConstraints = SOME, image: ImageConstraints | None = None,
             tasks: tuple[Task, ...] = TASKS) -> Provider:  # fmt: skip
    """A provider called p."""
    abilities = Capabilities(size=size, parameters=frozenset(takes or ()), image=image)
    return Provider(name="p", encode=never, decode=never, tasks=dict.fromkeys(tasks, abilities))


def wish(task: Task = "text-to-image", **fields: Any) -> GenerationRequest:
    """A checked request."""
    return build_request(task, "a/b", **{"prompt": "a red fox", **fields})


FULL: dict[str, Any] = {
    "negative_prompt": "blurry", "seed": 0, "num_inference_steps": 4, "guidance_scale": 0.0, "scheduler": "ddim",
    "num_frames": 81, "seconds": 5.0, "fps": 24,
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONAL_PARAMETERS)
def test_a_parameter_that_the_provider_lacks_is_dropped_and_told(name: str) -> None:
    """Zero is a value too: it is dropped with a warning, not taken for absent."""
    fitted = adapt_request(wish(**FULL), provider(takes=set(OPTIONAL_PARAMETERS) - {name}))
    assert getattr(fitted.request, name) is None
    assert fitted.warnings == (f"p takes no {name} for text-to-image; it was dropped",)
    kept = {other: getattr(fitted.request, other) for other in OPTIONAL_PARAMETERS if other != name}
    assert kept == {other: value for other, value in FULL.items() if other != name}


def test_what_the_provider_takes_passes_in_silence() -> None:
    """Nothing to tell."""
    full = wish(**FULL)
    assert adapt_request(full, provider(takes=set(OPTIONAL_PARAMETERS))) == type(adapt_request(full, provider()))(full)
    assert set(FULL) == set(OPTIONAL_PARAMETERS)


def test_what_was_not_asked_for_is_not_told() -> None:
    """A provider's gaps matter only to who falls into them."""
    assert adapt_request(wish(), provider()).warnings == ()


def test_sizes_follow_the_provider_s_rule() -> None:
    """The rounded size is in the request, and the rounding is told first."""
    fitted = adapt_request(wish(width=1000, height=700, seed=1), provider())
    assert fitted.request.size_spec == SizeSpec(width=1024, height=704)
    assert ["1000x700" in fitted.warnings[0], "seed" in fitted.warnings[1], len(fitted.warnings)] == [True, True, 2]


def test_a_resolution_alone_is_wide_for_videos_and_square_for_images() -> None:
    """What people mean by 720p."""
    free = SizeConstraints(style="pixels")
    video = adapt_request(wish("text-to-video", resolution="720p"), provider(size=free)).request
    image = adapt_request(wish(resolution="720p"), provider(size=free)).request
    assert (video.width, video.height, image.width, image.height) == (1280, 720, 720, 720)
    ratio = adapt_request(
        wish("text-to-video", aspect_ratio="16:9"), provider(size=SizeConstraints(style="ratio"))
    ).request
    assert ratio.aspect_ratio == AspectRatio(16, 9)


def test_extra_parameters_are_never_touched() -> None:
    """They are the user's own word to the provider."""
    extra = {"seed": 5, "image_size": "square", "anything": [1, {"x": None}]}
    assert adapt_request(wish(extra=extra), provider()).request.extra == extra


def test_a_task_that_the_provider_does_not_do_is_refused() -> None:
    """Named with provider and model."""
    with pytest.raises(InvalidRequestError, match="p does no text-to-video") as caught:
        adapt_request(wish("text-to-video"), provider(tasks=("text-to-image",)))
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


@pytest.mark.parametrize(("rule", "image", "refusal"), IMAGES)
def test_an_input_image_is_taken_or_refused_clearly(
    rule: ImageConstraints | None, image: InputImage, refusal: str | None
) -> None:
    """By size, by type, or because the provider takes none."""
    asked = wish("image-to-image", image=image)
    if refusal is None:
        assert adapt_request(asked, provider(image=rule)).request.image == image
        return
    with pytest.raises(InvalidRequestError) as caught:
        adapt_request(asked, provider(image=rule))
    assert refusal in str(caught.value)
    assert caught.value.provider == "p"
    assert caught.value.exit_code == 2


takes = st.sets(st.sampled_from(OPTIONAL_PARAMETERS))
size_rules = st.sampled_from(
    [
        SOME,
        SizeConstraints(style="ratio"),
        SizeConstraints(style="none"),
        SizeConstraints(style="given"),
        SizeConstraints(style="pixels", multiple=32, min_side=1024, max_side=2048, max_pixels=2**22),
    ]
)
asked = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.just(value) for name, value in FULL.items()},
        "width": st.integers(16, 16_384),
        "height": st.integers(16, 16_384),
        "aspect_ratio": st.sampled_from(["1:1", "16:9", "8:1"]),
        "resolution": st.sampled_from(["480p", "2k"]),
    },
)


@given(asked, takes, size_rules)
def test_fitting_is_done_once_and_for_all(fields: dict[str, Any], kept: set[str], size: SizeConstraints) -> None:
    """A fitted request fits without another word, and holds nothing that the provider does not take."""
    there = provider(takes=kept, size=size)
    fitted = adapt_request(wish(**fields), there)
    assert adapt_request(fitted.request, there) == structs.replace(fitted, warnings=())
    gone = [name for name in OPTIONAL_PARAMETERS if name in fields and name not in kept]
    assert all(getattr(fitted.request, name) is None for name in gone)
    assert sum("it was dropped" in warning for warning in fitted.warnings) == len(gone)


def test_a_provider_is_data() -> None:
    """Frozen, so that no job changes it for another."""
    with pytest.raises(AttributeError):
        cast("Any", provider()).name = "q"
