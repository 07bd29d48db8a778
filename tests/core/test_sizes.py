"""Sizes: their three parsers, and their adaptation to what a provider supports.

Every change of a requested value yields a warning, and nothing else does.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.sizes import (
    ASPECT_RATIOS,
    MAX_SIDE,
    MIN_SIDE,
    RATIO_TOLERANCE,
    RESOLUTIONS,
    VIDEO_RESOLUTIONS,
    AspectRatio,
    Size,
    SizeConstraints,
    SizeSpec,
    adapt_size,
    describe_size,
    parse_ratio,
    parse_resolution,
    parse_size,
    validate_side,
)
from hfmedia.core.text import truncated_repr

SQUARE, WIDE = AspectRatio(1, 1), AspectRatio(16, 9)
ZAI = SizeConstraints(
    style="pixels", multiple=32, min_side=1024, max_side=2048, max_pixels=2**22, default_area=1280 * 1280
)
COARSE = SizeConstraints(style="pixels", multiple=64, min_side=256, max_side=1536)
FREE = SizeConstraints(style="pixels")
RATIO_ONLY = SizeConstraints(style="ratio")


def adapt(
    constraints: SizeConstraints, default: AspectRatio = SQUARE, **wanted: object
) -> tuple[SizeSpec, tuple[str, ...]]:
    """Adapt a size to provider ``p``."""
    if isinstance(wanted.get("aspect_ratio"), str):
        wanted["aspect_ratio"] = parse_ratio(str(wanted["aspect_ratio"]))
    return adapt_size(SizeSpec(**wanted), constraints, provider="p", default_ratio=default)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("16:9", (16, 9)), (" 4 : 3 ", (4, 3)), ("1920:1080", (16, 9)), ("1:1", (1, 1)), ("8:1", (8, 1)),
        ("21:9", (21, 9)), ("9:21", (9, 21)), ("7:3", (21, 9)), ("42:18", (21, 9)), ("2:2", (1, 1)),
    ],
)  # fmt: skip
def test_a_ratio_is_parsed_to_its_lowest_terms(text: str, ratio: tuple[int, int]) -> None:
    """Except 21:9, which is commonly written so."""
    assert parse_ratio(text) == AspectRatio(*ratio)


@pytest.mark.parametrize(
    "text",
    ["16/9", "banana", "", ":", "16:", ":9", "0:1", "1:0", "-16:9", "16:-9", "1.5:1", "9:1", "1:9", "16:9:1", "16x9",
     "100000:100000", "nan:1", "1:1\n2:2", pytest.param("9" * 5000 + ":1", id="long")],
)  # fmt: skip
def test_an_invalid_ratio_is_rejected_in_one_sentence(text: str) -> None:
    """Nothing is guessed: an unknown ratio never becomes 1:1."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_ratio(text)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "size"),
    [("1024x768", (1024, 768)), ("1024X768", (1024, 768)), ("1024*768", (1024, 768)), (" 16 x 16384 ", (16, 16384))],
)
def test_a_size_is_parsed(text: str, size: tuple[int, int]) -> None:
    """With x and with *."""
    assert parse_size(text) == Size(*size)


@pytest.mark.parametrize(
    "text",
    ["0x0", "1024x0", "-5x512", "512x-5", "15x512", "512x16385", "999999999x1024", "1024", "1024x", "x768", "banana",
     "1024x768x3", "1e3x1e3", "", pytest.param("1" * 5000 + "x1", id="long")],
)  # fmt: skip
def test_zero_negative_and_absurd_sizes_are_rejected(text: str) -> None:
    """Each in one sentence, with exit code 2."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_size(text)
    assert caught.value.exit_code == 2
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("text", "name"), [("480p", "480p"), ("2K", "2k"), (" 1080P ", "1080p")])
def test_a_resolution_is_normalized(text: str, name: str) -> None:
    """Lower case, without surrounding white space."""
    assert parse_resolution(text) == name


@pytest.mark.parametrize("text", ["", "480", "481p", "8k", "banana", pytest.param("x" * 5000, id="long")])
def test_an_unknown_resolution_is_rejected_with_a_list_of_the_known_ones(text: str) -> None:
    """The error is also the documentation."""
    with pytest.raises(InvalidRequestError, match="480p") as caught:
        parse_resolution(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("pixels", [0, -1, MIN_SIDE - 1, MAX_SIDE + 1, 10**30, pytest.param(10**5000, id="huge")])
def test_a_side_out_of_bounds_is_rejected(pixels: int) -> None:
    """Even a number that Python refuses to format."""
    with pytest.raises(InvalidRequestError, match="width"):
        validate_side("width", pixels)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary()))
def test_a_value_is_quoted_in_at_most_80_characters(value: object) -> None:
    """An error stays one sentence."""
    assert len(truncated_repr(value)) <= 80


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"width": 1024, "height": 768}, "1024x768"),
        ({"width": 512}, "width 512"),
        ({"height": 512}, "height 512"),
        ({"aspect_ratio": WIDE}, "16:9"),
        ({"aspect_ratio": WIDE, "resolution": "480p"}, "16:9 at 480p"),
        ({"resolution": "480p"}, "at 480p"),
        ({"width": 640, "height": 360, "aspect_ratio": WIDE, "resolution": "360p"}, "640x360 16:9 at 360p"),
    ],
)
def test_a_size_is_described_completely(wanted: dict[str, object], text: str) -> None:
    """So that a warning can quote all of it."""
    assert describe_size(SizeSpec(**wanted)) == text  # type: ignore[arg-type]


PIXELS = [
    # constraints, default ratio, wanted, width, height, texts in the warnings (none: no warning at all)
    (FREE, SQUARE, {"width": 1023, "height": 767}, 1023, 767, []),
    (FREE, SQUARE, {"aspect_ratio": "1:1"}, 1024, 1024, []),
    (FREE, WIDE, {"resolution": "720p"}, 1280, 720, []),
    (FREE, WIDE, {"resolution": "480p", "aspect_ratio": "9:16"}, 480, 848, []),
    (FREE, SQUARE, {"width": 512}, 512, 512, []),
    (FREE, WIDE, {"height": 720}, 1280, 720, []),
    (FREE, SQUARE, {"width": 1280, "aspect_ratio": "16:9"}, 1280, 720, []),
    (FREE, SQUARE, {"width": 1280, "height": 720, "aspect_ratio": "16:9", "resolution": "720p"}, 1280, 720, []),
    (FREE, SQUARE, {"width": 1280, "height": 720, "aspect_ratio": "1:1"}, 1280, 720, ["aspect ratio 1:1 was dropped"]),
    (FREE, SQUARE, {"width": 1280, "height": 720, "resolution": "480p"}, 1280, 720, ["resolution 480p was dropped"]),
    (FREE, SQUARE, {"width": 1000, "resolution": "480p"}, 1000, 1000, ["resolution 480p was dropped"]),
    (COARSE, SQUARE, {"width": 1000, "height": 700}, 1024, 704, ["1000x700", "1024x704"]),
    (COARSE, SQUARE, {"width": 1000}, 1024, 1024, ["a width of 1000", "1024x1024"]),
    (COARSE, SQUARE, {"height": 1000}, 1024, 1024, ["a height of 1000"]),
    (COARSE, WIDE, {"resolution": "1080p"}, 1536, 896, ["1080p"]),
    (COARSE, WIDE, {"resolution": "480p"}, 832, 512, ["480p"]),
    (COARSE, SQUARE, {"width": 16_384, "height": 16_384}, 1536, 1536, ["16384x16384", "1536x1536"]),
    (COARSE, SQUARE, {"width": 16, "height": 16}, 256, 256, ["16x16", "256x256"]),
    (ZAI, SQUARE, {"width": 1280, "height": 1280}, 1280, 1280, []),
    (ZAI, SQUARE, {"width": 2048, "height": 2048}, 2048, 2048, []),
    (ZAI, SQUARE, {"width": 512, "height": 512}, 1024, 1024, ["512x512", "1024x1024"]),
    (ZAI, SQUARE, {"width": 4096, "height": 4096}, 2048, 2048, ["4096x4096"]),
    (ZAI, SQUARE, {"width": 1500, "height": 1025}, 1504, 1024, ["1500x1025"]),
    (ZAI, SQUARE, {"aspect_ratio": "8:1"}, 2048, 1024, ["8:1"]),
    (ZAI, SQUARE, {"resolution": "480p"}, 1024, 1024, ["480p"]),
    (ZAI, SQUARE, {"resolution": "480p", "aspect_ratio": "8:1"}, 2048, 1024, ["480p", "8:1"]),
]  # fmt: skip


@pytest.mark.parametrize(("constraints", "default", "wanted", "width", "height", "messages"), PIXELS)
def test_a_size_becomes_the_nearest_valid_pixels(
    constraints: SizeConstraints,
    default: AspectRatio,
    wanted: dict[str, object],
    width: int,
    height: int,
    messages: list[str],
) -> None:
    """Rounded or scaled, with a warning for each value that changed."""
    adapted, warnings = adapt(constraints, default, **wanted)
    assert (adapted.width, adapted.height) == (width, height)
    assert (adapted.aspect_ratio, adapted.resolution) == (None, None)
    assert bool(warnings) == bool(messages), warnings
    for text in messages:
        assert any(text in warning for warning in warnings), (text, warnings)


RATIO_CASES = [
    ({"aspect_ratio": "16:9", "resolution": "720p"}, "16:9", "720p", []),
    ({"aspect_ratio": "2:1"}, "2:1", None, []),
    ({"resolution": "480p"}, None, "480p", []),
    ({"width": 1280, "height": 720}, "16:9", "720p", ["1280x720 became 16:9 at 720p"]),
    ({"width": 700, "height": 1300}, "9:16", "720p", ["700x1300 became 9:16 at 720p"]),
    ({"width": 512, "height": 512}, "1:1", "480p", ["512x512"]),
    ({"width": 512, "height": 512, "aspect_ratio": "4:3", "resolution": "1080p"}, "4:3", "1080p", ["512x512"]),
    ({"width": 512}, None, None, ["512 pixels was dropped"]),
    ({"height": 512, "aspect_ratio": "1:1"}, "1:1", None, ["512 pixels was dropped"]),
]


@pytest.mark.parametrize(("wanted", "ratio", "resolution", "messages"), RATIO_CASES)
def test_pixels_become_a_ratio_and_a_resolution_where_the_provider_takes_those(
    wanted: dict[str, object], ratio: str | None, resolution: str | None, messages: list[str]
) -> None:
    """With a warning, since the pixels may differ."""
    adapted, warnings = adapt(RATIO_ONLY, **wanted)
    assert adapted == SizeSpec(aspect_ratio=parse_ratio(ratio) if ratio else None, resolution=resolution)
    assert bool(warnings) == bool(messages), warnings
    for text in messages:
        assert any(text in warning for warning in warnings), (text, warnings)


sides = st.integers(MIN_SIDE, MAX_SIDE)
ratios = st.one_of(
    st.sampled_from(ASPECT_RATIOS),
    st.tuples(st.integers(1, 999), st.integers(1, 999))
    .filter(lambda pair: max(pair) <= 8 * min(pair))
    .map(lambda pair: parse_ratio(f"{pair[0]}:{pair[1]}")),
)
sizings = st.builds(
    SizeSpec,
    width=st.none() | sides,
    height=st.none() | sides,
    aspect_ratio=st.none() | ratios,
    resolution=st.none() | st.sampled_from(sorted(RESOLUTIONS)),
)


@st.composite
def pixel_rules(draw: st.DrawFn) -> SizeConstraints:
    """Draw constraints that at least one square satisfies."""
    multiple = draw(st.sampled_from([1, 2, 8, 16, 32, 64]))
    smallest = draw(st.integers(MIN_SIDE, 1024))
    largest = draw(st.integers(smallest + multiple, 4096))
    lowest = math.ceil(smallest / multiple) * multiple
    most = draw(st.none() | st.integers(lowest * lowest, 4096 * 4096))
    return SizeConstraints(style="pixels", multiple=multiple, min_side=smallest, max_side=largest, max_pixels=most)


rules = st.one_of(pixel_rules(), st.just(ZAI), st.just(RATIO_ONLY), st.builds(SizeConstraints, style=st.just("none")))
defaults = st.sampled_from([SQUARE, WIDE])


def is_valid(adapted: SizeSpec, constraints: SizeConstraints) -> bool:
    """Check the constraints, independently of the code."""
    if constraints.style == "none":
        return adapted == SizeSpec()
    if constraints.style == "ratio":
        return adapted.width is None and adapted.height is None
    both = (adapted.width or 0, adapted.height or 0)
    fits = all(
        constraints.min_side <= side <= constraints.max_side and side % constraints.multiple == 0 for side in both
    )
    return fits and (constraints.max_pixels is None or both[0] * both[1] <= constraints.max_pixels)


@given(sizings, rules, defaults)
def test_the_result_is_always_valid(wanted: SizeSpec, constraints: SizeConstraints, default: AspectRatio) -> None:
    """The adapted size satisfies the provider's constraints."""
    adapted, _ = adapt_size(wanted, constraints, provider="p", default_ratio=default)
    assert wanted == SizeSpec() or is_valid(adapted, constraints)


@given(sizings, rules, defaults)
def test_adapting_twice_changes_nothing_more(
    wanted: SizeSpec, constraints: SizeConstraints, default: AspectRatio
) -> None:
    """As after a failover to a provider with the same constraints."""
    once, _ = adapt_size(wanted, constraints, provider="p", default_ratio=default)
    assert adapt_size(once, constraints, provider="p", default_ratio=default) == (once, ())


@given(rules, defaults)
def test_an_absent_size_causes_no_warning(constraints: SizeConstraints, default: AspectRatio) -> None:
    """The provider then chooses."""
    assert adapt_size(SizeSpec(), constraints, provider="p", default_ratio=default) == (SizeSpec(), ())


@given(sizings, defaults)
def test_a_size_is_passed_through_unchanged_where_models_differ(wanted: SizeSpec, default: AspectRatio) -> None:
    """As for Replicate, whose models each have their own parameters."""
    assert adapt_size(wanted, SizeConstraints(style="passthrough"), provider="p", default_ratio=default) == (wanted, ())


def changed(wanted: SizeSpec, adapted: SizeSpec, constraints: SizeConstraints) -> bool:
    """Return True if a requested value differs from the adapted one."""
    if constraints.style == "none":
        return wanted != SizeSpec()
    if constraints.style == "ratio":
        kept = (wanted.aspect_ratio, wanted.resolution) == (adapted.aspect_ratio, adapted.resolution)
        return bool(wanted.width or wanted.height) or not kept
    width, height = adapted.width or 0, adapted.height or 0
    if (wanted.width or width, wanted.height or height) != (width, height):
        return True
    if wanted.resolution and min(width, height) != RESOLUTIONS[wanted.resolution]:
        return True
    ratio = wanted.aspect_ratio
    return ratio is not None and abs(math.log(width / height) - math.log(ratio.value)) > RATIO_TOLERANCE


@given(sizings, rules, defaults)
def test_a_warning_is_issued_exactly_when_a_value_changed(
    wanted: SizeSpec, constraints: SizeConstraints, default: AspectRatio
) -> None:
    """Never silently, and never without a change."""
    adapted, warnings = adapt_size(wanted, constraints, provider="p", default_ratio=default)
    assert bool(warnings) == changed(wanted, adapted, constraints), (adapted, warnings)
    assert all("p " in warning or "was dropped" in warning for warning in warnings)


@given(pixel_rules(), st.data())
def test_a_valid_size_is_unchanged(constraints: SizeConstraints, data: st.DataObject) -> None:
    """The nearest valid size to a valid size is itself."""
    first = math.ceil(constraints.min_side / constraints.multiple)
    last = constraints.max_side // constraints.multiple
    width = data.draw(st.integers(first, last)) * constraints.multiple
    tallest = (
        last if constraints.max_pixels is None else min(last, constraints.max_pixels // width // constraints.multiple)
    )
    if tallest < first:
        return
    height = data.draw(st.integers(first, tallest)) * constraints.multiple
    wanted = SizeSpec(width=width, height=height)
    assert adapt_size(wanted, constraints, provider="p", default_ratio=SQUARE) == (wanted, ())


@given(pixel_rules(), ratios, st.integers(MIN_SIDE, MAX_SIDE))
def test_the_aspect_ratio_stays_within_rounding(constraints: SizeConstraints, ratio: AspectRatio, short: int) -> None:
    """A size that is too small or too large is scaled as a whole, where the constraints permit its ratio at all."""
    wide = SizeSpec(width=round(short * max(1.0, ratio.value)), height=round(short / min(1.0, ratio.value)))
    adapted, _ = adapt_size(wide, constraints, provider="p", default_ratio=SQUARE)
    assert wide.width and wide.height and adapted.width and adapted.height
    ratio_wanted, ratio_actual = wide.width / wide.height, adapted.width / adapted.height
    longest = (
        constraints.max_side
        if constraints.max_pixels is None
        else min(constraints.max_side, constraints.max_pixels / constraints.min_side)
    )
    limit = longest / constraints.min_side
    if max(ratio_wanted, 1 / ratio_wanted) > limit * 0.8:
        return  # no legal size has this shape
    rounding = (
        3 * constraints.multiple / min(adapted.width, adapted.height)
    )  # each side rounds by half a rounding, the limits by a few
    assert abs(math.log(ratio_actual / ratio_wanted)) <= rounding + 1e-9


def test_every_named_resolution_of_videos_is_a_resolution() -> None:
    """The short list is part of the long one."""
    assert set(VIDEO_RESOLUTIONS) <= set(RESOLUTIONS)
