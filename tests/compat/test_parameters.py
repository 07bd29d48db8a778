"""Arguments of the g4f-compatible API: the prompt in the messages, options, defaults, and progress texts."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from hfmedia import (
    Accepted,
    Downloading,
    Event,
    FailedOver,
    HfmediaError,
    InvalidRequestError,
    JobFailed,
    Queued,
    Retrying,
    Running,
    Started,
    Submitting,
)
from hfmedia.compat.messages import last_prompt
from hfmedia.compat.parameters import to_options, with_defaults
from hfmedia.compat.reasoning import FORMATTERS, to_reasoning
from hfmedia.compat.responses import Reasoning
from hfmedia.core.request import Task, build_request
from hfmedia.engine import events

USER = {"role": "user", "content": "a fox"}
PARTS = [{"type": "text", "text": "a fox"}, {"type": "image_url", "image_url": {"url": "x"}}, "in the snow"]

PROMPTS: list[tuple[Any, str | None, str]] = [
    ([USER], None, "a fox"),
    ([USER], "a cat", "a cat"),
    ([USER], "", "a fox"),
    ([USER, {"role": "assistant", "content": "which?"}, {"role": "user", "content": "a red one"}], None, "a red one"),
    ([USER, {"role": "assistant", "content": "which?"}], None, "a fox"),
    ([{"role": "user", "content": PARTS}], None, "a fox\nin the snow"),
    ([{"role": "user", "content": {"type": "text", "text": "a fox"}}], None, "a fox"),
    ([{"role": "user", "content": None}], None, ""),
    ([{"role": "user", "content": [{"type": "text", "text": None}]}], None, ""),
    ([{"role": "system", "content": "be brief"}], None, ""),
    ([], None, ""),
    (None, "a cat", "a cat"),
]

ARGUMENTS: list[tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any]]] = [
    ({}, None, {"extra_body": {}}),
    ({"seed": 7, "guidance_scale": 3}, None, {"seed": 7, "guidance_scale": 3, "extra_body": {}}),
    ({"loras": ["x"]}, {"go_fast": True}, {"extra_body": {"loras": ["x"], "go_fast": True}}),
    ({}, {"guidance_scale": 3}, {"extra_body": {"guidance_scale": 3}}),
    ({"extra_body": {"a": 1, "b": 1}}, {"b": 2}, {"extra_body": {"a": 1, "b": 2}}),
    ({}, {"seed": 7, "width": 64, "height": 64}, {"seed": 7, "width": 64, "height": 64, "extra_body": {}}),
    ({"seed": 8}, {"seed": 7}, {"seed": 8, "extra_body": {"seed": 7}}),
    ({"stream": True, "cookies": {}, "temperature": 1, "seed": None}, None, {"extra_body": {}}),
]

IMAGE: Task = "text-to-image"
VIDEO: Task = "text-to-video"
DEFAULTS: list[tuple[Task, dict[str, Any], dict[str, Any]]] = [
    (IMAGE, {}, {"aspect_ratio": "1:1"}),
    (VIDEO, {}, {"aspect_ratio": "16:9", "resolution": "480p"}),
    (IMAGE, {"aspect_ratio": "3:2"}, {"aspect_ratio": "3:2"}),
    (VIDEO, {"aspect_ratio": "9:16"}, {"aspect_ratio": "9:16", "resolution": "480p"}),
    (IMAGE, {"width": 512, "height": 512}, {"width": 512, "height": 512}),
    (VIDEO, {"width": 512, "height": 512}, {"width": 512, "height": 512}),
    (VIDEO, {"resolution": "720p"}, {"aspect_ratio": "16:9", "resolution": "720p"}),
    (IMAGE, {"resolution": "2k"}, {"aspect_ratio": "1:1", "resolution": "2k"}),
    (VIDEO, {"resolution": None}, {"aspect_ratio": "16:9"}),
    (IMAGE, {"extra": {"aspect_ratio": "match_input_image"}}, {}),
    (VIDEO, {"extra": {"resolution": "4MP"}}, {"aspect_ratio": "16:9"}),
]

ABOUT: dict[str, Any] = {"job_id": "j", "index": 1}
WORDS: list[tuple[Event, str, str]] = [
    (Started(**ABOUT, model="m", warnings=("a", "b")), "Note", "a; b"),
    (Submitting(**ABOUT, provider="fal-ai"), "Generating", "submitting to fal-ai"),
    (Submitting(**ABOUT, provider="fal-ai", attempt=2), "Generating", "submitting to fal-ai, attempt 2"),
    (Accepted(**ABOUT, provider="fal-ai", provider_job_id="x"), "Generating", "accepted by fal-ai"),
    (Queued(**ABOUT, provider="fal-ai", position=0), "Queued", "at fal-ai, position 0"),
    (Queued(**ABOUT, provider="fal-ai"), "Queued", "at fal-ai"),
    (Running(**ABOUT, provider="fal-ai"), "Running", "at fal-ai"),
    (
        Running(**ABOUT, provider="fal-ai", fraction=0.42, message="step 4/20", eta=8.2),
        "Running",
        "at fal-ai, 42%, about 8 s left: step 4/20",
    ),
    (Retrying(**ABOUT, provider="fal-ai", reason="it is busy", delay=1.25), "Retrying", "in 1.2 s: it is busy"),
    (
        FailedOver(**ABOUT, provider="together", previous_provider="fal-ai", reason="no credit"),
        "Failover",
        "from fal-ai to together: no credit",
    ),
    (Downloading(**ABOUT, provider="fal-ai", received=1_250_000), "Downloading", "1.2 MB from fal-ai"),
    (
        Downloading(**ABOUT, provider="fal-ai", received=1_000_000, total=4_000_000),
        "Downloading",
        "1.0 of 4.0 MB from fal-ai",
    ),
    (JobFailed(**ABOUT, error=HfmediaError("it broke")), "Failed", "it broke"),
]


@pytest.mark.parametrize(("messages", "prompt", "expected"), PROMPTS)
def test_the_prompt_is_the_argument_or_the_last_user_message(messages: Any, prompt: str | None, expected: str) -> None:
    """Including text parts of structured content, and nothing of another role."""
    assert last_prompt(messages, prompt) == expected


@pytest.mark.parametrize(("given", "extra_data", "options"), ARGUMENTS)
def test_known_arguments_become_options_and_the_rest_goes_to_the_provider(
    given: dict[str, Any], extra_data: dict[str, Any] | None, options: dict[str, Any]
) -> None:
    """Chat arguments are dropped, None means absent, and extra_data takes precedence over extra_body."""
    none: Any = dict.fromkeys(("width", "height", "aspect_ratio", "resolution"))
    assert to_options(given, extra_data, **none) == options


@pytest.mark.parametrize("name", ["extra_data", "extra_body"])
def test_extra_data_must_be_a_dict(name: str) -> None:
    """The error names the argument, before anything is sent."""
    none: Any = dict.fromkeys(("width", "height", "aspect_ratio", "resolution"))
    given, extra_data = ({}, [1]) if name == "extra_data" else ({"extra_body": [1]}, None)
    with pytest.raises(InvalidRequestError, match=name):
        to_options(given, extra_data, **none)  # type: ignore[arg-type]


@pytest.mark.parametrize(("task", "requested", "expected"), DEFAULTS)
def test_the_defaults_fill_absent_options(task: Task, requested: dict[str, Any], expected: dict[str, Any]) -> None:
    """They never contradict a size in pixels or a parameter that is passed through."""
    sizes: Any = {"width": None, "height": None, "aspect_ratio": None, "resolution": "480p"}
    extra = requested.pop("extra", {})
    options: Any = to_options({}, extra, **(sizes | requested))
    request = with_defaults(
        build_request("text-to-image", "a/b", prompt="a fox", extra=options.pop("extra_body"), **options), task
    )
    assert structs.replace(request, extra={}).parameters() == expected
    assert request.extra == extra


@pytest.mark.parametrize(("event", "label", "status"), WORDS, ids=lambda value: type(value).__name__)
def test_each_event_is_formatted(event: Event, label: str, status: str) -> None:
    """With the number of its output if there are several."""
    assert to_reasoning(event, 1) == Reasoning(label=label, status=status)
    assert to_reasoning(event, 4) == Reasoning(label=label, status=f"2/4: {status}")


def test_a_start_without_a_warning_is_not_shown() -> None:
    """There is nothing to show."""
    assert to_reasoning(Started(**ABOUT, model="m"), 1) is None


def test_every_event_type_has_a_formatter() -> None:
    """A new type is shown, or omitted deliberately."""
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)}
    assert kinds - {Event} == set(FORMATTERS)
