"""Models on the Hub: both formats of their mappings, and invalid entries."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfmedia.core.hub_models import HubModel, ProviderMapping, parse_model, parse_models

FAL = {"provider": "fal-ai", "providerId": "fal-ai/flux", "status": "live", "task": "text-to-image"}
ZAI = {"provider": "zai-org", "providerId": "glm-image", "status": "staging", "task": "text-to-image"}
READ_FAL = ProviderMapping(provider="fal-ai", provider_id="fal-ai/flux", status="live", task="text-to-image")
READ_ZAI = ProviderMapping(provider="zai-org", provider_id="glm-image", status="staging", task="text-to-image")


def model(mapping: Any, **more: Any) -> bytes:
    """A model as the Hub returns it."""
    return json.dumps({"_id": "64", "id": "a/b", "inferenceProviderMapping": mapping, **more}).encode()


def by_name(*entries: dict[str, Any]) -> dict[str, Any]:
    """The older format: providers by name."""
    return {entry["provider"]: {k: v for k, v in entry.items() if k != "provider"} for entry in entries}


SHAPES: dict[str, tuple[Any, tuple[ProviderMapping, ...]]] = {
    "list": ([FAL, ZAI], (READ_FAL, READ_ZAI)),
    "by name": (by_name(FAL, ZAI), (READ_FAL, READ_ZAI)),
    "other order": ([ZAI, FAL], (READ_ZAI, READ_FAL)),
    "empty dict": ({}, ()),
    "empty list": ([], ()),
    "null": (None, ()),
    "unknown fields": ([{**FAL, "hfModelId": "a/b", "features": {"x": [1]}, "isModelAuthor": True}], (READ_FAL,)),
    "nulls": ([{**FAL, "adapter": None, "type": None, "performance": None, "pricing": None}], (READ_FAL,)),
    "no provider": ([{k: v for k, v in FAL.items() if k != "provider"}, ZAI], (READ_ZAI,)),
    "empty provider": ([{**FAL, "provider": ""}, ZAI], (READ_ZAI,)),
    "null provider": ([{**FAL, "provider": None}, ZAI], (READ_ZAI,)),
    "entry without id": ([{"provider": "x", "status": "live", "task": "t"}, FAL], (READ_FAL,)),
    "entry with a number for an id": ([{**ZAI, "providerId": 7}, FAL], (READ_FAL,)),
    "entry that is null": ([None, FAL], (READ_FAL,)),
    "entry that is text": (["fal-ai", FAL], (READ_FAL,)),
    "entry that is a list": ([[], FAL], (READ_FAL,)),
    "one by name that is text": ({**by_name(FAL), "x": "live"}, (READ_FAL,)),
    "one by name without a task": ({"x": {"providerId": "y", "status": "live"}, **by_name(FAL)}, (READ_FAL,)),
    "odd performance": ([{**FAL, "performance": "fast", "pricing": {"input": 1}}], (READ_FAL,)),
    "odder performance": ([{**FAL, "performance": {"tokensPerSecond": "9"}, "pricing": True}], (READ_FAL,)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_mappings_are_parsed_in_either_format(name: str) -> None:
    """In the Hub's order; invalid entries are skipped."""
    raw, mappings = SHAPES[name]
    assert parse_model(model(raw)) == HubModel("a/b", mappings)
    assert parse_models(b"[" + model(raw) + b"]") == [HubModel("a/b", mappings)]


def test_a_model_without_a_mapping_has_no_providers() -> None:
    """Absent is the same as empty."""
    assert parse_model(b'{"id":"a/b"}') == HubModel("a/b")


def test_all_fields_of_an_entry_are_parsed() -> None:
    """LoRA weights, type, speed and price."""
    entry = {**FAL, "adapter": "lora", "adapterWeightsPath": "x.safetensors", "type": "single-model",
             "performance": {"tokensPerSecond": 12, "firstTokenLatencyMs": 3}, "pricing": 0.5}  # fmt: skip
    (read,) = parse_model(model([entry])).mappings
    assert (read.adapter, read.adapter_weights_path, read.mapping_type, read.speed, read.price) == (
        "lora", "x.safetensors", "single-model", 12.0, 0.5,
    )  # fmt: skip


def test_only_the_status_live_is_live() -> None:
    """Staging and failing ones stay in the list, so that an error can name them."""
    entries = [{**FAL, "provider": name or "x", "status": name} for name in ("live", "staging", "error", "LIVE", "")]
    read = parse_model(model(entries))
    assert [mapping.status for mapping in read.mappings] == ["live", "staging", "error", "LIVE", ""]
    assert [mapping.provider for mapping in read.live_mappings()] == ["live"]


def test_live_mappings_can_be_filtered_by_task() -> None:
    """A model may support several."""
    read = parse_model(model([FAL, {**FAL, "provider": "x", "task": "image-to-image"}]))
    assert [mapping.provider for mapping in read.live_mappings("image-to-image")] == ["x"]
    assert [mapping.provider for mapping in read.live_mappings()] == ["fal-ai", "x"]
    assert read.live_mappings("text-to-video") == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"7",
        b'"a/b"',
        b"{}",
        b'{"id":null}',
        b'{"id":7}',
        b'{"error":"no"}',
        model("banana"),
        model(7),
    ],
)
def test_an_invalid_model_is_an_error(body: bytes) -> None:
    """An unknown format is never accepted."""
    with pytest.raises(msgspec.DecodeError):
        parse_model(body)


def test_one_invalid_model_does_not_invalidate_its_page() -> None:
    """The other models are still listed."""
    page = b"[" + b",".join([b'{"id":7}', model([FAL]), b"null", model("banana"), b'{"error":"no"}']) + b"]"
    assert parse_models(page) == [HubModel("a/b", (READ_FAL,))]


def test_an_empty_page_is_valid() -> None:
    """The search had no results."""
    assert parse_models(b"[]") == []


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b"null", b"7", b'{"error":"no"}', b"[7]", b'[{"error":"no"}]', b'["a/b"]']
)
def test_a_page_with_only_invalid_models_is_invalid(body: bytes) -> None:
    """An error in the form of a list must not look like an empty Hub."""
    with pytest.raises(msgspec.DecodeError):
        parse_models(body)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "provider", "providerId", "task", "status", "pricing", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(values)
def test_a_valid_entry_is_parsed_next_to_any_other(value: Any) -> None:
    """Next to malformed entries of any form, in both formats."""
    assert READ_FAL in parse_model(model([value, FAL])).mappings
    assert READ_FAL in parse_model(model({"x": value, **by_name(FAL)})).mappings
    assert HubModel("a/b", (READ_FAL,)) in parse_models(b"[" + json.dumps(value).encode() + b"," + model([FAL]) + b"]")


@given(st.one_of(st.binary(max_size=40), values.map(lambda value: json.dumps(value).encode())))
def test_parsing_raises_only_decode_errors(body: bytes) -> None:
    """For any bytes."""
    for read in (parse_model, parse_models):
        try:
            read(body)
        except msgspec.DecodeError:
            continue
